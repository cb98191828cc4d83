//! Owners: who made an object, and with whom it goes.

use super::{Object, Typed};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// The reference with which `owner` marks what it made and controls.
pub fn owner_reference<T: Typed>(owner: &T) -> OwnerReference {
    let facts = T::BUILTIN.facts();
    let meta = owner.meta();
    OwnerReference {
        api_version: facts.api_version.to_owned(),
        kind: facts.kind.to_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The one owner that controls an object, if it has one.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|owner| owner.controller == Some(true))
}

/// Whether the object with this uid controls the one with this metadata.
pub fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller_of(meta).is_some_and(|owner| owner.uid == uid)
}

impl Object {
    /// The uids of all owners.
    pub fn owner_uids(&self) -> impl Iterator<Item = &str> {
        let owners = self.meta().owner_references.as_deref().unwrap_or_default();
        owners.iter().map(|owner| owner.uid.as_str())
    }
}
