//! Gates: where the child waits and the host works.

use crate::child::program::Report;
use crate::error::Error;
use crate::passing;
use ampoule_plan::{Action, Peer, Plan, Slot, Undo};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Acquire;

/// The socket at which the child waits for the host.
pub(crate) struct Gate {
    hosts: OwnedFd,
    pub(crate) childs: OwnedFd,
}

impl Gate {
    /// No gate if the host has nothing to do.
    pub(crate) fn new(plan: &Plan) -> Result<Option<Gate>, Error> {
        if plan
            .steps()
            .iter()
            .all(|step| matches!(step.action, Action::Child(_)))
        {
            return Ok(None);
        }
        let (hosts, childs) = passing::pair().map_err(|e| Error::os("socketpair for a gate", e))?;
        Ok(Some(Gate { hosts, childs }))
    }
}

/// The host at work.
pub(crate) struct Host<'a> {
    pub(crate) plan: &'a mut Plan,
    pub(crate) report: &'a Report,
    pub(crate) undo: Vec<Undo>,
    pub(crate) failed: Option<(usize, io::Error)>,
}

impl Host<'_> {
    /// Works at each gate in turn, until the child has passed the last or is gone.
    pub(crate) fn work(&mut self, gate: Gate) {
        // Only the child's copies stay open, so that its end can be heard.
        drop(gate.childs);
        for run in runs(self.plan) {
            if !arrived(gate.hosts.as_fd()) {
                return;
            }
            let answer = self.steps(run);
            if rustix::net::send(
                &gate.hosts,
                &answer.to_ne_bytes(),
                rustix::net::SendFlags::NOSIGNAL,
            )
            .is_err()
                || answer != 0
            {
                return;
            }
        }
    }

    /// Does one run of steps; returns the answer for the child.
    fn steps(&mut self, run: std::ops::Range<usize>) -> i32 {
        let child = Waiting {
            report: self.report,
            pidfd: OnceCell::new(),
        };
        for index in run {
            let Some(work) = self.plan.take_work(index) else {
                continue;
            };
            // A panic must not leave the child waiting, nor this frame while the child uses it.
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.run(&child)));
            match done.unwrap_or_else(|_| Err(io::Error::other("the host's step panicked"))) {
                Ok(undo) => self.undo.push(undo),
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(libc::ECANCELED);
                    self.failed = Some((index, error));
                    return errno;
                }
            }
        }
        0
    }
}

/// Each run of host steps, as a range of steps.
fn runs(plan: &Plan) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for (index, step) in plan.steps().iter().enumerate() {
        match (&step.action, runs.last_mut()) {
            (Action::Child(_), _) => {}
            (Action::Host(_), Some(run)) if run.end == index => run.end += 1,
            (Action::Host(_), _) => runs.push(index..index + 1),
        }
    }
    runs
}

/// Waits until the child stands at the gate. False if it is gone.
fn arrived(socket: BorrowedFd<'_>) -> bool {
    let mut word = [0; 4];
    loop {
        match rustix::net::recv(socket, &mut word[..], rustix::net::RecvFlags::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            received => return received.is_ok_and(|(_, length)| length == 4),
        }
    }
}

/// The child, waiting at a gate.
struct Waiting<'a> {
    report: &'a Report,
    pidfd: OnceCell<OwnedFd>,
}

impl Peer for Waiting<'_> {
    fn pid(&self) -> i32 {
        self.report.pid.load(Acquire)
    }

    fn pidfd(&self) -> io::Result<BorrowedFd<'_>> {
        if self.pidfd.get().is_none() {
            // It waits for us and cannot be reaped meanwhile: the number is still its own.
            let pid = Pid::from_raw(self.pid()).ok_or(io::ErrorKind::NotFound)?;
            let _ = self.pidfd.set(pidfd_open(pid, PidfdFlags::empty())?);
        }
        self.pidfd
            .get()
            .map(AsFd::as_fd)
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn fetch(&self, slot: Slot) -> io::Result<OwnedFd> {
        let number = self.report.slots[slot.index()].load(Acquire);
        Ok(pidfd_getfd(
            self.pidfd()?,
            number,
            PidfdGetfdFlags::empty(),
        )?)
    }
}
