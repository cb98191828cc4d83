//! A program of a few kilobytes that lives inside of containers: without std, libc, heap or file.
//!
//! It is what a child executes when it must have a memory of its own and something is left to do: start a program in a way
//! that the program cannot turn against the host's binary (`exec`), reap as process 1 (`reap`), or wait in a pool for the
//! rest of a plan (`play`). The host holds it as a sealed memory file.
//!
//! `ampoule-init exec|reap FD PROGRAM ARGUMENT...` closes FD when the program has started, or writes the error number there.
//! `ampoule-init play FD` receives a plan's rest on the socket FD, and plays it.

#![no_std]
#![no_main]

#[allow(dead_code, reason = "the library uses all of it, this program a part")]
#[path = "../src/child/mod.rs"]
mod child;
mod kernel;
mod memory;
mod parked;
mod reaper;
mod search;

use kernel::{exit, text_eq};

// The kernel starts a program with the arguments on the stack, and no return address.
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {}", "ud2", sym main);
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(".globl _start", "_start:", "mov x29, xzr", "mov x0, sp", "bl {}", "brk 1", sym main);

/// A null-terminated list of null-terminated texts.
type Texts = *const *const u8;

unsafe extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: the kernel's layout of a new program's stack: argc, argv, null, envp, null.
    unsafe {
        let count = *stack;
        let argv: Texts = stack.add(1).cast();
        let envp: Texts = stack.add(count + 2).cast();
        if count < 3 {
            exit(127);
        }
        let mode = *argv.add(1);
        let fd = kernel::number(*argv.add(2));
        if text_eq(mode, b"play") {
            parked::play(fd)
        }
        if count < 4 {
            exit(127);
        }
        let program = argv.add(3);
        if text_eq(mode, b"exec") {
            search::execute(program, envp, fd)
        }
        if text_eq(mode, b"reap") {
            reaper::run(program, envp, fd)
        }
    }
    exit(127)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(126)
}

/// What `core` was compiled to name; nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
