//! All volumes of a container, as a part of its plan.

use crate::{Error, ErrorKind, Maker, Result, Volume};
use ampoule_mounts::{Mount, Target, attach};
use ampoule_plan::{Draft, Part};
use rustix::fs::{StatVfsMountFlags, fstatvfs};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// All volumes of a container.
#[derive(Debug, Clone, Default)]
pub struct Volumes(Vec<Volume>);

/// Volumes that are ready for one container.
#[derive(Debug)]
pub struct Ready {
    maker: Maker,
    volumes: Vec<Placed>,
}

#[derive(Debug)]
struct Placed {
    mount: Mount,
    target: Target,
    make: bool,
}

impl Volumes {
    /// These volumes, in any order.
    pub fn new(volumes: impl IntoIterator<Item = Volume>) -> Volumes {
        Volumes(volumes.into_iter().collect())
    }

    /// Makes what the host makes, and looks at everything that can be wrong.
    ///
    /// `root` is the root tree where the host can see it; targets are then looked at in it. One that is missing is made by the
    /// child.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] for a source that is not there, or a target that is not there in a root that cannot be written;
    /// [`ErrorKind::WrongType`] for a file where a directory is needed or the other way round; [`ErrorKind::Invalid`] for a
    /// target with `..`, below `/proc`, or given twice.
    pub fn prepare(&self, maker: Maker, root: Option<BorrowedFd<'_>>) -> Result<Ready> {
        let mut placed = self
            .0
            .iter()
            .map(|volume| Ok((volume.place()?, volume)))
            .collect::<Result<Vec<_>>>()?;
        // One that lies in another is attached after it.
        placed.sort_by_key(|(target, _)| target.path());
        let paths: Vec<PathBuf> = placed.iter().map(|(target, _)| target.path()).collect();
        if let Some(twice) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
            let what = format!("mount two volumes at {:?}", twice[0]);
            return Err(Error::refused(ErrorKind::Invalid, what));
        }
        let volumes = placed.into_iter().map(|(target, volume)| {
            let path = target.path();
            let nested = paths
                .iter()
                .any(|other| *other != path && path.starts_with(other));
            Ok(Placed {
                make: match root {
                    Some(root) if !nested => missing(root, &target)?,
                    _ => true,
                },
                mount: made(maker, volume)?,
                target,
            })
        });
        Ok(Ready {
            maker,
            volumes: volumes.collect::<Result<_>>()?,
        })
    }
}

fn made(maker: Maker, volume: &Volume) -> Result<Mount> {
    match maker {
        Maker::Host => volume.mount().create().map(Mount::handed),
        Maker::Child => Ok(volume.mount()),
    }
}

/// Whether the target has to be made, in a root that can be written.
fn missing(root: BorrowedFd<'_>, target: &Target) -> Result<bool> {
    if target.exists_in(root)? {
        return Ok(false);
    }
    let flags = fstatvfs(root)
        .map_err(|e| Error::kernel("look at the root", e))?
        .f_flag;
    match flags.contains(StatVfsMountFlags::RDONLY) {
        false => Ok(true),
        true => Err(refused_place(&target.path())),
    }
}

fn refused_place(path: &Path) -> Error {
    let what = format!("mount at {path:?}: the root has no such place, and can be read only");
    Error::refused(ErrorKind::Missing, what).hint("make it there")
}

impl Part for Ready {
    fn contribute(&self, draft: &mut Draft) -> Result<(), ampoule_plan::Error> {
        for Placed {
            mount,
            target,
            make,
        } in &self.volumes
        {
            let name = format!("volume {}", target.path().display());
            let mount = mount.slot(self.maker, draft, name, "a volume")?;
            let place = target.draft(draft, *make)?;
            attach(draft, mount, (place.into(), ""), "the volume in its place")?;
        }
        Ok(())
    }
}
