//! Signals that reach us, and belong to the container.

use crate::failure::{Failure, Result};
use ampoule::Child;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// What a person or a supervisor sends to end a program, or to tell it something; each ends a program that does not care.
const PASSED_ON: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGTERM,
];

/// Signals as something to read: no handler, no race with the start.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// From now on they wait to be read.
    pub fn take() -> Result<Signals> {
        let mut set: SigSet = PASSED_ON.into_iter().collect();
        set.add(Signal::SIGWINCH);
        let failed = |e| Failure::new(format!("take signals: {e}"));
        set.thread_block().map_err(failed)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&set, flags)
            .map(Signals)
            .map_err(failed)
    }

    /// The next one, if one is there.
    pub fn next(&self) -> Option<Signal> {
        let info = self.0.read_signal().ok()??;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Passes a signal on. True if it ended the program.
///
/// The kernel keeps a signal from process 1 of a pid namespace that has no handler for it, so that Ctrl-C would do nothing to
/// `sleep`. To such a program happens what would happen to it outside: it ends.
pub fn pass_on(child: &Child, signal: Signal) -> Result<bool> {
    let heeded = heeds(child.id(), signal);
    match heeded {
        true => child.signal(signal as i32)?,
        false => child.kill()?,
    }
    Ok(!heeded)
}

/// Whether a process catches, ignores or blocks a signal: proc_pid_status(5).
fn heeds(pid: u32, signal: Signal) -> bool {
    // Once it is gone, nothing is to be done any more.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let bit = 1_u64 << (signal as u32 - 1);
    let mut sets = status.lines().filter_map(|line| {
        let (name, set) = line.split_once(":\t")?;
        let relevant = ["SigCgt", "SigIgn", "SigBlk"].contains(&name);
        relevant.then(|| u64::from_str_radix(set, 16).ok())?
    });
    status.is_empty() || sets.any(|set| set & bit != 0)
}
