//! Another program in a running container.

use crate::assembly::{Keyring, Streams, command, privileges};
use crate::child::{Child, Inside, Pipes};
use crate::container::Container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::limits::Entry;
use crate::pool::Pool;
use crate::report::{Output, Report};
use crate::stdio::Stdio;
use crate::user::{self, Person};
use ampoule_namespaces::{Isolation, Namespaces, Starter, launch};
use ampoule_plan::{Draft, Part, Plan};
use ampoule_privileges::capabilities::Capability;
use rustix::fs::{Mode, OFlags, open};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Another program in a running container: same namespaces, cgroup, capabilities and filter.
///
/// ```no_run
/// # use ampoule::Container;
/// let child = Container::new("sleep").arg("60").spawn()?;
/// let output = child.exec("ps").output()?;
/// # Ok::<(), ampoule::Error>(())
/// ```
#[derive(Debug)]
pub struct Exec<'a> {
    place: Place<'a>,
    container: Container,
}

/// Where the program runs.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Running(&'a Child),
    Ready(&'a Pool),
}

impl<'a> Exec<'a> {
    pub(crate) fn new(child: &'a Child, program: impl AsRef<OsStr>) -> Exec<'a> {
        Exec::at(Place::Running(child), &child.container, program)
    }

    pub(crate) fn in_ready(
        pool: &'a Pool,
        container: &Container,
        program: impl AsRef<OsStr>,
    ) -> Exec<'a> {
        Exec::at(Place::Ready(pool), container, program)
    }

    /// The container's description, less what belongs to its own program.
    fn at(place: Place<'a>, container: &Container, program: impl AsRef<OsStr>) -> Exec<'a> {
        let mut container = container.clone();
        container.program = program.as_ref().to_owned();
        container.args.clear();
        container.streams = [const { None }; 3];
        container.passed.clear();
        container.terminal = None;
        container.timeout = None;
        container.init = false;
        Exec { place, container }
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.container.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = A>) -> &mut Self {
        self.container.args(args);
        self
    }

    /// Sets a variable of the environment, beside those of the container's own program.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.container.env(name, value);
        self
    }

    /// The working directory; that of the container's own program by default.
    pub fn current_dir(&mut self, directory: impl AsRef<OsStr>) -> &mut Self {
        self.container.current_dir(directory);
        self
    }

    /// Whom it runs as; the container's own user by default.
    pub fn user(&mut self, user: impl Into<String>) -> &mut Self {
        self.container.user(user);
        self
    }

    /// Gives it a terminal of this size in characters.
    pub fn terminal(&mut self, columns: u16, rows: u16) -> &mut Self {
        self.container.terminal(columns, rows);
        self
    }

    /// Standard input; defaults are as for a [`Container`].
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.container.stdin(stdio);
        self
    }

    /// Standard output.
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.container.stdout(stdio);
        self
    }

    /// Standard error.
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.container.stderr(stdio);
        self
    }

    /// How long it may run.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.container.timeout(timeout);
        self
    }

    /// Starts it. Dropping the [`Child`] kills it, but not the container.
    ///
    /// # Errors
    /// As for [`Container::spawn`].
    pub fn spawn(&self) -> Result<Child> {
        match self.place {
            Place::Running(child) => self.join(child),
            Place::Ready(pool) => pool.start(&self.container),
        }
    }

    fn join(&self, child: &Child) -> Result<Child> {
        // It would freeze on its way in, out of the reach even of SIGKILL where v1's freezer holds it.
        if child.is_paused()? {
            return Err(Error::Invalid(
                "the container is paused: resume it first".into(),
            ));
        }
        let started = Instant::now();
        let (streams, pipes): (_, Pipes) = Streams::new(&self.container, None)?;
        let plan = self.draft(child, &streams)?;
        drop(streams);
        let process = launch(plan)?;
        let Inside { maker, id_map } = &child.inside;
        let inside = Inside {
            maker: *maker,
            id_map: id_map.clone(),
        };
        Ok(Child::new(
            &self.container,
            inside,
            process,
            None,
            pipes,
            started,
        ))
    }

    /// Starts it, and waits until it has ended.
    ///
    /// # Errors
    /// As for [`Container::spawn`].
    pub fn status(&self) -> Result<Report> {
        self.spawn()?.wait()
    }

    /// Starts it, and gathers what it prints until it has ended.
    ///
    /// # Errors
    /// As for [`Container::spawn`].
    pub fn output(&self) -> Result<Output> {
        let mut container = self.container.clone();
        for (stream, default) in
            container
                .streams
                .iter_mut()
                .zip([Stdio::Null, Stdio::Piped, Stdio::Piped])
        {
            stream.get_or_insert(default);
        }
        Exec {
            place: self.place,
            container,
        }
        .spawn()?
        .wait_with_output()
    }

    /// Until it has executed its program, a process that joins is a copy of this one, and cannot be traced: but for who may
    /// trace everything. A container that may mount as well is trusted as the machine's root is, and one with a user
    /// namespace of its own has no such power over us.
    fn check_tracers(&self, child: &Child) -> Result<()> {
        let capabilities = child.container.capabilities;
        let traces = capabilities.contains(Capability::SysPtrace)
            && !capabilities.contains(Capability::SysAdmin);
        if traces && child.inside.id_map.is_none() {
            let problem = "a program that joins a container with CAP_SYS_PTRACE would show it this process's memory: \
                           give the container an id map, or take the capability away";
            return Err(Error::Invalid(problem.into()));
        }
        Ok(())
    }

    fn draft(&self, child: &Child, streams: &Streams) -> Result<Plan> {
        self.check_tracers(child)?;
        let engine = Engine::shared();
        let person = self.person(child)?;
        let mut command = command(&self.container, &person);
        streams.give(&mut command);
        // Others are in there already: nothing of ours may be in their reach, not even for the moment of an execve.
        command.starter(Starter::Sealed);
        let isolation = self.isolation(child)?;
        let privileges = privileges(&self.container, engine, &person, child.inside.maker)?;
        let entry = child.cgroup.as_ref().map(Entry::of).transpose()?;
        let mut draft = Draft::new();
        let keyring = Keyring::of(&self.container);
        let parts: [&dyn Part; 5] = [&isolation, &entry, &keyring, &command, &privileges];
        for part in parts {
            part.contribute(&mut draft)?;
        }
        Ok(draft.finish()?)
    }

    fn isolation(&self, child: &Child) -> Result<Isolation> {
        let mut kinds = Namespaces::all() - Namespaces::CLONE_NEWTIME;
        if child.inside.id_map.is_none() {
            kinds.remove(Namespaces::CLONE_NEWUSER);
        }
        if self.container.network.is_host() {
            kinds.remove(Namespaces::CLONE_NEWNET);
        }
        let pidfd = child
            .pidfd()
            .try_clone_to_owned()
            .map_err(|e| Error::os("copy a pidfd", e))?;
        let mut isolation = Isolation::new();
        isolation.join(kinds, pidfd);
        Ok(isolation)
    }

    /// The user, as the running container's own files know it.
    fn person(&self, child: &Child) -> Result<Person> {
        let root = format!("/proc/{}/root", child.id());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            open(&root, flags, Mode::empty()).map_err(|e| Error::os(format!("open {root}"), e))?;
        user::find(self.container.user.as_deref(), |file| {
            user::read(Some(root.as_fd()), file)
        })
    }
}
