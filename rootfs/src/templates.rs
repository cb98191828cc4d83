//! What is the same for all containers, made once.

use crate::Result;
use crate::mask::Looked;
use crate::{Masks, Mount};
use ampoule_mounts::Planted;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What is the same for all containers, made once and copied for each: `/dev`, the host view's `/etc`, the mask.
///
/// It is owned by the caller, and many threads can use one. What it holds are detached mounts, which die with it. Before kernel
/// 6.15 detached mounts cannot be copied; each container then gets its own, made anew.
#[derive(Debug, Default)]
pub struct Templates {
    pub(crate) dev: Template,
    pub(crate) etc: Template,
    pub(crate) mask: Template,
    pub(crate) hierarchies: Template,
    masks: Mutex<Vec<(Masks, Arc<Looked>)>>,
}

impl Templates {
    /// Nothing yet: each is made when it is first needed.
    pub fn new() -> Templates {
        Templates::default()
    }

    /// What there is to mask on this machine: looked up once for each list.
    pub(crate) fn looked(&self, masks: &Masks) -> Arc<Looked> {
        let mut known = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, looked)) = known.iter().find(|(list, _)| list == masks) {
            return looked.clone();
        }
        let looked = Arc::new(masks.look());
        known.push((masks.clone(), looked.clone()));
        looked
    }
}

/// One tree that is made once.
#[derive(Debug, Default)]
pub(crate) struct Template(OnceLock<Planted>);

impl Template {
    /// A copy of it, made by `plant` if there is none yet or if the kernel cannot copy.
    pub fn copy(&self, plant: impl Fn() -> Result<Planted>) -> Result<Planted> {
        if let Some(copy) = self.0.get().and_then(Planted::copy) {
            return Ok(copy);
        }
        let planted = plant()?;
        match planted.copy() {
            Some(copy) => {
                // Another thread may have been faster; its template serves as well.
                let _ = self.0.set(planted);
                Ok(copy)
            }
            None => Ok(planted),
        }
    }
}

/// An empty read-only directory, to cover others with.
pub(crate) fn empty() -> Mount {
    use ampoule_mounts::MountAttributes;
    Mount::tmpfs()
        .option("size", "4k")
        .option("mode", "0755")
        .attributes(MountAttributes::MOUNT_ATTR_NOEXEC)
        .read_only()
}
