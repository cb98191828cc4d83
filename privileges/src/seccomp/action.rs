use crate::Error;
use std::fmt;

/// What becomes of a system call that a filter has looked at.
///
/// Source: seccomp(2), "seccomp return values". The names of libseccomp and of the OCI specification are aliases here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The whole process dies with SIGSYS, and may leave a core dump.
    #[doc(alias = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    /// The calling thread dies with SIGSYS; the others go on.
    #[doc(alias("SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"))]
    KillThread,
    /// The thread gets a SIGSYS that it may handle.
    #[doc(alias = "SCMP_ACT_TRAP")]
    Trap,
    /// The call is not made and fails with this errno, 0 to 4095 (0 looks like success).
    #[doc(alias = "SCMP_ACT_ERRNO")]
    Errno(u16),
    /// A supervisor decides, through the filter's listener (Linux 5.0).
    #[doc(alias = "SCMP_ACT_NOTIFY")]
    Notify,
    /// A ptrace tracer decides and receives this number; without a tracer the call fails with ENOSYS.
    #[doc(alias = "SCMP_ACT_TRACE")]
    Trace(u16),
    /// The call is made, and logged.
    #[doc(alias = "SCMP_ACT_LOG")]
    Log,
    /// The call is made.
    #[doc(alias = "SCMP_ACT_ALLOW")]
    Allow,
}

const DATA: u32 = 0xffff;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;

/// The kernel's `MAX_ERRNO`: a larger one would be cut to it.
const MAX_ERRNO: u32 = 4095;

impl Action {
    /// Reads a name such as `SCMP_ACT_ERRNO`; `errno` is the number for `SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE`, EPERM where
    /// there is none.
    ///
    /// # Errors
    /// [`Error::UnknownAction`] for another name, [`Error::ErrnoRange`] above 4095.
    pub fn parse(name: &str, errno: Option<u32>) -> Result<Action, Error> {
        let data = errno.unwrap_or(1);
        let action = match name {
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
            "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
            "SCMP_ACT_TRAP" => Action::Trap,
            "SCMP_ACT_ERRNO" if data <= MAX_ERRNO => Action::Errno(data as u16),
            "SCMP_ACT_TRACE" if data <= DATA => Action::Trace(data as u16),
            "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE" => return Err(Error::ErrnoRange(data)),
            "SCMP_ACT_NOTIFY" => Action::Notify,
            "SCMP_ACT_LOG" => Action::Log,
            "SCMP_ACT_ALLOW" => Action::Allow,
            _ => return Err(Error::UnknownAction(name.into())),
        };
        Ok(action)
    }

    /// The value that a BPF program returns for it.
    pub fn to_return_value(self) -> u32 {
        match self {
            Action::KillProcess => KILL_PROCESS,
            Action::KillThread => KILL_THREAD,
            Action::Trap => TRAP,
            Action::Errno(errno) => ERRNO | u32::from(errno),
            Action::Notify => NOTIFY,
            Action::Trace(data) => TRACE | u32::from(data),
            Action::Log => LOG,
            Action::Allow => ALLOW,
        }
    }

    /// The action that the kernel takes for a value that a BPF program returned; an unknown one kills the process.
    pub fn from_return_value(value: u32) -> Action {
        let data = (value & DATA) as u16;
        match value & !DATA {
            KILL_THREAD => Action::KillThread,
            TRAP => Action::Trap,
            ERRNO => Action::Errno(data),
            NOTIFY => Action::Notify,
            TRACE => Action::Trace(data),
            LOG => Action::Log,
            ALLOW => Action::Allow,
            _ => Action::KillProcess,
        }
    }

    /// Whether the call is made without asking anybody.
    pub fn permits(self) -> bool {
        matches!(self, Action::Allow | Action::Log)
    }

    pub(super) fn check(self) -> Result<(), Error> {
        match self {
            Action::Errno(errno) if u32::from(errno) > MAX_ERRNO => {
                Err(Error::ErrnoRange(errno.into()))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::KillProcess => f.write_str("kill process"),
            Action::KillThread => f.write_str("kill thread"),
            Action::Trap => f.write_str("trap"),
            Action::Errno(1) => f.write_str("errno 1 (EPERM)"),
            Action::Errno(38) => f.write_str("errno 38 (ENOSYS)"),
            Action::Errno(errno) => write!(f, "errno {errno}"),
            Action::Notify => f.write_str("notify"),
            Action::Trace(data) => write!(f, "trace {data}"),
            Action::Log => f.write_str("log"),
            Action::Allow => f.write_str("allow"),
        }
    }
}
