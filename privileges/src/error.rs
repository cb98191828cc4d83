use crate::capabilities::CapabilitySet;
use crate::limits::Resource;
use std::io;

/// What can be wrong with what was asked for, or with this machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A rule names a call that Linux does not have.
    #[error("unknown system call {name:?}{}", did_you_mean(similar))]
    UnknownSyscall {
        /// The name.
        name: String,
        /// The known name that looks most like it.
        similar: Option<&'static str>,
    },
    /// A seccomp action that does not exist.
    #[error(
        "unknown seccomp action {0:?}; there are SCMP_ACT_KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, NOTIFY, TRACE, LOG and ALLOW"
    )]
    UnknownAction(String),
    /// A comparison that does not exist.
    #[error(
        "unknown seccomp operator {0:?}; there are SCMP_CMP_NE, LT, LE, EQ, GE, GT and MASKED_EQ"
    )]
    UnknownOperator(String),
    /// A seccomp flag that does not exist.
    #[error("unknown seccomp flag {0:?}")]
    UnknownFlag(String),
    /// An ABI that filters cannot be compiled for.
    #[error(
        "unknown architecture {0:?}; filters can be compiled for SCMP_ARCH_X86_64, X86, X32, AARCH64 and ARM"
    )]
    UnknownArch(String),
    /// A condition on an argument that no call has.
    #[error("a condition names argument {0}, but a system call has arguments 0 to 5")]
    ArgumentIndex(u32),
    /// An errno that the kernel would cut.
    #[error("errno {0} is above 4095, the kernel's highest")]
    ErrnoRange(u32),
    /// `Notify` without anybody to be notified.
    #[error("the profile uses SCMP_ACT_NOTIFY, but has no listener: set the flag new_listener")]
    NoListener,
    /// A profile without ABIs, on a machine that none of ours fits.
    #[error(
        "system calls of this machine's architecture are not known: name the profile's architectures"
    )]
    NoNativeArch,
    /// A program that the kernel would not load.
    #[error("the filter has {0} instructions; the kernel loads 1 to 4096")]
    FilterTooLong(usize),
    /// A profile that is not one.
    #[error("read the seccomp profile: {0}")]
    #[cfg(feature = "json")]
    Json(#[source] serde_json::Error),
    /// A profile that says two things at once.
    #[error("the seccomp profile is ambiguous: {0}")]
    Ambiguous(&'static str),
    /// A kernel version that is not `major.minor`.
    #[error("{0:?} is not a kernel version such as 4.8")]
    KernelVersion(String),
    /// A capability that Linux does not have.
    #[error("unknown capability {name:?}{}", did_you_mean(similar))]
    UnknownCapability {
        /// The name.
        name: String,
        /// The known name that looks most like it.
        similar: Option<&'static str>,
    },
    /// Sets that the kernel would refuse.
    #[error("the {set} capabilities {missing} are not in the {needs} set, as the kernel requires")]
    CapabilitiesConflict {
        /// The set that holds too much.
        set: &'static str,
        /// The set that holds too little.
        needs: &'static str,
        /// What is missing there.
        missing: CapabilitySet,
    },
    /// Ambient capabilities, and secure bits that keep them from being raised.
    #[error(
        "the ambient capabilities {0} cannot be raised under the secure bit NO_CAP_AMBIENT_RAISE"
    )]
    AmbientForbidden(CapabilitySet),
    /// Capabilities that the running kernel does not know.
    #[error("the running kernel does not know {0}; CapabilitySet::supported() says what it knows")]
    CapabilitiesUnsupported(CapabilitySet),
    /// A resource that getrlimit(2) does not know.
    #[error("unknown resource {name:?}{}", did_you_mean(similar))]
    UnknownResource {
        /// The name.
        name: String,
        /// The known name that looks most like it.
        similar: Option<&'static str>,
    },
    /// A limit that is not written as one.
    #[error("{0:?} is no limit: write NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024:2048")]
    LimitSyntax(String),
    /// A soft limit above the hard one.
    #[error("the soft limit {soft} of {resource} is above its hard limit {hard}")]
    LimitOrder {
        /// What is limited.
        resource: Resource,
        /// The soft limit.
        soft: u64,
        /// The hard limit.
        hard: u64,
    },
    /// A number that the kernel refuses.
    #[error("the {what} {value} is not in {least}..={most}")]
    OutOfRange {
        /// What it is.
        what: &'static str,
        /// What was given.
        value: i64,
        /// The least that is accepted.
        least: i64,
        /// The most.
        most: i64,
    },
    /// Times of a deadline that cannot be kept.
    #[error(
        "a deadline needs 1024 <= runtime <= deadline <= period (ns), not {runtime}, {deadline}, {period}"
    )]
    Deadline {
        /// Processor time granted.
        runtime: u64,
        /// When it must have been granted.
        deadline: u64,
        /// In what time.
        period: u64,
    },
    /// A list of processors that is not one.
    #[error("{0:?} is no list of processors: write numbers and ranges below 8192, such as 0-3,7")]
    CpuList(String),
    /// A security module's label on a machine without that module.
    #[error(
        "the label {label:?} needs {module}, which this kernel does not run; boot with lsm= naming it, or give no label"
    )]
    NoSecurityModule {
        /// The module.
        module: &'static str,
        /// The label.
        label: String,
    },
    /// Without no_new_privs the filter is loaded before privileges are dropped, and keeps them from being dropped.
    #[error(
        "the seccomp filter does not allow {call}, which is still needed after it is loaded; set no_new_privs, or allow it"
    )]
    FilterTooEarly {
        /// The call.
        call: &'static str,
    },
    /// Landlock that cannot be enforced as asked.
    #[error("Landlock: {0}")]
    Landlock(String),
    /// Several of the above.
    #[error("{}", list(.0))]
    Several(Vec<Error>),
    /// A file of the kernel that cannot be read.
    #[error("read {path}: {source}")]
    Read {
        /// The file.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// What kind of trouble an [`Error`] is, for callers that act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for has no meaning: the asker must change it.
    InvalidInput,
    /// This machine does not have it.
    Unsupported,
    /// Reading or writing failed.
    Io,
}

impl Error {
    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NoNativeArch
            | Error::CapabilitiesUnsupported(_)
            | Error::NoSecurityModule { .. }
            | Error::Landlock(_) => ErrorKind::Unsupported,
            Error::Read { .. } => ErrorKind::Io,
            _ => ErrorKind::InvalidInput,
        }
    }
}

fn did_you_mean(similar: &Option<&'static str>) -> String {
    similar.map_or(String::new(), |name| format!("; did you mean {name}?"))
}

fn list(errors: &[Error]) -> String {
    let lines: Vec<String> = errors.iter().map(Error::to_string).collect();
    lines.join("; ")
}

/// The value, if the kernel accepts it.
pub(crate) fn within(what: &'static str, value: i64, least: i64, most: i64) -> Result<(), Error> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => Err(Error::OutOfRange {
            what,
            value,
            least,
            most,
        }),
    }
}
