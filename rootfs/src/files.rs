//! Small files of a container's own, such as `/etc/hostname`.

use crate::{Maker, Mount, Result};
use ampoule_mounts::{Kind, MountAttributes, Ready, Target, Tree, attach};
use ampoule_plan::{Call, Draft, Fd, OpenTreeFlags, Phase, Slot, path};
use std::path::PathBuf;

/// Files by their paths in the container, and what they hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files(Vec<(PathBuf, Vec<u8>)>);

/// Files that are ready for one container.
#[derive(Debug)]
pub(crate) struct Prepared {
    tree: Ready,
    targets: Vec<Target>,
}

impl Files {
    pub fn add(&mut self, at: PathBuf, content: Vec<u8>) {
        self.0.push((at, content));
    }

    /// All of them in one small file system; none needs none.
    pub fn prepare(&self, maker: Maker) -> Result<Option<Prepared>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let base = Mount::tmpfs()
            .option("size", "16m")
            .option("mode", "0755")
            .attributes(MountAttributes::MOUNT_ATTR_NOEXEC);
        let mut tree = Tree::new(base);
        let mut targets = Vec::new();
        for (index, (at, content)) in self.0.iter().enumerate() {
            targets.push(Target::new(at, Kind::File)?);
            tree.file(index.to_string(), 0o644, content.clone());
        }
        let tree = tree.prepare(maker)?;
        Ok(Some(Prepared { tree, targets }))
    }
}

impl Prepared {
    /// Attaches the small file system below the root tree that comes next; it goes with the old root.
    ///
    /// It has to be attached, for kernels before 6.15 copy attached mounts only.
    pub fn attach(&self, draft: &mut Draft) -> Result<Slot> {
        let why = "small files of its own; as a whole it goes with the old root";
        self.tree.attach(draft, "files", why, (Fd::Cwd, "/"))
    }

    /// Mounts each file in its place.
    pub fn place(&self, draft: &mut Draft, files: Slot) -> Result<()> {
        for (index, target) in self.targets.iter().enumerate() {
            let out = draft.slot(format!("file {index}"));
            let copy = Call::OpenTree {
                dir: files.into(),
                path: path(index.to_string())?,
                flags: OpenTreeFlags::OPEN_TREE_CLONE,
                out,
            };
            draft.child(Phase::Mounts, copy, "one file of them");
            let place = target.draft(draft, true)?;
            attach(draft, out, (place.into(), ""), "the file in its place")?;
        }
        Ok(())
    }
}
