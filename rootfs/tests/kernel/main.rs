//! Tests of root trees on the running kernel: what a process inside them sees.

mod devices;
mod diff;
mod inside;
mod mapped;
mod masks;
mod ordinary;
mod roots;
mod scratch;
mod view;

use ampoule_rootfs::{Rootfs, Templates};

/// What a shell script says that runs as root of a container with this root tree.
fn shell(rootfs: &Rootfs, templates: &Templates, script: &str) -> inside::Outcome<String> {
    let ready = rootfs.prepare(templates)?;
    inside::run(&[&ready], inside::maker(), script)
}

fn main() -> std::process::ExitCode {
    needs::run()
}
