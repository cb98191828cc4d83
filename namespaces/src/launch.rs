//! The host's side of a start: hands the plan to a spawner, works at the gates, and makes sense of the outcome.

use crate::child::abi;
use crate::child::program::NO_SLOT;
use crate::error::Error;
use crate::gate::{Gate, Host};
use crate::lower::Image;
use crate::outcome::{End, now, step_error};
use crate::passing;
use crate::process::Process;
use crate::reaper;
use crate::spawner::{Lease, NAME, Request, Spawner};
use ampoule_plan::{Call, Errno, Namespaces, Plan, Slot, Undo};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
    let born = answer(&spawner, &request).and_then(|pidfd| {
        let end = End {
            plan: &plan,
            report: spawner.report(),
            failed,
        };
        end.became_its_program(pidfd, started, NAME)
    });
    drop(spawner);
    let joins = plan.calls().any(|call| *call == Call::Fork);
    let process = born.and_then(|process| confirmed(process, plan));
    if let (Ok(process), true) = (&process, joins) {
        reaper::watch(process.life())?;
    }
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
    let flags = flags(plan);
    Request {
        program: image.relocate(),
        flags,
        inherited,
        cgroup: plan.cgroup().map(Slot::index),
        gate,
        reserved: reserved(plan),
        exposed: flags & abi::CLONE_VM != 0 && joins_users(plan),
        refused: None,
    }
}

/// Whether the child comes to live among processes that have power over its user namespace.
fn joins_users(plan: &Plan) -> bool {
    plan.calls().any(
        |call| matches!(call, Call::Setns { kinds, .. } if kinds.contains(Namespaces::CLONE_NEWUSER)),
    )
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
pub(crate) fn reserved(plan: &Plan) -> i32 {
    let numbers = plan.calls().filter_map(|call| match call {
        Call::Dup3 { to, .. } => Some(to + 1),
        _ => None,
    });
    numbers.max().unwrap_or(0)
}

/// Waits until the child has become its program, or ended.
fn answer(spawner: &Spawner, request: &Request) -> Result<OwnedFd, Error> {
    let answer = spawner.finish();
    match request.refused {
        Some(errno) => Err(refused(errno)),
        None => {
            answer?.ok_or_else(|| Error::os("take the pidfd of a child", io::ErrorKind::NotFound))
        }
    }
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

/// How long a child may take from its last gate to its program, which needs less than a millisecond. Who is inside already can
/// stop one that joins, since nobody can refuse SIGSTOP, and can keep its confirmation open: the host does not wait for that
/// for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Where our own program starts the one that was asked for, waits until it says that it did.
pub(crate) fn confirmed(mut process: Process, mut plan: Plan) -> Result<Process, Error> {
    let Some(pipe) = plan.take_confirmation() else {
        return Ok(process);
    };
    // The other end that is still open here is among what the plan holds.
    plan.release();
    let error = match word(pipe) {
        Ok(None) => return Ok(process),
        Ok(Some(errno)) => step_error(&plan, plan.steps().len() as u32 + 1, Errno::from_raw(errno)),
        Err(source) => Error::Os {
            what: "wait until the program has begun".into(),
            source,
            hint: Some("a process of the container may have stopped it"),
        },
    };
    // It has ended already, unless somebody inside has said this in its place.
    let _ = process.kill().and_then(|()| process.wait());
    Err(error)
}

/// The error number that stands in the pipe, if it does not just end.
fn word(pipe: OwnedFd) -> io::Result<Option<i32>> {
    if !passing::readable(pipe.as_fd(), PATIENCE)? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut word = [0; 4];
    match File::from(pipe).read(&mut word)? {
        0 => Ok(None),
        _ => Ok(Some(i32::from_ne_bytes(word))),
    }
}
