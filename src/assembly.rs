//! From a description to a plan, and from that to a running container.

use crate::child::{Child, Inside, Pipes};
use crate::container::{Container, Seccomp};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::limits::{self, Entry};
use crate::network::Kind;
use crate::stdio::{self, Stdio};
use crate::user::{self, Person};
use ampoule_cgroups::{Access, DeviceKind, DeviceRule, Resources};
use ampoule_namespaces::{Command, IdMap, Isolation, Namespaces, Starter, Terminal, launch};
use ampoule_plan::{Call, Draft, Errno, Part, Phase, Plan};
use ampoule_privileges::Privileges;
use ampoule_privileges::capabilities::{Capabilities, CapabilitySet};
use ampoule_rootfs::{Dev, Maker, Rootfs, Sys};
use ampoule_volumes::Volumes;
use rustix::fs::{FileType, major, minor, stat};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Everything that one start is made of, prepared.
pub(crate) struct Assembly<'a> {
    pub(crate) container: &'a Container,
    pub(crate) engine: &'static Engine,
    pub(crate) name: String,
    maker: Maker,
    pub(crate) root: Option<ampoule_rootfs::Ready>,
    pub(crate) volumes: Option<ampoule_volumes::Ready>,
    person: Person,
    pub(crate) started: Instant,
}

impl<'a> Assembly<'a> {
    /// Prepares what the host prepares, and finds what can be wrong with the description.
    pub(crate) fn new(container: &'a Container) -> Result<Assembly<'a>> {
        let started = Instant::now();
        let engine = Engine::shared();
        let maker = engine.maker();
        let root = rootfs(container, engine, maker).prepare(&engine.templates)?;
        let volumes =
            Volumes::new(container.volumes.iter().cloned()).prepare(maker, root.root())?;
        let person = user::find(container.user.as_deref(), |file| match root.written(file) {
            Some(text) => text.to_string(),
            None => user::read(root.root(), file),
        })?;
        let name = container.name.clone().unwrap_or_else(fresh_name);
        Ok(Assembly {
            container,
            engine,
            name,
            maker,
            root: Some(root),
            volumes: Some(volumes),
            person,
            started,
        })
    }

    /// For a program whose container is there already: its root tree is not seen from here, so its user must be a number.
    pub(crate) fn of_program(container: &'a Container) -> Result<Assembly<'a>> {
        let engine = Engine::shared();
        Ok(Assembly {
            container,
            engine,
            name: String::new(),
            maker: engine.maker(),
            root: None,
            volumes: None,
            person: user::find(container.user.as_deref(), |_| String::new())?,
            started: Instant::now(),
        })
    }

    /// What is known of the container's inside once it runs.
    pub(crate) fn inside(&self) -> Inside {
        Inside {
            maker: self.maker,
            id_map: id_map(self.container, self.maker),
        }
    }

    /// The name that the container calls itself.
    pub(crate) fn hostname(&self) -> &str {
        self.container.hostname.as_deref().unwrap_or(&self.name)
    }

    /// What its programs may do.
    pub(crate) fn privileges(&self) -> Result<Privileges> {
        privileges(self.container, self.engine, &self.person, self.maker)
    }

    /// The plan, with the streams of the caller.
    pub(crate) fn plan(self) -> Result<Plan> {
        let command = self.command(&Streams::inherited()?)?;
        let entry = limits::preview(self.engine, &self.resources()?)?;
        Ok(self.draft(&command, &entry)?.finish()?)
    }

    /// Makes the cgroup, plays the plan, and hands the child over.
    pub(crate) fn start(self, adjust: impl FnOnce(&mut Plan)) -> Result<Child> {
        let resources = self.resources()?;
        let (cgroup, entry) = limits::create(self.engine, &self.name, &resources)?;
        let (streams, pipes) = self.streams()?;
        let command = self.command(&streams)?;
        let mut plan = self.draft(&command, &entry)?.finish()?;
        adjust(&mut plan);
        drop((streams, command, entry));
        let process = launch(plan)?;
        Ok(Child::new(
            self.container,
            self.inside(),
            process,
            cgroup,
            pipes,
            self.started,
        ))
    }

    /// The limits asked for and, where the container's root is the machine's, the devices that it may use: those in its
    /// `/dev`, unless the caller has said otherwise. In a user namespace the kernel opens no device that was made there.
    pub(crate) fn resources(&self) -> Result<Resources> {
        let mut resources = self.container.resources.clone();
        let mapped = id_map(self.container, self.maker).is_some();
        if resources.devices.is_none() && !mapped && self.engine.filters_devices()? {
            resources.devices(devices(&self.container.dev)?);
        }
        Ok(resources)
    }

    /// The order matters where two parts contribute to one phase: the program's last steps stand before the filter's.
    fn draft(&self, command: &Command, entry: &Entry) -> Result<Draft> {
        let mut draft = Draft::new();
        let isolation = self.isolation()?;
        let privileges = self.privileges()?;
        let keyring = Keyring::of(self.container);
        let parts: [&dyn Part; 7] = [
            &isolation,
            entry,
            &self.root,
            &self.volumes,
            &keyring,
            command,
            &privileges,
        ];
        for part in parts {
            part.contribute(&mut draft)?;
        }
        Ok(draft)
    }

    pub(crate) fn isolation(&self) -> Result<Isolation> {
        let mut kinds = Namespaces::all() - Namespaces::CLONE_NEWTIME - Namespaces::CLONE_NEWUSER;
        let mut isolation = Isolation::new();
        match &self.container.network.0 {
            Kind::Host => kinds.remove(Namespaces::CLONE_NEWNET),
            Kind::None => {
                isolation.loopback();
            }
            Kind::Namespace(namespace) => {
                kinds.remove(Namespaces::CLONE_NEWNET);
                let fd = namespace.as_fd().try_clone_to_owned();
                let fd = fd.map_err(|e| Error::os("copy a network namespace's descriptor", e))?;
                isolation.join(Namespaces::CLONE_NEWNET, fd);
            }
        }
        if let Some(map) = id_map(self.container, self.maker) {
            kinds.insert(Namespaces::CLONE_NEWUSER);
            isolation.id_map(map);
        }
        isolation.unshare(kinds).hostname(self.hostname());
        Ok(isolation)
    }

    /// The standard streams: the container's ends, and the caller's.
    pub(crate) fn streams(&self) -> Result<(Streams, Pipes)> {
        let terminals = self.root.as_ref().and_then(|root| root.terminals());
        Streams::new(self.container, terminals)
    }

    /// A parked process is our sealed program already: there is no binary of the host's to protect.
    pub(crate) fn command_of_parked(&self, streams: &Streams) -> Result<Command> {
        let mut command = self.command(streams)?;
        if !self.container.init {
            command.starter(Starter::Direct);
        }
        Ok(command)
    }

    pub(crate) fn command(&self, streams: &Streams) -> Result<Command> {
        let mut command = command(self.container, &self.person);
        streams.give(&mut command);
        command.starter(starter(self.container));
        for (number, fd) in &self.container.passed {
            command.pass(*number, fd.clone());
        }
        Ok(command)
    }
}

/// The rules for the standard devices and those that were added to `/dev`.
fn devices(dev: &Dev) -> Result<Vec<DeviceRule>> {
    let mut rules = DeviceRule::standard();
    for device in dev.devices() {
        let source = &device.source;
        let found = stat(source).map_err(|e| Error::os(format!("look at {source:?}"), e))?;
        let kind = match FileType::from_raw_mode(found.st_mode) {
            FileType::BlockDevice => DeviceKind::Block,
            _ => DeviceKind::Char,
        };
        rules.push(DeviceRule {
            allow: true,
            kind,
            major: Some(major(found.st_rdev)),
            minor: Some(minor(found.st_rdev)),
            access: Access::all(),
        });
    }
    Ok(rules)
}

fn rootfs(container: &Container, engine: &Engine, maker: Maker) -> Rootfs {
    let mut rootfs = Rootfs::new(container.root.clone());
    let sys = if container.network.is_host() {
        Sys::Host
    } else {
        Sys::Own
    };
    rootfs
        .maker(maker)
        .read_only(container.read_only)
        .dev(Some(container.dev.clone()))
        .sys(sys);
    rootfs.cgroups(engine.cgroups());
    if let (Maker::Host, Some(map)) = (maker, &container.id_map)
        && let (Some(uid), Some(gid)) = (map.outside_uid(0), map.outside_gid(0))
    {
        rootfs.owner(uid, gid);
    }
    rootfs
}

/// An ordinary user's container has a user namespace in any case: it is where its privileges come from.
pub(crate) fn id_map(container: &Container, maker: Maker) -> Option<IdMap> {
    let own = (maker == Maker::Child).then(|| IdMap::single(0, 0));
    container.id_map.clone().or(own)
}

/// What every program of the container is started with.
pub(crate) fn command(container: &Container, person: &Person) -> Command {
    let mut command = Command::new(&container.program);
    command
        .args(&container.args)
        .current_dir(&container.directory)
        .umask(0o022);
    command
        .env("PATH", ampoule_namespaces::DEFAULT_PATH)
        .env("HOME", &person.home);
    if container.terminal.is_some() {
        command.terminal().env("TERM", "xterm");
    }
    for (name, value) in &container.env {
        command.env(name, value);
    }
    command
}

/// What `/proc/self/exe` leads to when the program starts is never the host's binary: an ordinary user's container may well
/// be allowed to write to it, because its root is that user, and any could read it (CVE-2019-5736).
fn starter(container: &Container) -> Starter {
    if container.init {
        Starter::Reaper
    } else {
        Starter::Sealed
    }
}

/// A session keyring of its own, as Docker gives one. Without a name, so that no other container can join it by that.
#[derive(Debug)]
pub(crate) struct Keyring {
    /// No system call that reaches a key passes the filter.
    filtered: bool,
}

impl Keyring {
    pub(crate) fn of(container: &Container) -> Keyring {
        let filtered = matches!(container.seccomp, Seccomp::Docker);
        Keyring { filtered }
    }
}

impl Part for Keyring {
    fn contribute(&self, draft: &mut Draft) -> Result<(), ampoule_plan::Error> {
        let call = Call::JoinSessionKeyring { name: None };
        let why = "the keys of the caller's session are out of reach";
        let mut step = draft.child(Phase::Session, call, why);
        // Then there are no keys, or a filter of the caller's own keeps them from it and so from the container.
        step.tolerate(Errno::ENOSYS).tolerate(Errno::EPERM);
        if self.filtered {
            // An ordinary user may have 200 keyrings.
            step.tolerate(Errno::EDQUOT);
        }
        Ok(())
    }
}

/// What every program of the container may do.
pub(crate) fn privileges(
    container: &Container,
    engine: &Engine,
    person: &Person,
    maker: Maker,
) -> Result<Privileges> {
    let kept = container.capabilities & CapabilitySet::supported()?;
    let mut privileges = container.privileges.clone();
    // The kernel takes an ordinary user's capabilities when it executes a program: what is not there cannot come back.
    privileges.capabilities(Capabilities::of(kept));
    if !container.new_privileges {
        privileges.no_new_privs();
    }
    match &container.seccomp {
        Seccomp::Docker => {
            privileges.seccomp(engine.docker_filter(kept)?);
        }
        Seccomp::Filter(filter) => {
            privileges.seccomp(filter.clone());
        }
        Seccomp::Unconfined => {}
    }
    match id_map(container, maker) {
        // Where groups cannot be set, the one user there is stays.
        Some(map) if map.uids().iter().map(|extent| extent.count).sum::<u32>() == 1 => {
            let only = map.uids()[0].inside;
            if person.user.uid != only {
                let problem = format!(
                    "user {} has no id in this user namespace, which has {only} only: give it more by \
                     IdMap::subordinate(), `--userns auto` on the command line",
                    person.user.uid
                );
                return Err(Error::Invalid(problem));
            }
        }
        _ => {
            privileges.user(person.user.clone());
        }
    }
    Ok(privileges)
}

/// A name that no other container of this machine has.
fn fresh_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!(
        "{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// The three streams of one start.
pub(crate) struct Streams {
    fds: [stdio::Given; 3],
}

impl Streams {
    fn inherited() -> Result<Streams> {
        Ok(Streams {
            fds: [None, None, None],
        })
    }

    /// The container's ends, and the caller's. A terminal is one of `terminals`, else one of the host's.
    pub(crate) fn new(
        container: &Container,
        terminals: Option<BorrowedFd<'_>>,
    ) -> Result<(Streams, Pipes)> {
        if let Some((columns, rows)) = container.terminal {
            let terminal = Terminal::open(terminals)?;
            terminal.resize(columns, rows)?;
            let slave = Arc::new(terminal.slave);
            let fds = [Some(slave.clone()), Some(slave.clone()), Some(slave)];
            return Ok((
                Streams { fds },
                Pipes {
                    terminal: Some(terminal.master),
                    ..Pipes::default()
                },
            ));
        }
        let [stdin, stdout, stderr] = container
            .streams
            .clone()
            .map(|stream| stream.unwrap_or(Stdio::Inherit));
        let (input, stdin) = stdio::input(&stdin)?;
        let (output, stdout) = stdio::output(&stdout)?;
        let (errors, stderr) = stdio::output(&stderr)?;
        Ok((
            Streams {
                fds: [input, output, errors],
            },
            Pipes {
                stdin,
                stdout,
                stderr,
                terminal: None,
            },
        ))
    }

    pub(crate) fn give(&self, command: &mut Command) {
        let [stdin, stdout, stderr] = self.fds.clone();
        stdin.map(|fd| command.stdin(fd));
        stdout.map(|fd| command.stdout(fd));
        stderr.map(|fd| command.stderr(fd));
    }
}
