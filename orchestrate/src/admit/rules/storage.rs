//! Rules for storage and configuration.

use super::container::amount;
use crate::field::{Path, Problems};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret};
use k8s_openapi::api::storage::v1::StorageClass;

const MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
/// The content of a ConfigMap or a Secret, in bytes.
const LARGEST: usize = 1 << 20;

pub(crate) fn claim(p: &mut Problems, claim: &PersistentVolumeClaim) {
    let path = Path::root("spec");
    let Some(spec) = &claim.spec else {
        return p.required(path, "");
    };
    modes(
        p,
        &path,
        spec.access_modes.as_deref(),
        "at least 1 access mode is required",
    );
    let requests = spec
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    let path = path.child("resources");
    match requests.and_then(|requests| requests.get("storage")) {
        Some(size) => match amount(p, path.child("requests").key("storage"), &size.0) {
            Some(size) if size.units() == 0 => {
                p.invalid(
                    path.key("storage"),
                    size.to_string(),
                    "must be greater than zero",
                );
            }
            _ => {}
        },
        None => p.required(path.key("storage"), ""),
    }
}

pub(crate) fn volume(p: &mut Problems, volume: &PersistentVolume) {
    let path = Path::root("spec");
    let Some(spec) = &volume.spec else {
        return p.required(path, "");
    };
    modes(p, &path, spec.access_modes.as_deref(), "");
    match spec
        .capacity
        .as_ref()
        .and_then(|capacity| capacity.get("storage"))
    {
        Some(size) => drop(amount(p, path.child("capacity").key("storage"), &size.0)),
        None => p.required(path.child("capacity"), ""),
    }
    let policies = ["Delete", "Recycle", "Retain"];
    let policy = spec.persistent_volume_reclaim_policy.as_deref();
    p.one_of(
        path.child("persistentVolumeReclaimPolicy"),
        policy,
        &policies,
    );
}

fn modes(p: &mut Problems, path: &Path, modes: Option<&[String]>, missing: &str) {
    let path = path.child("accessModes");
    let modes = modes.unwrap_or_default();
    if modes.is_empty() {
        p.required(path.clone(), missing);
    }
    for mode in modes {
        p.one_of(path.clone(), Some(mode), &MODES);
    }
}

pub(crate) fn class(p: &mut Problems, class: &StorageClass) {
    if class.provisioner.is_empty() {
        p.required(Path::root("provisioner"), "");
    }
    let reclaim = Path::root("reclaimPolicy");
    p.one_of(
        reclaim,
        class.reclaim_policy.as_deref(),
        &["Delete", "Retain"],
    );
    let modes = ["Immediate", "WaitForFirstConsumer"];
    let mode = Path::root("volumeBindingMode");
    p.one_of(mode, class.volume_binding_mode.as_deref(), &modes);
}

pub(crate) fn config_map(p: &mut Problems, map: &ConfigMap) {
    let text = map
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key, value.len()));
    let bytes = map
        .binary_data
        .iter()
        .flatten()
        .map(|(key, value)| (key, value.0.len()));
    contents(p, text.chain(bytes));
    for key in map.binary_data.iter().flat_map(|data| data.keys()) {
        if map.data.as_ref().is_some_and(|data| data.contains_key(key)) {
            let path = Path::root("data").key(key);
            p.invalid(path, key, "duplicate of key present in binaryData");
        }
    }
}

pub(crate) fn secret(p: &mut Problems, secret: &Secret) {
    let bytes = secret
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key, value.0.len()));
    let text = secret
        .string_data
        .iter()
        .flatten()
        .map(|(key, value)| (key, value.len()));
    contents(p, bytes.chain(text));
}

fn contents<'d>(p: &mut Problems, entries: impl Iterator<Item = (&'d String, usize)>) {
    let mut total = 0;
    for (key, size) in entries {
        total += size;
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if key.is_empty() || key.len() > 253 || !key.bytes().all(fine) || key.starts_with("..") {
            let detail = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  \
or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
            p.invalid(Path::root("data").key(key), key, detail);
        }
    }
    if total > LARGEST {
        let message = format!("Too long: may not be more than {LARGEST} bytes");
        p.add(Path::default(), message);
    }
}
