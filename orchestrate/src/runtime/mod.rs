//! What runs the pods of one node: the contract between the pods' life cycle and a container engine.
//!
//! The life cycle (when to start which container, when to probe, when to give up) is decided by
//! [`pod::Machine`](crate::pod::Machine), which knows no engine. A [`Runtime`] does as it is told and reports what happens.

pub mod conformance;

use crate::error::Result;
use k8s_openapi::api::core::v1::{Container, PersistentVolume, Pod, VolumeResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The uid of a pod; a runtime never confuses a pod with its successor of the same name.
pub type PodUid = Arc<str>;

/// One container of one pod, at one of its attempts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerRef {
    /// The pod.
    pub pod: PodUid,
    /// The container's name.
    pub name: Arc<str>,
    /// How often it was started before; an event of an earlier attempt says nothing about this one.
    pub attempt: u32,
}

impl fmt::Display for ContainerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}#{}", self.pod, self.name, self.attempt)
    }
}

/// What a runtime needs to prepare a pod: everything that its object refers to has been looked up.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The pod, placed and admitted.
    pub pod: Arc<Pod>,
    /// The pod's volumes with their content or their place.
    pub volumes: Vec<Volume>,
}

/// A volume, ready to be mounted.
#[derive(Clone, Debug)]
pub struct Volume {
    /// The name by which the containers mount it.
    pub name: String,
    /// What is in it.
    pub source: VolumeSource,
}

/// Where a volume's content comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum VolumeSource {
    /// An empty directory that goes with the pod; in memory, and of limited size, if so asked.
    Empty {
        /// Whether it is kept in memory.
        memory: bool,
        /// The size limit.
        limit: Option<Quantity>,
    },
    /// A path of the node.
    Host {
        /// The path.
        path: String,
        /// `Directory`, `DirectoryOrCreate`, `File`, …; empty for no check.
        kind: String,
    },
    /// Files from a ConfigMap, a Secret, the pod's own fields, or several of them.
    Files(Vec<File>),
    /// A persistent volume, bound to the claim that the pod names.
    Persistent {
        /// The volume.
        volume: Arc<PersistentVolume>,
        /// What the claim asked for.
        request: Option<VolumeResourceRequirements>,
        /// Whether it is mounted for reading only.
        read_only: bool,
    },
}

/// A file in a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path below the volume's root.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}

/// A question to a running container: a probe, or a hook, which differ only in who waits for the answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Question {
    /// Runs a program in the container; zero is yes.
    Exec(Vec<String>),
    /// Gets a page; a status from 200 to 399 is yes.
    Http {
        /// `http` or `https`.
        scheme: String,
        /// The host; the pod's address when empty.
        host: String,
        /// The port.
        port: u16,
        /// The path with its query.
        path: String,
        /// More headers.
        headers: Vec<(String, String)>,
    },
    /// Opens a connection; established is yes.
    Tcp {
        /// The host; the pod's address when empty.
        host: String,
        /// The port.
        port: u16,
    },
    /// Asks the gRPC health service.
    Grpc {
        /// The port.
        port: u16,
        /// The service to ask for.
        service: String,
    },
    /// Waits; always yes.
    Sleep(Duration),
}

/// Tells the answers apart; chosen by who asks.
pub type Ticket = u64;

/// What happened on a node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The pod has its network and volumes; its containers may start.
    PodReady {
        /// The pod.
        pod: PodUid,
        /// Its addresses, the preferred one first.
        addresses: Vec<IpAddr>,
    },
    /// The pod could not be prepared. It may be asked for again.
    PodFailed {
        /// The pod.
        pod: PodUid,
        /// A word: `FailedMount`, `FailedCreatePodSandBox`.
        reason: String,
        /// A sentence.
        message: String,
    },
    /// A container runs.
    Started {
        /// The container.
        container: ContainerRef,
    },
    /// A container could not be started.
    StartFailed {
        /// The container.
        container: ContainerRef,
        /// A word: `ErrImagePull`, `CreateContainerError`, `RunContainerError`.
        reason: String,
        /// A sentence.
        message: String,
    },
    /// A container ended.
    Exited {
        /// The container.
        container: ContainerRef,
        /// Its exit code; 128 + n when signal n killed it.
        code: i32,
        /// Whether it ran out of its memory.
        out_of_memory: bool,
    },
    /// A question was answered.
    Answered {
        /// The container that was asked.
        container: ContainerRef,
        /// Which question.
        ticket: Ticket,
        /// Nothing for yes; for no, why.
        answer: Result<(), String>,
    },
    /// Nothing is left of the pod.
    Removed {
        /// The pod.
        pod: PodUid,
    },
}

/// A pod as a runtime has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The pod.
    pub pod: PodUid,
    /// The pod's namespace and name, for people.
    pub name: (String, String),
    /// Its addresses; none while it is not prepared.
    pub addresses: Vec<IpAddr>,
    /// Its containers' latest attempts.
    pub containers: Vec<(ContainerRef, HeldState)>,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeldState {
    /// Its image is being fetched, or it is being made.
    Starting,
    /// It runs.
    Running,
    /// It ended with this code.
    Exited(i32),
}

/// What a node has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// `cpu`, `memory`, `pods`, `ephemeral-storage` and more.
    pub capacity: BTreeMap<String, Quantity>,
    /// The images that are there, with their size in bytes.
    pub images: BTreeMap<String, u64>,
    /// Labels that follow from the machine, such as `kubernetes.io/arch`.
    pub labels: BTreeMap<String, String>,
}

/// A program to run in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Whether it gets a terminal.
    pub terminal: bool,
    /// Whether its input is kept open.
    pub stdin: bool,
}

/// A program that runs in a container because somebody asked for it.
pub trait Execution: Send + Debug {
    /// Its input, once; none if it was not asked for.
    fn stdin(&mut self) -> Option<Box<dyn io::Write + Send>>;
    /// Its output, once; with a terminal, errors come here too.
    fn stdout(&mut self) -> Option<Box<dyn io::Read + Send>>;
    /// Its errors, once; none with a terminal.
    fn stderr(&mut self) -> Option<Box<dyn io::Read + Send>>;
    /// Tells a terminal its new size in columns and rows.
    ///
    /// # Errors
    /// It has no terminal, or has ended.
    fn resize(&mut self, columns: u16, rows: u16) -> Result<()>;
    /// Waits for the end and returns the exit code.
    ///
    /// # Errors
    /// The runtime lost it.
    fn wait(&mut self) -> Result<i32>;
}

/// Which of a container's log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only so many lines from the end.
    pub tail: Option<u64>,
    /// Only what was written since.
    pub since: Option<jiff::Timestamp>,
    /// Whether to go on with what is written later, until the container ends.
    pub follow: bool,
    /// Whether each line begins with its time.
    pub timestamps: bool,
}

/// What runs the pods of one node.
///
/// # Contract
/// - `run`, `start`, `stop`, `probe` and `remove` return as soon as the request is taken; what comes of it is an [`Event`].
///   `Err` means that it was not taken and nothing will come.
/// - They are idempotent: asking again for what is, or is being done, changes nothing and repeats no event, except that `run`
///   of a prepared pod reports `PodReady` again.
/// - An accepted `run` ends in one `PodReady` or `PodFailed`; `start` in one `Started` or `StartFailed`, and `Started` in one
///   `Exited`; `probe` in at most one `Answered` (none when the container ends first); `remove` in one `Removed`, after
///   which nothing is heard of that pod.
/// - Every attempt of a container begins from its image: nothing written outside its volumes stays.
/// - [`watch`](Runtime::watch) yields each event once, to every watch that was open when it happened. Who comes later asks
///   [`list`](Runtime::list), after having opened the watch.
/// - A runtime keeps its pods when its user goes away; the next user finds them by `list`.
pub trait Runtime: Send + Sync + Debug {
    /// Prepares a pod: its namespaces, network and volumes.
    ///
    /// # Errors
    /// The request cannot be taken now.
    fn run(&self, sandbox: &Sandbox) -> Result<()>;

    /// Starts a container of a prepared pod; its `env` is complete, with all references resolved.
    ///
    /// # Errors
    /// The pod is not prepared, or the request cannot be taken now.
    fn start(&self, container: &ContainerRef, spec: &Container) -> Result<()>;

    /// Ends a container: its stop signal, and after `grace` SIGKILL.
    ///
    /// # Errors
    /// The request cannot be taken now.
    fn stop(&self, container: &ContainerRef, grace: Duration) -> Result<()>;

    /// Asks a running container a question. Unanswered after `timeout`, the answer is no.
    ///
    /// # Errors
    /// The container does not run.
    fn probe(
        &self,
        container: &ContainerRef,
        question: &Question,
        timeout: Duration,
        ticket: Ticket,
    ) -> Result<()>;

    /// Ends what is left of a pod and gives back all that it held. Removing an unknown pod reports `Removed` too.
    ///
    /// # Errors
    /// The request cannot be taken now.
    fn remove(&self, pod: &PodUid) -> Result<()>;

    /// Runs a program in a running container.
    ///
    /// # Errors
    /// The container does not run, the program cannot be started, or this runtime runs none.
    fn exec(&self, container: &ContainerRef, command: &Command) -> Result<Box<dyn Execution>>;

    /// What a container has written.
    ///
    /// # Errors
    /// The container is not known.
    fn logs(&self, container: &ContainerRef, query: &LogQuery) -> Result<Box<dyn io::Read + Send>>;

    /// The pods that are there.
    ///
    /// # Errors
    /// The runtime cannot be reached.
    fn list(&self) -> Result<Vec<Held>>;

    /// The events from now on.
    ///
    /// # Errors
    /// The runtime cannot be reached.
    fn watch(&self) -> Result<Box<dyn Events>>;

    /// What the node has.
    ///
    /// # Errors
    /// The runtime cannot be reached.
    fn facts(&self) -> Result<Facts>;
}

/// A stream of events.
pub trait Events: Send + Debug {
    /// The events since the last call, never none: while there are none, the waker is kept and woken when there are.
    ///
    /// # Errors
    /// The runtime was lost; watch again, then list.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<Event>>>;
}
