//! One probe of one container: when to ask, and what many answers mean.

use crate::clock::after;
use crate::runtime::Ticket;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Probe;
use std::time::Duration;

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Startup,
    Liveness,
    Readiness,
}

/// What the answers so far say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Unknown,
    Success,
    Failure,
}

/// A probe at work, from the start of a container's attempt to its end.
#[derive(Clone, Debug)]
pub(super) struct Prober {
    pub role: Role,
    pub verdict: Verdict,
    /// When to ask next; none while an answer is awaited.
    pub due: Option<Timestamp>,
    pub ticket: Ticket,
    /// How many answers in a row were alike, and which.
    run: (bool, i32),
}

impl Prober {
    pub(super) fn new(role: Role, spec: &Probe, started: Timestamp) -> Prober {
        Prober {
            role,
            verdict: Verdict::Unknown,
            due: Some(after(
                started,
                spec.initial_delay_seconds.unwrap_or(0).into(),
            )),
            ticket: 0,
            run: (false, 0),
        }
    }

    /// Whether it is time to ask. Until a startup probe has succeeded, the others keep quiet; afterwards it does.
    pub(super) fn is_due(&self, started_up: bool, now: Timestamp) -> bool {
        let turn = match self.role {
            Role::Startup => self.verdict != Verdict::Success,
            Role::Liveness | Role::Readiness => started_up,
        };
        turn && self.due.is_some_and(|due| due <= now)
    }

    pub(super) fn asked(&mut self, ticket: Ticket) {
        self.ticket = ticket;
        self.due = None;
    }

    pub(super) fn answered(&mut self, spec: &Probe, success: bool, now: Timestamp) {
        self.due = Some(after(now, spec.period_seconds.unwrap_or(10).max(1).into()));
        let (last, count) = self.run;
        self.run = (success, if last == success { count + 1 } else { 1 });
        let (verdict, threshold) = match success {
            true => (Verdict::Success, spec.success_threshold.unwrap_or(1)),
            false => (Verdict::Failure, spec.failure_threshold.unwrap_or(3)),
        };
        if self.run.1 >= threshold {
            self.verdict = verdict;
        }
    }
}

/// How long a probe waits for its answer.
pub(super) fn timeout(spec: &Probe) -> Duration {
    let seconds = spec.timeout_seconds.unwrap_or(1).max(1);
    Duration::from_secs(seconds.unsigned_abs().into())
}
