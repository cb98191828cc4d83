//! The finished score.

use crate::call::Call;
use crate::flags::Namespaces;
use crate::phase::Phase;
use crate::syscall::Slot;
use nix::errno::Errno;
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

/// The steps of a container's start, in the order in which they are done.
///
/// `Display` prints it as a numbered score in two columns, host and child, in strace's form.
#[derive(Debug)]
pub struct Plan {
    pub(crate) namespaces: Namespaces,
    pub(crate) cgroup: Option<Slot>,
    pub(crate) steps: Vec<Step>,
    pub(crate) slots: Vec<SlotEntry>,
    pub(crate) confirmation: Option<OwnedFd>,
}

/// A file descriptor of the plan: its name, and the thing itself if the host holds it.
#[derive(Debug, Clone)]
pub(crate) struct SlotEntry {
    pub(crate) name: Cow<'static, str>,
    pub(crate) held: Option<Arc<OwnedFd>>,
}

/// One step.
#[derive(Debug)]
pub struct Step {
    /// When it is done.
    pub phase: Phase,
    /// Who does what.
    pub action: Action,
    /// Why it is done at all.
    pub why: Cow<'static, str>,
}

impl Step {
    fn calls(&self) -> impl Iterator<Item = &Call> {
        let child = match &self.action {
            Action::Child(child) => Some(child),
            Action::Host(_) => None,
        };
        child
            .into_iter()
            .flat_map(|child| [Some(&child.call), child.or_else.as_ref()])
            .flatten()
    }
}

/// Who does a step.
#[derive(Debug)]
pub enum Action {
    /// The child makes a system call.
    Child(ChildStep),
    /// The host works, and the child waits.
    Host(HostStep),
}

/// A system call, and what may be wrong with it.
#[derive(Debug)]
pub struct ChildStep {
    /// The call.
    pub call: Call,
    /// Errors that do not matter.
    pub tolerate: Vec<Errno>,
    /// What is tried if it fails.
    pub or_else: Option<Call>,
}

/// The child as a host step sees it: waiting at a gate.
pub trait Peer {
    /// Its process id, in the host's pid namespace.
    fn pid(&self) -> i32;

    /// A file descriptor that stands for it.
    ///
    /// # Errors
    /// `EMFILE` and its like.
    fn pidfd(&self) -> io::Result<BorrowedFd<'_>>;

    /// A copy of a file descriptor that a call of the child has returned.
    ///
    /// # Errors
    /// `EBADF` if no call has filled the slot yet; `EPERM` without the privilege to trace the child.
    #[doc(alias = "pidfd_getfd")]
    fn fetch(&self, slot: Slot) -> io::Result<OwnedFd>;
}

type Work = Box<dyn FnOnce(&dyn Peer) -> io::Result<Undo> + Send>;

/// Work of the host, done while the child waits at a gate.
pub struct HostStep(Work);

impl HostStep {
    pub(crate) fn new(
        work: impl FnOnce(&dyn Peer) -> io::Result<Undo> + Send + 'static,
    ) -> HostStep {
        HostStep(Box::new(work))
    }

    /// Does the work.
    ///
    /// # Errors
    /// Whatever the work met; the child is then told to end.
    pub fn run(self, child: &dyn Peer) -> io::Result<Undo> {
        (self.0)(child)
    }
}

impl fmt::Debug for HostStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostStep")
    }
}

/// What takes a host step back when a later step fails.
#[derive(Default)]
pub struct Undo(Option<Box<dyn FnOnce() + Send>>);

impl Undo {
    /// There is nothing to take back.
    pub fn nothing() -> Undo {
        Undo::default()
    }

    /// This takes it back.
    pub fn by(work: impl FnOnce() + Send + 'static) -> Undo {
        Undo(Some(Box::new(work)))
    }

    /// Takes it back now.
    pub fn run(self) {
        if let Some(work) = self.0 {
            work();
        }
    }
}

impl fmt::Debug for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Undo")
    }
}

impl Plan {
    /// The most file descriptors that one plan may name.
    pub const MAX_SLOTS: u16 = 512;

    /// The kinds of namespaces that the child is born in.
    pub fn namespaces(&self) -> Namespaces {
        self.namespaces
    }

    /// The cgroup v2 directory that the child is born in.
    pub fn cgroup(&self) -> Option<Slot> {
        self.cgroup
    }

    /// The steps, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Every call that the child may make, alternatives included.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.steps.iter().flat_map(Step::calls)
    }

    /// The file descriptors that the child inherits, by their place; none where a call of the child fills the place.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = Option<&Arc<OwnedFd>>> {
        self.slots.iter().map(|entry| entry.held.as_ref())
    }

    /// Takes the work out of a host step, for a launcher that does it; the step itself stays, to be printed.
    pub fn take_work(&mut self, index: usize) -> Option<HostStep> {
        match &mut self.steps.get_mut(index)?.action {
            Action::Host(step) => Some(HostStep(std::mem::replace(
                &mut step.0,
                Box::new(|_| Ok(Undo::nothing())),
            ))),
            Action::Child(_) => None,
        }
    }

    /// Takes the pipe on which the last program confirms that it has begun; see [`Draft::confirmed_by`](crate::Draft::confirmed_by).
    pub fn take_confirmation(&mut self) -> Option<OwnedFd> {
        self.confirmation.take()
    }

    /// Lets the file descriptors go that the host holds for the child.
    pub fn release(&mut self) {
        self.slots.iter_mut().for_each(|entry| entry.held = None);
    }

    /// Does `work` in the host before the step at `index`: how a test dies in the middle of a start.
    pub fn insert_host<F>(&mut self, index: usize, why: impl Into<Cow<'static, str>>, work: F)
    where
        F: FnOnce(&dyn Peer) -> io::Result<Undo> + Send + 'static,
    {
        let index = index.min(self.steps.len());
        let phase = self
            .steps
            .get(index)
            .or(self.steps.last())
            .map_or(Phase::Join, |step| step.phase);
        self.steps.insert(
            index,
            Step {
                phase,
                action: Action::Host(HostStep::new(work)),
                why: why.into(),
            },
        );
    }

    /// A step as the score shows it, without its number: for error texts.
    pub fn describe(&self, index: usize) -> Option<String> {
        let step = self.steps.get(index)?;
        Some(match &step.action {
            Action::Child(child) => self.show(&child.call).to_string(),
            Action::Host(_) => step.why.to_string(),
        })
    }
}
