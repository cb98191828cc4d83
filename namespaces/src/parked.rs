//! A process that is born already, and waits for the rest of its plan.
//!
//! What a plan needs from birth on (namespaces, cgroup) and what it needs in the end (a root tree, a program) can be two
//! plans: the first ends in our own small program with a memory of its own, which waits, and plays the second. A pool keeps
//! such processes ready.

use crate::child::program::{NO_SLOT, Op, Report};
use crate::error::Error;
use crate::gate::{Gate, Host};
use crate::init;
use crate::launch::{confirmed, launch, reserved};
use crate::lower::Image;
use crate::outcome::{End, now};
use crate::passing;
use crate::process::Process;
use ampoule_plan::{Call, Draft, Phase, Plan, Undo, words};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Release;

/// Most file descriptors that a second plan may hold: what fits one message beside the image and the report.
const MOST: usize = 250;

/// A process that waits for the rest of its plan. When it is dropped, the process ends.
#[derive(Debug)]
pub struct Parked {
    process: Process,
    socket: OwnedFd,
    report: Page,
    name: String,
    resumed: bool,
}

impl Parked {
    /// Starts a process by the first plan, which must not have a program of its own, and parks it.
    ///
    /// # Errors
    /// As for [`launch`].
    pub fn park(mut first: Draft) -> Result<Parked, Error> {
        let (socket, theirs) =
            passing::pair().map_err(|e| Error::os("socketpair for a parked process", e))?;
        let report = Page::new()?;
        contribute(&mut first, theirs)?;
        let process = launch(first.finish()?)?;
        let name =
            std::fs::read_to_string(format!("/proc/{}/comm", process.id())).unwrap_or_default();
        Ok(Parked {
            process,
            socket,
            report,
            name: name.trim_end().to_string(),
            resumed: false,
        })
    }

    /// The process, as it waits.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Has the process play the second plan, and become the program at its end.
    ///
    /// The second plan's namespaces and cgroup are those of the first: it can only contribute steps.
    ///
    /// # Errors
    /// As for [`launch`].
    pub fn resume(mut self, mut second: Plan) -> Result<Process, Error> {
        let image = Image::new(&second);
        let gate = Gate::new(&second)?;
        let started = now();
        self.report
            .get()
            .pid
            .store(self.process.id() as i32, Release);
        self.hand_over(&image, &second, gate.as_ref())?;
        let mut host = Host {
            plan: &mut second,
            report: self.report.get(),
            undo: Vec::new(),
            failed: None,
        };
        if let Some(gate) = gate {
            host.work(gate);
        }
        let Host { undo, failed, .. } = host;
        // The parked program's end closes when it executes another, or ends.
        let _ = passing::receive(self.socket.as_fd());
        self.resumed = true;
        let pidfd = self
            .process
            .pidfd()
            .try_clone_to_owned()
            .map_err(|e| Error::os("copy a pidfd", e))?;
        let end = End {
            plan: &second,
            report: self.report.get(),
            failed,
        };
        let became = end
            .became_its_program(pidfd, started, &self.name)
            .and_then(|process| confirmed(process, second));
        if became.is_err() {
            undo.into_iter().rev().for_each(Undo::run);
        }
        became
    }

    /// Sends the image, the report page and the second plan's file descriptors; `init/parked.rs` is the other side.
    fn hand_over(&self, image: &Image, plan: &Plan, gate: Option<&Gate>) -> Result<(), Error> {
        let (header, bytes) = image.parcel(plan, gate.is_some());
        let file = memory_file("plan", &bytes)?;
        let held: Vec<_> = plan.slots().collect();
        let mut fds: Vec<BorrowedFd<'_>> = vec![file.as_fd(), self.report.file.as_fd()];
        fds.extend(held.iter().flatten().map(|fd| fd.as_fd()));
        fds.extend(gate.map(|gate| gate.childs.as_fd()));
        if fds.len() > MOST {
            let problem = format!(
                "a parked process takes {MOST} file descriptors at most, not {}",
                fds.len()
            );
            return Err(ampoule_plan::Error::Invalid(problem).into());
        }
        passing::send_bytes(self.socket.as_fd(), &header, &fds)
            .map_err(|e| Error::os("wake a parked process", e))
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if !self.resumed {
            // It holds nothing of anybody's, and answers to nobody else: there is nothing to do about an error.
            let _ = self.process.kill().and_then(|()| self.process.wait());
        }
    }
}

/// The last steps of the first plan: our own program, with the socket as file descriptor 3.
fn contribute(draft: &mut Draft, socket: OwnedFd) -> Result<(), Error> {
    let from = draft.hold("rest of the plan", socket).into();
    let init = init::program().map_err(|e| Error::os(init::MAKING, e))?;
    let fd = draft.hold(init::NAME, init).into();
    draft.child(
        Phase::Session,
        Call::Dup3 { from, to: 3 },
        "where the rest of the plan comes from",
    );
    crate::command::tie(draft);
    let argv = words([init::NAME, "play", "3"])?;
    draft.child(
        Phase::Exec,
        Call::Execveat {
            fd,
            argv,
            envp: vec![],
        },
        "wait there, in a memory of its own",
    );
    Ok(())
}

impl Image {
    /// The header and the bytes that `init/parked.rs` takes: operations, relocations, data.
    fn parcel(&self, plan: &Plan, has_gate: bool) -> (Vec<u8>, Vec<u8>) {
        let gate = if has_gate {
            plan.slots().len() as u16
        } else {
            NO_SLOT
        };
        let reserved = reserved(plan).unsigned_abs() as usize;
        let counts = [
            self.ops.len(),
            self.relocations.len(),
            self.data.len(),
            usize::from(gate),
            reserved,
        ];
        let held = plan
            .slots()
            .enumerate()
            .filter(|(_, held)| held.is_some())
            .map(|(index, _)| index as u16);
        let mut slots: Vec<u16> = held.chain(has_gate.then_some(gate)).collect();
        slots.resize(256, NO_SLOT);
        let header = counts
            .iter()
            .flat_map(|count| (*count as u64).to_ne_bytes());
        let header = header
            .chain(slots.iter().flat_map(|slot| slot.to_ne_bytes()))
            .collect();
        // SAFETY: operations are plain numbers without padding that matters: the reader is the same type.
        let ops = unsafe {
            std::slice::from_raw_parts(self.ops.as_ptr().cast::<u8>(), size_of_val(&self.ops[..]))
        };
        let relocations = self
            .relocations
            .iter()
            .flat_map(|index| (*index as u64).to_ne_bytes());
        let data = self.data.iter().flat_map(|word| word.to_ne_bytes());
        (
            header,
            ops.iter().copied().chain(relocations).chain(data).collect(),
        )
    }
}

fn memory_file(name: &str, bytes: &[u8]) -> Result<OwnedFd, Error> {
    let failed = |e: std::io::Error| Error::os("make a file in memory", e);
    let mut file =
        std::fs::File::from(memfd_create(name, MemfdFlags::CLOEXEC).map_err(|e| failed(e.into()))?);
    file.write_all(bytes).map_err(failed)?;
    Ok(file.into())
}

/// A report page that a process without our memory can map as well.
#[derive(Debug)]
struct Page {
    file: OwnedFd,
    report: NonNull<Report>,
}

// SAFETY: shared memory whose fields are all atomic.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    fn new() -> Result<Page, Error> {
        let failed = |errno| Error::os("make a report page", errno);
        let file = memfd_create("report", MemfdFlags::CLOEXEC).map_err(failed)?;
        ftruncate(&file, size_of::<Report>() as u64).map_err(failed)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping; zeros are a valid report.
        let report = unsafe {
            mmap(
                std::ptr::null_mut(),
                size_of::<Report>(),
                access,
                MapFlags::SHARED,
                &file,
                0,
            )
        };
        let report = NonNull::new(report.map_err(failed)?.cast())
            .ok_or_else(|| failed(rustix::io::Errno::NOMEM))?;
        Ok(Page { file, report })
    }

    fn get(&self) -> &Report {
        // SAFETY: mapped for as long as `self` lives.
        unsafe { self.report.as_ref() }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and `get` borrows from `self`.
        unsafe {
            let _ = munmap(self.report.as_ptr().cast(), size_of::<Report>());
        }
    }
}

const _: () = assert!(size_of::<Op>().is_multiple_of(8));
