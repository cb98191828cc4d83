//! Tests of networks on the running kernel. All traffic stays in namespaces that the tests make.

mod bridge;
mod namespace;
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
    needs::run()
}
