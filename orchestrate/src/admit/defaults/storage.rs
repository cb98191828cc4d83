//! Defaults of storage.

use super::text;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

pub(crate) fn claim(claim: &mut PersistentVolumeClaim) {
    if let Some(spec) = &mut claim.spec {
        text(&mut spec.volume_mode, "Filesystem");
    }
    text(&mut claim.status.get_or_insert_default().phase, "Pending");
}

pub(crate) fn volume(volume: &mut PersistentVolume) {
    if let Some(spec) = &mut volume.spec {
        text(&mut spec.persistent_volume_reclaim_policy, "Retain");
        text(&mut spec.volume_mode, "Filesystem");
    }
    text(&mut volume.status.get_or_insert_default().phase, "Pending");
}

pub(crate) fn class(class: &mut StorageClass) {
    text(&mut class.reclaim_policy, "Delete");
    text(&mut class.volume_binding_mode, "Immediate");
}
