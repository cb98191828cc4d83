//! A network namespace, held as a file descriptor.

use crate::netlink::{Request, Socket};
use crate::{Error, Result};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
#[cfg(feature = "drivers")]
use std::sync::PoisonError;
use std::thread;

/// The namespace of the calling thread ([proc_pid_ns(5)](https://man7.org/linux/man-pages/man5/proc_pid_ns.5.html)).
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace, kept alive by this file descriptor and by whoever else holds or inhabits it.
///
/// The descriptor is close-on-exec. The kernel takes the namespace and every device in it back once the last process,
/// socket and descriptor is gone; it does so in the background.
#[derive(Debug)]
#[doc(alias = "CLONE_NEWNET")]
pub struct Namespace {
    fd: OwnedFd,
    /// A netlink socket of this namespace, kept since to open one takes a thread.
    route: Mutex<Option<Socket>>,
}

impl Namespace {
    /// Makes a new network namespace, empty except for its loopback interface, which is up (`127.0.0.1` and `::1`).
    ///
    /// This is done on a thread of its own and takes some 0.35 ms, most of it the kernel's; a [`Pool`](crate::Pool)
    /// takes it off the path. The namespace is owned by the user namespace of the caller: a process inside *another*
    /// user namespace cannot join it. (A pair of user and network namespace takes a process to make, since a program
    /// with threads cannot enter a user namespace; a pool holds such a pair just as well.)
    ///
    /// # Errors
    ///
    /// `EPERM` without `CAP_SYS_ADMIN` in the caller's user namespace, `ENOSPC` when `/proc/sys/user/max_net_namespaces`
    /// are in use.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// let namespace = ampoule_net::Namespace::create()?;
    /// let own = namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?;
    /// assert!(own.unwrap().contains("lo:"));
    /// # Ok::<(), ampoule_net::Error>(())
    /// ```
    pub fn create() -> Result<Namespace> {
        on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|errno| refused("make a network namespace", errno))?;
            let mut socket = Socket::route()?;
            loopback_up(&mut socket)?;
            let mut namespace = Namespace::current()?;
            namespace.route = Mutex::new(Some(socket));
            Ok(namespace)
        })?
    }

    /// The network namespace that the calling thread is in.
    ///
    /// # Errors
    ///
    /// `ENOENT` where `/proc` is not mounted.
    pub fn current() -> Result<Namespace> {
        Namespace::open(OWN)
    }

    /// The network namespace behind a path such as `/run/netns/blue` or `/proc/<pid>/ns/net`.
    ///
    /// # Errors
    ///
    /// Those of opening the file; a file that is no network namespace is found out when it is entered.
    pub fn open(path: impl AsRef<Path>) -> Result<Namespace> {
        let path = path.as_ref();
        let file = File::open(path)
            .map_err(|e| Error::kernel(format!("open the network namespace {path:?}"), e))?;
        Ok(OwnedFd::from(file).into())
    }

    /// Another descriptor of the same namespace.
    ///
    /// # Errors
    ///
    /// `EMFILE` when the process has too many descriptors.
    pub fn try_clone(&self) -> Result<Namespace> {
        let fd = self
            .fd
            .try_clone()
            .map_err(|e| Error::kernel("copy a descriptor of a network namespace", e))?;
        Ok(fd.into())
    }

    /// Runs a function inside of this namespace, on a thread of its own, and returns its result.
    ///
    /// What it opens there, a listening socket for instance, stays in this namespace wherever it is used later.
    /// A panic of the function goes on in the caller.
    ///
    /// # Errors
    ///
    /// `EPERM` without `CAP_SYS_ADMIN` over this namespace, `EINVAL` when the descriptor is not a network namespace.
    pub fn run<T: Send>(&self, function: impl FnOnce() -> T + Send) -> Result<T> {
        on_thread(|| {
            setns(&self.fd, CloneFlags::CLONE_NEWNET)
                .map_err(|errno| refused("enter a network namespace", errno))?;
            Ok(function())
        })?
    }

    /// Writes a setting below `/proc/sys` as it is in this namespace.
    #[cfg(feature = "drivers")]
    pub(crate) fn set(&self, name: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(name);
        let written = self.run(|| std::fs::write(&path, value))?;
        written
            .map_err(|e| Error::kernel(format!("set {name} to {value} in a network namespace"), e))
    }

    /// Uses this namespace's netlink socket.
    #[cfg(feature = "drivers")]
    pub(crate) fn route<T>(&self, function: impl FnOnce(&mut Socket) -> Result<T>) -> Result<T> {
        // A panic cannot leave a socket half way: answers are told apart by their numbers.
        let mut socket = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        if socket.is_none() {
            *socket = Some(self.run(Socket::route)??);
        }
        match socket.as_mut() {
            Some(socket) => function(socket),
            None => unreachable!("it has just been opened"),
        }
    }
}

/// Switches the calling thread's loopback interface on; it is always interface 1.
fn loopback_up(socket: &mut Socket) -> Result<()> {
    const LOOPBACK: u32 = 1;
    let mut link = [0; 16];
    link[4..8].copy_from_slice(&LOOPBACK.to_ne_bytes());
    link[8..12].copy_from_slice(&IFF_UP.to_ne_bytes());
    link[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    let up = Request::new("switch lo on", RTM_NEWLINK).body(link);
    socket.run(&[up])
}

/// From `linux/rtnetlink.h` and `linux/if.h`; the message is a `struct ifinfomsg`.
const RTM_NEWLINK: u16 = 16;
const IFF_UP: u32 = 1;

/// Runs a function on a short-lived thread, which may change its namespaces as it likes.
fn on_thread<T: Send>(function: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, function)
            .map_err(|e| Error::kernel("start a thread", e))?;
        thread
            .join()
            .map_err(|panic| std::panic::resume_unwind(panic))
    })
}

fn refused(what: &str, errno: nix::Error) -> Error {
    let error = Error::kernel(what, io::Error::from(errno));
    match errno {
        nix::Error::EPERM => {
            error.hint("it takes CAP_SYS_ADMIN: be root, or root in a user namespace")
        }
        nix::Error::ENOSPC => error.hint("too many are in use: sysctl user.max_net_namespaces"),
        _ => error,
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Namespace {
    fn from(fd: OwnedFd) -> Namespace {
        Namespace {
            fd,
            route: Mutex::new(None),
        }
    }
}

impl From<Namespace> for OwnedFd {
    fn from(namespace: Namespace) -> OwnedFd {
        namespace.fd
    }
}
