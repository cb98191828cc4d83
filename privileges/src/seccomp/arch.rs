use crate::Error;
use std::fmt;

/// An application binary interface: which numbers system calls have, and how wide their arguments are.
///
/// A kernel often speaks several: a 64-bit x86 kernel also runs 32-bit programs and, where it is built in, x32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// 64-bit x86.
    #[doc(alias = "SCMP_ARCH_X86_64")]
    X86_64,
    /// 32-bit x86.
    #[doc(alias = "SCMP_ARCH_X86")]
    X86,
    /// x86-64 with 32-bit pointers: the same entry, with bit 30 set in the number.
    #[doc(alias = "SCMP_ARCH_X32")]
    X32,
    /// 64-bit ARM.
    #[doc(alias = "SCMP_ARCH_AARCH64")]
    Aarch64,
    /// 32-bit ARM (EABI).
    #[doc(alias = "SCMP_ARCH_ARM")]
    Arm,
}

impl Arch {
    /// All of them.
    pub const ALL: [Arch; 5] = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm];

    /// The one that this program is built for; none on a machine whose calls are not known here.
    pub const fn native() -> Option<Arch> {
        if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
            Some(Arch::X86_64)
        } else if cfg!(target_arch = "x86_64") {
            Some(Arch::X32)
        } else if cfg!(target_arch = "x86") {
            Some(Arch::X86)
        } else if cfg!(target_arch = "aarch64") {
            Some(Arch::Aarch64)
        } else if cfg!(target_arch = "arm") {
            Some(Arch::Arm)
        } else {
            None
        }
    }

    /// Reads a name as libseccomp and OCI spell it, such as `SCMP_ARCH_X86_64`; `SCMP_ARCH_NATIVE` is the program's own.
    ///
    /// # Errors
    /// [`Error::UnknownArch`] for a name that is none of ours.
    pub fn parse(name: &str) -> Result<Arch, Error> {
        let unknown = || Error::UnknownArch(name.into());
        match name {
            "SCMP_ARCH_X86_64" => Ok(Arch::X86_64),
            "SCMP_ARCH_X86" => Ok(Arch::X86),
            "SCMP_ARCH_X32" => Ok(Arch::X32),
            "SCMP_ARCH_AARCH64" => Ok(Arch::Aarch64),
            "SCMP_ARCH_ARM" => Ok(Arch::Arm),
            "SCMP_ARCH_NATIVE" => Arch::native().ok_or_else(unknown),
            _ => Err(unknown()),
        }
    }

    /// The value of `seccomp_data.arch`; x86-64 and x32 share one.
    #[doc(alias = "AUDIT_ARCH")]
    pub const fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments have 64 bits. Those of x32 count as 32 bits wide, as in libseccomp.
    pub const fn is_64bit(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::Aarch64)
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Arch::X86_64 => "x86_64",
            Arch::X86 => "x86",
            Arch::X32 => "x32",
            Arch::Aarch64 => "aarch64",
            Arch::Arm => "arm",
        })
    }
}
