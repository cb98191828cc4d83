//! The few system calls of this program, and the texts that it is given.

use crate::child::arch::syscall;

/// System call numbers: arch/x86/entry/syscalls/syscall_64.tbl.
#[cfg(target_arch = "x86_64")]
pub mod number {
    pub const CLONE: u32 = 56;
    pub const EXECVE: u32 = 59;
    pub const FCNTL: u32 = 72;
    pub const GETPID: u32 = 39;
    pub const CLOSE: u32 = 3;
    pub const IOCTL: u32 = 16;
    pub const KILL: u32 = 62;
    pub const MMAP: u32 = 9;
    pub const PRCTL: u32 = 157;
    pub const RECVMSG: u32 = 47;
    pub const RT_SIGPROCMASK: u32 = 14;
    pub const RT_SIGTIMEDWAIT: u32 = 128;
    pub const SETPGID: u32 = 109;
    pub const WAIT4: u32 = 61;
    pub const WRITE: u32 = 1;
}

/// System call numbers: include/uapi/asm-generic/unistd.h.
#[cfg(target_arch = "aarch64")]
pub mod number {
    pub const CLONE: u32 = 220;
    pub const EXECVE: u32 = 221;
    pub const FCNTL: u32 = 25;
    pub const GETPID: u32 = 172;
    pub const CLOSE: u32 = 57;
    pub const IOCTL: u32 = 29;
    pub const KILL: u32 = 129;
    pub const MMAP: u32 = 222;
    pub const PRCTL: u32 = 167;
    pub const RECVMSG: u32 = 212;
    pub const RT_SIGPROCMASK: u32 = 135;
    pub const RT_SIGTIMEDWAIT: u32 = 137;
    pub const SETPGID: u32 = 154;
    pub const WAIT4: u32 = 260;
    pub const WRITE: u32 = 64;
}

/// A system call of which only the result matters.
pub fn call(number: u32, args: [usize; 6]) -> isize {
    // SAFETY: this program is alone in its memory; each caller below passes what its call takes.
    unsafe { syscall(number, args) }
}

/// Ends the process.
pub fn exit(code: usize) -> ! {
    loop {
        call(crate::child::abi::EXIT_GROUP, [code, 0, 0, 0, 0, 0]);
    }
}

/// The end of a text.
///
/// # Safety
/// The text must end with a NUL.
pub unsafe fn length(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the caller's promise. Volatile, so that this loop does not become a call of strlen.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

/// A text's bytes.
///
/// # Safety
/// The text must end with a NUL, and live on.
pub unsafe fn bytes<'a>(text: *const u8) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(text, length(text)) }
}

/// Whether a text is this.
///
/// # Safety
/// The text must end with a NUL.
pub unsafe fn text_eq(text: *const u8, other: &[u8]) -> bool {
    // SAFETY: the caller's promise.
    unsafe { bytes(text) == other }
}

/// A decimal number; 0 for anything else.
///
/// # Safety
/// The text must end with a NUL.
pub unsafe fn number(text: *const u8) -> i32 {
    // SAFETY: the caller's promise.
    let digits = unsafe { bytes(text) };
    digits.iter().fold(0i32, |number, digit| number.wrapping_mul(10).wrapping_add(i32::from(digit.wrapping_sub(b'0'))))
}
