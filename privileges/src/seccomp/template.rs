#[cfg(any(feature = "json", feature = "oci"))]
use super::Condition;
use super::{Action, Arch, Flags, Newer, Profile, Rule, Unknown};
use crate::Error;
use crate::capabilities::CapabilitySet;
use std::fmt;
use std::str::FromStr;

/// A profile some of whose rules depend on the container and the machine; [`Template::resolve`] makes a [`Profile`] of it.
///
/// Docker's profiles are templates: with CAP_SYS_ADMIN a container may call mount(2), without it not.
///
/// ```
/// use ampoule_privileges::capabilities::CapabilitySet;
/// use ampoule_privileges::seccomp::{Action, Arch, Host, Template};
///
/// let host = Host { arch: Arch::X86_64, capabilities: CapabilitySet::DOCKER, kernel: "6.1".parse()? };
/// let filter = Template::docker().resolve(&host).compile()?;
/// assert_eq!(filter.explain(Arch::X86_64, "mount", [0; 6])?.action, Action::Errno(1));
/// assert_eq!(filter.explain(Arch::X86_64, "clone3", [0; 6])?.action, Action::Errno(38));
/// # Ok::<(), ampoule_privileges::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What happens to a call that no rule names.
    pub default: Action,
    /// For each ABI of a machine, the ABIs that its programs may use besides.
    pub arches: Vec<(Arch, Vec<Arch>)>,
    /// The rules, and when they apply.
    pub sections: Vec<Section>,
    /// How the filter is loaded.
    pub flags: Flags,
}

/// A rule of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The rule.
    pub rule: Rule,
    /// It applies only where all of this holds.
    pub includes: Guard,
    /// It does not apply where any of this holds.
    pub excludes: Guard,
}

/// What a rule of a [`Template`] may depend on; what is not given does not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guard {
    /// The machine is one of these.
    pub arches: Option<Vec<Arch>>,
    /// The container has these capabilities.
    pub capabilities: CapabilitySet,
    /// The kernel is not older.
    pub kernel: Option<KernelVersion>,
}

/// The container and the machine that a [`Template`] is resolved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Host {
    /// The machine's own ABI.
    pub arch: Arch,
    /// The container's bounding set.
    pub capabilities: CapabilitySet,
    /// The running kernel.
    pub kernel: KernelVersion,
}

impl Host {
    /// This machine, and a container with these capabilities.
    ///
    /// # Errors
    /// [`Error::NoNativeArch`] on an architecture that filters cannot be compiled for.
    pub fn here(capabilities: CapabilitySet) -> Result<Host, Error> {
        Ok(Host {
            arch: Arch::native().ok_or(Error::NoNativeArch)?,
            capabilities,
            kernel: KernelVersion::running()?,
        })
    }
}

impl Template {
    /// The profile for this container on this machine. It answers newer calls with ENOSYS and skips unknown names, since
    /// that is what the runtimes do for which such profiles are written.
    pub fn resolve(&self, host: &Host) -> Profile {
        let mut profile = Profile::new(self.default);
        profile.newer = Newer::Enosys;
        profile.unknown = Unknown::Skip;
        profile.flags = self.flags;
        profile.arches.push(host.arch);
        for (arch, others) in &self.arches {
            if *arch == host.arch {
                profile.arches.extend(others);
            }
        }
        let applying = self.sections.iter().filter(|section| section.applies(host));
        profile
            .rules
            .extend(applying.map(|section| section.rule.clone()));
        profile
    }
}

impl Section {
    fn applies(&self, host: &Host) -> bool {
        self.includes.all(host) && !self.excludes.any(host)
    }
}

impl Guard {
    fn all(&self, host: &Host) -> bool {
        let arch = self.arches.as_ref();
        arch.is_none_or(|arches| arches.contains(&host.arch))
            && (self.capabilities - host.capabilities).is_empty()
            && self.kernel.is_none_or(|least| host.kernel >= least)
    }

    fn any(&self, host: &Host) -> bool {
        let arch = self.arches.as_ref();
        arch.is_some_and(|arches| arches.contains(&host.arch))
            || !(self.capabilities & host.capabilities).is_empty()
            || self.kernel.is_some_and(|least| host.kernel >= least)
    }
}

/// The rules that a foreign profile's entry means. Two conditions on one argument are alternatives there, not both required:
/// runc splits such an entry, and profiles are written for that.
#[cfg(any(feature = "json", feature = "oci"))]
pub(super) fn split(rule: Rule) -> Vec<Rule> {
    let mut arguments: Vec<u32> = rule.conditions.iter().map(|c| c.argument).collect();
    arguments.sort_unstable();
    arguments.dedup();
    if arguments.len() == rule.conditions.len() {
        return vec![rule];
    }
    let alone = |condition: &Condition| Rule {
        conditions: vec![*condition],
        ..rule.clone()
    };
    rule.conditions.iter().map(alone).collect()
}

/// A kernel's version, as far as profiles ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelVersion {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
}

impl KernelVersion {
    /// The running kernel's, from uname(2).
    ///
    /// # Errors
    /// [`Error::KernelVersion`] if its release does not begin with two numbers.
    pub fn running() -> Result<KernelVersion, Error> {
        rustix::system::uname().release().to_string_lossy().parse()
    }
}

/// Reads `4.8`, and releases such as `6.1.0-30-amd64`.
impl FromStr for KernelVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<KernelVersion, Error> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(KernelVersion { major, minor }),
            _ => Err(Error::KernelVersion(text.into())),
        }
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
