//! The kernel, in a child process that loads a filter and makes one call.

use std::io;
use std::ptr;
use std::time::Duration;

/// A system call to attempt.
#[derive(Debug, Clone, Copy)]
pub enum Call {
    /// Through the program's own entry.
    Native(u32, [u64; 6]),
    /// Through `int 0x80`, as a 32-bit x86 program makes it.
    #[cfg(target_arch = "x86_64")]
    X86(u32, [u32; 3]),
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It returned this; a negative number is an errno.
    Returned(i64),
    /// The child was killed by this signal.
    Killed(i32),
}

/// Loads a filter (an array of `struct sock_filter`, one in each word) into the calling thread, with no_new_privs, and
/// returns what seccomp(2) does. Makes raw system calls only, so that it may run between fork and exec.
pub fn load(words: &[u64], flags: u32) -> i64 {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const u64,
    }
    let program = Program {
        length: words.len() as u16,
        filter: words.as_ptr(),
    };
    // SAFETY: the program points to `length` instructions that outlive the call.
    unsafe {
        if libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return -1;
        }
        libc::syscall(libc::SYS_seccomp, 1, flags, &raw const program)
    }
}

/// Makes a call in a child that has loaded a filter.
///
/// # Errors
/// If there can be no child, or the kernel does not load the filter.
pub fn attempt(words: &[u64], flags: u32, call: Call) -> io::Result<Outcome> {
    let (status, result) = in_child(|| match load(words, flags) {
        -1 => UNLOADED,
        _ => make(call),
    })?;
    match (libc::WIFSIGNALED(status), result) {
        (true, _) => Ok(Outcome::Killed(libc::WTERMSIG(status))),
        (false, UNLOADED) => Err(io::Error::other("the kernel did not load the filter")),
        (false, result) => Ok(Outcome::Returned(result)),
    }
}

/// How long seccomp(2) takes to load a filter, in a child that ends then.
///
/// # Errors
/// If there can be no child, or the kernel does not load the filter.
pub fn time_to_load(words: &[u64]) -> io::Result<Duration> {
    let (_, result) = in_child(|| {
        let (start, loaded, end) = (nanoseconds(), load(words, 0), nanoseconds());
        if loaded == -1 { UNLOADED } else { end - start }
    })?;
    match result {
        UNLOADED => Err(io::Error::other("the kernel did not load the filter")),
        nanoseconds => Ok(Duration::from_nanos(nanoseconds as u64)),
    }
}

/// What a child reports whose filter was refused.
const UNLOADED: i64 = i64::MIN;

/// The monotonic clock, by the vdso: no system call, which a filter could refuse.
fn nanoseconds() -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Does some work in a child, and returns how it ended and what the work gave (0 if it gave nothing).
fn in_child(work: impl FnOnce() -> i64) -> io::Result<(i32, i64)> {
    let page = shared_page()?;
    // SAFETY: the child makes raw system calls and writes to the shared page, nothing else, and never returns.
    let child = unsafe { libc::fork() };
    match child {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            let result = work();
            // SAFETY: the page is mapped and shared; exit_group does not return.
            unsafe {
                page.write_volatile(result);
                libc::syscall(libc::SYS_exit_group, 0);
            }
            loop {
                std::hint::spin_loop();
            }
        }
        _ => {}
    }
    let mut status = 0;
    // SAFETY: status is a valid place, and the page is still mapped.
    let result = unsafe {
        libc::waitpid(child, &raw mut status, 0);
        let result = page.read_volatile();
        libc::munmap(page.cast(), 4096);
        result
    };
    Ok((status, result))
}

fn shared_page() -> io::Result<*mut i64> {
    // SAFETY: a new anonymous mapping touches no other memory.
    let page = unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        libc::mmap(ptr::null_mut(), 4096, access, kind, -1, 0)
    };
    match page {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        page => Ok(page.cast()),
    }
}

fn make(call: Call) -> i64 {
    match call {
        Call::Native(number, [a, b, c, d, e, f]) => {
            // SAFETY: the tests choose calls whose arguments point nowhere; a bad pointer is EFAULT.
            let result = unsafe { libc::syscall(number.into(), a, b, c, d, e, f) };
            match result {
                // SAFETY: the child has one thread, so errno is its own.
                -1 => -i64::from(unsafe { *libc::__errno_location() }),
                result => result,
            }
        }
        #[cfg(target_arch = "x86_64")]
        Call::X86(number, [a, b, c]) => {
            let mut result = u64::from(number);
            // SAFETY: `int 0x80` clobbers rax, and r8 to r11; rbx is saved by hand because the compiler keeps it.
            unsafe {
                std::arch::asm!(
                    "xchg rbx, {first}",
                    "int 0x80",
                    "xchg rbx, {first}",
                    first = inout(reg) u64::from(a) => _,
                    inout("rax") result,
                    in("rcx") u64::from(b),
                    in("rdx") u64::from(c),
                    out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                );
            }
            i64::from(result as i32)
        }
    }
}
