//! The host's dumpable flag while a child shares its memory.
//!
//! The flag belongs to the memory, not to the process: a child that changes its user id clears it for the host as well
//! (so that nobody could trace or dump the host from then on), and a child that joins a user namespace in which others may
//! trace it would lay the host's memory open. So it is put down where that may happen, and put back when the last child has
//! left. Not oftener: while it is down, the files in `/proc` belong to root, and an ordinary user's children that are born
//! meanwhile cannot write their id maps. A child with a copy of the memory puts its own flag down, as its first step.

use std::sync::{Mutex, PoisonError};

/// How many children are being born, and what the flag was before the first.
static STATE: Mutex<(usize, i32)> = Mutex::new((0, 1));

/// Restores the flag when the last one is dropped.
pub(crate) struct Dumpable(());

impl Dumpable {
    /// Notes the flag; with `exposed`, takes it away because other processes may trace the child.
    pub(crate) fn hold(exposed: bool) -> Dumpable {
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 == 0 {
            state.1 = flag();
        }
        state.0 += 1;
        if exposed {
            set(0);
        }
        Dumpable(())
    }
}

impl Drop for Dumpable {
    fn drop(&mut self) {
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 -= 1;
        // A host that was not dumpable (0, or 2 for root only) stays what the kernel made of it.
        if state.0 == 0 && state.1 == 1 && flag() != 1 {
            set(1);
        }
    }
}

fn flag() -> i32 {
    // SAFETY: reads a flag.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }
}

fn set(value: libc::c_ulong) {
    // SAFETY: sets a flag of this process; it cannot fail with 0 or 1.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, value);
    }
}
