//! What a mount is to be.

use crate::overlay::Overlay;
use crate::{MountAttributes, Propagation};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// Who makes mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Maker {
    /// The host, beforehand: it needs `CAP_SYS_ADMIN` in the user namespace that owns its mount namespace.
    Host,
    /// The child, as `CAP_SYS_ADMIN` of the user namespace that it is born in, from a copy of the host's mounts.
    Child,
}

/// A mount that is to be made: a new file system, or a copy of what a path shows.
///
/// The setters gather; nothing happens before [`create`](Mount::create) or [`slot`](Mount::slot).
#[derive(Debug, Clone)]
pub struct Mount {
    pub(crate) source: Source,
    pub(crate) set: MountAttributes,
    pub(crate) recursive: bool,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) idmap: Option<Arc<OwnedFd>>,
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    New {
        kind: &'static str,
        config: Vec<Setting>,
    },
    Copy {
        path: PathBuf,
        recursive: bool,
    },
    Overlay(Overlay),
    Handed(Arc<OwnedFd>),
}

/// One option of a new file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Setting {
    Flag(OsString),
    String(OsString, OsString),
}

impl Mount {
    /// A new file system of this kind.
    #[doc(alias = "fsopen")]
    pub fn new(kind: &'static str) -> Mount {
        let config = Vec::new();
        Mount::from(Source::New { kind, config })
    }

    /// A new file system in memory. Without the option `size` it takes up to half of the machine's memory: tmpfs(5).
    pub fn tmpfs() -> Mount {
        let mount = Mount::new("tmpfs");
        mount.attributes(MountAttributes::MOUNT_ATTR_NOSUID | MountAttributes::MOUNT_ATTR_NODEV)
    }

    /// A copy of what a path shows, without what is mounted below it.
    ///
    /// Mount events do not pass between the copy and the original, unless [`propagation`](Mount::propagation) says so.
    #[doc(alias = "bind")]
    pub fn copy(path: impl Into<PathBuf>) -> Mount {
        let (path, recursive) = (path.into(), false);
        Mount::from(Source::Copy { path, recursive }).propagation(Propagation::Private)
    }

    /// A copy of what a path shows, with what is mounted below it; attributes are set on all of it.
    #[doc(alias = "rbind")]
    pub fn copy_all(path: impl Into<PathBuf>) -> Mount {
        let (path, recursive) = (path.into(), true);
        let mount = Mount::from(Source::Copy { path, recursive });
        mount.propagation(Propagation::Private).recursive(true)
    }

    /// A detached mount that somebody else made. It is used up: it can be attached once.
    pub fn handed(mount: impl Into<Arc<OwnedFd>>) -> Mount {
        Mount::from(Source::Handed(mount.into()))
    }

    /// Directories laid over one another.
    pub fn overlay(overlay: Overlay) -> Mount {
        Mount::from(Source::Overlay(overlay))
    }

    fn from(source: Source) -> Mount {
        Mount {
            source,
            set: MountAttributes::empty(),
            recursive: false,
            propagation: None,
            idmap: None,
        }
    }

    /// Gives the new file system an option without a value.
    pub fn flag(self, key: impl AsRef<OsStr>) -> Mount {
        self.setting(Setting::Flag(key.as_ref().into()))
    }

    /// Gives the new file system an option with a value.
    pub fn option(self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Mount {
        self.setting(Setting::String(key.as_ref().into(), value.as_ref().into()))
    }

    fn setting(mut self, setting: Setting) -> Mount {
        // Options mean something to a new file system only; a copy takes those of its original.
        if let Source::New { config, .. } = &mut self.source {
            config.push(setting);
        }
        self
    }

    /// Restricts the mount, in addition to the restrictions it has.
    pub fn attributes(mut self, set: MountAttributes) -> Mount {
        self.set |= set;
        self
    }

    /// Whether attributes, propagation and id map are for all that is mounted below it as well.
    pub fn recursive(mut self, recursive: bool) -> Mount {
        self.recursive = recursive;
        self
    }

    /// Makes it read-only.
    pub fn read_only(self) -> Mount {
        self.attributes(MountAttributes::MOUNT_ATTR_RDONLY)
    }

    /// How mount events pass between the copy and its original.
    pub fn propagation(mut self, propagation: Propagation) -> Mount {
        self.propagation = Some(propagation);
        self
    }

    /// Shows the owners of files through the map of a user namespace (kernel 5.12, and the file system must allow it).
    #[doc(alias = "MOUNT_ATTR_IDMAP")]
    pub fn idmap(mut self, user_namespace: impl Into<Arc<OwnedFd>>) -> Mount {
        self.idmap = Some(user_namespace.into());
        self
    }

    /// Whether it is to be taken as it is.
    pub(crate) fn is_plain(&self) -> bool {
        self.set.is_empty() && self.propagation.is_none() && self.idmap.is_none()
    }

    pub(crate) fn is_overlay(&self) -> bool {
        matches!(self.source, Source::Overlay(_))
    }

    /// How error texts and plans call it.
    pub(crate) fn title(&self) -> String {
        match &self.source {
            Source::New { kind, .. } => (*kind).to_string(),
            Source::Copy { path, .. } => format!("a copy of {path:?}"),
            Source::Overlay(_) => "an overlay".to_string(),
            Source::Handed(_) => "a mount that was handed over".to_string(),
        }
    }
}
