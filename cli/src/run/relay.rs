//! Our terminal and the container's: what is typed goes in, what it prints comes out.

use crate::failure::{Failure, Result};
use ampoule::Child;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};
use std::io::Write;
use std::os::fd::BorrowedFd;

/// The size where nobody has a terminal.
const USUAL: (u16, u16) = (80, 24);

/// Carries bytes between two terminals. Ours is raw meanwhile, and as before when this is dropped.
#[derive(Debug)]
pub struct Relay {
    /// What our terminal was like.
    before: Option<Termios>,
    /// Whether more can be typed.
    typing: bool,
    /// What was typed and not yet taken.
    typed: Vec<u8>,
    /// Whether the container's side is still there.
    open: bool,
}

impl Relay {
    /// Looks at our terminal; it stays as it is until [`begin`](Relay::begin).
    pub fn new(interactive: bool) -> Result<Relay> {
        if interactive && !isatty(stdin()) {
            return Err(Failure::new(
                "-i with -t: standard input is no terminal (leave out -t to pass on what a pipe or a file holds)",
            ));
        }
        Ok(Relay {
            before: None,
            typing: interactive,
            typed: Vec::new(),
            open: true,
        })
    }

    /// Columns and rows of the terminal that we have.
    pub fn size(&self) -> (u16, u16) {
        let size = [stdin(), stdout()]
            .into_iter()
            .find_map(|fd| tcgetwinsize(fd).ok());
        match size {
            Some(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
            _ => USUAL,
        }
    }

    /// From now on every key is the container's, if any is.
    pub fn begin(&mut self, child: &Child) -> Result<()> {
        let failed = |e: Errno| Failure::new(format!("prepare the terminal: {e}"));
        if let Some(terminal) = child.terminal() {
            let flags = fcntl_getfl(terminal).map_err(failed)?;
            fcntl_setfl(terminal, flags | OFlags::NONBLOCK).map_err(failed)?;
        }
        if self.typing {
            let before = tcgetattr(stdin()).map_err(failed)?;
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(stdin(), OptionalActions::Now, &raw).map_err(failed)?;
            self.before = Some(before);
        }
        Ok(())
    }

    /// Gives the container's terminal the size of ours.
    pub fn resize(&self, child: &Child) {
        if let (Some(terminal), Ok(size)) = (child.terminal(), tcgetwinsize(stdin())) {
            // The other end may just have gone.
            let _ = tcsetwinsize(terminal, size);
        }
    }

    /// What to wait for. Nothing more is read from us before the container has taken what it was given.
    pub fn interest<'a>(&self, child: &'a Child) -> Vec<PollFd<'a>> {
        let Some(terminal) = child.terminal().filter(|_| self.open) else {
            return Vec::new();
        };
        let mut flags = PollFlags::IN;
        let mut fds = Vec::new();
        match self.typed.is_empty() {
            true if self.typing => fds.push(PollFd::from_borrowed_fd(stdin(), PollFlags::IN)),
            true => {}
            false => flags |= PollFlags::OUT,
        }
        fds.push(PollFd::from_borrowed_fd(terminal, flags));
        fds
    }

    /// Carries what is there, both ways.
    pub fn work(&mut self, child: &Child) {
        let Some(terminal) = child.terminal() else {
            return;
        };
        if self.typing && self.typed.is_empty() && is_readable(stdin()) {
            self.type_in();
        }
        if let Ok(taken) = rustix::io::write(terminal, &self.typed) {
            self.typed.drain(..taken);
        }
        self.open = self.open && print(terminal) != Printed::Closed;
    }

    /// Prints what the container printed last.
    pub fn drain(&mut self, child: &Child) {
        if let Some(terminal) = child.terminal() {
            while print(terminal) == Printed::Some {}
        }
    }

    fn type_in(&mut self) {
        let mut keys = [0; 4096];
        match rustix::io::read(stdin(), &mut keys) {
            Ok(0) | Err(_) => self.typing = false,
            Ok(count) => self.typed.extend(&keys[..count]),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // If it went away meanwhile, there is nothing to restore.
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// What came of looking for output.
#[derive(PartialEq)]
enum Printed {
    Some,
    Nothing,
    Closed,
}

fn print(terminal: BorrowedFd<'_>) -> Printed {
    let mut text = [0; 16 << 10];
    match rustix::io::read(terminal, &mut text) {
        Err(Errno::AGAIN | Errno::INTR) => Printed::Nothing,
        // EIO: nobody has the other end open any more.
        Ok(0) | Err(_) => Printed::Closed,
        Ok(count) => {
            let mut out = std::io::stdout().lock();
            // Whoever read our output may be gone; the program may still go on, as it would outside.
            let _ = out.write_all(&text[..count]).and_then(|()| out.flush());
            Printed::Some
        }
    }
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let now = rustix::event::Timespec::default();
    rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}
