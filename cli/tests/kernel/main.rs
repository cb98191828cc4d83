//! The command line as people type it, on a real kernel.

fn main() -> std::process::ExitCode {
    needs::run()
}
