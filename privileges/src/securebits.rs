bitflags::bitflags! {
    /// How the kernel treats user 0 specially, or no longer does: capabilities(7), "The securebits flags".
    ///
    /// Each has a lock, which cannot be taken off again.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Securebits: u32 {
        /// Root gets no capabilities by executing a program.
        const NOROOT = 1;
        /// NOROOT stays as it is.
        const NOROOT_LOCKED = 1 << 1;
        /// Changing the user id does not change capabilities.
        const NO_SETUID_FIXUP = 1 << 2;
        /// NO_SETUID_FIXUP stays as it is.
        const NO_SETUID_FIXUP_LOCKED = 1 << 3;
        /// KEEP_CAPS stays as it is. (KEEP_CAPS itself is cleared when a program is executed, so it is not offered.)
        const KEEP_CAPS_LOCKED = 1 << 5;
        /// No ambient capability can be raised any more.
        const NO_CAP_AMBIENT_RAISE = 1 << 6;
        /// NO_CAP_AMBIENT_RAISE stays as it is.
        const NO_CAP_AMBIENT_RAISE_LOCKED = 1 << 7;
    }
}

/// `SECBIT_KEEP_CAPS`: what PR_SET_KEEPCAPS sets.
pub(crate) const KEEP_CAPS: u32 = 1 << 4;
