//! The host's side of a start: hands the plan to a spawner, works at the gates, and makes sense of the outcome.

use crate::child::abi;
use crate::child::program::{NO_SLOT, Report};
use crate::error::{self, Error};
use crate::lower::Image;
use crate::passing;
use crate::process::Process;
use crate::spawner::{Lease, NAME, Request, Spawner};
use crate::wait::{self, Status};
use ampoule_plan::{Action, Call, Errno, Namespaces, Peer, Phase, Plan, Slot, Undo};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

/// Plays a plan: starts the process that it describes.
///
/// May be called from any thread of any program. When it returns, the process has become its program (the last call of the
/// plan was an `execve` that succeeded), or has never been.
///
/// # Errors
/// [`Error::Birth`] if the kernel refuses the process or a namespace; [`Error::Step`] if a call of the child fails;
/// [`Error::Host`] if the host's own work at a gate does; [`Error::Killed`] if the child was killed meanwhile. In every
/// case the child has ended, and the host's steps are taken back.
pub fn launch(mut plan: Plan) -> Result<Process, Error> {
    let mut image = Image::new(&plan);
    let spawner = Lease::take()?;
    let gate = Gate::new(&plan)?;
    let mut request = request(&plan, &mut image, gate.as_ref());
    let held = plan.slots().collect::<Vec<_>>();
    let mut fds: Vec<BorrowedFd<'_>> = held.iter().flatten().map(|fd| fd.as_fd()).collect();
    fds.extend(gate.as_ref().map(|gate| gate.childs.as_fd()));
    let started = now();
    spawner.begin(&mut request, &fds)?;
    drop(fds);
    drop(held);
    // From here on the spawner uses `request` and `image`, whatever happens, until it has answered.
    let mut host = Host {
        plan: &mut plan,
        report: spawner.report(),
        undo: Vec::new(),
        failed: None,
    };
    if let Some(gate) = gate {
        host.work(gate);
    }
    let Host { undo, failed, .. } = host;
    let born = outcome(&spawner, &request, &plan, failed)
        .map(|pidfd| Process::new(pidfd, times(spawner.report(), started), spawner.report()));
    drop(spawner);
    let process = born.and_then(|process| confirmed(process, plan));
    if process.is_err() {
        undo.into_iter().rev().for_each(Undo::run);
    }
    process
}

fn request(plan: &Plan, image: &mut Image, gate: Option<&Gate>) -> Request {
    let mut inherited: Vec<usize> = plan
        .slots()
        .enumerate()
        .filter(|(_, held)| held.is_some())
        .map(|(index, _)| index)
        .collect();
    let gate = gate.map_or(NO_SLOT, |_| plan.slots().len() as u16);
    inherited.extend((gate != NO_SLOT).then_some(usize::from(gate)));
    Request {
        program: image.relocate(),
        flags: flags(plan),
        inherited,
        cgroup: plan.cgroup().map(Slot::index),
        gate,
        reserved: reserved(plan),
        refused: None,
    }
}

/// A child that others can see shares nothing; one that is alone in its pid namespace shares the host's memory.
fn flags(plan: &Plan) -> u64 {
    let mut flags = plan.namespaces().bits() | abi::CLONE_CLEAR_SIGHAND;
    if plan.cgroup().is_some() {
        flags |= abi::CLONE_INTO_CGROUP;
    }
    let others = Namespaces::CLONE_NEWPID | Namespaces::CLONE_NEWNS | Namespaces::CLONE_NEWTIME;
    let joins = plan.calls().any(|call| match call {
        Call::Setns { kinds, .. } => kinds.intersects(others),
        Call::Fork => true,
        _ => false,
    });
    if !joins {
        flags |= abi::CLONE_VM;
    }
    flags
}

/// Numbers below this are given to the program by `dup3`: no other file descriptor may stand there before.
fn reserved(plan: &Plan) -> i32 {
    let numbers = plan.calls().filter_map(|call| match call {
        Call::Dup3 { to, .. } => Some(to + 1),
        _ => None,
    });
    numbers.max().unwrap_or(0)
}

/// The socket at which the child waits for the host.
struct Gate {
    hosts: OwnedFd,
    childs: OwnedFd,
}

impl Gate {
    /// No gate if the host has nothing to do.
    fn new(plan: &Plan) -> Result<Option<Gate>, Error> {
        if plan
            .steps()
            .iter()
            .all(|step| matches!(step.action, Action::Child(_)))
        {
            return Ok(None);
        }
        let (hosts, childs) = passing::pair().map_err(|e| Error::os("socketpair for a gate", e))?;
        Ok(Some(Gate { hosts, childs }))
    }
}

/// The host at work.
struct Host<'a> {
    plan: &'a mut Plan,
    report: &'a Report,
    undo: Vec<Undo>,
    failed: Option<(usize, io::Error)>,
}

impl Host<'_> {
    /// Works at each gate in turn, until the child has passed the last or is gone.
    fn work(&mut self, gate: Gate) {
        // Only the child's copies stay open, so that its end can be heard.
        drop(gate.childs);
        for run in runs(self.plan) {
            if !arrived(gate.hosts.as_fd()) {
                return;
            }
            let answer = self.steps(run);
            if rustix::net::send(
                &gate.hosts,
                &answer.to_ne_bytes(),
                rustix::net::SendFlags::NOSIGNAL,
            )
            .is_err()
                || answer != 0
            {
                return;
            }
        }
    }

    /// Does one run of steps; returns the answer for the child.
    fn steps(&mut self, run: std::ops::Range<usize>) -> i32 {
        let child = Waiting {
            report: self.report,
            pidfd: OnceCell::new(),
        };
        for index in run {
            let Some(work) = self.plan.take_work(index) else {
                continue;
            };
            // A panic must not leave the child waiting, nor this frame while the child uses it.
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.run(&child)));
            match done.unwrap_or_else(|_| Err(io::Error::other("the host's step panicked"))) {
                Ok(undo) => self.undo.push(undo),
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(libc::ECANCELED);
                    self.failed = Some((index, error));
                    return errno;
                }
            }
        }
        0
    }
}

/// Each run of host steps, as a range of steps.
fn runs(plan: &Plan) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for (index, step) in plan.steps().iter().enumerate() {
        match (&step.action, runs.last_mut()) {
            (Action::Child(_), _) => {}
            (Action::Host(_), Some(run)) if run.end == index => run.end += 1,
            (Action::Host(_), _) => runs.push(index..index + 1),
        }
    }
    runs
}

/// Waits until the child stands at the gate. False if it is gone.
fn arrived(socket: BorrowedFd<'_>) -> bool {
    let mut word = [0; 4];
    loop {
        match rustix::net::recv(socket, &mut word[..], rustix::net::RecvFlags::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            received => return received.is_ok_and(|(_, length)| length == 4),
        }
    }
}

/// The child, waiting at a gate.
struct Waiting<'a> {
    report: &'a Report,
    pidfd: OnceCell<OwnedFd>,
}

impl Peer for Waiting<'_> {
    fn pid(&self) -> i32 {
        self.report.pid.load(Acquire)
    }

    fn pidfd(&self) -> io::Result<BorrowedFd<'_>> {
        if self.pidfd.get().is_none() {
            // It waits for us and cannot be reaped meanwhile: the number is still its own.
            let pid = Pid::from_raw(self.pid()).ok_or(io::ErrorKind::NotFound)?;
            let _ = self.pidfd.set(pidfd_open(pid, PidfdFlags::empty())?);
        }
        self.pidfd
            .get()
            .map(AsFd::as_fd)
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn fetch(&self, slot: Slot) -> io::Result<OwnedFd> {
        let number = self.report.slots[slot.index()].load(Acquire);
        Ok(pidfd_getfd(
            self.pidfd()?,
            number,
            PidfdGetfdFlags::empty(),
        )?)
    }
}

/// Waits for the spawner's answer, and tells a program that runs from a child that failed.
fn outcome(
    spawner: &Spawner,
    request: &Request,
    plan: &Plan,
    failed: Option<(usize, io::Error)>,
) -> Result<OwnedFd, Error> {
    let answer = spawner.finish();
    let report = spawner.report();
    if let Some(errno) = request.refused {
        return Err(refused(errno));
    }
    let pidfd =
        answer?.ok_or_else(|| Error::os("take the pidfd of a child", io::ErrorKind::NotFound))?;
    let step = report.step.load(Acquire);
    let errno = report.errno.load(Acquire);
    if errno != 0 || failed.is_some() {
        // Its status says nothing that the report does not; but it must not stay as a zombie.
        let _ = wait::reap(pidfd.as_fd());
    }
    match (failed, errno) {
        (Some((index, source)), _) => Err(host_error(plan, index, source)),
        (None, 0) => match killed_early(report, pidfd.as_fd()) {
            Some(signal) => {
                let _ = wait::reap(pidfd.as_fd());
                Err(killed(plan, step, signal))
            }
            None => Ok(pidfd),
        },
        (None, errno) => Err(step_error(plan, step, Errno::from_raw(errno))),
    }
}

/// Where our own program starts the one that was asked for, waits until it says that it did.
fn confirmed(mut process: Process, mut plan: Plan) -> Result<Process, Error> {
    let Some(pipe) = plan.take_confirmation() else {
        return Ok(process);
    };
    // The other end that is still open here is among what the plan holds.
    plan.release();
    let mut word = Vec::with_capacity(4);
    File::from(pipe)
        .read_to_end(&mut word)
        .map_err(|e| Error::os("read a confirmation", e))?;
    let Ok(word) = <[u8; 4]>::try_from(&word[..]) else {
        return Ok(process);
    };
    let _ = process.wait();
    Err(step_error(
        &plan,
        plan.steps().len() as u32 + 1,
        Errno::from_raw(i32::from_ne_bytes(word)),
    ))
}

fn refused(errno: Errno) -> Error {
    match errno {
        Errno::EMFILE | Errno::ENFILE => Error::os(
            "hand the plan's file descriptors to the child",
            io::Error::from_raw_os_error(errno as i32),
        ),
        errno => Error::birth(errno),
    }
}

/// The signal that ended a child which had not executed its program yet.
///
/// The return of a VFORK clone means *executed or ended*. A child that never executed still carries its spawner's name.
fn killed_early(report: &Report, pidfd: BorrowedFd<'_>) -> Option<i32> {
    let Ok(Some(ended)) = wait::peek(pidfd) else {
        return None;
    };
    let Status::Signaled(signal) = ended.status else {
        return None;
    };
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", report.pid.load(Acquire))).ok()?;
    stat.contains(&format!("({NAME})")).then_some(signal)
}

fn host_error(plan: &Plan, index: usize, source: io::Error) -> Error {
    let number = index as u32 + 2;
    let (phase, why) = describe(plan, number);
    Error::Host {
        number,
        phase,
        why,
        source,
    }
}

fn step_error(plan: &Plan, number: u32, errno: Errno) -> Error {
    let (phase, call) = describe(plan, number);
    Error::Step {
        number,
        phase,
        call,
        errno,
        hint: error::hint(phase, errno),
    }
}

fn killed(plan: &Plan, number: u32, signal: i32) -> Error {
    let (phase, call) = describe(plan, number);
    Error::Killed {
        number,
        phase,
        call,
        signal,
    }
}

fn describe(plan: &Plan, number: u32) -> (Phase, String) {
    let Some(index) = (number as usize).checked_sub(2) else {
        return (Phase::Birth, "clone3".into());
    };
    let phase = plan
        .steps()
        .get(index)
        .map_or(Phase::Exec, |step| step.phase);
    (phase, plan.describe(index).unwrap_or_default())
}

/// How long each phase took, in the order in which they happened.
fn times(report: &Report, started: Duration) -> Vec<(Phase, Duration)> {
    let marks = report
        .marks
        .iter()
        .map(|mark| moment(mark.each_ref().map(|word| word.load(Acquire))));
    let begun: Vec<(Phase, Duration)> = Phase::ALL
        .into_iter()
        .zip(marks)
        .map(|(phase, mark)| {
            if phase == Phase::Birth {
                (phase, started)
            } else {
                (phase, mark)
            }
        })
        .filter(|(_, begun)| !begun.is_zero())
        .collect();
    let ends = begun.iter().skip(1).map(|(_, begun)| *begun).chain([now()]);
    begun
        .iter()
        .zip(ends)
        .map(|((phase, begun), end)| (*phase, end.saturating_sub(*begun)))
        .collect()
}

fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    moment([time.tv_sec, time.tv_nsec])
}

fn moment([seconds, nanoseconds]: [i64; 2]) -> Duration {
    Duration::new(seconds.unsigned_abs(), nanoseconds.unsigned_abs() as u32)
}
