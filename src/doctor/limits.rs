//! What containers can be limited by.

use super::{Finding, Level};
use crate::engine::PARENT;
use ampoule_cgroups::{Controller, Error, Layout, Mode, Parent, Version};

/// Those that limits need; the others have their uses, and are not missed.
const CONTROLLERS: [Controller; 6] = [
    Controller::Cpu,
    Controller::CpuSet,
    Controller::Memory,
    Controller::Pids,
    Controller::Io,
    Controller::HugeTlb,
];

pub(super) fn findings() -> Vec<Finding> {
    let mode = match Layout::discover() {
        Ok(layout) => layout.mode(),
        Err(error) => return vec![none(&error)],
    };
    let parent = match Parent::open(PARENT) {
        Ok(parent) => parent,
        Err(error) => return vec![none(&error)],
    };
    let mut findings = vec![usable(mode, &parent)];
    for controller in CONTROLLERS {
        if let Err(error) = parent.version_of(controller) {
            findings.push(unusable(controller, &error));
        }
    }
    findings
}

fn none(error: &Error) -> Finding {
    Finding::new("cgroups", Level::Degraded, "no limits on memory, processors and processes")
        .cause(error.to_string())
        .remedy("as root all works; an ordinary user needs delegation: systemd-run --user --scope -p Delegate=yes PROGRAM")
}

fn usable(mode: Mode, parent: &Parent) -> Finding {
    let kind = match mode {
        Mode::V1 => "version 1",
        Mode::V2 => "version 2",
        Mode::Hybrid => "hybrid",
    };
    let list: Vec<String> = CONTROLLERS
        .into_iter()
        .filter_map(|controller| match parent.version_of(controller).ok()? {
            Version::V1 => Some(format!("{controller} (v1)")),
            Version::V2 => Some(format!("{controller} (v2)")),
        })
        .collect();
    Finding::ok("cgroups", format!("{kind}: {}", list.join(", ")))
}

fn unusable(controller: Controller, error: &Error) -> Finding {
    Finding::new(
        "cgroups",
        Level::Degraded,
        format!("no limits by {controller}"),
    )
    .cause(error.to_string())
}
