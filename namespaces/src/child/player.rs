//! The child: a loop over operations.

use super::abi;
use super::arch::{clone3, syscall};
use super::program::{Kind, NO_SLOT, Op, Program, Report};
use core::sync::atomic::Ordering::Relaxed;

/// All that a child knows of its life.
#[repr(C)]
#[derive(Debug)]
pub struct Life {
    /// What it does.
    pub program: Program,
    /// Where it says how far it came.
    pub report: *const Report,
    /// A socket whose other end only the host holds.
    pub lifeline: i32,
    /// The slot of the socket at which gates are kept, or [`NO_SLOT`].
    pub gate: u16,
    /// The upper end of a second stack, for the process after a fork.
    pub second_stack: usize,
    /// The size of that stack.
    pub second_stack_size: usize,
    /// The operation to begin with.
    pub next: usize,
    /// Flags of `clone3` for a fork: whether the new process shares memory with this one.
    pub fork_flags: u64,
}

/// Plays a program to its end, which is another program or this process's own end.
///
/// # Safety
/// `life` must be the address of a [`Life`] whose pointers are valid, and stay so until the process has ended or executed
/// another program; its operations must be system calls that leave the memory shared with the host intact.
pub unsafe extern "C" fn play(life: usize) -> ! {
    // SAFETY: the caller's promise.
    let life = unsafe { &mut *(life as *mut Life) };
    // SAFETY: the caller's promise.
    let report = unsafe { &*life.report };
    while life.next < life.program.len {
        // SAFETY: `next` is below `len`.
        let op = unsafe { &*life.program.ops.add(life.next) };
        report.step.store(op.step.into(), Relaxed);
        life.next += 1;
        // SAFETY: the operations are what the caller promised.
        let result = unsafe { perform(op, life, report) };
        let failed = (-4095..0).contains(&result);
        if !failed {
            keep(op, report, result);
            life.next += usize::from(op.has_alternative);
        } else if !op.has_alternative && !op.tolerated.contains(&(-result as u16)) {
            fail(report, -result as i32);
        }
    }
    // A program ends in an `execve` that does not return.
    fail(report, abi::ENOEXEC)
}

/// # Safety
/// As for [`play`].
unsafe fn perform(op: &Op, life: &mut Life, report: &Report) -> isize {
    match op.kind {
        // SAFETY: the operations are what the caller promised.
        Kind::Syscall => unsafe { syscall(op.number, arguments(op, life, report)) },
        Kind::Gate => gate(life, report),
        // SAFETY: the second stack is for this, and used by nobody else.
        Kind::Fork => unsafe { fork(life, report) },
        Kind::Lifeline => lifeline(life),
        Kind::CloseFrom => close_from(op.number as usize, life.lifeline as usize),
        Kind::Mark => {
            let mark = report
                .marks
                .get(op.number as usize)
                .map_or(0, |mark| mark.as_ptr() as usize);
            // SAFETY: a mark has the layout of `struct timespec`, and its two words are atomic.
            unsafe { syscall(abi::CLOCK_GETTIME, [abi::CLOCK_MONOTONIC, mark, 0, 0, 0, 0]) }
        }
    }
}

/// The arguments as the kernel takes them: offsets become addresses, slots become file descriptors.
fn arguments(op: &Op, life: &Life, report: &Report) -> [usize; 6] {
    let mut index = 0u8;
    op.args.map(|word| {
        let bit = 1u8 << index;
        index += 1;
        if op.pointers & bit != 0 {
            life.program.data as usize + word as usize
        } else if op.slots & bit != 0 {
            report
                .slots
                .get(word as usize)
                .map_or(usize::MAX, |fd| fd.load(Relaxed) as usize)
        } else {
            word as usize
        }
    })
}

fn keep(op: &Op, report: &Report, result: isize) {
    if op.out == NO_SLOT {
        return;
    }
    if let Some(slot) = report.slots.get(usize::from(op.out)) {
        slot.store(result as i32, Relaxed);
    }
}

/// Tells the host that it may work, and waits for its answer: an error number, or 0.
fn gate(life: &Life, report: &Report) -> isize {
    let fd = report
        .slots
        .get(usize::from(life.gate))
        .map_or(-1, |fd| fd.load(Relaxed)) as usize;
    let mut answer = 0i32;
    let word = &raw mut answer as usize;
    // SAFETY: the word is four bytes long and lives until the calls return.
    let (said, heard) = unsafe {
        let said = syscall(abi::SENDTO, [fd, word, 4, abi::MSG_NOSIGNAL, 0, 0]);
        (said, syscall(abi::RECVFROM, [fd, word, 4, 0, 0, 0]))
    };
    match (said, heard, answer) {
        (4, 4, 0) => 0,
        (4, 4, errno) => {
            report.refused.store(1, Relaxed);
            -(errno as isize)
        }
        (4, 0, _) => -(abi::ECANCELED as isize),
        (4, error, _) | (error, _, _) => error.min(-1),
    }
}

/// Ends quietly if the host's end of the lifeline is closed: there is nobody left to report to.
fn lifeline(life: &Life) -> isize {
    let mut byte = 0u8;
    // SAFETY: one byte, which lives until the call returns.
    let heard = unsafe {
        syscall(
            abi::RECVFROM,
            [
                life.lifeline as usize,
                &raw mut byte as usize,
                1,
                abi::MSG_PEEK | abi::MSG_DONTWAIT,
                0,
                0,
            ],
        )
    };
    if heard == -(abi::EAGAIN as isize) {
        0
    } else {
        -(abi::ECANCELED as isize)
    }
}

/// The lifeline stays: it leads nowhere, and a host that parked us learns by its end that we have begun.
fn close_from(first: usize, lifeline: usize) -> isize {
    let close = |first: usize, last: usize| match first <= last {
        // SAFETY: what is closed is the plan's; nobody else uses this file table.
        true => unsafe { syscall(abi::CLOSE_RANGE, [first, last, 0, 0, 0, 0]) },
        false => 0,
    };
    let below = if first < lifeline {
        close(first, lifeline - 1)
    } else {
        0
    };
    let above = close(first.max(lifeline + 1), u32::MAX as usize);
    below.min(above)
}

/// Starts the process that plays the rest, as a sibling of this one so that the host can wait for it, and ends once that
/// has executed its program or died.
///
/// # Safety
/// The second stack must be mapped and used by nobody else.
unsafe fn fork(life: &mut Life, report: &Report) -> isize {
    let flags = life.fork_flags | abi::CLONE_VFORK | abi::CLONE_PARENT | abi::CLONE_PARENT_SETTID;
    let args = abi::CloneArgs {
        flags,
        parent_tid: report.pid.as_ptr() as u64,
        stack: life.second_stack as u64,
        stack_size: life.second_stack_size as u64,
        ..abi::CloneArgs::default()
    };
    // SAFETY: the new process uses a stack of its own; this one sleeps (VFORK) until it has left the memory they share.
    let result = unsafe { clone3(&args, play, life as *mut Life as usize) };
    if result < 0 {
        return result;
    }
    exit(0)
}

fn fail(report: &Report, errno: i32) -> ! {
    report.errno.store(errno, Relaxed);
    exit(127)
}

fn exit(status: usize) -> ! {
    loop {
        // SAFETY: ends this process; where a filter forbids it, the next line does.
        unsafe {
            syscall(abi::EXIT_GROUP, [status, 0, 0, 0, 0, 0]);
            syscall(abi::EXIT, [status, 0, 0, 0, 0, 0]);
        }
    }
}
