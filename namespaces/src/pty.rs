//! Pseudo-terminals: pty(7).

use crate::error::Error;
use rustix::fs::{Mode, OFlags, openat};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{OptionalActions, OutputModes, Winsize, tcgetattr, tcsetattr, tcsetwinsize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A pseudo-terminal: the caller's end, and the program's.
#[derive(Debug)]
pub struct Terminal {
    /// What the program writes is read here, and the other way round.
    pub master: OwnedFd,
    /// The program's standard streams.
    pub slave: OwnedFd,
}

impl Terminal {
    /// A pseudo-terminal of a devpts mount, for instance the container's own, attached or not; else of the host's.
    ///
    /// Neither end is opened by a path that the inside could have replaced.
    ///
    /// # Errors
    /// `ENOSPC` when there are too many (kernel.pty.max).
    pub fn open(devpts: Option<BorrowedFd<'_>>) -> Result<Terminal, Error> {
        let failed = |errno| Error::os("open a pseudo-terminal", errno);
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = match devpts {
            Some(devpts) => openat(devpts, "ptmx", flags, Mode::empty()),
            None => openat(rustix::fs::CWD, "/dev/ptmx", flags, Mode::empty()),
        };
        let master = master.map_err(failed)?;
        unlockpt(&master).map_err(failed)?;
        let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = ioctl_tiocgptpeer(&master, peer).map_err(failed)?;
        Ok(Terminal { master, slave })
    }

    /// Sets the size in characters.
    ///
    /// # Errors
    /// `EIO` once the other end is gone.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<(), Error> {
        resize(self.master.as_fd(), columns, rows)
    }

    /// Passes line ends on as they are: who reads the master has a terminal that adds its own carriage returns.
    ///
    /// # Errors
    /// `EIO` once the other end is gone.
    pub fn pass_line_ends(&self) -> Result<(), Error> {
        let failed = |errno| Error::os("configure a pseudo-terminal", errno);
        let mut modes = tcgetattr(&self.slave).map_err(failed)?;
        modes.output_modes.remove(OutputModes::ONLCR);
        tcsetattr(&self.slave, OptionalActions::Now, &modes).map_err(failed)
    }
}

/// Sets the size of a terminal in characters.
///
/// # Errors
/// `ENOTTY` if it is none.
pub fn resize(terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> Result<(), Error> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).map_err(|e| Error::os("resize a terminal", e))
}
