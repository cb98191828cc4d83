//! Stopping and resuming all tasks, on v2 and v1.

use crate::dir::Dir;
use crate::wait::{Deadline, wait_for_line};
use crate::{Error, Result};
use rustix::fs::OFlags;
use std::time::Duration;

const V2: &str = "cgroup.freeze";
const V1: &str = "freezer.state";

/// Stops all tasks and waits until they have; thaws again where they do not.
pub(crate) fn freeze(dir: &Dir, timeout: Duration) -> Result<()> {
    let result = try_freeze(dir, timeout);
    if result.is_err() {
        thaw(dir)?;
    }
    result
}

fn try_freeze(dir: &Dir, timeout: Duration) -> Result<()> {
    let deadline = Deadline::after(timeout);
    let frozen = match is_v2(dir) {
        true => {
            dir.write(V2, "1")?;
            wait_for_line(dir, "cgroup.events", "frozen 1", &deadline)?
        }
        false => freeze_v1(dir, &deadline)?,
    };
    match frozen {
        true => Ok(()),
        false => Err(Error::Timeout {
            what: format!("freezing {:?}", dir.path()),
            waited: timeout,
            hint: Some("a task is in uninterruptible sleep (state D of ps)"),
        }),
    }
}

/// v1 tells nobody when it is done, and must be asked again for tasks that forked meanwhile.
fn freeze_v1(dir: &Dir, deadline: &Deadline) -> Result<bool> {
    let mut pauses = deadline.pauses();
    loop {
        dir.write(V1, "FROZEN")?;
        if is_frozen(dir)? {
            return Ok(true);
        }
        if !pauses.wait() {
            return Ok(false);
        }
    }
}

pub(crate) fn thaw(dir: &Dir) -> Result<()> {
    match is_v2(dir) {
        true => dir.write(V2, "0"),
        false => dir.write(V1, "THAWED"),
    }
}

pub(crate) fn is_frozen(dir: &Dir) -> Result<bool> {
    match is_v2(dir) {
        true => Ok(dir
            .read("cgroup.events")?
            .lines()
            .any(|line| line == "frozen 1")),
        false => Ok(dir.read(V1)?.trim() == "FROZEN"),
    }
}

fn is_v2(dir: &Dir) -> bool {
    dir.file(V2, OFlags::PATH).is_ok()
}
