//! Child cgroups, which whoever is inside may have made: as many and as deep as they liked.
//!
//! So nothing here recurses or holds a descriptor a level; the way back up is `..`.

use crate::Result;
use crate::dir::Dir;
use rustix::io::Errno;

/// Visits a directory and all below it.
pub(crate) fn walk(dir: &Dir, mut visit: impl FnMut(&Dir) -> Result<()>) -> Result<()> {
    visit(dir)?;
    let mut current = dir.again()?;
    // The names that are still to be visited, level by level.
    let mut levels = vec![current.children()?];
    while let Some(names) = levels.last_mut() {
        match names.pop() {
            Some(name) => {
                if let Some(child) = current.find(&name)? {
                    visit(&child)?;
                    levels.push(child.children()?);
                    current = child;
                }
            }
            None => {
                levels.pop();
                if !levels.is_empty() {
                    current = current.up()?;
                }
            }
        }
    }
    Ok(())
}

/// Removes all directories below one, the deepest first; ends early where one is in use.
pub(crate) fn remove_children(dir: &Dir) -> Result<()> {
    let mut current = dir.again()?;
    let mut depth = 0;
    loop {
        let Some(name) = current.first_child()? else {
            if depth == 0 {
                return Ok(());
            }
            // It is empty now, so it is the first that the next round removes.
            current = current.up()?;
            depth -= 1;
            continue;
        };
        match current.remove(&name) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::BUSY) => {}
            Err(errno) => return Err(current.failed_rmdir(&name, errno)),
        }
        let Some(child) = current.find(&name)? else {
            continue;
        };
        if child.first_child()?.is_none() {
            // Not for its children, so it has processes: the caller kills and comes again.
            return Ok(());
        }
        current = child;
        depth += 1;
    }
}
