//! Kernel tests of the crate: one binary, a module per area. They run on hybrid, v1 and v2 machines alike.

mod kernel {
    pub mod harness;
    pub mod kill;
    pub mod lifecycle;
    pub mod limits;
}

fn main() -> std::process::ExitCode {
    needs::run()
}
