//! A scope from systemd: a cgroup of this process's own, delegated to it.

use crate::dbus::{Body, Bus, Method};
use crate::wait::Deadline;
use crate::{Error, Result};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// How long systemd may take to move this process once it has agreed.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks systemd for a scope with delegated controllers and moves this process there, with all its threads and nobody else.
///
/// It is what `systemd-run --user --scope -p Delegate=yes` does for a program from outside. An ordinary user asks the systemd
/// of the session, root that of the machine. Then open the parent with [`Options::step_aside`](crate::Options::step_aside),
/// since the process itself stands in the scope's cgroup. The scope ends with its last process. Call it once, at the start,
/// and only where [`Parent::open`](crate::Parent::open) found nothing delegated.
///
/// # Errors
/// [`Error::Unsupported`] where there is no systemd to ask, or where it refuses; [`Error::Timeout`] where it agreed but did not
/// move us.
///
/// # Examples
/// ```no_run
/// use ampoule_cgroups::{Options, enter_scope};
///
/// enter_scope()?;
/// let parent = Options::new("jobs").step_aside(true).open()?;
/// # Ok::<(), ampoule_cgroups::Error>(())
/// ```
#[doc(alias = "StartTransientUnit")]
pub fn enter_scope() -> Result<()> {
    let unit = format!("ampoule-{}.scope", std::process::id());
    let socket = bus_socket();
    let refused = |error: std::io::Error| Error::Unsupported {
        what: "a scope of systemd's".into(),
        reason: format!(
            "{socket:?}: {error}; without systemd, root makes a subtree, moves the program into it and chowns the directory, \
             cgroup.procs, cgroup.threads and cgroup.subtree_control to the user"
        ),
    };
    let start = Method {
        service: "org.freedesktop.systemd1",
        object: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        name: "StartTransientUnit",
    };
    let mut bus = Bus::connect(&socket).map_err(refused)?;
    bus.call(
        start,
        "ssa(sv)a(sa(sv))",
        &request(&unit, std::process::id()),
    )
    .map_err(refused)?;
    wait_until_inside(&unit)
}

/// Name, what to do if there is one already, properties, further units (none).
fn request(unit: &str, pid: u32) -> Body {
    let mut body = Body::default();
    body.string(unit).string("fail");
    body.structures(|properties| {
        let text = "Containers made with ampoule-cgroups";
        properties
            .structure()
            .string("Description")
            .signature("s")
            .string(text);
        properties
            .structure()
            .string("Delegate")
            .signature("b")
            .number(1);
        // An array of one number of four bytes.
        properties
            .structure()
            .string("PIDs")
            .signature("au")
            .number(4)
            .number(pid);
    });
    body.structures(|_| {});
    body
}

/// systemd answers when it has queued the job, not when it is done.
fn wait_until_inside(unit: &str) -> Result<()> {
    let path = "/proc/self/cgroup";
    let mut pauses = Deadline::after(TIMEOUT).pauses();
    loop {
        let own = fs::read_to_string(path)
            .map_err(|error| Error::kernel("read", path.as_ref(), error))?;
        if own.lines().any(|line| line.ends_with(&format!("/{unit}"))) {
            return Ok(());
        }
        if !pauses.wait() {
            return Err(Error::Timeout {
                what: format!("entering the scope {unit}"),
                waited: TIMEOUT,
                hint: Some("see `systemctl --user status` for the reason"),
            });
        }
    }
}

/// The machine's bus for root, the session's for others.
fn bus_socket() -> PathBuf {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return "/run/dbus/system_bus_socket".into();
    }
    let address = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
    if let Some(path) = address.strip_prefix("unix:path=") {
        let path = path.split([',', ';']).next().unwrap_or_default();
        return path.into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) => PathBuf::from(dir).join("bus"),
        None => format!("/run/user/{uid}/bus").into(),
    }
}
