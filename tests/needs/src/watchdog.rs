//! A test that hangs is named, and costs its own binary only.

use std::collections::BTreeMap;
use std::process::exit;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything takes, also under emulation on a busy machine; a binary's own limit would not tell the test's name.
const LIMIT: Duration = Duration::from_secs(300);

static RUNNING: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());

/// A test that runs, until it is dropped.
pub struct Watched(String);

impl Watched {
    pub fn new(test: &str) -> Watched {
        let name = test.to_string();
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(name.clone(), Instant::now());
        Watched(name)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.0);
    }
}

/// Ends this process with a failure when a test has run for longer than the limit.
pub fn start() {
    thread::spawn(|| {
        loop {
            thread::sleep(Duration::from_secs(1));
            if let Some(name) = overdue() {
                fail(&name);
            }
        }
    });
}

fn overdue() -> Option<String> {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let found = running.iter().find(|(_, began)| began.elapsed() > LIMIT);
    found.map(|(name, _)| name.clone())
}

/// A thread cannot be ended from outside, so the process is.
#[allow(
    clippy::print_stdout,
    clippy::exit,
    reason = "this is a test program's runner"
)]
fn fail(name: &str) -> ! {
    println!("\ntest {name} ... FAILED (hangs: not done after {LIMIT:?})");
    exit(101)
}
