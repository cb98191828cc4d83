//! Mounts made by the child: the second of the two players.

use crate::mount::{Maker, Mount, Setting, Source};
use crate::{Error, ErrorKind, MountAttributes, Result};
use ampoule_plan::{Call, Config, Draft, Fd, OpenTreeFlags, Phase, Slot, path};
use std::borrow::Cow;

impl Mount {
    /// A detached mount in the hands of the child: made now and held for it, or made by steps of its own.
    ///
    /// `name` is how the plan calls it, `why` what it is for.
    ///
    /// # Errors
    /// See [`Mount::create`]; with [`Maker::Child`] an id map is refused, for it needs privilege over the file system.
    pub fn slot(
        &self,
        maker: Maker,
        draft: &mut Draft,
        name: impl Into<Cow<'static, str>>,
        why: impl Into<Cow<'static, str>>,
    ) -> Result<Slot> {
        match (maker, &self.source) {
            (_, Source::Handed(mount)) if self.is_plain() => Ok(draft.hold(name, mount.clone())),
            (Maker::Host, _) => Ok(draft.hold(name, self.create()?)),
            (Maker::Child, _) => self.draft(draft, name.into(), why.into()),
        }
    }

    fn draft(
        &self,
        draft: &mut Draft,
        name: Cow<'static, str>,
        why: Cow<'static, str>,
    ) -> Result<Slot> {
        if self.idmap.is_some() {
            let what = format!("id-map {} without privilege", self.title());
            return Err(Error::refused(ErrorKind::Denied, what)
                .hint("only root of the machine may show files under other owners"));
        }
        let slot = match &self.source {
            Source::Handed(mount) => {
                let slot = draft.hold(name, mount.clone());
                self.change(draft, slot, self.set)?;
                return Ok(slot);
            }
            Source::New { kind, config } => {
                let fs = draft.slot(format!("{kind} fs"));
                let kind = path(kind)?;
                draft.child(Phase::Mounts, Call::Fsopen { kind, out: fs }, why);
                for setting in config {
                    let config = setting.config()?;
                    let set = Call::Fsconfig {
                        fs: fs.into(),
                        config,
                    };
                    draft.child(Phase::Mounts, set, "as it was asked for");
                }
                let config = Config::Create;
                let create = Call::Fsconfig {
                    fs: fs.into(),
                    config,
                };
                draft.child(Phase::Mounts, create, "the file system is made");
                self.mount(draft, fs, name)
            }
            Source::Overlay(overlay) => {
                let fs = overlay.draft(draft)?;
                self.mount(draft, fs, name)
            }
            Source::Copy {
                path: from,
                recursive,
            } => {
                let out = draft.slot(name);
                let mut flags = OpenTreeFlags::OPEN_TREE_CLONE;
                flags.set(OpenTreeFlags::AT_RECURSIVE, *recursive);
                let (dir, path) = (Fd::Cwd, path(from)?);
                draft.child(
                    Phase::Mounts,
                    Call::OpenTree {
                        dir,
                        path,
                        flags,
                        out,
                    },
                    why,
                );
                self.change(draft, out, self.set)?;
                return Ok(out);
            }
        };
        self.change(draft, slot, MountAttributes::empty())?;
        Ok(slot)
    }

    fn mount(&self, draft: &mut Draft, fs: Slot, name: Cow<'static, str>) -> Slot {
        let out = draft.slot(name);
        let (fs, attributes) = (fs.into(), self.set);
        let mount = Call::Fsmount {
            fs,
            attributes,
            out,
        };
        draft.child(Phase::Mounts, mount, "a mount of it, nowhere yet");
        out
    }

    /// What can be said only of a mount that exists.
    fn change(&self, draft: &mut Draft, slot: Slot, set: MountAttributes) -> Result<()> {
        if set.is_empty() && self.propagation.is_none() {
            return Ok(());
        }
        let change = Call::MountSetattr {
            dir: slot.into(),
            path: path("")?,
            recursive: self.recursive,
            set,
            clear: MountAttributes::empty(),
            propagation: self.propagation,
        };
        let why = match set.contains(MountAttributes::MOUNT_ATTR_RDONLY) {
            true => "it can be read only, and mounts do not spread",
            false => "it allows no more than it should, and mounts do not spread",
        };
        draft.child(Phase::Mounts, change, why);
        Ok(())
    }
}

impl Setting {
    fn config(&self) -> Result<Config> {
        Ok(match self {
            Setting::Flag(key) => Config::Flag(path(key)?),
            Setting::String(key, value) => Config::String(path(key)?, path(value)?),
        })
    }
}
