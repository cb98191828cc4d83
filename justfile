# What one types often; `just` lists them.

_list:
    @just --list --unsorted

# all tests that this machine can run; what it cannot is skipped, with the reason
test *args:
    cargo test --workspace --all-features {{ args }}

# one example, or all of them with what they claim
example name="":
    {{ if name == "" { "cargo test --test examples" } else { "cargo run --quiet --example " + name } }}

# format and lints, as a change needs them
lint:
    cargo fmt --all
    cargo clippy --workspace --all-features --all-targets -- -D warnings

# the documentation
doc *args:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps {{ args }}

# the measurements
bench *args:
    cargo bench --workspace --all-features {{ args }}

# the kernel tests under a second kernel, in a virtual machine
vm *packages:
    tests/vm/run {{ packages }}

# everything that has to hold before a change lands
ci *rings:
    .ci/run {{ rings }}
