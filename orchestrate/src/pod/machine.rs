//! The state machine.

use super::container::{End, Part, Slot, State};
use super::probe::{self, Role, Verdict};
use super::question;
use crate::clock::after;
use crate::runtime::{ContainerRef, Event, PodUid, Question, Ticket};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{LifecycleHandler, Pod};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What is to be done for a pod, in order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Prepare the pod's network and volumes.
    Run,
    /// Start a container.
    Start(ContainerRef),
    /// End a container.
    Stop(ContainerRef, Duration),
    /// Ask a container.
    Ask(ContainerRef, Question, Duration, Ticket),
    /// Give back everything the pod holds.
    Remove,
    /// Nothing is left of it: its object may go.
    Forget,
}

/// Where the pod's sandbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sandbox {
    /// To be asked for at this time.
    Wanted(Timestamp),
    Preparing,
    Ready,
    Removing,
    Gone,
}

/// Why a pod ends before its containers do so by themselves.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sentence {
    pub reason: String,
    pub message: String,
}

/// The life of one pod on its node.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) pod: Arc<Pod>,
    uid: PodUid,
    sandbox: Sandbox,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) slots: Vec<Slot>,
    pub(super) born: Timestamp,
    /// Set once the pod is to end, whatever its containers would like.
    pub(super) condemned: Option<Sentence>,
    sandbox_backoff: super::Backoff,
    ticket: Ticket,
    actions: Vec<Action>,
}

impl Machine {
    /// A pod that was just placed on this node.
    pub fn new(pod: Arc<Pod>, now: Timestamp) -> Machine {
        let mut machine = Machine {
            uid: pod.metadata.uid.as_deref().unwrap_or_default().into(),
            sandbox: Sandbox::Wanted(now),
            addresses: Vec::new(),
            slots: Slot::all(&pod, now),
            born: now,
            condemned: None,
            sandbox_backoff: super::Backoff::default(),
            ticket: 0,
            actions: Vec::new(),
            pod,
        };
        machine.advance(now);
        machine
    }

    /// The pod as it was seen last.
    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// What is to be done since the last call.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The pod's object has changed: it may have been asked to go.
    pub fn update(&mut self, pod: Arc<Pod>, now: Timestamp) {
        self.pod = pod;
        self.advance(now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Timestamp) {
        self.advance(now);
    }

    /// Ends the pod for a reason of the node's: eviction, lack of resources, shutdown.
    pub fn condemn(&mut self, reason: &str, message: &str, now: Timestamp) {
        self.condemned.get_or_insert(Sentence {
            reason: reason.to_owned(),
            message: message.to_owned(),
        });
        self.advance(now);
    }

    /// Answers may have been lost: what was asked is asked again, and a hook counts as run.
    pub fn ask_again(&mut self, now: Timestamp) {
        for index in 0..self.slots.len() {
            if matches!(self.slots[index].state, State::Hooked { .. }) {
                self.run(index, now);
            }
            for prober in &mut self.slots[index].probers {
                prober.due.get_or_insert(now);
            }
        }
        self.advance(now);
    }

    /// Something happened to the pod. Events of other pods and of earlier attempts are passed over.
    pub fn handle(&mut self, event: &Event, now: Timestamp) {
        match event {
            Event::PodReady { addresses, .. } if self.sandbox == Sandbox::Preparing => {
                self.sandbox = Sandbox::Ready;
                self.addresses.clone_from(addresses);
            }
            Event::PodFailed { .. } if self.sandbox == Sandbox::Preparing => {
                self.sandbox = Sandbox::Wanted(self.sandbox_backoff.fail_slowly(now));
            }
            Event::Removed { .. } => self.removed(now),
            Event::Started { container } => self.started(container, now),
            Event::StartFailed {
                container,
                reason,
                message,
            } => {
                self.start_failed(container, reason, message, now);
            }
            Event::Exited {
                container,
                code,
                out_of_memory,
            } => {
                self.exited(container, *code, *out_of_memory, now);
            }
            Event::Answered {
                container,
                ticket,
                answer,
            } => {
                self.answered(container, *ticket, answer, now);
            }
            _ => {}
        }
        self.advance(now);
    }

    /// When the machine wants to hear of the time again, if nothing happens before.
    pub fn deadline(&self) -> Option<Timestamp> {
        let mut times = Vec::new();
        if let Sandbox::Wanted(at) = self.sandbox {
            times.push(at);
        }
        times.extend(self.active_deadline());
        for slot in &self.slots {
            match slot.state {
                State::Waiting { until, .. } if self.may_start(slot) => times.push(until),
                State::Stopping {
                    hook: Some(_),
                    deadline,
                    ..
                } => times.push(deadline),
                State::Running { .. } if !self.is_ending() => {
                    let started = slot.is_started();
                    let probers = slot.probers.iter();
                    let active = probers.filter(|prober| prober.is_due(started, Timestamp::MAX));
                    times.extend(active.filter_map(|prober| prober.due));
                }
                _ => {}
            }
        }
        times.into_iter().min()
    }

    /// Whether the pod is over: its containers have ended and will not be started again.
    pub fn is_over(&self) -> bool {
        let ended = |slot: &Slot| !slot.is_alive();
        match self.is_ending() {
            true => self.slots.iter().all(ended),
            false => self.has_run_its_course() && self.slots.iter().all(ended),
        }
    }

    /// Whether an init container failed for good, or all main containers have ended for good.
    pub(super) fn has_run_its_course(&self) -> bool {
        let mut init = self.slots.iter().filter(|slot| slot.part == Part::Init);
        let mut main = self.slots.iter().filter(|slot| slot.part == Part::Main);
        init.any(Slot::has_failed) || main.all(|slot| matches!(slot.state, State::Ended(_)))
    }

    /// Whether somebody decided that the pod ends.
    pub(super) fn is_ending(&self) -> bool {
        self.condemned.is_some() || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Does all that is due now. Every step changes a state, so the loop ends.
    fn advance(&mut self, now: Timestamp) {
        if self
            .active_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.condemned.get_or_insert(Sentence {
                reason: "DeadlineExceeded".to_owned(),
                message: "Pod was active on the node longer than the specified deadline".to_owned(),
            });
        }
        if self.is_ending() || self.has_run_its_course() {
            self.wind_down(now);
        } else {
            self.prepare(now);
            self.start_due(now);
            self.judge(now);
            self.ask_due(now);
        }
        self.end_hooks(now);
    }

    fn active_deadline(&self) -> Option<Timestamp> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        let open = self.condemned.is_none() && !self.has_run_its_course();
        open.then(|| after(self.born, seconds))
    }

    fn prepare(&mut self, now: Timestamp) {
        if matches!(self.sandbox, Sandbox::Wanted(at) if at <= now) {
            self.sandbox = Sandbox::Preparing;
            self.actions.push(Action::Run);
        }
    }

    fn start_due(&mut self, now: Timestamp) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let due = matches!(slot.state, State::Waiting { until, .. } if until <= now);
            if due && self.may_start(slot) {
                self.slots[index].state = State::Starting;
                let container = self.reference(index);
                self.actions.push(Action::Start(container));
            }
        }
    }

    /// Whether it is a container's turn: init containers have ended and sidecars have started before it.
    fn may_start(&self, slot: &Slot) -> bool {
        let before = self
            .slots
            .iter()
            .take_while(|other| !std::ptr::eq(*other, slot));
        let done = |other: &Slot| match other.part {
            Part::Init => other.has_succeeded(),
            Part::Sidecar => other.is_started() || other.attempt > 0,
            Part::Main => true,
        };
        self.sandbox == Sandbox::Ready && !self.is_ending() && before.into_iter().all(done)
    }

    /// Ends the containers whose startup or liveness probe has failed.
    fn judge(&mut self, now: Timestamp) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if !matches!(slot.state, State::Running { .. }) {
                continue;
            }
            let failed = |role| slot.verdict(role) == Some(Verdict::Failure);
            let role = match (failed(Role::Startup), failed(Role::Liveness)) {
                (true, _) => Role::Startup,
                (_, true) => Role::Liveness,
                _ => continue,
            };
            let own = slot
                .probe(&self.pod, role)
                .and_then(|p| p.termination_grace_period_seconds);
            self.slots[index].grace = own;
            self.stop(index, now);
        }
    }

    fn ask_due(&mut self, now: Timestamp) {
        for index in 0..self.slots.len() {
            if !matches!(self.slots[index].state, State::Running { .. }) {
                continue;
            }
            let container = self.reference(index);
            let pod = self.pod.clone();
            let slot = &mut self.slots[index];
            let started = slot.is_started();
            let (Some(spec), mut probers) = (slot.spec(&pod), std::mem::take(&mut slot.probers))
            else {
                continue;
            };
            for prober in probers
                .iter_mut()
                .filter(|prober| prober.is_due(started, now))
            {
                let Some(probe) = slot.probe(&pod, prober.role) else {
                    continue;
                };
                self.ticket += 1;
                prober.asked(self.ticket);
                let question = question::of_probe(spec, probe);
                let timeout = probe::timeout(probe);
                let ask = Action::Ask(container.clone(), question, timeout, self.ticket);
                self.actions.push(ask);
            }
            slot.probers = probers;
        }
    }

    /// Ends the main containers, then the sidecars in reverse order, then the sandbox.
    fn wind_down(&mut self, now: Timestamp) {
        let main_alive = self
            .slots
            .iter()
            .any(|s| s.part != Part::Sidecar && s.is_alive());
        for index in (0..self.slots.len()).rev() {
            let slot = &self.slots[index];
            match slot.part {
                Part::Sidecar if main_alive => {}
                Part::Sidecar if self.later_sidecar_is_alive(index) => {}
                _ => self.stop(index, now),
            }
        }
        if self.slots.iter().any(Slot::is_alive) {
            return;
        }
        let deleted = self.pod.metadata.deletion_timestamp.is_some();
        match self.sandbox {
            Sandbox::Wanted(_) => self.sandbox = Sandbox::Gone,
            Sandbox::Preparing | Sandbox::Ready if deleted => {
                self.sandbox = Sandbox::Removing;
                self.actions.push(Action::Remove);
            }
            // A pod that has ended keeps its logs until it is deleted.
            _ => {}
        }
        // Whichever came first, the loss of the pod or the wish that it goes.
        if deleted && self.sandbox == Sandbox::Gone {
            self.actions.push(Action::Forget);
        }
    }

    fn later_sidecar_is_alive(&self, index: usize) -> bool {
        let later = self.slots.iter().skip(index + 1);
        later
            .into_iter()
            .any(|slot| slot.part == Part::Sidecar && slot.is_alive())
    }

    fn removed(&mut self, now: Timestamp) {
        if self.sandbox == Sandbox::Gone {
            return;
        }
        self.sandbox = Sandbox::Gone;
        for slot in self.slots.iter_mut().filter(|slot| slot.is_alive()) {
            slot.state = State::Ended(End {
                code: 137,
                reason: "ContainerStatusUnknown".to_owned(),
                message: "the container could not be located when the pod was terminated"
                    .to_owned(),
                began: slot.since(),
                at: now,
            });
        }
        if self.pod.metadata.deletion_timestamp.is_none() {
            self.condemn("NodeLost", "the runtime lost the pod", now);
        }
    }

    fn started(&mut self, container: &ContainerRef, now: Timestamp) {
        let Some(index) = self.find(container) else {
            return;
        };
        // It may have been asked to stop while it was being started; the runtime has the request already.
        if self.slots[index].state != State::Starting {
            return;
        }
        self.slots[index].trouble = None;
        match self.hook(index, |hooks| hooks.post_start.as_ref()) {
            None => self.run(index, now),
            Some(question) => {
                self.ticket += 1;
                let ask = Action::Ask(container.clone(), question, HOOK_PATIENCE, self.ticket);
                self.actions.push(ask);
                self.slots[index].state = State::Hooked {
                    since: now,
                    ticket: self.ticket,
                };
            }
        }
    }

    fn run(&mut self, index: usize, now: Timestamp) {
        let pod = self.pod.clone();
        let slot = &mut self.slots[index];
        let since = slot.since().unwrap_or(now);
        slot.state = State::Running { since };
        slot.begin_probes(&pod, now);
    }

    fn start_failed(
        &mut self,
        container: &ContainerRef,
        reason: &str,
        message: &str,
        now: Timestamp,
    ) {
        let Some(index) = self.find(container) else {
            return;
        };
        let slot = &mut self.slots[index];
        if !matches!(slot.state, State::Starting | State::Stopping { .. }) {
            return;
        }
        slot.trouble = Some((reason.to_owned(), message.to_owned()));
        slot.attempt += 1;
        let until = slot.backoff.fail_slowly(now);
        let reason = match reason {
            "ErrImagePull" | "ImagePullBackOff" => "ImagePullBackOff",
            _ => "CreateContainerError",
        };
        slot.state = State::Waiting { until, reason };
    }

    fn exited(&mut self, container: &ContainerRef, code: i32, out_of_memory: bool, now: Timestamp) {
        let Some(index) = self
            .find(container)
            .filter(|index| self.slots[*index].is_alive())
        else {
            return;
        };
        let reason = match (out_of_memory, code) {
            (true, _) => "OOMKilled",
            (_, 0) => "Completed",
            _ => "Error",
        };
        let began = self.slots[index].since();
        let end = End {
            code,
            reason: reason.to_owned(),
            message: String::new(),
            began,
            at: now,
        };
        let again = self.is_restarted(index, code);
        let slot = &mut self.slots[index];
        slot.probers.clear();
        slot.grace = None;
        slot.attempt += 1;
        if !again {
            slot.state = State::Ended(end);
            return;
        }
        slot.restarts += 1;
        let ran = began.map_or(SignedDuration::ZERO, |began| now.duration_since(began));
        let until = slot.backoff.fail(now, ran);
        slot.state = State::Waiting {
            until,
            reason: "CrashLoopBackOff",
        };
        slot.last = Some(end);
    }

    fn is_restarted(&self, index: usize, code: i32) -> bool {
        let policy = self
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.restart_policy.as_deref());
        let wanted = match (self.slots[index].part, policy) {
            (Part::Sidecar, _) => !self.has_run_its_course(),
            (Part::Init, Some("Never")) => false,
            (Part::Init, _) => code != 0,
            (Part::Main, Some("Never")) => false,
            (Part::Main, Some("OnFailure")) => code != 0,
            (Part::Main, _) => true,
        };
        wanted && !self.is_ending()
    }

    fn answered(
        &mut self,
        container: &ContainerRef,
        ticket: Ticket,
        answer: &Result<(), String>,
        now: Timestamp,
    ) {
        let Some(index) = self.find(container) else {
            return;
        };
        match self.slots[index].state {
            State::Hooked { ticket: asked, .. } if asked == ticket => match answer {
                Ok(()) => self.run(index, now),
                Err(_) => self.stop(index, now),
            },
            State::Stopping {
                hook: Some(asked),
                since,
                ..
            } if asked == ticket => {
                self.slots[index].state = State::Stopping {
                    since,
                    hook: Some(asked),
                    deadline: now,
                };
            }
            State::Running { .. } => {
                let pod = self.pod.clone();
                let slot = &mut self.slots[index];
                let mut probers = std::mem::take(&mut slot.probers);
                if let Some(prober) = probers
                    .iter_mut()
                    .find(|p| p.ticket == ticket && p.due.is_none())
                    && let Some(probe) = slot.probe(&pod, prober.role)
                {
                    prober.answered(probe, answer.is_ok(), now);
                }
                slot.probers = probers;
            }
            _ => {}
        }
    }

    /// Asks a container to end: first its preStop hook, then the signal.
    fn stop(&mut self, index: usize, now: Timestamp) {
        let slot = &self.slots[index];
        if !slot.is_alive() || matches!(slot.state, State::Stopping { .. }) {
            return;
        }
        let since = slot.since().unwrap_or(now);
        let deadline = after(now, self.grace(index));
        let hook = match slot.state {
            State::Running { .. } => self.hook(index, |hooks| hooks.pre_stop.as_ref()),
            _ => None,
        };
        let hook = hook.map(|question| {
            self.ticket += 1;
            let container = self.reference(index);
            let patience = Duration::from_secs(self.grace(index).unsigned_abs());
            let ask = Action::Ask(container, question, patience, self.ticket);
            self.actions.push(ask);
            self.ticket
        });
        self.slots[index].state = State::Stopping {
            since,
            hook,
            deadline,
        };
        if hook.is_none() {
            let grace = Duration::from_secs(self.grace(index).unsigned_abs());
            let container = self.reference(index);
            self.actions.push(Action::Stop(container, grace));
        }
    }

    /// A hook that has answered, or used up the time, is followed by the signal.
    fn end_hooks(&mut self, now: Timestamp) {
        for index in 0..self.slots.len() {
            let State::Stopping {
                since,
                hook: Some(_),
                deadline,
            } = self.slots[index].state
            else {
                continue;
            };
            if deadline > now {
                continue;
            }
            self.slots[index].state = State::Stopping {
                since,
                hook: None,
                deadline,
            };
            // Whatever the hook has used up, the container has two seconds to hear the signal.
            let grace = Duration::from_secs(self.grace(index).unsigned_abs().max(2));
            let container = self.reference(index);
            self.actions.push(Action::Stop(container, grace));
        }
    }

    fn grace(&self, index: usize) -> i64 {
        let meta = &self.pod.metadata;
        let spec = self.pod.spec.as_ref();
        let own = spec.and_then(|spec| spec.termination_grace_period_seconds);
        let asked = meta.deletion_grace_period_seconds;
        asked
            .or(self.slots[index].grace)
            .or(own)
            .unwrap_or(30)
            .max(0)
    }

    fn hook(
        &self,
        index: usize,
        choose: impl Fn(&k8s_openapi::api::core::v1::Lifecycle) -> Option<&LifecycleHandler>,
    ) -> Option<Question> {
        let spec = self.slots[index].spec(&self.pod)?;
        let hook = choose(spec.lifecycle.as_ref()?)?;
        Some(question::of_hook(spec, hook))
    }

    fn reference(&self, index: usize) -> ContainerRef {
        let slot = &self.slots[index];
        let name = slot.spec(&self.pod).map_or("", |spec| spec.name.as_str());
        ContainerRef {
            pod: self.uid.clone(),
            name: name.into(),
            attempt: slot.attempt,
        }
    }

    /// The container that an event is about, if the event is of its present attempt.
    fn find(&self, container: &ContainerRef) -> Option<usize> {
        let named = |slot: &Slot| {
            slot.attempt == container.attempt
                && slot
                    .spec(&self.pod)
                    .is_some_and(|spec| *spec.name == *container.name)
        };
        let mine = container.pod == self.uid;
        self.slots.iter().position(named).filter(|_| mine)
    }
}

/// How long a postStart hook may take. Kubernetes sets no limit; an hour is one that no sane hook meets.
const HOOK_PATIENCE: Duration = Duration::from_secs(3_600);
