//! The kernel's numbers that the child itself needs. Few, and spelled out here: these files are also compiled where no
//! other crate is.

/// System call numbers: arch/x86/entry/syscalls/syscall_64.tbl.
#[cfg(target_arch = "x86_64")]
mod number {
    pub const CLONE3: u32 = 435;
    pub const CLOSE_RANGE: u32 = 436;
    pub const CLOCK_GETTIME: u32 = 228;
    pub const EXIT: u32 = 60;
    pub const EXIT_GROUP: u32 = 231;
    pub const RECVFROM: u32 = 45;
    pub const SENDTO: u32 = 44;
}

/// System call numbers: include/uapi/asm-generic/unistd.h.
#[cfg(target_arch = "aarch64")]
mod number {
    pub const CLONE3: u32 = 435;
    pub const CLOSE_RANGE: u32 = 436;
    pub const CLOCK_GETTIME: u32 = 113;
    pub const EXIT: u32 = 93;
    pub const EXIT_GROUP: u32 = 94;
    pub const RECVFROM: u32 = 207;
    pub const SENDTO: u32 = 206;
}

pub use number::*;

// include/uapi/asm-generic/errno*.h
pub const ENOEXEC: i32 = 8;
pub const EAGAIN: i32 = 11;
pub const ECANCELED: i32 = 125;

// include/linux/socket.h
pub const MSG_PEEK: usize = 0x2;
pub const MSG_DONTWAIT: usize = 0x40;
pub const MSG_NOSIGNAL: usize = 0x4000;

// include/uapi/linux/sched.h
pub const CLONE_VM: u64 = 0x100;
pub const CLONE_VFORK: u64 = 0x4000;
pub const CLONE_PARENT: u64 = 0x8000;
pub const CLONE_PARENT_SETTID: u64 = 0x10_0000;
pub const CLONE_PIDFD: u64 = 0x1000;
pub const CLONE_FILES: u32 = 0x400;
pub const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
// libc's constant of this name overflows to 0.
pub const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

pub const CLOCK_MONOTONIC: usize = 1;
pub const SIGCHLD: u64 = 17;

/// `struct clone_args` of include/uapi/linux/sched.h.
#[repr(C)]
#[derive(Debug, Default)]
pub struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}
