//! Capabilities: root's power in 41 pieces, and the five sets in which a process holds them.
//!
//! Source: capabilities(7).

mod set;

pub use set::CapabilitySet;

use crate::{Error, similar};
use std::fmt;
use std::str::FromStr;

macro_rules! capabilities {
    ($($variant:ident = $number:literal $name:literal: $doc:literal,)*) => {
        /// One capability, named as in capabilities(7).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Capability {
            $(#[doc = $doc] #[doc(alias = $name)] $variant = $number,)*
        }

        impl Capability {
            /// All of them, by number.
            pub const ALL: &[Capability] = &[$(Capability::$variant,)*];

            /// The kernel's name, such as `CAP_NET_ADMIN`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Capability::$variant => $name,)*
                }
            }
        }
    };
}

capabilities! {
    Chown = 0 "CAP_CHOWN": "Change owners of files at will.",
    DacOverride = 1 "CAP_DAC_OVERRIDE": "Pass over permissions to read, write and execute.",
    DacReadSearch = 2 "CAP_DAC_READ_SEARCH": "Pass over permissions to read; open files by handle.",
    Fowner = 3 "CAP_FOWNER": "Do what only a file's owner may.",
    Fsetid = 4 "CAP_FSETID": "Keep set-user-ID and set-group-ID bits when a file is changed.",
    Kill = 5 "CAP_KILL": "Send signals to any process.",
    Setgid = 6 "CAP_SETGID": "Take any group IDs.",
    Setuid = 7 "CAP_SETUID": "Take any user IDs.",
    Setpcap = 8 "CAP_SETPCAP": "Change its own capability sets, as far as the bounding set lets it.",
    LinuxImmutable = 9 "CAP_LINUX_IMMUTABLE": "Set the inode flags immutable and append-only.",
    NetBindService = 10 "CAP_NET_BIND_SERVICE": "Bind to ports below 1024.",
    NetBroadcast = 11 "CAP_NET_BROADCAST": "Unused.",
    NetAdmin = 12 "CAP_NET_ADMIN": "Configure the network.",
    NetRaw = 13 "CAP_NET_RAW": "Use raw and packet sockets.",
    IpcLock = 14 "CAP_IPC_LOCK": "Lock memory.",
    IpcOwner = 15 "CAP_IPC_OWNER": "Pass over permissions of System V IPC.",
    SysModule = 16 "CAP_SYS_MODULE": "Load and unload kernel modules.",
    SysRawio = 17 "CAP_SYS_RAWIO": "Reach I/O ports and raw devices.",
    SysChroot = 18 "CAP_SYS_CHROOT": "Change the root directory; join mount namespaces.",
    SysPtrace = 19 "CAP_SYS_PTRACE": "Trace any process and read its memory.",
    SysPacct = 20 "CAP_SYS_PACCT": "Switch process accounting.",
    SysAdmin = 21 "CAP_SYS_ADMIN": "Nearly everything else: mounts, namespaces, and more.",
    SysBoot = 22 "CAP_SYS_BOOT": "Reboot, and load another kernel.",
    SysNice = 23 "CAP_SYS_NICE": "Raise priorities and choose CPUs of any process.",
    SysResource = 24 "CAP_SYS_RESOURCE": "Pass over resource limits and quotas.",
    SysTime = 25 "CAP_SYS_TIME": "Set the clock.",
    SysTtyConfig = 26 "CAP_SYS_TTY_CONFIG": "Configure and hang up terminals.",
    Mknod = 27 "CAP_MKNOD": "Make device nodes.",
    Lease = 28 "CAP_LEASE": "Take leases on any file.",
    AuditWrite = 29 "CAP_AUDIT_WRITE": "Write to the audit log.",
    AuditControl = 30 "CAP_AUDIT_CONTROL": "Configure auditing.",
    Setfcap = 31 "CAP_SETFCAP": "Give files capabilities.",
    MacOverride = 32 "CAP_MAC_OVERRIDE": "Pass over mandatory access control (Smack).",
    MacAdmin = 33 "CAP_MAC_ADMIN": "Configure mandatory access control (Smack).",
    Syslog = 34 "CAP_SYSLOG": "Read and configure the kernel's log.",
    WakeAlarm = 35 "CAP_WAKE_ALARM": "Wake the machine by a timer.",
    BlockSuspend = 36 "CAP_BLOCK_SUSPEND": "Keep the machine from suspending.",
    AuditRead = 37 "CAP_AUDIT_READ": "Read the audit log (Linux 3.16).",
    Perfmon = 38 "CAP_PERFMON": "Watch performance counters (Linux 5.8).",
    Bpf = 39 "CAP_BPF": "Load BPF programs (Linux 5.8).",
    CheckpointRestore = 40 "CAP_CHECKPOINT_RESTORE": "Checkpoint and restore processes (Linux 5.9).",
}

/// Reads a name with or without `CAP_`, in any case: `NET_ADMIN`, `cap_net_admin`.
impl FromStr for Capability {
    type Err = Error;

    fn from_str(name: &str) -> Result<Capability, Error> {
        let upper = name.to_ascii_uppercase();
        let wanted = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let bare = |capability: &Capability| &capability.name()["CAP_".len()..];
        let mut all = Capability::ALL.iter();
        all.find(|capability| bare(capability) == wanted)
            .copied()
            .ok_or_else(|| Error::UnknownCapability {
                name: name.into(),
                similar: similar::nearest(wanted, Capability::ALL.iter().map(bare)),
            })
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The five sets of a process. The default is none at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// What executing a file can still give.
    pub bounding: CapabilitySet,
    /// What counts when the kernel checks.
    pub effective: CapabilitySet,
    /// What may be made effective.
    pub permitted: CapabilitySet,
    /// What a file with inheritable capabilities may keep.
    pub inheritable: CapabilitySet,
    /// What an ordinary file keeps when it is executed by an ordinary user.
    pub ambient: CapabilitySet,
}

impl Capabilities {
    /// As Docker gives a set to a container: bounding, permitted and effective, never inheritable (CVE-2022-24769).
    ///
    /// Root keeps them when it executes a program; the kernel takes them from an ordinary user.
    pub fn of(set: CapabilitySet) -> Capabilities {
        Capabilities {
            bounding: set,
            effective: set,
            permitted: set,
            ..Capabilities::default()
        }
    }

    /// As an ordinary user needs a set to keep it when it executes a program: in all five.
    pub fn kept(set: CapabilitySet) -> Capabilities {
        Capabilities {
            inheritable: set,
            ambient: set,
            ..Capabilities::of(set)
        }
    }

    /// All that are in any of the sets.
    pub fn union(&self) -> CapabilitySet {
        self.bounding | self.effective | self.permitted | self.inheritable | self.ambient
    }

    /// Finds combinations that the kernel refuses, before anything is started.
    ///
    /// # Errors
    /// [`Error::CapabilitiesConflict`]: effective beyond permitted, inheritable beyond bounding, ambient beyond permitted or
    /// inheritable.
    pub fn check(&self) -> Result<(), Error> {
        require("effective", self.effective, "permitted", self.permitted)?;
        require("inheritable", self.inheritable, "bounding", self.bounding)?;
        require("ambient", self.ambient, "permitted", self.permitted)?;
        require("ambient", self.ambient, "inheritable", self.inheritable)
    }
}

fn require(
    inner_name: &'static str,
    inner: CapabilitySet,
    outer_name: &'static str,
    outer: CapabilitySet,
) -> Result<(), Error> {
    match inner - outer {
        rest if rest.is_empty() => Ok(()),
        rest => Err(Error::CapabilitiesConflict {
            set: inner_name,
            needs: outer_name,
            missing: rest,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_people_write_them() {
        for name in ["NET_ADMIN", "CAP_NET_ADMIN", "cap_net_admin", "net_admin"] {
            assert_eq!(name.parse::<Capability>().unwrap(), Capability::NetAdmin);
        }
        let error = "CAP_SYS_ADMNI".parse::<Capability>().unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"unknown capability "CAP_SYS_ADMNI"; did you mean SYS_ADMIN?"#
        );
    }

    #[test]
    fn numbers_are_the_kernel_s() {
        assert_eq!(Capability::ALL.len(), 41);
        for (number, capability) in Capability::ALL.iter().enumerate() {
            assert_eq!(*capability as usize, number);
        }
    }

    #[test]
    fn what_the_kernel_would_refuse_is_found() {
        let net: CapabilitySet = [Capability::NetAdmin].into();
        Capabilities::kept(net).check().unwrap();
        let ambient_alone = Capabilities {
            ambient: net,
            ..Capabilities::of(net)
        };
        assert_eq!(
            ambient_alone.check().unwrap_err().to_string(),
            "the ambient capabilities CAP_NET_ADMIN are not in the inheritable set, as the kernel requires"
        );
        let effective_alone = Capabilities {
            effective: net,
            ..Capabilities::default()
        };
        assert!(effective_alone.check().is_err());
    }
}
