//! Tests of networks on the running kernel. All traffic stays in namespaces that the tests make.

mod bridge;
mod cni;
mod lab;
mod names;
mod namespace;
mod overlay;
mod parent;
mod policy;
mod ports;
mod traffic;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory for leases that no other test uses; each run has its own, below the build's.
fn scratch() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("leases-{}-{number}", std::process::id());
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn main() -> std::process::ExitCode {
    // Some tests hold thousands of leases and ports, each an open file.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, most);
    // A test runs this binary again as an owner to be killed.
    if let (Ok(host), Ok(directory)) = (
        std::env::var("AMPOULE_NET_OWNER"),
        std::env::var("AMPOULE_NET_DIRECTORY"),
    ) {
        ports::own_a_network(&host, &directory);
        return std::process::ExitCode::SUCCESS;
    }
    needs::run()
}
