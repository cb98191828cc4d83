//! Tests of networks on the running kernel. All traffic stays in namespaces that the tests make.

mod namespace;

fn main() -> std::process::ExitCode {
    needs::run()
}
