//! Landlock: a process gives up its own access to files and TCP ports, without being root.
//!
//! The rule set is made by the host, before there is a process; the child only restricts itself by it.
//!
//! Source: landlock(7).

use crate::Error;
use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
};
use std::fmt;
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a process may still reach. What is not allowed is refused, in the kinds that are restricted.
///
/// Files are restricted as soon as a place is allowed, or by [`Landlock::restrict_files`]; TCP ports likewise.
///
/// ```
/// use ampoule_privileges::landlock::Landlock;
///
/// let mut landlock = Landlock::new();
/// landlock.read("/usr").write("/tmp").connect(443).best_effort();
/// let (ruleset, status) = landlock.prepare()?;
/// println!("{status}");
/// assert_eq!(ruleset.is_some(), status.is_enforced());
/// # Ok::<(), ampoule_privileges::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Landlock {
    places: Vec<(Place, Reach)>,
    ports: Vec<(u16, AccessNet)>,
    files: bool,
    network: bool,
    best_effort: bool,
}

#[derive(Debug, Clone)]
enum Place {
    Path(PathBuf),
    Fd(Arc<OwnedFd>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Read,
    Write,
}

/// What became of a [`Landlock`] on this kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// All of it is enforced.
    Enforced {
        /// The version of Landlock that the rules are written for: the kernel's, but 5 at most.
        abi: i32,
    },
    /// The kernel is too old for some of it.
    Partly {
        /// What it does not restrict.
        missing: Vec<&'static str>,
    },
    /// None of it is enforced.
    NotEnforced {
        /// Why.
        why: &'static str,
    },
}

impl Status {
    /// Whether there is anything to enforce by.
    pub fn is_enforced(&self) -> bool {
        !matches!(self, Status::NotEnforced { .. })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Enforced { abi } => write!(f, "enforced (Landlock version {abi})"),
            Status::Partly { missing } => {
                write!(
                    f,
                    "this kernel's Landlock does not restrict {}",
                    missing.join(", ")
                )
            }
            Status::NotEnforced { why } => write!(f, "not enforced: {why}"),
        }
    }
}

impl Landlock {
    /// Nothing is restricted yet.
    pub fn new() -> Landlock {
        Landlock::default()
    }

    /// Files below this path of the host may be read, and executed.
    pub fn read(&mut self, path: impl AsRef<Path>) -> &mut Landlock {
        self.place(Place::Path(path.as_ref().to_owned()), Reach::Read)
    }

    /// Files below this path of the host may be read, executed, made, changed and removed.
    pub fn write(&mut self, path: impl AsRef<Path>) -> &mut Landlock {
        self.place(Place::Path(path.as_ref().to_owned()), Reach::Write)
    }

    /// Like [`Landlock::read`], for a directory that is open already, such as a mount that is not attached yet.
    pub fn read_at(&mut self, directory: impl Into<Arc<OwnedFd>>) -> &mut Landlock {
        self.place(Place::Fd(directory.into()), Reach::Read)
    }

    /// Like [`Landlock::write`], for a directory that is open already.
    pub fn write_at(&mut self, directory: impl Into<Arc<OwnedFd>>) -> &mut Landlock {
        self.place(Place::Fd(directory.into()), Reach::Write)
    }

    /// Files are restricted, even where no place is allowed.
    pub fn restrict_files(&mut self) -> &mut Landlock {
        self.files = true;
        self
    }

    /// A TCP socket may be bound to this port (Linux 6.7).
    pub fn bind(&mut self, port: u16) -> &mut Landlock {
        self.network = true;
        self.ports.push((port, AccessNet::BindTcp));
        self
    }

    /// A TCP connection may be made to this port (Linux 6.7).
    pub fn connect(&mut self, port: u16) -> &mut Landlock {
        self.network = true;
        self.ports.push((port, AccessNet::ConnectTcp));
        self
    }

    /// TCP ports are restricted, even where none is allowed.
    pub fn restrict_network(&mut self) -> &mut Landlock {
        self.network = true;
        self
    }

    /// What this kernel cannot enforce is left out, down to nothing at all; [`Landlock::status`] tells. Otherwise anything
    /// less than all of it is an error.
    pub fn best_effort(&mut self) -> &mut Landlock {
        self.best_effort = true;
        self
    }

    fn place(&mut self, place: Place, reach: Reach) -> &mut Landlock {
        self.files = true;
        self.places.push((place, reach));
        self
    }

    /// Makes the rule set, as far as this kernel can enforce it.
    ///
    /// # Errors
    /// [`Error::Landlock`] if a place cannot be opened, if the kernel refuses a rule, or if it cannot be enforced in full and
    /// [`Landlock::best_effort`] was not chosen.
    pub fn prepare(&self) -> Result<(Option<OwnedFd>, Status), Error> {
        let status = self.status();
        match &status {
            Status::Enforced { .. } => Ok((self.ruleset()?, status)),
            _ if !self.best_effort => Err(Error::Landlock(format!(
                "{status}; best_effort() would do without"
            ))),
            Status::Partly { .. } => Ok((self.ruleset()?, status)),
            Status::NotEnforced { .. } => Ok((None, status)),
        }
    }

    /// What this kernel enforces of it.
    pub fn status(&self) -> Status {
        self.status_on(supported())
    }

    /// What a kernel with this version of Landlock enforces.
    fn status_on(&self, abi: Option<ABI>) -> Status {
        let Some(abi) = abi else {
            let why = "the kernel has no Landlock, or was not booted with lsm= naming it";
            return Status::NotEnforced { why };
        };
        if !self.files && !self.network {
            let why = "nothing was asked to be restricted";
            return Status::NotEnforced { why };
        }
        if !self.files && abi < ABI::V4 {
            let why = "TCP ports need Linux 6.7";
            return Status::NotEnforced { why };
        }
        match self.missing(abi) {
            none if none.is_empty() => Status::Enforced { abi: abi as i32 },
            missing => Status::Partly { missing },
        }
    }

    /// What later versions brought.
    fn missing(&self, abi: ABI) -> Vec<&'static str> {
        let later = [
            (self.files, ABI::V2, "moving files between directories"),
            (self.files, ABI::V3, "truncation"),
            (self.network, ABI::V4, "TCP ports"),
            (self.files, ABI::V5, "ioctl on devices"),
        ];
        let lacks = |(asked, since, what): (bool, ABI, _)| (asked && abi < since).then_some(what);
        later.into_iter().filter_map(lacks).collect()
    }

    fn ruleset(&self) -> Result<Option<OwnedFd>, Error> {
        let refused =
            |error: RulesetError| Error::Landlock(format!("the kernel refuses a rule: {error}"));
        let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
        if self.files {
            ruleset = ruleset
                .handle_access(AccessFs::from_all(HIGHEST))
                .map_err(refused)?;
        }
        if self.network {
            ruleset = ruleset
                .handle_access(AccessNet::from_all(HIGHEST))
                .map_err(refused)?;
        }
        let mut ruleset = ruleset.create().map_err(refused)?;
        for (place, reach) in &self.places {
            let (fd, is_file) = place.open()?;
            let rule = PathBeneath::new(fd, reach.access(is_file));
            ruleset = ruleset.add_rule(rule).map_err(refused)?;
        }
        for (port, access) in &self.ports {
            ruleset = ruleset
                .add_rule(NetPort::new(*port, *access))
                .map_err(refused)?;
        }
        Ok(ruleset.into())
    }
}

/// The version whose restrictions are asked for: files up to ioctl, TCP ports.
const HIGHEST: ABI = ABI::V5;

/// The newest version of ours that this kernel has. The crate tells only by accepting or refusing what each brought.
fn supported() -> Option<ABI> {
    let hard = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let files = |abi| hard().handle_access(AccessFs::from_all(abi)).is_ok();
    let ports = || hard().handle_access(AccessNet::from_all(ABI::V4)).is_ok();
    match () {
        () if files(ABI::V5) => Some(ABI::V5),
        () if ports() => Some(ABI::V4),
        () => [ABI::V3, ABI::V2, ABI::V1]
            .into_iter()
            .find(|abi| files(*abi)),
    }
}

impl Reach {
    fn access(self, is_file: bool) -> BitFlags<AccessFs> {
        let access = match self {
            Reach::Read => AccessFs::from_read(HIGHEST),
            Reach::Write => AccessFs::from_all(HIGHEST),
        };
        match is_file {
            true => access & AccessFs::from_file(HIGHEST),
            false => access,
        }
    }
}

impl Place {
    /// The place, opened as a mere place, and whether it is a file.
    fn open(&self) -> Result<(OwnedFd, bool), Error> {
        let cannot = |what: String, error: std::io::Error| {
            Error::Landlock(format!("{what} cannot be opened: {error}"))
        };
        let file = match self {
            Place::Path(path) => OpenOptions::new()
                .read(true)
                .custom_flags(O_PATH)
                .open(path)
                .map_err(|error| cannot(format!("{path:?}"), error))?,
            Place::Fd(fd) => fd
                .try_clone()
                .map_err(|error| cannot("a directory".into(), error))?
                .into(),
        };
        let metadata = file
            .metadata()
            .map_err(|error| cannot("a place".into(), error))?;
        Ok((file.into(), !metadata.is_dir()))
    }
}

const O_PATH: i32 = rustix::fs::OFlags::PATH.bits() as i32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_a_kernel_lacks() {
        let mut landlock = Landlock::new();
        landlock.read("/usr").connect(443);
        let text = |abi| landlock.status_on(abi).to_string();
        assert_eq!(text(Some(ABI::V5)), "enforced (Landlock version 5)");
        assert_eq!(
            text(Some(ABI::V2)),
            "this kernel's Landlock does not restrict truncation, TCP ports, ioctl on devices"
        );
        assert_eq!(
            text(None),
            "not enforced: the kernel has no Landlock, or was not booted with lsm= naming it"
        );
        let mut ports = Landlock::new();
        ports.bind(80);
        assert!(!ports.status_on(Some(ABI::V1)).is_enforced());
    }
}
