//! System calls without libc: its `errno` is thread-local, and a child that shares its parent's memory would write there.

use super::abi::{CLONE3, CloneArgs};
use core::arch::asm;

/// Makes a system call and returns what the kernel returned: a value, or a negative error number.
///
/// # Safety
/// The arguments must be what the call with this number takes.
#[cfg(target_arch = "x86_64")]
#[inline]
pub unsafe fn syscall(number: u32, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let result;
    // SAFETY: the kernel clobbers rcx and r11 only; what the call does is the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") number as usize => result,
             in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// Makes a system call and returns what the kernel returned: a value, or a negative error number.
///
/// # Safety
/// The arguments must be what the call with this number takes.
#[cfg(target_arch = "aarch64")]
#[inline]
pub unsafe fn syscall(number: u32, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let result;
    // SAFETY: the kernel clobbers no register but x0; what the call does is the caller's promise.
    unsafe {
        asm!("svc 0", in("x8") number as usize, inlateout("x0") a => result,
             in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f, options(nostack));
    }
    result
}

/// What a new process runs: it gets the word that was given for it, and never returns.
pub type Entry = unsafe extern "C" fn(usize) -> !;

/// Calls `clone3`; the new process calls `entry(word)` on the stack that the arguments name.
///
/// # Safety
/// `args` must be a valid `struct clone_args` whose stack is mapped, aligned to 16 bytes and used by nobody else until the
/// new process has left it, and `entry` must be safe to call there with `word`.
#[cfg(target_arch = "x86_64")]
pub unsafe fn clone3(args: *const CloneArgs, entry: Entry, word: usize) -> isize {
    let result;
    // SAFETY: the parent's path is a plain system call. The child comes back with the same registers on a stack of its own;
    // it calls `entry` and never passes the `ud2` behind that.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, r12", "call r13", "ud2", "2:",
             inlateout("rax") CLONE3 as usize => result,
             in("rdi") args, in("rsi") size_of::<CloneArgs>(),
             in("r12") word, in("r13") entry, lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// Calls `clone3`; the new process calls `entry(word)` on the stack that the arguments name.
///
/// # Safety
/// `args` must be a valid `struct clone_args` whose stack is mapped, aligned to 16 bytes and used by nobody else until the
/// new process has left it, and `entry` must be safe to call there with `word`.
#[cfg(target_arch = "aarch64")]
pub unsafe fn clone3(args: *const CloneArgs, entry: Entry, word: usize) -> isize {
    let result;
    // SAFETY: as on x86-64; `brk` is what stands behind the call that never returns.
    unsafe {
        asm!("svc 0", "cbnz x0, 2f", "mov x29, xzr", "mov x0, x20", "blr x21", "brk 1", "2:",
             in("x8") CLONE3 as usize,
             inlateout("x0") args => result, in("x1") size_of::<CloneArgs>(),
             in("x20") word, in("x21") entry);
    }
    result
}
