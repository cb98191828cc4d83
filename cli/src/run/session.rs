//! One container's life, as the command line watches it.

use super::relay::Relay;
use super::signals::{Signals, pass_on};
use crate::failure::{Failure, Result};
use ampoule::{Child, Container, Ending, Report};
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// What is set up before the start, so that no signal and no key is lost.
#[derive(Debug)]
pub struct Session {
    signals: Signals,
    relay: Option<Relay>,
    timeout: Option<Duration>,
}

impl Session {
    /// Takes the signals; the relay is for a program with a terminal.
    pub fn prepare(relay: Option<Relay>, timeout: Option<Duration>) -> Result<Session> {
        Ok(Session {
            signals: Signals::take()?,
            relay,
            timeout,
        })
    }

    /// Starts the container, and stays until it has ended.
    pub fn play(mut self, container: &Container) -> Result<Report> {
        let mut container = container.clone();
        if let Some(relay) = &self.relay {
            let (columns, rows) = relay.size();
            container.terminal(columns, rows);
        }
        let mut child = container.spawn()?;
        if let Some(relay) = &mut self.relay {
            relay.begin(&child)?;
        }
        let mut ended_by = None;
        let deadline = self
            .timeout
            .and_then(|time| Instant::now().checked_add(time));
        while self.wait(&child, deadline)? {
            while let Some(signal) = self.signals.next() {
                match (signal, &self.relay) {
                    (Signal::SIGWINCH, Some(relay)) => relay.resize(&child),
                    (Signal::SIGWINCH, None) => {}
                    (signal, _) if pass_on(&child, signal)? => ended_by = Some(signal),
                    _ => {}
                }
            }
        }
        let mut report = child.wait()?;
        if let Some(relay) = &mut self.relay {
            relay.drain(&child);
        }
        if let (Ending::Signaled(_), Some(signal)) = (report.ending, ended_by) {
            report.ending = Ending::Signaled(signal as i32);
        }
        Ok(report)
    }

    /// Waits for whatever comes first; false once the container has ended, or its time is over.
    fn wait(&mut self, child: &Child, deadline: Option<Instant>) -> Result<bool> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        let pidfd = child.pidfd();
        let mut fds = vec![
            PollFd::new(&pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
        ];
        let relayed = self.relay.as_ref().map(|relay| relay.interest(child));
        fds.extend(relayed.into_iter().flatten());
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Failure::new(format!("wait for the container: {errno}"))),
        }
        let ended = !fds[0].revents().is_empty();
        drop(fds);
        if let Some(relay) = &mut self.relay {
            relay.work(child);
        }
        Ok(!ended)
    }
}
