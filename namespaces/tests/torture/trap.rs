//! An allocator that ends whoever uses it in another process than the test's own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// The system's allocator, with the trap around it.
pub struct Trap;

/// The process that may allocate; 0 until it first does.
static HOST: AtomicI32 = AtomicI32::new(0);

/// A child of the library's shares the host's memory, this very number included: only the kernel tells them apart.
fn check() {
    // SAFETY: getpid and kill have no effect on memory. libc's own getpid may be a cached number.
    unsafe {
        let me = libc::syscall(libc::SYS_getpid) as i32;
        let host = match HOST.compare_exchange(0, me, Relaxed, Relaxed) {
            Ok(_) => me,
            Err(host) => host,
        };
        // Inside a new pid namespace the number is 1; nothing but the host has the host's.
        if me != host {
            libc::syscall(libc::SYS_kill, me, libc::SIGKILL);
            libc::syscall(libc::SYS_exit_group, 9);
        }
    }
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Trap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        check();
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
