use super::{Action, Arch, Filter, compile};
use crate::Error;

/// A seccomp policy, as a value: what happens to which system calls. [`Profile::compile`] makes a [`Filter`] of it.
///
/// How it decides, which is how libseccomp and runc do:
/// - a call that no rule names gets the default action;
/// - of the rules for one call, the first one without conditions decides, whatever else there is;
/// - otherwise the conditional rules are alternatives: one that matches gives its action. Where several match, the more
///   specific comparison decides: an equality before a range, a narrower range before a wider one, and the condition on a
///   later argument before one on an earlier argument;
/// - rules whose action is the default action are left out before any of this.
///
/// ```
/// use ampoule_privileges::seccomp::{Action, Arch, Compare, Profile, Rule};
///
/// let mut profile = Profile::new(Action::Allow);
/// profile
///     .arch(Arch::X86_64)
///     .rule(Rule::new(Action::Errno(1), ["ptrace", "process_vm_readv"]))
///     .rule(Rule::new(Action::KillProcess, ["socket"]).when(0, Compare::Eq(38))); // AF_ALG
/// let filter = profile.compile()?;
/// assert_eq!(filter.explain(Arch::X86_64, "ptrace", [0; 6])?.action, Action::Errno(1));
/// assert_eq!(filter.explain(Arch::X86_64, "socket", [38, 5, 0, 0, 0, 0])?.action, Action::KillProcess);
/// # Ok::<(), ampoule_privileges::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What happens to a call that no rule names.
    pub default: Action,
    /// The ABIs whose calls are let in at all; the program's own where the list is empty.
    pub arches: Vec<Arch>,
    /// What happens to a call through any other ABI: libseccomp's default kills the thread.
    pub bad_arch: Action,
    /// The rules.
    pub rules: Vec<Rule>,
    /// What happens to calls that are younger than the profile.
    pub newer: Newer,
    /// What becomes of a rule for a name that Linux does not know.
    pub unknown: Unknown,
    /// How the filter is loaded.
    pub flags: Flags,
}

/// What happens to calls with a number above every call that the profile names.
///
/// A profile cannot have meant a call that did not exist when it was written. Programs try a new call and fall back to an
/// old one on ENOSYS, but not on EPERM; runc therefore answers ENOSYS, unless the profile's default lets calls pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Newer {
    /// The profile's default action, as plain libseccomp does.
    #[default]
    Default,
    /// ENOSYS, as runc does; without effect where the default action is allow or log.
    Enosys,
}

/// What becomes of a rule for a name that Linux does not know on any architecture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unknown {
    /// Compiling fails and names it: a slip of the pen never weakens a profile.
    #[default]
    Refuse,
    /// It is left out and listed by [`Filter::skipped`], as runc does: the profile may be younger than this crate.
    Skip,
}

/// How the kernel loads a filter: the flags of `SECCOMP_SET_MODE_FILTER`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// Every action but allow is logged (Linux 4.14).
    #[doc(alias = "SECCOMP_FILTER_FLAG_LOG")]
    pub log: bool,
    /// Speculative Store Bypass stays enabled (Linux 4.17): faster, and weaker.
    #[doc(alias = "SECCOMP_FILTER_FLAG_SPEC_ALLOW")]
    pub spec_allow: bool,
    /// All threads of the process get the filter.
    #[doc(alias = "SECCOMP_FILTER_FLAG_TSYNC")]
    pub tsync: bool,
    /// Loading returns the listener for [`Action::Notify`] (Linux 5.0).
    #[doc(alias = "SECCOMP_FILTER_FLAG_NEW_LISTENER")]
    pub new_listener: bool,
    /// A notification that was read is interrupted by fatal signals only (Linux 5.19).
    #[doc(alias = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")]
    pub wait_killable_recv: bool,
}

impl Flags {
    /// The kernel's bits. With a listener, a failing TSYNC is reported by errno (`TSYNC_ESRCH`, Linux 5.7), since the
    /// number returned is the listener's.
    pub fn bits(self) -> u32 {
        let tsync_esrch = self.tsync && self.new_listener;
        [
            (self.tsync, 1),
            (self.log, 1 << 1),
            (self.spec_allow, 1 << 2),
            (self.new_listener, 1 << 3),
            (tsync_esrch, 1 << 4),
            (self.wait_killable_recv, 1 << 5),
        ]
        .iter()
        .filter(|(set, _)| *set)
        .fold(0, |bits, (_, bit)| bits | bit)
    }
}

/// What happens to some system calls, if their arguments are so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The names of the calls, the same on every ABI.
    pub syscalls: Vec<String>,
    /// What happens to them.
    pub action: Action,
    /// What must hold of the arguments, all of it; nothing if the list is empty.
    pub conditions: Vec<Condition>,
}

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub argument: u32,
    /// What must hold of it.
    pub compare: Compare,
}

/// A comparison with an argument, all unsigned. An argument of a 32-bit ABI has 32 bits; so has then the value that it is
/// tested for equality with, so that a negative number works on every ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compare {
    /// The argument differs.
    #[doc(alias = "SCMP_CMP_NE")]
    Ne(u64),
    /// The argument is less.
    #[doc(alias = "SCMP_CMP_LT")]
    Lt(u64),
    /// The argument is less or equal.
    #[doc(alias = "SCMP_CMP_LE")]
    Le(u64),
    /// The argument is equal.
    #[doc(alias = "SCMP_CMP_EQ")]
    Eq(u64),
    /// The argument is greater or equal.
    #[doc(alias = "SCMP_CMP_GE")]
    Ge(u64),
    /// The argument is greater.
    #[doc(alias = "SCMP_CMP_GT")]
    Gt(u64),
    /// The argument's bits under the mask are these; bits of the value outside the mask do not count.
    #[doc(alias = "SCMP_CMP_MASKED_EQ")]
    MaskedEq {
        /// Which bits count.
        mask: u64,
        /// What they are.
        value: u64,
    },
}

impl Profile {
    /// A profile with this default action and without rules.
    pub fn new(default: Action) -> Profile {
        Profile {
            default,
            arches: Vec::new(),
            bad_arch: Action::KillThread,
            rules: Vec::new(),
            newer: Newer::default(),
            unknown: Unknown::default(),
            flags: Flags::default(),
        }
    }

    /// Lets calls of this ABI in.
    pub fn arch(&mut self, arch: Arch) -> &mut Profile {
        self.arches.push(arch);
        self
    }

    /// Adds a rule.
    pub fn rule(&mut self, rule: Rule) -> &mut Profile {
        self.rules.push(rule);
        self
    }

    /// Compiles the profile; do it once and keep the result.
    ///
    /// # Errors
    /// [`Error::UnknownSyscall`] (unless [`Unknown::Skip`]), [`Error::ArgumentIndex`], [`Error::ErrnoRange`],
    /// [`Error::NoListener`] for [`Action::Notify`] without [`Flags::new_listener`], [`Error::NoNativeArch`], and
    /// [`Error::FilterTooLong`] above the kernel's 4,096 instructions.
    pub fn compile(&self) -> Result<Filter, Error> {
        compile::compile(self)
    }
}

impl Rule {
    /// A rule without conditions.
    pub fn new<S: Into<String>>(action: Action, syscalls: impl IntoIterator<Item = S>) -> Rule {
        Rule {
            syscalls: syscalls.into_iter().map(Into::into).collect(),
            action,
            conditions: Vec::new(),
        }
    }

    /// Adds a condition; all conditions of a rule must hold.
    #[must_use]
    pub fn when(mut self, argument: u32, compare: Compare) -> Rule {
        self.conditions.push(Condition { argument, compare });
        self
    }
}

impl Compare {
    /// Whether the comparison holds.
    pub fn holds(self, argument: u64) -> bool {
        match self {
            Compare::Ne(value) => argument != value,
            Compare::Lt(value) => argument < value,
            Compare::Le(value) => argument <= value,
            Compare::Eq(value) => argument == value,
            Compare::Ge(value) => argument >= value,
            Compare::Gt(value) => argument > value,
            Compare::MaskedEq { mask, value } => argument & mask == value & mask,
        }
    }

    /// Whether it is no condition at all.
    pub(super) fn always_holds(self) -> bool {
        matches!(self, Compare::MaskedEq { mask: 0, .. })
    }

    /// The comparison as it is on an ABI whose arguments have 32 bits.
    pub(super) fn narrowed(self) -> Compare {
        let low = |value: u64| value & u64::from(u32::MAX);
        match self {
            Compare::Eq(value) => Compare::Eq(low(value)),
            Compare::Ne(value) => Compare::Ne(low(value)),
            Compare::MaskedEq { mask, value } => Compare::MaskedEq {
                mask: low(mask),
                value: low(value),
            },
            range => range,
        }
    }
}
