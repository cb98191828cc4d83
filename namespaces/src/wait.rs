//! How a process ended, and what it used.

use crate::signal;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It ended by itself, with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// Somebody else in this process waited for it first: the host's code may have called `waitpid(-1)`.
    Unknown,
}

impl Status {
    /// Whether it ended by itself with code 0.
    pub fn success(self) -> bool {
        self == Status::Exited(0)
    }

    /// The code, if it ended by itself.
    pub fn code(self) -> Option<i32> {
        match self {
            Status::Exited(code) => Some(code),
            _ => None,
        }
    }

    /// The signal, if one ended it.
    pub fn signal(self) -> Option<i32> {
        match self {
            Status::Signaled(signal) => Some(signal),
            _ => None,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Exited(code) => write!(f, "exited with {code}"),
            Status::Signaled(number) => write!(f, "killed by {}", signal::name(*number)),
            Status::Unknown => f.write_str("ended, and somebody else took its status"),
        }
    }
}

/// What a process and the children that it waited for used: getrusage(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Time in user mode.
    pub user: Duration,
    /// Time in the kernel.
    pub system: Duration,
    /// The largest resident size, in bytes.
    pub peak_resident: u64,
}

/// An ended process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub status: Status,
    /// What it used.
    pub usage: Usage,
    /// Whether the program had begun. A signal that comes with the last call of a start, such as the `SIGSYS` of a filter
    /// that forbids `execve`, ends the process before that.
    pub began: bool,
}

/// Waits until the process has ended, and takes its status.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Ended> {
    wait(pidfd, libc::WEXITED).map(|ended| ended.unwrap_or(LOST))
}

/// Looks whether the process has ended, or waits for that, and leaves its status there.
pub(crate) fn look(pidfd: BorrowedFd<'_>, patient: bool) -> io::Result<Option<Ended>> {
    let hurry = if patient { 0 } else { libc::WNOHANG };
    wait(pidfd, libc::WEXITED | libc::WNOWAIT | hurry)
}

/// Somebody else was faster.
pub(crate) const LOST: Ended = Ended {
    status: Status::Unknown,
    usage: Usage {
        user: Duration::ZERO,
        system: Duration::ZERO,
        peak_resident: 0,
    },
    began: true,
};

fn wait(pidfd: BorrowedFd<'_>, options: i32) -> io::Result<Option<Ended>> {
    // SAFETY: all-zero bytes are a valid value of both; waitid fills them.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe {
        (
            MaybeUninit::zeroed().assume_init(),
            MaybeUninit::zeroed().assume_init(),
        )
    };
    loop {
        // SAFETY: the raw system call, because libc's wrapper has no `rusage`; both pointers are valid.
        let result = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                pidfd.as_raw_fd(),
                &raw mut info,
                options,
                &raw mut usage,
            )
        };
        match result {
            0 => break,
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if error.raw_os_error() == Some(libc::ECHILD) => return Ok(Some(LOST)),
                error => return Err(error),
            },
        }
    }
    // SAFETY: waitid filled the fields of a child's change of state, or left them zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let status = if info.si_code == libc::CLD_EXITED {
        Status::Exited(status)
    } else {
        Status::Signaled(status)
    };
    Ok(Some(Ended {
        status,
        usage: Usage::from(&usage),
        began: true,
    }))
}

impl From<&libc::rusage> for Usage {
    fn from(usage: &libc::rusage) -> Usage {
        let time = |t: libc::timeval| {
            Duration::from_secs(t.tv_sec.unsigned_abs())
                + Duration::from_micros(t.tv_usec.unsigned_abs())
        };
        Usage {
            user: time(usage.ru_utime),
            system: time(usage.ru_stime),
            peak_resident: usage.ru_maxrss.unsigned_abs() * 1024,
        }
    }
}
