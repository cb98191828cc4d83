//! A running container.

use crate::container::Container;
use crate::error::{Error, Result};
use crate::exec::Exec;
use crate::limits::Limited;
use crate::report::{Output, Report};
use ampoule_cgroups::{Cgroup, Stats};
use ampoule_namespaces::{IdMap, Process};
use ampoule_rootfs::Maker;
use std::ffi::OsStr;
use std::fmt;
use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

/// How long a killed container may take to be gone.
const DEADLINE: Duration = Duration::from_secs(10);

/// A running container. Dropping it kills everything inside.
pub struct Child {
    /// The writing end of standard input, if that is [piped](crate::Stdio::Piped).
    pub stdin: Option<PipeWriter>,
    /// The reading end of standard output, if that is piped.
    pub stdout: Option<PipeReader>,
    /// The reading end of standard error, if that is piped.
    pub stderr: Option<PipeReader>,
    terminal: Option<OwnedFd>,
    pub(crate) container: Container,
    pub(crate) inside: Inside,
    pub(crate) process: Process,
    pub(crate) cgroup: Limited,
    started: Instant,
    pub(crate) timed_out: Arc<AtomicBool>,
    report: Option<Report>,
}

/// What is known of the container's inside, for programs that join it.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) maker: Maker,
    pub(crate) id_map: Option<IdMap>,
}

/// The caller's ends of the standard streams.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<PipeWriter>,
    pub(crate) stdout: Option<PipeReader>,
    pub(crate) stderr: Option<PipeReader>,
    pub(crate) terminal: Option<OwnedFd>,
}

impl Child {
    pub(crate) fn new(
        container: &Container,
        inside: Inside,
        process: Process,
        cgroup: Limited,
        pipes: Pipes,
        started: Instant,
    ) -> Child {
        let Pipes {
            stdin,
            stdout,
            stderr,
            terminal,
        } = pipes;
        let container = container.clone();
        let (timed_out, report) = (Arc::default(), None);
        Child {
            stdin,
            stdout,
            stderr,
            terminal,
            container,
            inside,
            process,
            cgroup,
            started,
            timed_out,
            report,
        }
    }

    /// The process id of its first process, as the host counts.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// A file descriptor that stands for its first process, and becomes readable when that ends.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.pidfd()
    }

    /// The caller's end of its terminal, if it has one.
    pub fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(AsFd::as_fd)
    }

    /// Starts another program in it, once [`Exec::spawn`] is called.
    pub fn exec(&self, program: impl AsRef<OsStr>) -> Exec<'_> {
        Exec::new(self, program)
    }

    /// Sends its first process a signal, by number.
    ///
    /// # Errors
    /// `EINVAL` for a signal that does not exist.
    pub fn signal(&self, signal: i32) -> Result<()> {
        Ok(self.process.signal(signal)?)
    }

    /// Kills everything inside.
    ///
    /// # Errors
    /// None that a person could do anything about.
    pub fn kill(&self) -> Result<()> {
        // The kernel kills a pid namespace with its first process.
        Ok(self.process.kill()?)
    }

    /// What it uses now; all of it is empty without a cgroup.
    ///
    /// # Errors
    /// [`Error::Cgroup`] if the cgroup cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        match &self.cgroup {
            Some(cgroup) => Ok(cgroup.stats()?),
            None => Ok(Stats::default()),
        }
    }

    /// Stops all its processes where they are, until [`resume`](Child::resume).
    ///
    /// # Errors
    /// [`Error::Cgroup`] where there is no freezer, or a process cannot be stopped in time.
    pub fn pause(&self) -> Result<()> {
        Ok(self.its_cgroup("pause")?.freeze(DEADLINE)?)
    }

    /// Whether its processes are stopped.
    pub(crate) fn is_paused(&self) -> Result<bool> {
        match &self.cgroup {
            Some(cgroup) => Ok(cgroup.is_frozen()?),
            None => Ok(false),
        }
    }

    /// Lets its processes go on.
    ///
    /// # Errors
    /// [`Error::Cgroup`] where there is no freezer.
    pub fn resume(&self) -> Result<()> {
        Ok(self.its_cgroup("resume")?.thaw()?)
    }

    fn its_cgroup(&self, what: &str) -> Result<&ampoule_cgroups::Cgroup> {
        let missing = || {
            Error::Invalid(format!(
                "{what} a container without a cgroup: none is delegated to this user"
            ))
        };
        self.cgroup.as_ref().ok_or_else(missing)
    }

    /// Waits until it has ended; kills it when its [timeout](Container::timeout) is over.
    ///
    /// # Errors
    /// [`Error::Cgroup`] if what it used cannot be read.
    pub fn wait(&mut self) -> Result<Report> {
        drop(self.stdin.take());
        match self.time_left() {
            Some(left) => {
                if self.process.wait_timeout(left)?.is_none() {
                    self.time_out()?;
                }
            }
            None => {
                self.process.wait()?;
            }
        }
        self.ended()
    }

    /// What became of it, if it has ended.
    ///
    /// # Errors
    /// As for [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> Result<Option<Report>> {
        if self.process.try_wait()?.is_none() {
            if self.time_left() != Some(Duration::ZERO) {
                return Ok(None);
            }
            self.time_out()?;
        }
        self.ended().map(Some)
    }

    /// Reads all that it prints, and waits until it has ended.
    ///
    /// # Errors
    /// As for [`wait`](Child::wait).
    pub fn wait_with_output(mut self) -> Result<Output> {
        drop(self.stdin.take());
        let (stdout, stderr) = (reader(self.stdout.take())?, reader(self.stderr.take())?);
        let report = self.wait()?;
        let gather = |reader: Option<Reader>| reader.map_or(Ok(Vec::new()), Reader::finish);
        Ok(Output {
            report,
            stdout: gather(stdout)?,
            stderr: gather(stderr)?,
        })
    }

    /// What is left of its [timeout](Container::timeout).
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let timeout = self.container.timeout?;
        Some(timeout.saturating_sub(self.started.elapsed()))
    }

    pub(crate) fn time_out(&mut self) -> Result<()> {
        self.timed_out.store(true, Release);
        self.kill()?;
        match self.process.wait_timeout(DEADLINE)? {
            Some(_) => Ok(()),
            None => Err(Error::os("kill a container", std::io::ErrorKind::TimedOut)),
        }
    }

    /// The first process has ended: nothing else is left, and what was used is final.
    pub(crate) fn ended(&mut self) -> Result<Report> {
        if let Some(report) = &self.report {
            return Ok(report.clone());
        }
        let ended = self.process.wait()?;
        let totals = self.cgroup.as_ref().map(Cgroup::totals).transpose()?;
        let report = Report::new(
            ended,
            totals.unwrap_or_default(),
            self.container.init,
            self.timed_out.load(Acquire),
            self.started.elapsed(),
            self.process.times(),
        );
        if let Some(cgroup) = self.cgroup.take() {
            cgroup.remove()?;
        }
        Ok(self.report.insert(report).clone())
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = &self.container.program;
        f.debug_struct("Child")
            .field("id", &self.id())
            .field("program", program)
            .finish_non_exhaustive()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // There is nobody to tell; the pid namespace and the cgroup both see to it that nothing stays.
        if self.report.is_none() && self.process.kill().is_ok() {
            let _ = self.process.wait_timeout(DEADLINE);
        }
    }
}

/// Reads a pipe on a thread of its own, so that neither stream can fill up while the other is read.
struct Reader(std::thread::JoinHandle<std::io::Result<Vec<u8>>>);

fn reader(pipe: Option<PipeReader>) -> Result<Option<Reader>> {
    let Some(mut pipe) = pipe else {
        return Ok(None);
    };
    let read = move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes)
    };
    let thread = std::thread::Builder::new()
        .name("ampoule-output".into())
        .stack_size(64 << 10)
        .spawn(read);
    Ok(Some(Reader(thread.map_err(|e| {
        Error::os("start a thread that reads output", e)
    })?)))
}

impl Reader {
    fn finish(self) -> Result<Vec<u8>> {
        let read = self
            .0
            .join()
            .unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
        read.map_err(|e| Error::os("read a container's output", e))
    }
}
