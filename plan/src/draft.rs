//! Where the parts of a container write their steps.

use crate::call::Call;
use crate::error::Error;
use crate::flags::Namespaces;
use crate::phase::Phase;
use crate::plan::{Action, ChildStep, HostStep, Peer, Plan, SlotEntry, Step, Undo};
use crate::syscall::Slot;
use nix::errno::Errno;
use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Something that takes part in a container's start: a namespace, a mount, a limit.
pub trait Part {
    /// Writes the part's steps into the draft.
    ///
    /// # Errors
    /// Whatever keeps the part from being prepared. The draft is then dropped as a whole.
    fn contribute(&self, draft: &mut Draft) -> Result<(), Error>;
}

impl<P: Part + ?Sized> Part for &P {
    fn contribute(&self, draft: &mut Draft) -> Result<(), Error> {
        (**self).contribute(draft)
    }
}

impl<P: Part> Part for Option<P> {
    fn contribute(&self, draft: &mut Draft) -> Result<(), Error> {
        self.iter().try_for_each(|part| part.contribute(draft))
    }
}

/// A plan in the making.
#[derive(Debug, Default)]
pub struct Draft {
    namespaces: Namespaces,
    cgroup: Option<Slot>,
    steps: Vec<Step>,
    slots: Vec<SlotEntry>,
    confirmation: Option<OwnedFd>,
    problems: Vec<Error>,
}

impl Draft {
    /// An empty draft.
    pub fn new() -> Draft {
        Draft::default()
    }

    /// Hands the child a file descriptor that was prepared now; `name` is how the plan shows it.
    ///
    /// A template that many containers use is held by its `Arc`.
    pub fn hold(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        fd: impl Into<Arc<OwnedFd>>,
    ) -> Slot {
        self.entry(name.into(), Some(fd.into()))
    }

    /// A place for a file descriptor that a call of the child returns; `name` is how the plan shows it.
    pub fn slot(&mut self, name: impl Into<Cow<'static, str>>) -> Slot {
        self.entry(name.into(), None)
    }

    fn entry(&mut self, name: Cow<'static, str>, held: Option<Arc<OwnedFd>>) -> Slot {
        let index = u16::try_from(self.slots.len()).unwrap_or(u16::MAX);
        if index >= Plan::MAX_SLOTS {
            self.problems.push(Error::Invalid(format!(
                "more than {} file descriptors",
                Plan::MAX_SLOTS
            )));
            return Slot(0);
        }
        self.slots.push(SlotEntry { name, held });
        Slot(index)
    }

    /// The child is born in new namespaces of these kinds.
    pub fn unshare(&mut self, kinds: Namespaces) -> &mut Draft {
        self.namespaces |= kinds;
        self
    }

    /// The child is born in this cgroup v2 directory (kernel 5.7).
    #[doc(alias = "CLONE_INTO_CGROUP")]
    pub fn into_cgroup(&mut self, directory: Slot) -> &mut Draft {
        if self.cgroup.replace(directory).is_some() {
            self.problems.push(Error::Twice {
                what: "the cgroup that the child is born in",
            });
        }
        self
    }

    /// The program that the plan ends in starts another one, and says on this pipe how that went: it closes the pipe, or
    /// writes an error number of four bytes first. The launcher waits for it.
    pub fn confirmed_by(&mut self, reader: OwnedFd) -> &mut Draft {
        if self.confirmation.replace(reader).is_some() {
            self.problems.push(Error::Twice {
                what: "the program's confirmation",
            });
        }
        self
    }

    /// Adds a step of the child, and says why it is there.
    pub fn child(
        &mut self,
        phase: Phase,
        call: Call,
        why: impl Into<Cow<'static, str>>,
    ) -> StepRef<'_> {
        let child = ChildStep {
            call,
            tolerate: Vec::new(),
            or_else: None,
        };
        self.steps.push(Step {
            phase,
            action: Action::Child(child),
            why: why.into(),
        });
        StepRef {
            step: self.steps.last_mut(),
        }
    }

    /// Adds a step of the host, done while the child waits; `why` is also how the plan shows it.
    ///
    /// The step sees the child as a [`Peer`], and may return an [`Undo`] for the case that a later step fails. A run of
    /// host steps between two child steps becomes one *gate*.
    pub fn host<F>(
        &mut self,
        phase: Phase,
        why: impl Into<Cow<'static, str>>,
        work: F,
    ) -> &mut Draft
    where
        F: FnOnce(&dyn Peer) -> io::Result<Undo> + Send + 'static,
    {
        self.steps.push(Step {
            phase,
            action: Action::Host(HostStep::new(work)),
            why: why.into(),
        });
        self
    }

    /// Sorts the contributions by phase.
    ///
    /// # Errors
    /// The first of the problems that contributions left in the draft.
    pub fn finish(mut self) -> Result<Plan, Error> {
        if let Some(problem) = self.problems.drain(..).next() {
            return Err(problem);
        }
        self.steps.sort_by_key(|step| step.phase);
        Ok(Plan {
            namespaces: self.namespaces,
            cgroup: self.cgroup,
            steps: self.steps,
            slots: self.slots,
            confirmation: self.confirmation,
        })
    }
}

/// A step of the child that was just added; refines what happens when its call fails.
#[derive(Debug)]
pub struct StepRef<'a> {
    step: Option<&'a mut Step>,
}

impl StepRef<'_> {
    /// The call may fail with this error, and the child goes on. For errors that mean "it is so already".
    pub fn tolerate(&mut self, errno: Errno) -> &mut Self {
        if let Some(child) = self.child() {
            child.tolerate.push(errno);
        }
        self
    }

    /// If the call fails, this one is made in its place: for kernels that lack the better one.
    pub fn or_else(&mut self, call: Call) -> &mut Self {
        if let Some(child) = self.child() {
            child.or_else = Some(call);
        }
        self
    }

    fn child(&mut self) -> Option<&mut ChildStep> {
        match &mut self.step.as_deref_mut()?.action {
            Action::Child(child) => Some(child),
            Action::Host(_) => None,
        }
    }
}
