//! The description of a container.

use crate::assembly::Assembly;
use crate::child::Child;
use crate::engine::Engine;
use crate::error::Result;
use crate::network::Network;
use crate::report::{Output, Report};
use crate::stdio::Stdio;
use ampoule_cgroups::Resources;
use ampoule_namespaces::IdMap;
use ampoule_plan::Plan;
use ampoule_privileges::Privileges;
use ampoule_privileges::capabilities::CapabilitySet;
use ampoule_privileges::seccomp::Filter;
use ampoule_rootfs::{Dev, Root};
use ampoule_volumes::Volume;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

/// A container: what runs, what it sees, what it may do and use.
///
/// It mirrors [`std::process::Command`]: setters gather, and [`spawn`](Container::spawn), [`status`](Container::status) or
/// [`output`](Container::output) starts it, as often as you like. The defaults are safe: every namespace is its own, Docker's
/// capabilities and system-call filter, no new privileges, masked and read-only paths, no network, and a fresh root tree.
///
/// ```no_run
/// use ampoule::{Container, Network, Root};
/// use std::time::Duration;
///
/// let output = Container::new("sh")
///     .args(["-c", "echo hello from $(hostname)"])
///     .root(Root::host())
///     .hostname("demo")
///     .memory(64 << 20)
///     .cpus(0.5)
///     .pids(32)
///     .network(Network::none())
///     .timeout(Duration::from_secs(5))
///     .output()?;
/// assert_eq!(output.stdout, b"hello from demo\n");
/// println!("{}", output.report);
/// # Ok::<(), ampoule::Error>(())
/// ```
///
/// # Root and ordinary users
/// As root, the container's root is the host's: its capabilities are cut down and it sees nothing of the host, but give it
/// ids of its own with [`id_map`](Container::id_map) where you can. As an ordinary user, the container lives in a user
/// namespace in which its root stands for that user; limits then need a delegated cgroup.
#[derive(Debug, Clone)]
pub struct Container {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) directory: OsString,
    pub(crate) user: Option<String>,
    pub(crate) root: Root,
    pub(crate) read_only: bool,
    pub(crate) volumes: Vec<Volume>,
    pub(crate) dev: Dev,
    pub(crate) hostname: Option<String>,
    pub(crate) network: Network,
    pub(crate) id_map: Option<IdMap>,
    pub(crate) resources: Resources,
    pub(crate) capabilities: CapabilitySet,
    pub(crate) seccomp: Seccomp,
    pub(crate) new_privileges: bool,
    pub(crate) privileges: Privileges,
    pub(crate) init: bool,
    pub(crate) terminal: Option<(u16, u16)>,
    pub(crate) streams: [Option<Stdio>; 3],
    pub(crate) passed: Vec<(i32, std::sync::Arc<std::os::fd::OwnedFd>)>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) name: Option<String>,
}

/// Which system calls a container may make.
#[derive(Debug, Clone, Default)]
pub enum Seccomp {
    /// Docker's default profile for the container's capabilities.
    #[default]
    Docker,
    /// This filter.
    Filter(Filter),
    /// All of them.
    Unconfined,
}

impl Container {
    /// A container that runs this program: a path inside, or a name on the `PATH` inside. Its root is [`Root::host`] unless
    /// set, its environment has a `PATH` and `HOME` only.
    pub fn new(program: impl AsRef<OsStr>) -> Container {
        Container {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            directory: "/".into(),
            user: None,
            root: Root::host(),
            read_only: false,
            volumes: Vec::new(),
            dev: Dev::default(),
            hostname: None,
            network: Network::none(),
            id_map: None,
            resources: Resources::new(),
            capabilities: CapabilitySet::DOCKER,
            seccomp: Seccomp::Docker,
            new_privileges: false,
            privileges: Privileges::new(),
            init: false,
            terminal: None,
            streams: [const { None }; 3],
            passed: Vec::new(),
            timeout: None,
            name: None,
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Container {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = A>) -> &mut Container {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment. Nothing of the caller's environment is passed on.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Container {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The working directory inside; `/` by default.
    pub fn current_dir(&mut self, directory: impl AsRef<OsStr>) -> &mut Container {
        self.directory = directory.as_ref().to_owned();
        self
    }

    /// Whom the program runs as, in docker's form: `USER[:GROUP]`, by name (as the root tree's `/etc/passwd` has it) or by
    /// number. Root by default.
    pub fn user(&mut self, user: impl Into<String>) -> &mut Container {
        self.user = Some(user.into());
        self
    }

    /// What the container sees as `/`.
    pub fn root(&mut self, root: Root) -> &mut Container {
        self.root = root;
        self
    }

    /// Whether the root can be read only.
    pub fn read_only(&mut self, read_only: bool) -> &mut Container {
        self.read_only = read_only;
        self
    }

    /// Adds a volume.
    pub fn volume(&mut self, volume: Volume) -> &mut Container {
        self.volumes.push(volume);
        self
    }

    /// What `/dev` holds.
    pub fn dev(&mut self, dev: Dev) -> &mut Container {
        self.dev = dev;
        self
    }

    /// The host name; the container's name by default.
    pub fn hostname(&mut self, name: impl Into<String>) -> &mut Container {
        self.hostname = Some(name.into());
        self
    }

    /// What network it has.
    pub fn network(&mut self, network: Network) -> &mut Container {
        self.network = network;
        self
    }

    /// Puts it into a user namespace with these ids.
    pub fn id_map(&mut self, map: IdMap) -> &mut Container {
        self.id_map = Some(map);
        self
    }

    /// The most memory it may use, in bytes. There is no swap beside it.
    pub fn memory(&mut self, bytes: u64) -> &mut Container {
        self.resources.memory(bytes).swap(0);
        self
    }

    /// How many processors' time it may use: 0.5 is half of one.
    pub fn cpus(&mut self, cpus: f64) -> &mut Container {
        self.resources.cpus(cpus);
        self
    }

    /// The most processes and threads it may have.
    pub fn pids(&mut self, count: u64) -> &mut Container {
        self.resources.pids(count);
        self
    }

    /// All other limits of its cgroup.
    pub fn resources(&mut self) -> &mut Resources {
        &mut self.resources
    }

    /// The capabilities of its root user; Docker's fourteen by default.
    pub fn capabilities(&mut self, set: CapabilitySet) -> &mut Container {
        self.capabilities = set;
        self
    }

    /// Which system calls it may make.
    pub fn seccomp(&mut self, seccomp: Seccomp) -> &mut Container {
        self.seccomp = seccomp;
        self
    }

    /// Whether programs with set-user-ID bits or file capabilities give privileges; by default they do not.
    pub fn new_privileges(&mut self, allowed: bool) -> &mut Container {
        self.new_privileges = allowed;
        self
    }

    /// What else a process may do and use: resource limits, Landlock, scheduling, labels. User, capabilities and filter are
    /// set by the container's own setters.
    pub fn privileges(&mut self) -> &mut Privileges {
        &mut self.privileges
    }

    /// Whether a small program runs as process 1, reaps orphans and passes signals on; else the program itself is process 1.
    pub fn init(&mut self, init: bool) -> &mut Container {
        self.init = init;
        self
    }

    /// Gives it a terminal of this size in characters; [`Child::terminal`] is the other end.
    pub fn terminal(&mut self, columns: u16, rows: u16) -> &mut Container {
        self.terminal = Some((columns, rows));
        self
    }

    /// Standard input. By default the caller's with [`spawn`](Container::spawn) and [`status`](Container::status), nothing
    /// with [`output`](Container::output).
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Container {
        self.streams[0] = Some(stdio.into());
        self
    }

    /// Standard output. By default the caller's, a pipe with [`output`](Container::output).
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Container {
        self.streams[1] = Some(stdio.into());
        self
    }

    /// Standard error. By default the caller's, a pipe with [`output`](Container::output).
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Container {
        self.streams[2] = Some(stdio.into());
        self
    }

    /// A file descriptor that the program finds under this number, 3 or more. No others reach it.
    pub fn pass(
        &mut self,
        number: i32,
        fd: impl Into<std::sync::Arc<std::os::fd::OwnedFd>>,
    ) -> &mut Container {
        self.passed.push((number, fd.into()));
        self
    }

    /// How long it may run, from its start; then everything in it is killed.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Container {
        self.timeout = Some(timeout);
        self
    }

    /// Its name: that of its cgroup, and its host name unless another is set. By default a new one each time.
    pub fn name(&mut self, name: impl Into<String>) -> &mut Container {
        self.name = Some(name.into());
        self
    }

    /// The steps that would start it, printable; nothing runs.
    ///
    /// # Errors
    /// Whatever would keep it from being prepared.
    pub fn plan(&self) -> Result<Plan> {
        Assembly::new(self)?.plan()
    }

    /// Starts it. When this returns, the program has begun.
    ///
    /// Dropping the [`Child`] kills the container.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a description that cannot be;
    /// [`ErrorKind::ProgramNotFound`](crate::ErrorKind::ProgramNotFound) and its neighbours for the program; else the message
    /// names the step that failed. Nothing is left behind.
    pub fn spawn(&self) -> Result<Child> {
        self.spawn_adjusted(|_| ())
    }

    /// Starts it by a plan that was adjusted: a test dies in the middle of it, an embedder works at a gate of its own.
    ///
    /// # Errors
    /// As for [`spawn`](Container::spawn).
    pub fn spawn_adjusted(&self, adjust: impl FnOnce(&mut Plan)) -> Result<Child> {
        Engine::shared().warm_up(&self.seccomp, self.capabilities);
        Assembly::new(self)?.start(adjust)
    }

    /// Starts it, and waits until it has ended.
    ///
    /// # Errors
    /// As for [`spawn`](Container::spawn).
    pub fn status(&self) -> Result<Report> {
        self.spawn()?.wait()
    }

    /// Starts it, and gathers what it prints until it has ended.
    ///
    /// # Errors
    /// As for [`spawn`](Container::spawn).
    pub fn output(&self) -> Result<Output> {
        let mut quiet = self.clone();
        for (stream, default) in
            quiet
                .streams
                .iter_mut()
                .zip([Stdio::Null, Stdio::Piped, Stdio::Piped])
        {
            stream.get_or_insert(default);
        }
        quiet.spawn()?.wait_with_output()
    }
}
