//! Ending all processes of a cgroup, and the cgroup: in bounded time, and without ever hitting a stranger.

use crate::dir::Dir;
use crate::wait::{Deadline, wait_for_exit, wait_for_line};
use crate::{Error, Result, freezer, tree};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// So many processes are signalled at a time: a fork bomb must not use up the descriptors.
const BATCH: usize = 256;

/// Kills all processes of a cgroup and of its children, and waits until they are gone.
pub(crate) fn kill(dir: &Dir, timeout: Duration) -> Result<()> {
    let deadline = Deadline::after(timeout);
    let killed = match dir.try_write("cgroup.kill", "1") {
        Ok(()) => wait_for_line(dir, "cgroup.events", "populated 0", &deadline)?,
        // v1, or v2 before 5.14, or a threaded cgroup.
        Err(Errno::NOENT | Errno::OPNOTSUPP) => kill_by_signals(dir, &deadline)?,
        Err(errno) => return Err(dir.failed_write("cgroup.kill", "1", errno)),
    };
    match killed {
        true => Ok(()),
        false => Err(Error::Timeout {
            what: format!("killing all processes of {:?}", dir.path()),
            waited: timeout,
            hint: Some("one of them is in uninterruptible sleep (state D of ps), or traced"),
        }),
    }
}

/// Kills, then removes a cgroup's directory with the child cgroups in it. A directory that is gone already is no error.
pub(crate) fn remove(parent: &Dir, name: &str, dir: &Dir, timeout: Duration) -> Result<()> {
    let deadline = Deadline::after(timeout);
    let mut pauses = deadline.pauses();
    loop {
        // First as if it were empty, as it usually is.
        match parent.remove(name) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) => {}
            Err(errno) => return Err(Error::kernel("rmdir", dir.path(), errno)),
        }
        kill(dir, timeout)?;
        tree::remove_children(dir)?;
        match parent.remove(name) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // The last process has gone from the list but not yet from the cgroup: the kernel has no event for this.
            Err(Errno::BUSY) if pauses.wait() => {}
            Err(errno) => return Err(Error::kernel("rmdir", dir.path(), errno)),
        }
    }
}

/// Freeze, signal all, thaw, look again. Frozen processes neither fork nor exit, so one round takes all that are there; where
/// freezing is not to be had, rounds repeat until the list is empty.
fn kill_by_signals(dir: &Dir, deadline: &Deadline) -> Result<bool> {
    let mut pauses = deadline.pauses();
    loop {
        // A freeze that fails (no freezer here, a task in state D) costs a round, not the kill.
        let frozen = freezer::freeze(dir, Duration::from_millis(100)).is_ok();
        let killed = signal_all(dir);
        if frozen {
            freezer::thaw(dir)?;
        }
        let killed = killed?;
        if processes(dir)?.is_empty() {
            return Ok(true);
        }
        match killed.is_empty() {
            // Processes that end by themselves, or are of a pid namespace that cannot be seen from here.
            true => drop(pauses.wait()),
            false => wait_for_exit(killed.iter(), deadline),
        }
        if !deadline.is_ahead() {
            return Ok(false);
        }
    }
}

/// Sends SIGKILL to every process of the cgroup, and returns the last ones' descriptors, to wait for.
///
/// A pid may be another's by the time it is used. So: open it, then look whether the cgroup still has that pid. If it does, and
/// the process behind the descriptor is alive, the two are the same; if that process is dead, the signal goes nowhere.
fn signal_all(dir: &Dir) -> Result<Vec<OwnedFd>> {
    let pids: Vec<u32> = processes(dir)?.into_iter().collect();
    let mut killed = Vec::new();
    for batch in pids.chunks(BATCH) {
        let opened: Vec<_> = batch.iter().map(|pid| open(*pid)).collect::<Result<_>>()?;
        let still = processes(dir)?;
        killed.clear();
        for (pid, pidfd) in opened.into_iter().flatten() {
            if still.contains(&pid) && pidfd_send_signal(&pidfd, Signal::KILL).is_ok() {
                killed.push(pidfd);
            }
        }
    }
    Ok(killed)
}

/// A descriptor of the process; `None` if it has ended.
fn open(pid: u32) -> Result<Option<(u32, OwnedFd)>> {
    let Some(raw) = pid.try_into().ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    match pidfd_open(raw, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some((pid, pidfd))),
        Err(Errno::SRCH) => Ok(None),
        Err(errno) => Err(Error::kernel(
            "open a pidfd of",
            format!("/proc/{pid}").as_ref(),
            errno,
        )),
    }
}

/// The processes of a cgroup and of its children; 0 stands for those of a pid namespace that cannot be seen from here.
pub(crate) fn processes(dir: &Dir) -> Result<BTreeSet<u32>> {
    let mut pids = BTreeSet::new();
    tree::walk(dir, |dir| {
        // cgroup.procs of a threaded cgroup cannot be read: its processes are listed in the domain above.
        match dir.read_if_any("cgroup.procs") {
            Ok(text) => {
                let lines = text.iter().flat_map(|text| text.lines());
                pids.extend(lines.filter_map(|line| line.parse::<u32>().ok()));
                Ok(())
            }
            // The cgroup was removed meanwhile.
            Err(error) if error.errno() == Some(Errno::NODEV.raw_os_error()) => Ok(()),
            Err(error) => Err(error),
        }
    })?;
    Ok(pids)
}
