//! What a [`Call`](crate::Call) comes down to: a number and six words.

use std::borrow::Cow;
use std::ffi::{CStr, CString};

/// A file descriptor of the child: one that it inherits, or one that an earlier call of it returned.
///
/// Made by [`Draft::hold`](crate::Draft::hold) and [`Draft::slot`](crate::Draft::slot).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(pub(crate) u16);

impl Slot {
    /// Its place in [`Plan::slots`](crate::Plan::slots).
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What a call may name as a file descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fd {
    /// One of the plan's own.
    Slot(Slot),
    /// The working directory.
    #[doc(alias = "AT_FDCWD")]
    Cwd,
    /// A number that is fixed by convention, such as 0 for standard input.
    Number(i32),
}

impl From<Slot> for Fd {
    fn from(slot: Slot) -> Fd {
        Fd::Slot(slot)
    }
}

/// One argument of a system call: how it is passed, and how it is shown.
#[derive(Debug, Clone)]
pub enum Arg<'a> {
    /// A file descriptor.
    Fd(Fd),
    /// A pointer to a text that ends with a NUL.
    Text(&'a CStr),
    /// A pointer to a null-terminated list of texts: arguments.
    List(&'a [CString]),
    /// The same, shown by its length only: an environment holds secrets.
    Hidden(&'a [CString]),
    /// A number.
    Int(i64),
    /// A number that people read in octal: modes.
    Octal(u32),
    /// A number with a name.
    Named(u64, Cow<'static, str>),
    /// A pointer to bytes of a fixed layout, and what they say.
    Bytes(Cow<'a, [u8]>, Cow<'a, str>),
    /// A pointer to a `struct sock_fprog` with these instructions.
    Filter(&'a [u64]),
    /// A null pointer, or a word that is not used.
    Null,
}

/// A system call: everything that it takes to execute, print and explain it.
#[derive(Debug, Clone)]
pub struct Syscall<'a> {
    /// The kernel's name of it.
    pub name: &'static str,
    /// Its number on this architecture.
    pub number: u32,
    /// Up to six arguments.
    pub args: Vec<Arg<'a>>,
    /// Where the file descriptor that it returns is kept.
    pub out: Option<Slot>,
}

/// The few things a child does that are more than one system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Micro {
    /// Forks: the rest of the plan is played by the new process, the old one ends once that has started its program.
    Fork,
    /// Ends unless the host is still there.
    Lifeline,
    /// Closes all file descriptors from this number on, but for the lifeline: close_range(2), kernel 5.9.
    CloseFrom(u32),
}

/// What the child does in one step.
#[derive(Debug, Clone)]
pub enum Operation<'a> {
    /// One system call.
    Syscall(Syscall<'a>),
    /// A named micro-program.
    Micro(Micro),
}
