//! Containers in asynchronous programs: what `tokio::process` is to `std::process`.
//!
//! ```no_run
//! use ampoule::Container;
//! use std::time::Duration;
//! use tokio::io::AsyncWriteExt;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut container = Container::new("tr");
//! container.args(["a-z", "A-Z"]).timeout(Duration::from_secs(5));
//! container.stdin(ampoule::Stdio::Piped).stdout(ampoule::Stdio::Piped);
//!
//! let mut child = container.spawn_async().await?;
//! let mut stdin = child.stdin.take().expect("it is piped");
//! stdin.write_all(b"hello").await?;
//! drop(stdin);
//! let output = child.wait_with_output().await?;
//! assert_eq!(output.stdout, b"HELLO");
//! # Ok(())
//! # }
//! ```
//!
//! Whatever waits in the kernel (a start, the removal of a cgroup) happens on tokio's threads for blocking work, never on
//! its workers. Every future here may be dropped at any point: a start that nobody waits for any more is taken back, and
//! waiting begins anew. A [timeout](Container::timeout) kills the container whether somebody waits for it or not.
//!
//! The runtime needs its drivers for I/O and time.

use crate::child::Child as Blocking;
use crate::container::Container;
use crate::error::{Error, Result};
use crate::report::{Output, Report};
use crate::stdio::Stdio;
use ::tokio::io::unix::AsyncFd;
use ::tokio::io::{AsyncReadExt, Interest};
use ::tokio::net::unix::pipe::{Receiver, Sender};
use ::tokio::runtime::Handle;
use ::tokio::task::{JoinError, JoinHandle, spawn, spawn_blocking};
use rustix::process::{Signal, pidfd_send_signal};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Release;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Starts of containers from asynchronous programs; they need the feature `tokio`.
impl Container {
    /// Starts it. When this returns, the program has begun.
    ///
    /// # Errors
    /// As for [`spawn`](Container::spawn).
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without I/O or time.
    pub async fn spawn_async(&self) -> Result<Child> {
        let container = self.clone();
        // If this future is dropped, the child is too, where it was made: that kills it.
        Child::new(blocking(move || container.spawn()).await??)
    }

    /// Starts it, and waits until it has ended. Dropping the future kills it.
    ///
    /// # Errors
    /// As for [`spawn`](Container::spawn).
    pub async fn status_async(&self) -> Result<Report> {
        self.spawn_async().await?.wait().await
    }

    /// Starts it, and gathers what it prints until it has ended. Dropping the future kills it.
    ///
    /// # Errors
    /// As for [`spawn`](Container::spawn).
    pub async fn output_async(&self) -> Result<Output> {
        let mut quiet = self.clone();
        let defaults = [Stdio::Null, Stdio::Piped, Stdio::Piped];
        for (stream, default) in quiet.streams.iter_mut().zip(defaults) {
            stream.get_or_insert(default);
        }
        quiet.spawn_async().await?.wait_with_output().await
    }
}

/// A running container. Dropping it kills everything inside, unless [`kill_on_drop`](Child::kill_on_drop) says otherwise.
#[derive(Debug)]
pub struct Child {
    /// The writing end of standard input, if that is [piped](Stdio::Piped).
    pub stdin: Option<Sender>,
    /// The reading end of standard output, if that is piped.
    pub stdout: Option<Receiver>,
    /// The reading end of standard error, if that is piped.
    pub stderr: Option<Receiver>,
    id: u32,
    running: Option<Running>,
    report: Option<Report>,
    kill_on_drop: bool,
}

/// What it takes to see a container to its end.
#[derive(Debug)]
struct Running {
    /// Readable once its first process has ended.
    pidfd: AsyncFd<OwnedFd>,
    child: Arc<RwLock<Blocking>>,
    watchdog: Option<JoinHandle<()>>,
}

impl Child {
    fn new(mut child: Blocking) -> Result<Child> {
        let pipe = |error| Error::os("hand a container's pipe to tokio", error);
        let writer = |pipe| Sender::from_owned_fd(OwnedFd::from(pipe));
        let reader = |pipe| Receiver::from_owned_fd(OwnedFd::from(pipe));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Ok(Child {
            stdin: child.stdin.take().map(writer).transpose().map_err(pipe)?,
            stdout: stdout.map(reader).transpose().map_err(pipe)?,
            stderr: stderr.map(reader).transpose().map_err(pipe)?,
            id: child.id(),
            running: Some(Running::new(child)?),
            report: None,
            kill_on_drop: true,
        })
    }

    /// The process id of its first process, as the host counts; none once it has been waited for.
    pub fn id(&self) -> Option<u32> {
        self.report.is_none().then_some(self.id)
    }

    /// A file descriptor that stands for its first process; none once it has been waited for.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.running.as_ref()?.pidfd.get_ref().as_fd())
    }

    /// Whether dropping this kills the container; otherwise it goes on, and is cleaned up when it ends, as long as the runtime
    /// lives. It never outlives this process. Unlike tokio's own, this is true unless set.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Child {
        self.kill_on_drop = kill;
        self
    }

    /// Kills everything inside, and does not wait for that.
    ///
    /// # Errors
    /// None that a person could do anything about.
    pub fn start_kill(&self) -> Result<()> {
        self.running.as_ref().map_or(Ok(()), Running::kill)
    }

    /// Kills everything inside, and waits until it is gone.
    ///
    /// # Errors
    /// As for [`wait`](Child::wait).
    pub async fn kill(&mut self) -> Result<Report> {
        self.start_kill()?;
        self.wait().await
    }

    /// Waits until it has ended. Closes standard input first, as `tokio::process` does.
    ///
    /// # Errors
    /// [`Error::Cgroup`] if what it used cannot be read.
    pub async fn wait(&mut self) -> Result<Report> {
        drop(self.stdin.take());
        if let Some(running) = &self.running {
            self.report = Some(running.end().await?);
            self.running = None;
        }
        let lost = || Error::os("wait for a container", io::ErrorKind::NotFound);
        self.report.clone().ok_or_else(lost)
    }

    /// Reads all that it prints, and waits until it has ended.
    ///
    /// # Errors
    /// As for [`wait`](Child::wait), and if its output cannot be read.
    pub async fn wait_with_output(mut self) -> Result<Output> {
        // Tasks of their own, so that neither stream can fill up while the other is read.
        let (stdout, stderr) = (read(self.stdout.take()), read(self.stderr.take()));
        let report = self.wait().await?;
        Ok(Output {
            report,
            stdout: gathered(stdout).await?,
            stderr: gathered(stderr).await?,
        })
    }

    /// Does something with the container that waits in the kernel, on one of tokio's threads for that: execute another program
    /// in it, pause it, read what it uses.
    ///
    /// ```no_run
    /// # async fn example(child: ampoule::tokio::Child) -> ampoule::Result<()> {
    /// let processes = child.blocking(|child| child.exec("ps").output()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the work; [`Error::Os`] once the container has been waited for.
    ///
    /// # Panics
    /// If the work does.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Blocking) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let over = || Error::os("use a container", io::Error::other("it has ended"));
        let child = self.running.as_ref().ok_or_else(over)?.child.clone();
        blocking(move || work(&child.read().unwrap_or_else(PoisonError::into_inner))).await?
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        if self.kill_on_drop {
            // It can only have ended already.
            let _ = running.kill();
        }
        // What is dropped outside of a runtime kills and waits right here.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { running.end().await.map(drop) });
        }
    }
}

impl Running {
    fn new(child: Blocking) -> Result<Running> {
        let failed = |error| Error::os("register a pidfd with tokio", error);
        let pidfd = child.pidfd().try_clone_to_owned().map_err(failed)?;
        let watchdog = child.time_left().map(|left| watch(&child, left));
        // Deprecated for types whose descriptor may change or close; that of an `OwnedFd` is its own until the end.
        #[allow(deprecated)]
        let pidfd = AsyncFd::with_interest(pidfd, Interest::READABLE).map_err(failed)?;
        Ok(Running {
            pidfd,
            child: Arc::new(RwLock::new(child)),
            watchdog: watchdog.transpose()?,
        })
    }

    fn kill(&self) -> Result<()> {
        kill(self.pidfd.get_ref())
    }

    /// Waits until the container has ended, and takes what is left of it away.
    async fn end(&self) -> Result<Report> {
        let failed = |error| Error::os("wait for a pidfd", error);
        // Once it is ready it stays so.
        self.pidfd.readable().await.map_err(failed)?.retain_ready();
        let child = self.child.clone();
        blocking(move || {
            let mut child = child.write().unwrap_or_else(PoisonError::into_inner);
            child.ended()
        })
        .await?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(watchdog) = &self.watchdog {
            watchdog.abort();
        }
    }
}

/// Kills a container when its time is over, whether or not somebody waits for it.
fn watch(child: &Blocking, left: Duration) -> Result<JoinHandle<()>> {
    let pidfd = child.pidfd().try_clone_to_owned();
    let pidfd = pidfd.map_err(|error| Error::os("copy a pidfd", error))?;
    let timed_out = child.timed_out.clone();
    Ok(spawn(async move {
        ::tokio::time::sleep(left).await;
        timed_out.store(true, Release);
        // It can only have ended already.
        let _ = kill(&pidfd);
    }))
}

/// The kernel kills a pid namespace with its first process.
fn kill(pidfd: &OwnedFd) -> Result<()> {
    match pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(Error::os("kill a container", errno)),
    }
}

type Reading = Option<JoinHandle<io::Result<Vec<u8>>>>;

fn read(pipe: Option<Receiver>) -> Reading {
    let mut pipe = pipe?;
    Some(spawn(async move {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).await.map(|_| bytes)
    }))
}

async fn gathered(reading: Reading) -> Result<Vec<u8>> {
    let Some(reading) = reading else {
        return Ok(Vec::new());
    };
    let bytes = reading.await.map_err(lost)?;
    bytes.map_err(|error| Error::os("read a container's output", error))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(lost)
}

/// A task that panicked goes on panicking here; one that was cancelled is an error.
fn lost(error: JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => Error::os("finish work for a container", io::Error::other(error)),
    }
}
