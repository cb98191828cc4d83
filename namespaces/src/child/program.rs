//! What the child walks over: a flat list of operations, and the page in which it reports.

use core::sync::atomic::{AtomicI32, AtomicI64, AtomicU32};

/// Most file descriptors that one program names: `ampoule_plan::Plan::MAX_SLOTS` and one for the gate.
pub const SLOTS: usize = 513;

/// Phases of a plan, for the times in the report; one more for the moment of birth.
pub const PHASES: usize = 12;

/// What an operation is.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A system call.
    Syscall,
    /// The child waits until the host has worked.
    Gate,
    /// The rest is played by a new process.
    Fork,
    /// Ends unless the host is still there.
    Lifeline,
    /// Closes all file descriptors from `number` on, but for the lifeline.
    CloseFrom,
    /// Notes the time at which a phase begins.
    Mark,
}

/// One operation. Addresses are offsets into the program's data, so that a program can be handed to another process.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// What it is.
    pub kind: Kind,
    /// The system call, or the phase of a mark.
    pub number: u32,
    /// Its arguments.
    pub args: [u64; 6],
    /// Bit n: argument n is an offset into the data.
    pub pointers: u8,
    /// Bit n: argument n is the index of a slot.
    pub slots: u8,
    /// The next operation is made only if this one fails.
    pub has_alternative: bool,
    /// The slot that keeps the result, or [`NO_SLOT`].
    pub out: u16,
    /// Errors that do not matter; zeros where there are fewer.
    pub tolerated: [u16; 4],
    /// The plan's step that it belongs to.
    pub step: u16,
}

/// No slot keeps the result.
pub const NO_SLOT: u16 = u16::MAX;

/// A program, as the child finds it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The operations.
    pub ops: *const Op,
    /// How many.
    pub len: usize,
    /// Where its data is.
    pub data: *const u8,
}

/// The page that host and child share, whatever else they share.
#[repr(C)]
#[derive(Debug)]
pub struct Report {
    /// The child's process id, written by the kernel at its birth (and again at a fork).
    pub pid: AtomicI32,
    /// The plan's step that was begun last.
    pub step: AtomicU32,
    /// The error number that ended it, or 0.
    pub errno: AtomicI32,
    /// Set when the host refused at a gate: the cause is the host's.
    pub refused: AtomicU32,
    /// When each phase began: seconds and nanoseconds of `CLOCK_MONOTONIC`; zeros for a phase without steps.
    pub marks: [[AtomicI64; 2]; PHASES],
    /// Numbers of file descriptors in the child.
    pub slots: [AtomicI32; SLOTS],
}
