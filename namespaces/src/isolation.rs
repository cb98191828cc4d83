//! The namespaces of a process: which are new, which are joined, and what is set in the new ones.

use crate::idmap::IdMap;
use ampoule_plan::{Call, Draft, Error, Fd, Namespaces, OpenFlags, Part, Phase, Undo, path};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

/// The namespaces of a process.
///
/// ```
/// use ampoule_namespaces::{IdMap, Isolation, Namespaces};
///
/// let mut isolation = Isolation::new();
/// isolation.unshare(Namespaces::all()).id_map(IdMap::single(0, 0)).hostname("demo");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Isolation {
    unshare: Namespaces,
    join: Vec<(Namespaces, Arc<OwnedFd>)>,
    id_map: Option<IdMap>,
    hostname: Option<String>,
    domainname: Option<String>,
    offsets: Vec<(Clock, i64, u32)>,
    loopback: bool,
}

/// A clock that a time namespace can shift: time_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Time since some point in the past, without suspend.
    Monotonic,
    /// Time since boot, with suspend.
    Boottime,
}

impl Isolation {
    /// Everything is shared with the caller.
    pub fn new() -> Isolation {
        Isolation::default()
    }

    /// New namespaces of these kinds. A user namespace needs an [`id_map`](Isolation::id_map) as well.
    pub fn unshare(&mut self, kinds: Namespaces) -> &mut Isolation {
        self.unshare |= kinds;
        self
    }

    /// Joins the namespaces of these kinds that `fd` stands for: a namespace's own file, or a pidfd for several at once.
    #[doc(alias = "setns")]
    pub fn join(&mut self, kinds: Namespaces, fd: impl Into<Arc<OwnedFd>>) -> &mut Isolation {
        self.join.push((kinds, fd.into()));
        self
    }

    /// Which ids the new user namespace has.
    pub fn id_map(&mut self, map: IdMap) -> &mut Isolation {
        self.id_map = Some(map);
        self
    }

    /// The host name; needs a UTS namespace.
    pub fn hostname(&mut self, name: impl Into<String>) -> &mut Isolation {
        self.hostname = Some(name.into());
        self
    }

    /// The NIS domain name; needs a UTS namespace.
    pub fn domainname(&mut self, name: impl Into<String>) -> &mut Isolation {
        self.domainname = Some(name.into());
        self
    }

    /// Shifts a clock of the new time namespace, by seconds and nanoseconds.
    pub fn clock_offset(&mut self, clock: Clock, seconds: i64, nanoseconds: u32) -> &mut Isolation {
        self.offsets.push((clock, seconds, nanoseconds));
        self
    }

    /// Brings the loopback interface of a new network namespace up.
    pub fn loopback(&mut self) -> &mut Isolation {
        self.loopback = true;
        self
    }

    fn has(&self, kind: Namespaces) -> bool {
        self.unshare.contains(kind) || self.join.iter().any(|(kinds, _)| kinds.contains(kind))
    }

    fn check(&self) -> Result<(), Error> {
        let needs = [
            (
                self.hostname.is_some() || self.domainname.is_some(),
                Namespaces::CLONE_NEWUTS,
                "a host or domain name",
            ),
            (
                !self.offsets.is_empty(),
                Namespaces::CLONE_NEWTIME,
                "a clock offset",
            ),
            (
                self.loopback,
                Namespaces::CLONE_NEWNET,
                "a loopback interface",
            ),
            (
                self.id_map.is_some(),
                Namespaces::CLONE_NEWUSER,
                "an id map",
            ),
        ];
        for (asked, kind, what) in needs {
            if asked && !self.has(kind) {
                let kind = kind.iter_names().map(|(name, _)| name).collect::<String>();
                return Err(Error::Invalid(format!(
                    "{what} needs a namespace of its own ({kind})"
                )));
            }
        }
        if self.unshare.contains(Namespaces::CLONE_NEWTIME) && !enters_time_by_execve() {
            let problem = "a new time namespace needs Linux 6.3, which enters it with the program";
            return Err(Error::Invalid(problem.into()));
        }
        if self.unshare.contains(Namespaces::CLONE_NEWUSER) && self.id_map.is_none() {
            return Err(Error::Invalid(
                "a new user namespace needs an id map".into(),
            ));
        }
        let long = [&self.hostname, &self.domainname]
            .into_iter()
            .flatten()
            .find(|name| name.len() > 64);
        match long {
            Some(name) => Err(Error::Invalid(format!(
                "{name:?} has {} bytes: 64 are possible",
                name.len()
            ))),
            None => Ok(()),
        }
    }

    fn join_existing(&self, draft: &mut Draft) -> Result<(), Error> {
        if self.joins_a_running_container() {
            let undumpable = Call::Prctl {
                option: (libc::PR_SET_DUMPABLE as u32, "PR_SET_DUMPABLE"),
                args: [0; 4],
            };
            draft.child(
                Phase::Join,
                undumpable,
                "processes in there must not trace us, nor read our files in /proc",
            );
        }
        for (kinds, fd) in &self.join {
            let slot = draft.hold("namespace", fd.clone());
            draft.child(
                Phase::Join,
                Call::Setns {
                    fd: slot.into(),
                    kinds: *kinds,
                },
                "join what exists",
            );
        }
        let children = Namespaces::CLONE_NEWPID | Namespaces::CLONE_NEWTIME;
        if self
            .join
            .iter()
            .any(|(kinds, _)| kinds.intersects(children))
        {
            draft.child(
                Phase::Join,
                Call::Fork,
                "pid and time namespaces hold only the children of who joins them",
            );
        }
        Ok(())
    }

    fn joins_a_running_container(&self) -> bool {
        let shared = Namespaces::CLONE_NEWPID | Namespaces::CLONE_NEWNS | Namespaces::CLONE_NEWUSER;
        self.join.iter().any(|(kinds, _)| kinds.intersects(shared))
    }

    fn identity(&self, draft: &mut Draft) -> Result<(), Error> {
        let Some(map) = &self.id_map else {
            return Ok(());
        };
        let privileged = rustix::process::geteuid().is_root();
        if !privileged && map.is_single() {
            self.write_own_map(draft, map)?;
        } else {
            let map = map.clone();
            draft.host(Phase::Identity, "write uid_map and gid_map", move |child| {
                map.write(child.pid(), privileged)?;
                Ok(Undo::nothing())
            });
        }
        if map.outside_gid(0).is_some() && map.outside_uid(0).is_some() {
            draft.child(
                Phase::Identity,
                Call::Setresgid { gid: 0 },
                "group 0 of the new user namespace",
            );
            draft.child(
                Phase::Identity,
                Call::Setresuid { uid: 0 },
                "root of the new user namespace",
            );
        }
        Ok(())
    }

    /// A user may map itself. The group only once setgroups(2) is given up for good: else a group that takes a right away
    /// could be left.
    fn write_own_map(&self, draft: &mut Draft, map: &IdMap) -> Result<(), Error> {
        let files = [
            (
                "/proc/self/setgroups",
                "deny".to_string(),
                "without privilege, groups can only be kept",
            ),
            (
                "/proc/self/gid_map",
                map.gid_lines(),
                "the group inside stands for the user's own",
            ),
            (
                "/proc/self/uid_map",
                map.uid_lines(),
                "the user inside stands for the user's own",
            ),
        ];
        for (file, text, why) in files {
            let out = draft.slot(file);
            let flags = OpenFlags::O_WRONLY;
            let open = Call::Openat {
                dir: Fd::Cwd,
                path: path(file)?,
                flags,
                mode: 0,
                out,
            };
            draft.child(Phase::Identity, open, why);
            draft.child(
                Phase::Identity,
                Call::Write {
                    fd: out.into(),
                    bytes: text.into_bytes(),
                },
                why,
            );
        }
        Ok(())
    }

    fn time(&self, draft: &mut Draft) {
        if !self.unshare.contains(Namespaces::CLONE_NEWTIME) {
            return;
        }
        let unshare = Call::Unshare {
            kinds: Namespaces::CLONE_NEWTIME,
        };
        draft.child(
            Phase::Identity,
            unshare,
            "a time namespace is entered with the program",
        );
        if self.offsets.is_empty() {
            return;
        }
        let lines: String = self
            .offsets
            .iter()
            .map(|(clock, s, ns)| format!("{} {s} {ns}\n", clock.number()))
            .collect();
        draft.host(Phase::Identity, "write timens_offsets", move |child| {
            write_whole(&format!("/proc/{}/timens_offsets", child.pid()), &lines)?;
            Ok(Undo::nothing())
        });
    }

    fn network(&self, draft: &mut Draft) {
        if !self.loopback {
            return;
        }
        let socket = draft.slot("socket");
        let make = Call::Socket {
            domain: libc::AF_INET as u32,
            kind: libc::SOCK_DGRAM as u32,
            protocol: 0,
            out: socket,
        };
        draft.child(Phase::Network, make, "any socket reaches the interfaces");
        let up = Call::Ioctl {
            fd: socket.into(),
            request: (libc::SIOCSIFFLAGS, "SIOCSIFFLAGS"),
            argument: loopback_up(),
            shows: "{\"lo\", IFF_UP}".into(),
        };
        draft.child(Phase::Network, up, "127.0.0.1 works");
    }

    fn names(&self, draft: &mut Draft) -> Result<(), Error> {
        if let Some(name) = &self.hostname {
            draft.child(
                Phase::Session,
                Call::Sethostname { name: path(name)? },
                "a name of its own",
            );
        }
        if let Some(name) = &self.domainname {
            draft.child(
                Phase::Session,
                Call::Setdomainname { name: path(name)? },
                "a domain of its own",
            );
        }
        Ok(())
    }
}

impl Part for Isolation {
    fn contribute(&self, draft: &mut Draft) -> Result<(), Error> {
        self.check()?;
        // A time namespace cannot be born with memory that is shared: it is unshared by the child.
        draft.unshare(self.unshare - Namespaces::CLONE_NEWTIME);
        self.join_existing(draft)?;
        self.identity(draft)?;
        self.time(draft);
        self.network(draft);
        self.names(draft)
    }
}

/// Since Linux 6.3 a process enters the time namespace that it has unshared or joined by executing a program; before that,
/// its children did, if they shared no memory with it.
pub(crate) fn enters_time_by_execve() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let release = rustix::system::uname();
        let text = release.release().to_string_lossy();
        let mut numbers = text
            .split(['.', '-'])
            .map_while(|part| part.parse::<u32>().ok());
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 3)
    })
}

impl Clock {
    fn number(self) -> i32 {
        match self {
            Clock::Monotonic => libc::CLOCK_MONOTONIC,
            Clock::Boottime => libc::CLOCK_BOOTTIME,
        }
    }
}

/// The kernel takes all offsets in one write only.
fn write_whole(file: &str, text: &str) -> io::Result<()> {
    let written = rustix::io::write(fs::File::options().write(true).open(file)?, text.as_bytes())?;
    if written == text.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// `struct ifreq` with the name `lo` and the flag `IFF_UP`: netdevice(7).
fn loopback_up() -> Vec<u8> {
    let mut request = vec![0; 40];
    request[..2].copy_from_slice(b"lo");
    request[16..18].copy_from_slice(&(libc::IFF_UP as u16).to_ne_bytes());
    request
}
