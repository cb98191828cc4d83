//! The status that a machine reports.

use super::Machine;
use super::container::{End, Part, Slot, State};
use crate::clock::whole_seconds;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

impl Machine {
    /// The pod's status. Conditions that others set are kept, and a condition that did not change keeps its time.
    pub fn status(&self, now: Timestamp) -> PodStatus {
        let mut status = self.pod.status.clone().unwrap_or_default();
        let list = |init: bool| -> Vec<ContainerStatus> {
            let wanted = self
                .slots
                .iter()
                .filter(|slot| (slot.part != Part::Main) == init);
            wanted.map(|slot| self.container_status(slot)).collect()
        };
        status.phase = Some(self.phase().to_owned());
        status.container_statuses = Some(list(false));
        let init = list(true);
        status.init_container_statuses = Some(init).filter(|list| !list.is_empty());
        status.start_time.get_or_insert(time(self.born));
        status
            .qos_class
            .get_or_insert_with(|| qos_class(self).to_owned());
        if let Some(first) = self.addresses.first() {
            status.pod_ip = Some(first.to_string());
            let all = self.addresses.iter().map(|address| PodIP {
                ip: address.to_string(),
            });
            status.pod_ips = Some(all.collect());
        }
        if let Some(sentence) = &self.condemned {
            status.reason = Some(sentence.reason.clone());
            status.message = Some(sentence.message.clone());
        }
        self.conditions(&mut status, now);
        status
    }

    fn phase(&self) -> &'static str {
        let main = || self.slots.iter().filter(|slot| slot.part == Part::Main);
        if self.is_over() && (self.condemned.is_some() || self.has_run_its_course()) {
            let all_well = main().all(Slot::has_succeeded);
            return if all_well && self.condemned.is_none() {
                "Succeeded"
            } else {
                "Failed"
            };
        }
        let began = |slot: &Slot| {
            slot.last.is_some() || !matches!(slot.state, State::Waiting { .. } | State::Starting)
        };
        match main().any(began) {
            true => "Running",
            false => "Pending",
        }
    }

    fn conditions(&self, status: &mut PodStatus, now: Timestamp) {
        let over = self.is_over();
        let initialized = self.slots.iter().all(|slot| match slot.part {
            Part::Init => slot.has_succeeded(),
            Part::Sidecar => slot.is_started() || slot.attempt > 0,
            Part::Main => true,
        });
        let serving = |slot: &Slot| slot.part == Part::Init || slot.is_ready();
        let containers_ready = !over && initialized && self.slots.iter().all(serving);
        let gates = self
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.readiness_gates.as_deref());
        let mut gates = gates.unwrap_or_default().iter();
        let conditions = status.conditions.get_or_insert_default();
        let open = gates.all(|gate| holds(conditions, &gate.condition_type));
        let reason = match (over, self.phase()) {
            (true, "Succeeded") => Some("PodCompleted"),
            (true, _) => Some("PodFailed"),
            _ => Some("ContainersNotReady"),
        };
        set(
            conditions,
            "PodReadyToStartContainers",
            !self.addresses.is_empty() && !over,
            None,
            now,
        );
        set(
            conditions,
            "Initialized",
            initialized,
            Some("ContainersNotInitialized"),
            now,
        );
        set(conditions, "ContainersReady", containers_ready, reason, now);
        let gated = if containers_ready {
            Some("ReadinessGatesNotReady")
        } else {
            reason
        };
        set(conditions, "Ready", containers_ready && open, gated, now);
    }

    fn container_status(&self, slot: &Slot) -> ContainerStatus {
        let spec = slot.spec(&self.pod);
        let image = spec.and_then(|spec| spec.image.clone()).unwrap_or_default();
        ContainerStatus {
            name: spec.map(|spec| spec.name.clone()).unwrap_or_default(),
            image_id: String::new(),
            image,
            restart_count: i32::try_from(slot.restarts).unwrap_or(i32::MAX),
            ready: match slot.part {
                Part::Init => slot.has_succeeded(),
                _ => slot.is_ready(),
            },
            started: Some(slot.is_started()),
            state: Some(state(slot)),
            last_state: slot.last.as_ref().map(|end| ContainerState {
                terminated: Some(terminated(end)),
                ..ContainerState::default()
            }),
            ..ContainerStatus::default()
        }
    }
}

fn state(slot: &Slot) -> ContainerState {
    match &slot.state {
        State::Waiting { reason, .. } => {
            let trouble = slot.trouble.as_ref();
            waiting(reason, trouble.map(|(_, message)| message.clone()))
        }
        State::Starting | State::Hooked { .. } => waiting("ContainerCreating", None),
        State::Running { since } | State::Stopping { since, .. } => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: Some(time(*since)),
            }),
            ..ContainerState::default()
        },
        State::Ended(end) => ContainerState {
            terminated: Some(terminated(end)),
            ..ContainerState::default()
        },
    }
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message,
        }),
        ..ContainerState::default()
    }
}

fn terminated(end: &End) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: end.code,
        reason: Some(end.reason.clone()),
        message: Some(end.message.clone()).filter(|message| !message.is_empty()),
        started_at: end.began.map(time),
        finished_at: Some(time(end.at)),
        ..ContainerStateTerminated::default()
    }
}

pub(crate) fn holds(conditions: &[PodCondition], name: &str) -> bool {
    let mut found = conditions
        .iter()
        .filter(|condition| condition.type_ == name);
    found.any(|condition| condition.status == "True")
}

/// Sets a condition; its time changes only when it does.
fn set(
    conditions: &mut Vec<PodCondition>,
    name: &str,
    holds: bool,
    reason: Option<&str>,
    now: Timestamp,
) {
    let status = if holds { "True" } else { "False" };
    let reason = reason.filter(|_| !holds).map(str::to_owned);
    let known = conditions
        .iter_mut()
        .find(|condition| condition.type_ == name);
    if let Some(condition) = known {
        if condition.status != status {
            condition.last_transition_time = Some(time(now));
            status.clone_into(&mut condition.status);
        }
        condition.reason = reason;
        return;
    }
    conditions.push(PodCondition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason,
        last_transition_time: Some(time(now)),
        ..PodCondition::default()
    });
}

fn time(moment: Timestamp) -> Time {
    Time(whole_seconds(moment))
}

/// `Guaranteed` when every container's limits are its requests, `BestEffort` when there are neither, else `Burstable`.
fn qos_class(machine: &Machine) -> &'static str {
    let slots = machine.slots.iter();
    let containers: Vec<_> = slots.filter_map(|slot| slot.spec(&machine.pod)).collect();
    let empty = |c: &&k8s_openapi::api::core::v1::Container| {
        let resources = c.resources.as_ref();
        resources.is_none_or(|r| r.limits.is_none() && r.requests.is_none())
    };
    let guaranteed = |c: &&k8s_openapi::api::core::v1::Container| {
        c.resources.as_ref().is_some_and(|resources| {
            let (limits, requests) = (resources.limits.as_ref(), resources.requests.as_ref());
            ["cpu", "memory"].iter().all(|name| {
                let limit = limits.and_then(|limits| limits.get(*name));
                limit.is_some() && limit == requests.and_then(|requests| requests.get(*name))
            })
        })
    };
    if containers.iter().all(empty) {
        "BestEffort"
    } else if containers.iter().all(guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}
