//! Containers that are made before they are needed.

use crate::assembly::{Assembly, Keyring};
use crate::child::{Child, Pipes};
use crate::container::Container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::exec::Exec;
use crate::limits::{self, Limited};
use ampoule_namespaces::Parked;
use ampoule_net::{Pool as Stock, Stats};
use ampoule_plan::{Call, Draft, Part, Phase, Plan, path};
use std::ffi::OsStr;
use std::time::Duration;

/// Containers of one description, made ready up to their program in the background.
///
/// Each is given out once, and ends with its program: nothing passes from one tenant to the next. What waits holds its
/// namespaces, cgroup, root tree and filter, and one small process; it ends with the pool, and with the host.
///
/// ```no_run
/// use ampoule::{Container, Pool};
///
/// let pool = Pool::new(Container::new("sh").memory(64 << 20), 4)?;
/// let output = pool.exec("sh").args(["-c", "echo ready"]).output()?;
/// println!("{:.0} % were ready", 100.0 * pool.stats().hit_rate());
/// # Ok::<(), ampoule::Error>(())
/// ```
#[derive(Debug)]
pub struct Pool {
    stock: Stock<Result<Sandbox>>,
    container: Container,
}

/// Containers of any description, made ready as far as that does not matter: namespaces, network, cgroup.
///
/// ```no_run
/// use ampoule::{Container, GenericPool};
///
/// let pool = GenericPool::new(4)?;
/// let report = pool.spawn(Container::new("true").memory(64 << 20))?.wait()?;
/// # Ok::<(), ampoule::Error>(())
/// ```
#[derive(Debug)]
pub struct GenericPool {
    stock: Stock<Result<Sandbox>>,
}

/// A container that waits. Its process ends before its cgroup is removed.
#[derive(Debug)]
pub(crate) struct Sandbox {
    parked: Parked,
    cgroup: Limited,
}

impl Sandbox {
    /// Everything but the program.
    fn complete(assembly: &Assembly<'_>) -> Result<Sandbox> {
        let privileges = assembly.privileges()?;
        let keyring = Keyring::of(assembly.container);
        Sandbox::park(
            assembly,
            &[&assembly.root, &assembly.volumes, &keyring, &privileges],
        )
    }

    /// What every container has.
    fn generic() -> Result<Sandbox> {
        Sandbox::park(&Assembly::new(&Container::new("later"))?, &[])
    }

    fn park(assembly: &Assembly<'_>, parts: &[&dyn Part]) -> Result<Sandbox> {
        let resources = assembly.resources()?;
        let (cgroup, entry) = limits::create(assembly.engine, &assembly.name, &resources)?;
        let mut draft = Draft::new();
        assembly.isolation()?.contribute(&mut draft)?;
        entry.contribute(&mut draft)?;
        parts
            .iter()
            .try_for_each(|part| part.contribute(&mut draft))?;
        drop(entry);
        Ok(Sandbox {
            parked: Parked::park(draft)?,
            cgroup,
        })
    }

    /// The standard devices are listed already.
    fn limit(&self, assembly: &Assembly<'_>) -> Result<()> {
        let container = assembly.container;
        match &self.cgroup {
            Some(cgroup) if container.dev.devices().is_empty() => {
                Ok(cgroup.apply(&container.resources)?)
            }
            Some(cgroup) => Ok(cgroup.apply(&assembly.resources()?)?),
            None if container.resources.controllers().is_empty() => Ok(()),
            // Says why there is none, with the remedy.
            None => Engine::shared().parent().map(|_| ()),
        }
    }

    fn resume(self, plan: Plan, assembly: &Assembly<'_>, pipes: Pipes) -> Result<Child> {
        let process = self.parked.resume(plan)?;
        Ok(Child::new(
            assembly.container,
            assembly.inside(),
            process,
            self.cgroup,
            pipes,
            assembly.started,
        ))
    }
}

impl Pool {
    /// Starts to keep this many containers ready. The description's program and standard streams do not matter.
    ///
    /// # Errors
    /// When no thread can be started. What is wrong with the description appears when one is taken.
    pub fn new(container: &Container, capacity: usize) -> Result<Pool> {
        let description = container.clone();
        let make = move || {
            Ok(Assembly::new(&description).and_then(|assembly| Sandbox::complete(&assembly)))
        };
        Ok(Pool {
            stock: Stock::start(capacity, make)?,
            container: container.clone(),
        })
    }

    /// Starts a program in a container of its own, once [`Exec::spawn`] is called; dropping its [`Child`] ends the container.
    pub fn exec(&self, program: impl AsRef<OsStr>) -> Exec<'_> {
        Exec::in_ready(self, &self.container, program)
    }

    pub(crate) fn start(&self, container: &Container) -> Result<Child> {
        let assembly = Assembly::of_program(container)?;
        let (streams, pipes) = assembly.streams()?;
        let mut draft = Draft::new();
        assembly
            .command_of_parked(&streams)?
            .contribute(&mut draft)?;
        drop(streams);
        self.stock
            .take()??
            .resume(draft.finish()?, &assembly, pipes)
    }

    /// Waits until all are ready, at most so long; says whether they are.
    pub fn wait_full(&self, timeout: Duration) -> bool {
        self.stock.wait_full(timeout)
    }

    /// How many were ready when they were asked for.
    pub fn stats(&self) -> Stats {
        self.stock.stats()
    }
}

impl GenericPool {
    /// Starts to keep this many sandboxes ready.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(capacity: usize) -> Result<GenericPool> {
        Ok(GenericPool {
            stock: Stock::start(capacity, || Ok(Sandbox::generic()))?,
        })
    }

    /// Starts a container in one that is ready. Its network is one of its own, its ids are those of a container without an id
    /// map.
    ///
    /// # Errors
    /// As for [`Container::spawn`]; [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a description that asks for another
    /// network or an id map, because the namespaces are made already.
    pub fn spawn(&self, container: &Container) -> Result<Child> {
        if container.id_map.is_some() || !container.network.is_none() {
            return Err(Error::Invalid(
                "a generic pool has no other network, and no id map".into(),
            ));
        }
        let assembly = Assembly::new(container)?;
        let (streams, pipes) = assembly.streams()?;
        let (command, privileges) = (
            assembly.command_of_parked(&streams)?,
            assembly.privileges()?,
        );
        let mut draft = Draft::new();
        let name = Call::Sethostname {
            name: path(assembly.hostname())?,
        };
        draft.child(Phase::Session, name, "a name of its own");
        let keyring = Keyring::of(container);
        let parts: [&dyn Part; 5] = [
            &assembly.root,
            &assembly.volumes,
            &keyring,
            &command,
            &privileges,
        ];
        parts
            .into_iter()
            .try_for_each(|part| part.contribute(&mut draft))?;
        drop((streams, command));
        let sandbox = self.stock.take()??;
        sandbox.limit(&assembly)?;
        sandbox.resume(draft.finish()?, &assembly, pipes)
    }

    /// Waits until all are ready, at most so long; says whether they are.
    pub fn wait_full(&self, timeout: Duration) -> bool {
        self.stock.wait_full(timeout)
    }

    /// How many were ready when they were asked for.
    pub fn stats(&self) -> Stats {
        self.stock.stats()
    }
}
