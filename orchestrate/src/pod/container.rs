//! One container of a pod, through all its attempts.

use super::backoff::Backoff;
use super::probe::{Prober, Role, Verdict};
use crate::runtime::Ticket;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};

/// What part a container plays in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Runs to its end before the next begins.
    Init,
    /// Starts in the order of the init containers and stays.
    Sidecar,
    /// What the pod is for.
    Main,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// It may start at the given time, if it is its turn.
    Waiting {
        until: Timestamp,
        reason: &'static str,
    },
    /// The runtime was asked to start it.
    Starting,
    /// It runs, but its postStart hook has not returned.
    Hooked {
        since: Timestamp,
        ticket: Ticket,
    },
    Running {
        since: Timestamp,
    },
    /// It was asked to stop; with a ticket while its preStop hook runs, at most until the deadline.
    Stopping {
        since: Timestamp,
        hook: Option<Ticket>,
        deadline: Timestamp,
    },
    /// It ended, and is not started again.
    Ended(End),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct End {
    pub code: i32,
    pub reason: String,
    pub message: String,
    pub began: Option<Timestamp>,
    pub at: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub part: Part,
    /// Its place in the pod's list of its part's containers.
    pub index: usize,
    pub state: State,
    pub attempt: u32,
    pub restarts: u32,
    pub backoff: Backoff,
    pub probers: Vec<Prober>,
    pub last: Option<End>,
    /// Why the last start failed, for people.
    pub trouble: Option<(String, String)>,
    /// How long it may take to end, when that is not the pod's own grace.
    pub grace: Option<i64>,
}

impl Slot {
    pub(super) fn all(pod: &Pod, now: Timestamp) -> Vec<Slot> {
        let Some(spec) = &pod.spec else {
            return Vec::new();
        };
        let init = spec.init_containers.iter().flatten().enumerate();
        let init = init.map(|(index, one)| match one.restart_policy.as_deref() {
            Some("Always") => (Part::Sidecar, index),
            _ => (Part::Init, index),
        });
        let main = (0..spec.containers.len()).map(|index| (Part::Main, index));
        let new = |(part, index)| Slot {
            part,
            index,
            state: State::Waiting {
                until: now,
                reason: "ContainerCreating",
            },
            attempt: 0,
            restarts: 0,
            backoff: Backoff::default(),
            probers: Vec::new(),
            last: None,
            trouble: None,
            grace: None,
        };
        init.chain(main).map(new).collect()
    }

    pub(super) fn spec<'p>(&self, pod: &'p Pod) -> Option<&'p Container> {
        let spec = pod.spec.as_ref()?;
        match self.part {
            Part::Main => spec.containers.get(self.index),
            Part::Init | Part::Sidecar => spec.init_containers.as_ref()?.get(self.index),
        }
    }

    pub(super) fn probe<'p>(&self, pod: &'p Pod, role: Role) -> Option<&'p Probe> {
        let container = self.spec(pod)?;
        match role {
            Role::Startup => container.startup_probe.as_ref(),
            Role::Liveness => container.liveness_probe.as_ref(),
            Role::Readiness => container.readiness_probe.as_ref(),
        }
    }

    pub(super) fn begin_probes(&mut self, pod: &Pod, now: Timestamp) {
        let roles = [Role::Startup, Role::Liveness, Role::Readiness];
        let made = roles.into_iter().filter_map(|role| {
            let spec = self.probe(pod, role)?;
            Some(Prober::new(role, spec, now))
        });
        self.probers = made.collect();
    }

    pub(super) fn verdict(&self, role: Role) -> Option<Verdict> {
        let prober = self.probers.iter().find(|prober| prober.role == role)?;
        Some(prober.verdict)
    }

    /// Whether it runs and its startup probe, if any, has succeeded.
    pub(super) fn is_started(&self) -> bool {
        matches!(self.state, State::Running { .. })
            && self
                .verdict(Role::Startup)
                .is_none_or(|v| v == Verdict::Success)
    }

    /// Whether it can serve: started, and found ready if it is asked.
    pub(super) fn is_ready(&self) -> bool {
        let asked = self.verdict(Role::Readiness);
        self.is_started() && asked.is_none_or(|verdict| verdict == Verdict::Success)
    }

    /// Whether the runtime has a process of it, or is making one.
    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.state, State::Waiting { .. } | State::Ended(_))
    }

    pub(super) fn has_succeeded(&self) -> bool {
        matches!(&self.state, State::Ended(end) if end.code == 0)
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(&self.state, State::Ended(end) if end.code != 0)
    }

    pub(super) fn since(&self) -> Option<Timestamp> {
        match self.state {
            State::Hooked { since, .. }
            | State::Running { since }
            | State::Stopping { since, .. } => Some(since),
            _ => None,
        }
    }
}
