//! Waiting that ends: for an event where the kernel tells, else in pauses that grow.

use crate::dir::Dir;
use crate::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// A point in time after which nobody waits any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Deadline {
        // An absurd timeout means a long one.
        let year = Duration::from_secs(365 * 86_400);
        Deadline(Instant::now() + timeout.min(year))
    }

    pub(crate) fn is_ahead(&self) -> bool {
        !self.left().is_zero()
    }

    fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Pauses for what has no event.
    pub(crate) fn pauses(&self) -> Pauses {
        Pauses {
            deadline: *self,
            next: Duration::from_micros(20),
        }
    }
}

/// Pauses that grow from 20 µs to 5 ms until the deadline.
#[derive(Debug)]
pub(crate) struct Pauses {
    deadline: Deadline,
    next: Duration,
}

impl Pauses {
    /// Waits a little; `false` once the deadline has passed.
    pub(crate) fn wait(&mut self) -> bool {
        let left = self.deadline.left();
        std::thread::sleep(self.next.min(left));
        self.next = (self.next * 2).min(Duration::from_millis(5));
        !left.is_zero()
    }
}

/// Waits until a file of v2 that tells of its changes (cgroup.events) has that line; `false` if it has not by the deadline.
pub(crate) fn wait_for_line(
    dir: &Dir,
    file: &str,
    line: &str,
    deadline: &Deadline,
) -> Result<bool> {
    let failed = |action: &str, errno| Error::kernel(action, &dir.path().join(file), errno);
    let fd = dir
        .file(file, OFlags::RDONLY)
        .map_err(|errno| failed("open", errno))?;
    let mut buffer = [0; 512];
    loop {
        // Through the descriptor that is polled: the kernel reports what changed since its last read.
        let len = rustix::io::pread(&fd, &mut buffer, 0).map_err(|errno| failed("read", errno))?;
        if buffer[..len]
            .split(|byte| *byte == b'\n')
            .any(|found| found == line.as_bytes())
        {
            return Ok(true);
        }
        if !deadline.is_ahead() {
            return Ok(false);
        }
        poll(&mut [PollFd::new(&fd, PollFlags::PRI)], deadline);
    }
}

/// Waits until one of the processes has ended.
pub(crate) fn wait_for_exit<'a>(
    pidfds: impl Iterator<Item = &'a (impl AsFd + 'a)>,
    deadline: &Deadline,
) {
    let mut fds: Vec<_> = pidfds.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    poll(&mut fds, deadline);
}

fn poll(fds: &mut [PollFd<'_>], deadline: &Deadline) {
    let left = deadline.left();
    let timeout = Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: left.subsec_nanos().into(),
    };
    // Interrupted, failed or in time: the caller looks again.
    let _ = rustix::event::poll(fds, Some(&timeout));
}
