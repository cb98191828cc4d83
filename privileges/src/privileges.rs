use crate::capabilities::{Capabilities, CapabilitySet};
use crate::error::within;
use crate::limits::Rlimit;
use crate::scheduling::{CpuSet, IoPriority, Scheduler};
use crate::seccomp::{Action, Arch, Filter};
use crate::{Error, Label, Securebits};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What a process may do, and what it may use, as a [`Part`](ampoule_plan::Part) of its start.
///
/// What is not set stays as the caller has it. Contribute it after the program itself: steps of one phase keep the order in
/// which they were drafted, and the program's last steps stand before the filter.
///
/// ```
/// use ampoule_plan::{Draft, Part};
/// use ampoule_privileges::Privileges;
/// use ampoule_privileges::capabilities::{Capabilities, CapabilitySet};
///
/// let mut privileges = Privileges::new();
/// privileges
///     .capabilities(Capabilities::of("CHOWN,KILL".parse()?))
///     .no_new_privs()
///     .rlimit("nofile=1024:2048".parse()?);
/// let mut draft = Draft::new();
/// privileges.contribute(&mut draft)?;
/// let score = draft.finish()?.to_string();
/// assert!(score.contains("PR_CAPBSET_DROP"));
/// assert!(score.contains("PR_SET_NO_NEW_PRIVS"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Order
/// Scheduling comes first (phase `Limits`), the keyring and the personality with the session (`Session`). Then privileges go
/// (`Drop`): the label for the next program; resource limits, which would be in the way before; the bounding set, while CAP_SETPCAP is there; secure bits; the user, with
/// capabilities kept over the change; the other sets, ambient last, because raising needs permitted and inheritable;
/// no_new_privs; Landlock, which needs either that or CAP_SYS_ADMIN. The system-call filter is last (`Filter`).
///
/// Without no_new_privs the kernel takes a filter only from a process that has CAP_SYS_ADMIN. It is then loaded *before*
/// privileges are dropped, as runc does it, and must allow the calls that drop them; a filter that does not is refused here.
#[derive(Clone, Default)]
#[must_use]
pub struct Privileges {
    pub(crate) capabilities: Option<Capabilities>,
    pub(crate) user: Option<User>,
    pub(crate) securebits: Option<Securebits>,
    pub(crate) no_new_privs: bool,
    pub(crate) seccomp: Option<Filter>,
    pub(crate) listener: Option<Listener>,
    pub(crate) label: Option<Label>,
    #[cfg(feature = "landlock")]
    pub(crate) landlock: Option<crate::landlock::Landlock>,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) nice: Option<i32>,
    pub(crate) scheduler: Option<Scheduler>,
    pub(crate) io_priority: Option<IoPriority>,
    pub(crate) cpus: Option<CpuSet>,
    pub(crate) personality: Option<u32>,
    pub(crate) session_keyring: Option<String>,
}

/// Takes the listener of a filter that notifies.
pub(crate) type Listener = Arc<dyn Fn(OwnedFd) -> io::Result<()> + Send + Sync>;

/// Whom a process runs as, by ids of its user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User {
    /// Real, effective and saved user id.
    pub uid: u32,
    /// Real, effective and saved group id.
    pub gid: u32,
    /// Supplementary groups; none at all if empty.
    pub groups: Vec<u32>,
}

impl User {
    /// To the kernel the last number means "as before": that would be the caller's own privileges.
    fn checks(&self) -> impl Iterator<Item = Result<(), Error>> {
        let ids = [("user id", &self.uid), ("group id", &self.gid)].into_iter();
        let ids = ids.chain(self.groups.iter().map(|group| ("group id", group)));
        ids.map(|(what, id)| within(what, (*id).into(), 0, i64::from(u32::MAX) - 1))
    }
}

impl Privileges {
    /// Everything as the caller has it.
    pub fn new() -> Privileges {
        Privileges::default()
    }

    /// Sets all five capability sets.
    pub fn capabilities(&mut self, capabilities: Capabilities) -> &mut Privileges {
        self.capabilities = Some(capabilities);
        self
    }

    /// Changes user, group and supplementary groups. Capabilities that are [set](Self::capabilities) are kept over it.
    pub fn user(&mut self, user: User) -> &mut Privileges {
        self.user = Some(user);
        self
    }

    /// Sets the secure bits; needs CAP_SETPCAP.
    pub fn securebits(&mut self, bits: Securebits) -> &mut Privileges {
        self.securebits = Some(bits);
        self
    }

    /// Executing a program never gives privileges again: set-user-ID bits and file capabilities have no effect.
    #[doc(alias = "PR_SET_NO_NEW_PRIVS")]
    pub fn no_new_privs(&mut self) -> &mut Privileges {
        self.no_new_privs = true;
        self
    }

    /// Filters system calls.
    pub fn seccomp(&mut self, filter: Filter) -> &mut Privileges {
        self.seccomp = Some(filter);
        self
    }

    /// Takes the listener of a filter with [`Flags::new_listener`](crate::seccomp::Flags), while the process waits to
    /// execute its program. The waiting itself is filtered: a filter that notifies of read, write, poll or close would wait
    /// for whoever waits for it.
    pub fn listener<F>(&mut self, take: F) -> &mut Privileges
    where
        F: Fn(OwnedFd) -> io::Result<()> + Send + Sync + 'static,
    {
        self.listener = Some(Arc::new(take));
        self
    }

    /// Confines the program by an AppArmor profile or an SELinux context.
    pub fn label(&mut self, label: Label) -> &mut Privileges {
        self.label = Some(label);
        self
    }

    /// Restricts access to files and ports; needs [`no_new_privs`](Self::no_new_privs), or CAP_SYS_ADMIN to the end.
    #[cfg(feature = "landlock")]
    pub fn landlock(&mut self, landlock: crate::landlock::Landlock) -> &mut Privileges {
        self.landlock = Some(landlock);
        self
    }

    /// Limits a resource; the last limit on a resource counts.
    pub fn rlimit(&mut self, limit: Rlimit) -> &mut Privileges {
        self.rlimits
            .retain(|other| other.resource != limit.resource);
        self.rlimits.push(limit);
        self
    }

    /// Sets how likely the process is killed when memory runs out: -1000 (never) to 1000. Lowering it needs
    /// CAP_SYS_RESOURCE.
    pub fn oom_score_adj(&mut self, adjustment: i32) -> &mut Privileges {
        self.oom_score_adj = Some(adjustment);
        self
    }

    /// Sets the nice value, -20 to 19. Lowering it needs CAP_SYS_NICE.
    pub fn nice(&mut self, nice: i32) -> &mut Privileges {
        self.nice = Some(nice);
        self
    }

    /// Sets the scheduling policy.
    pub fn scheduler(&mut self, scheduler: Scheduler) -> &mut Privileges {
        self.scheduler = Some(scheduler);
        self
    }

    /// Sets the priority of I/O.
    pub fn io_priority(&mut self, priority: IoPriority) -> &mut Privileges {
        self.io_priority = Some(priority);
        self
    }

    /// Sets the processors that it may run on.
    #[doc(alias = "sched_setaffinity")]
    pub fn cpus(&mut self, cpus: CpuSet) -> &mut Privileges {
        self.cpus = Some(cpus);
        self
    }

    /// Sets the execution domain, as personality(2) numbers it: 0 is Linux, 8 is Linux as 32-bit programs see it.
    pub fn personality(&mut self, persona: u32) -> &mut Privileges {
        self.personality = Some(persona);
        self
    }

    /// Starts a new session keyring of this name, so that the caller's keys are out of reach.
    pub fn session_keyring(&mut self, name: impl Into<String>) -> &mut Privileges {
        self.session_keyring = Some(name.into());
        self
    }

    /// Finds what the kernel would refuse, before anything is started.
    ///
    /// # Errors
    /// The error, or [`Error::Several`] of them.
    pub fn check(&self) -> Result<(), Error> {
        let mut errors: Vec<Error> = self.checks().into_iter().filter_map(Result::err).collect();
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Error::Several(errors)),
        }
    }

    fn checks(&self) -> Vec<Result<(), Error>> {
        let mut checks = vec![
            self.capabilities
                .as_ref()
                .map_or(Ok(()), check_capabilities),
            self.scheduler.as_ref().map_or(Ok(()), Scheduler::check),
            self.io_priority.as_ref().map_or(Ok(()), IoPriority::check),
            self.check_early_filter(),
        ];
        if let (Some(capabilities), Some(bits)) = (&self.capabilities, self.securebits) {
            checks.push(check_ambient(capabilities, bits));
        }
        checks.extend(self.user.iter().flat_map(User::checks));
        checks.extend(self.rlimits.iter().map(Rlimit::check));
        checks.extend(
            self.oom_score_adj
                .map(|value| within("OOM score adjustment", value.into(), -1000, 1000)),
        );
        checks.extend(
            self.nice
                .map(|value| within("nice value", value.into(), -20, 19)),
        );
        checks
    }

    /// A filter that is loaded before privileges are dropped must let them be dropped.
    fn check_early_filter(&self) -> Result<(), Error> {
        let (Some(filter), Some(arch)) = (&self.seccomp, Arch::native()) else {
            return Ok(());
        };
        if self.no_new_privs {
            return Ok(());
        }
        let user = self
            .user
            .iter()
            .flat_map(|_| ["setgroups", "setresgid", "setresuid"]);
        let capabilities = self.capabilities.iter().flat_map(|_| ["capset", "prctl"]);
        let forbidden = |call: &&'static str| {
            let decision = filter.explain(arch, call, [0; 6]);
            decision.is_ok_and(|decision| !matches!(decision.action, Action::Allow | Action::Log))
        };
        match user.chain(capabilities).find(forbidden) {
            Some(call) => Err(Error::FilterTooEarly { call }),
            None => Ok(()),
        }
    }
}

/// Ambient capabilities that the secure bits keep from being raised.
fn check_ambient(capabilities: &Capabilities, bits: Securebits) -> Result<(), Error> {
    let forbidden = bits.contains(Securebits::NO_CAP_AMBIENT_RAISE);
    match forbidden && !capabilities.ambient.is_empty() {
        true => Err(Error::AmbientForbidden(capabilities.ambient)),
        false => Ok(()),
    }
}

fn check_capabilities(capabilities: &Capabilities) -> Result<(), Error> {
    capabilities.check()?;
    match capabilities.union() - CapabilitySet::supported()? {
        none if none.is_empty() => Ok(()),
        beyond => Err(Error::CapabilitiesUnsupported(beyond)),
    }
}

impl fmt::Debug for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Privileges")
            .field("capabilities", &self.capabilities)
            .field("user", &self.user)
            .field("no_new_privs", &self.no_new_privs)
            .field("seccomp", &self.seccomp.is_some())
            .field("label", &self.label)
            .field("rlimits", &self.rlimits)
            .finish_non_exhaustive()
    }
}
