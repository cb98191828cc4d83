//! Tests of volumes on the running kernel: what a process that has them sees.

#[path = "../../../rootfs/tests/kernel/inside.rs"]
mod inside;
#[path = "../../../rootfs/tests/kernel/ordinary.rs"]
mod ordinary;
mod places;
mod restrictions;
mod scratch;

fn main() -> std::process::ExitCode {
    needs::run()
}
