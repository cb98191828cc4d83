//! The threads that give birth.
//!
//! `CLONE_VFORK` suspends the thread that clones until the child has become its program, so the caller has somebody else
//! do it: then it can work at the gates meanwhile. A spawner lives for as long as the process does. It has a file table of
//! its own, so a child inherits exactly what the plan hands it, however many files the host has open; and, where the
//! privilege is there, a mount namespace of its own with one empty read-only tmpfs in it, so that `CLONE_NEWNS` costs the
//! same however many mounts the host has.

use crate::child::abi;
use crate::child::arch::{clone3, syscall};
use crate::child::program::{Program, Report, SLOTS};
use crate::child::{Life, play};
use crate::dumpable::Dumpable;
use crate::error::Error;
use crate::isolation::enters_time_by_execve;
use crate::launch::PATIENCE;
use crate::passing;
use crate::tiny_root;
use ampoule_plan::Errno;
use linux_raw_sys::general as raw;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Shows in `/proc/PID/comm` until the child has executed its program.
pub(crate) const NAME: &str = "ampoule-birth";

/// What a caller wants born. It lives on the caller's stack; the caller waits for the answer.
pub(crate) struct Request {
    pub(crate) program: Program,
    pub(crate) flags: u64,
    /// Which slots the file descriptors fill that come along, in their order.
    pub(crate) inherited: Vec<usize>,
    pub(crate) cgroup: Option<usize>,
    pub(crate) gate: u16,
    /// File descriptors below this number are for the program: nothing else may stand there.
    pub(crate) reserved: RawFd,
    /// Whether others may trace the child while it shares the host's memory.
    pub(crate) exposed: bool,
    /// The answer: the error of `clone3`, or nothing.
    pub(crate) refused: Option<Errno>,
}

/// A caller's handle on a spawner, for one birth at a time.
pub(crate) struct Spawner {
    socket: OwnedFd,
    /// Shared memory that is never unmapped: a spawner lives as long as the process.
    report: &'static Report,
    /// The threads of a process that forked do not live on in its child.
    owner: u32,
    /// The thread's end of the socket, until it has taken it over.
    unsettled: Option<OwnedFd>,
}

/// Idle spawners, and how many there are in all.
struct Pool {
    idle: Vec<Spawner>,
    total: usize,
    owner: u32,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    idle: Vec::new(),
    total: 0,
    owner: 0,
});
static FREED: Condvar = Condvar::new();

/// More would only wait for each other: a birth is nearly all kernel time.
const MOST: usize = 8;

/// A spawner that goes back to the pool when it is dropped.
pub(crate) struct Lease(Option<Spawner>);

impl Lease {
    /// Takes an idle spawner, makes one, or waits for one.
    pub(crate) fn take() -> Result<Lease, Error> {
        let mut spawner = Lease::find()?;
        match spawner.settle() {
            Ok(()) => Ok(Lease(Some(spawner))),
            Err(error) => {
                lock().total -= 1;
                Err(error)
            }
        }
    }

    fn find() -> Result<Spawner, Error> {
        let mut pool = lock();
        loop {
            if let Some(spawner) = pool.idle.pop() {
                return Ok(spawner);
            }
            if pool.total < MOST {
                pool.total += 1;
                drop(pool);
                return Spawner::new().inspect_err(|_| lock().total -= 1);
            }
            pool = FREED.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Lets the first spawner set itself up while the caller is busy otherwise. Without this the first start waits for that.
///
/// What can go wrong is reported by the start that needs it.
pub fn warm_up() {
    let mut pool = lock();
    if pool.total == 0
        && let Ok(spawner) = Spawner::new()
    {
        pool.total = 1;
        pool.idle.push(spawner);
    }
}

impl std::ops::Deref for Lease {
    type Target = Spawner;

    fn deref(&self) -> &Spawner {
        self.0
            .as_ref()
            .expect("a lease holds its spawner until it is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut pool = lock();
        if let Some(spawner) = self.0.take_if(|spawner| spawner.owner == pool.owner) {
            pool.idle.push(spawner);
            FREED.notify_one();
        }
    }
}

fn lock() -> MutexGuard<'static, Pool> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let me = std::process::id();
    if pool.owner != me {
        *pool = Pool {
            idle: Vec::new(),
            total: 0,
            owner: me,
        };
    }
    pool
}

impl Spawner {
    fn new() -> Result<Spawner, Error> {
        let (socket, theirs) = passing::pair()
            .and_then(|(ours, theirs)| Ok((clear_of_streams(ours)?, clear_of_streams(theirs)?)))
            .map_err(|e| Error::os("socketpair for a spawner", e))?;
        let memory = Memory::map().map_err(|e| Error::os("mmap of a child's stacks", e))?;
        let report = memory.report;
        let number = theirs.as_raw_fd();
        std::thread::Builder::new()
            .name(NAME.into())
            .stack_size(128 << 10)
            .spawn(move || Birthplace::serve(number, memory))
            .map_err(|e| Error::os("start a spawner thread", e))?;
        Ok(Spawner {
            socket,
            report,
            owner: std::process::id(),
            unsettled: Some(theirs),
        })
    }

    /// Waits until the thread has said whether it could set itself up.
    fn settle(&mut self) -> Result<(), Error> {
        // Once it has, its own table has the descriptor, and only that one: a child can tell when the host is gone.
        let Some(_theirs) = self.unsettled.take() else {
            return Ok(());
        };
        let message =
            passing::receive(self.socket.as_fd()).map_err(|e| Error::os("set up a spawner", e))?;
        match message.word {
            0 => Ok(()),
            errno => Err(Error::os(
                "set up a spawner",
                io::Error::from_raw_os_error(errno as i32),
            )),
        }
    }

    /// What the child reports, while it does.
    pub(crate) fn report(&self) -> &'static Report {
        self.report
    }

    /// Hands a request over, with the file descriptors that the child inherits.
    pub(crate) fn begin(&self, request: &mut Request, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        self.report().clear();
        passing::send(self.socket.as_fd(), request as *mut Request as u64, fds)
            .map_err(|e| Error::os("hand file descriptors to a spawner", e))
    }

    /// Waits until the child has become its program, or ended. Returns the pidfd if there was a birth.
    ///
    /// A child that takes too long is killed.
    pub(crate) fn finish(&self) -> Result<Option<OwnedFd>, Error> {
        let failed = |e| Error::os("wait for a birth", e);
        if !passing::readable(self.socket.as_fd(), PATIENCE).map_err(failed)?
            && let Some(child) = Pid::from_raw(self.report().pid.load(Acquire))
        {
            // Nobody else waits for it, so the number is still its own; and if it is gone, the answer is on its way.
            let _ = kill_process(child, Signal::KILL);
        }
        let message = passing::receive(self.socket.as_fd()).map_err(failed)?;
        let fds = message
            .fds
            .map_err(|e| Error::os("take the pidfd of a child", e))?;
        Ok(fds.into_iter().next())
    }
}

/// Memory of the children of one spawner.
struct Memory {
    /// The upper end of a stack, and of another below it.
    stacks: [usize; 2],
    report: &'static Report,
}

/// The child's loop needs one page; a guard below tells an overflow from a corruption.
const STACK: usize = 64 << 10;
const GUARD: usize = 4 << 10;

impl Memory {
    fn map() -> io::Result<Memory> {
        use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
        let (length, access) = (2 * STACK, ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: new memory; the guards are the lowest page of each stack, which nothing uses.
        unsafe {
            let base = mmap_anonymous(
                std::ptr::null_mut(),
                length,
                access,
                MapFlags::PRIVATE | MapFlags::STACK,
            )?;
            mprotect(base, GUARD, MprotectFlags::empty())?;
            mprotect(base.byte_add(STACK), GUARD, MprotectFlags::empty())?;
            let report = mmap_anonymous(
                std::ptr::null_mut(),
                size_of::<Report>(),
                access,
                MapFlags::SHARED,
            )?;
            // Fresh pages are zeros, which is a valid report; all its fields are atomic.
            let report = &*report.cast::<Report>();
            Ok(Memory {
                stacks: [base as usize + 2 * STACK, base as usize + STACK],
                report,
            })
        }
    }
}

/// The spawner's own side.
struct Birthplace {
    socket: OwnedFd,
    memory: Memory,
}

impl Birthplace {
    /// The thread: sets itself up, says so, and gives birth until the host is gone.
    fn serve(socket: RawFd, memory: Memory) {
        // SAFETY: the caller keeps the descriptor open until it has heard from this thread.
        let theirs = unsafe { BorrowedFd::borrow_raw(socket) };
        let place = match settle(theirs) {
            Ok(socket) => Birthplace { socket, memory },
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                // Without this word the caller sees the end of the stream: an error as well.
                let _ = passing::send(theirs, errno as u64, &[]);
                return;
            }
        };
        let mut said = passing::send(place.socket.as_fd(), 0, &[]);
        while said.is_ok() {
            let Ok(pidfd) = place.birth() else { return };
            let pidfd = pidfd.as_ref().map(AsFd::as_fd);
            said = passing::send(place.socket.as_fd(), 0, pidfd.as_slice());
        }
    }

    /// Waits for a request, and gives birth. The plan's file descriptors that are left here close with it.
    fn birth(&self) -> io::Result<Option<OwnedFd>> {
        let message = passing::receive(self.socket.as_fd())?;
        // SAFETY: the caller sent its own request's address, and waits for the answer before it touches it again.
        let request = unsafe { &mut *(message.word as *mut Request) };
        match message.fds.and_then(|fds| self.clone(request, fds)) {
            Ok(pidfd) => Ok(Some(pidfd)),
            Err(error) => {
                request.refused = Some(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)));
                Ok(None)
            }
        }
    }

    fn clone(&self, request: &mut Request, fds: Vec<OwnedFd>) -> io::Result<OwnedFd> {
        if fds.len() != request.inherited.len() {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let fds = keep_clear(fds, request.reserved)?;
        let report = self.memory.report;
        for (slot, fd) in request.inherited.iter().zip(&fds) {
            report.slots[*slot].store(fd.as_raw_fd(), Release);
        }
        let cgroup = request
            .cgroup
            .map_or(0, |slot| report.slots[slot].load(Acquire) as u64);
        let lifeline = duplicate_above(self.socket.as_fd(), request.reserved)?;
        let mut life = Life {
            program: request.program,
            report,
            lifeline: lifeline.as_raw_fd(),
            gate: request.gate,
            second_stack: self.memory.stacks[1] - STACK + GUARD,
            second_stack_size: STACK - GUARD,
            next: 0,
            // A process that shares memory stays in its parent's time namespace until it executes, if it can leave it then.
            fork_flags: if enters_time_by_execve() {
                abi::CLONE_VM
            } else {
                0
            },
        };
        let mut pidfd: RawFd = -1;
        let args = abi::CloneArgs {
            flags: request.flags | abi::CLONE_PIDFD | abi::CLONE_PARENT_SETTID | abi::CLONE_VFORK,
            pidfd: &raw mut pidfd as u64,
            parent_tid: report.pid.as_ptr() as u64,
            exit_signal: abi::SIGCHLD,
            stack: (self.memory.stacks[0] - STACK + GUARD) as u64,
            stack_size: (STACK - GUARD) as u64,
            cgroup,
            ..abi::CloneArgs::default()
        };
        let dumpable = Dumpable::hold(request.exposed);
        // SAFETY: the stack is this spawner's, one child at a time; `life` outlives the child's use of it because VFORK
        // suspends this thread until the child has left the memory they share.
        let born = unsafe { clone3(&args, play, &raw mut life as usize) };
        drop(dumpable);
        if born < 0 {
            return Err(io::Error::from_raw_os_error(-born as i32));
        }
        // SAFETY: the kernel made it for this call.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        match report.pid.load(Acquire) {
            pid if pid as isize != born => self.successor(pidfd, pid),
            _ => Ok(pidfd),
        }
    }

    /// After a fork the first process has ended, and its sibling is the one that counts.
    fn successor(&self, first: OwnedFd, pid: i32) -> io::Result<OwnedFd> {
        crate::wait::reap(first.as_fd())?;
        let pid = rustix::process::Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
        Ok(rustix::process::pidfd_open(
            pid,
            rustix::process::PidfdFlags::empty(),
        )?)
    }
}

/// Gives this thread a file table and, if it may, a mount namespace of its own. Signals are blocked for good: they belong
/// to the host, and a child must not be born with one pending on its handlers.
fn settle(theirs: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    block_signals();
    unshare(abi::CLONE_FILES)?;
    // First out of the way of the low numbers, which the host may have used for anything.
    let high = duplicate_above(theirs, 16)?;
    let null = duplicate_above(
        File::options()
            .read(true)
            .write(true)
            .open("/dev/null")?
            .as_fd(),
        16,
    )?;
    for number in 0..3 {
        // Nothing of a plan may land on a standard stream.
        std::mem::forget(duplicate(null.as_fd(), number)?);
    }
    let socket = duplicate(high.as_fd(), 3)?;
    drop((high, null));
    close_from(4);
    tiny_root::enter()?;
    Ok(socket)
}

impl Report {
    fn clear(&self) {
        self.pid.store(0, Release);
        self.step.store(1, Release);
        self.errno.store(0, Release);
        self.refused.store(0, Release);
        for word in self.marks.iter().flatten() {
            word.store(0, Release);
        }
        for slot in &self.slots[..SLOTS] {
            slot.store(-1, Release);
        }
    }
}

/// Moves file descriptors out of the numbers that the program's own will get.
fn keep_clear(fds: Vec<OwnedFd>, reserved: RawFd) -> io::Result<Vec<OwnedFd>> {
    fds.into_iter()
        .map(|fd| {
            if fd.as_raw_fd() < reserved {
                duplicate_above(fd.as_fd(), reserved)
            } else {
                Ok(fd)
            }
        })
        .collect()
}

/// Where the host has closed its standard streams, what takes their numbers would be handed to programs as theirs.
fn clear_of_streams(fd: OwnedFd) -> io::Result<OwnedFd> {
    match fd.as_raw_fd() {
        0..3 => duplicate_above(fd.as_fd(), 3),
        _ => Ok(fd),
    }
}

fn block_signals() {
    let all = u64::MAX;
    // SAFETY: a set of eight bytes; this thread runs no code of the host.
    unsafe {
        syscall(
            raw::__NR_rt_sigprocmask,
            [raw::SIG_BLOCK as usize, &raw const all as usize, 0, 8, 0, 0],
        );
    }
}

fn unshare(flags: u32) -> io::Result<()> {
    // SAFETY: what is unshared is this thread's own from now on; it holds no descriptors of anybody else.
    match unsafe { syscall(raw::__NR_unshare, [flags as usize, 0, 0, 0, 0, 0]) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error as i32)),
    }
}

fn duplicate(fd: BorrowedFd<'_>, to: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: in this thread's own table the number belongs to nobody.
    let result = unsafe {
        syscall(
            raw::__NR_dup3,
            [
                fd.as_raw_fd() as usize,
                to as usize,
                raw::O_CLOEXEC as usize,
                0,
                0,
                0,
            ],
        )
    };
    match result {
        // SAFETY: it was just made.
        number if number >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(number as RawFd) }),
        error => Err(io::Error::from_raw_os_error(-error as i32)),
    }
}

fn duplicate_above(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, least)?)
}

fn close_from(first: u32) {
    // SAFETY: this thread's own table holds nothing from here on that anybody uses.
    unsafe {
        syscall(
            raw::__NR_close_range,
            [first as usize, u32::MAX as usize, 0, 0, 0, 0],
        );
    }
}
