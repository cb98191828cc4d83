//! Kernel tests of the crate: one binary, a module per area. They run on hybrid, v1 and v2 machines alike.

mod kernel {
    pub mod devices;
    pub mod events;
    pub mod harness;
    pub mod kill;
    pub mod lifecycle;
    pub mod limits;
    pub mod owner;
    pub mod role;
    pub mod scope;
}

fn main() -> std::process::ExitCode {
    match std::env::var(kernel::role::VARIABLE) {
        Ok(role) => kernel::role::play(&role),
        Err(_) => needs::run(),
    }
}
