//! Rules for metadata.

use super::names;
use crate::field::{Path, Problems};
use crate::object::{Builtin, Kind, Object};
use crate::selector::{Labels, Selector};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// The sum of an object's annotations may not exceed this, in bytes.
const ANNOTATIONS: usize = 256 << 10;

pub(crate) fn object(p: &mut Problems, object: &Object) {
    let meta = object.meta();
    let path = Path::root("metadata");
    let form = match object.kind() {
        Kind::Builtin(Builtin::Service) => names::service,
        Kind::Builtin(Builtin::Namespace) => names::label,
        _ => names::subdomain,
    };
    match (&meta.name, &meta.generate_name) {
        (Some(name), _) if !name.is_empty() => invalid(p, path.child("name"), name, form(name)),
        (_, Some(prefix)) if !prefix.is_empty() => {
            let complaint = form(&format!("{prefix}x"));
            invalid(p, path.child("generateName"), prefix, complaint);
        }
        _ => p.required(path.child("name"), "name or generateName is required"),
    }
    let namespace = object.namespace();
    match object.kind().is_namespaced() {
        true if namespace.is_empty() => p.required(path.child("namespace"), ""),
        true => invalid(
            p,
            path.child("namespace"),
            namespace,
            names::label(namespace),
        ),
        false if !namespace.is_empty() => {
            p.forbidden(path.child("namespace"), "not allowed on this type");
        }
        false => {}
    }
    if let Some(labels) = &meta.labels {
        self::labels(p, &path.child("labels"), labels);
    }
    let annotations = meta.annotations.iter().flatten();
    let mut size = 0;
    for (key, value) in annotations {
        size += key.len() + value.len();
        let lower = key.to_lowercase();
        invalid(p, path.child("annotations"), key, names::qualified(&lower));
    }
    if size > ANNOTATIONS {
        let message = format!("Too long: may not be more than {ANNOTATIONS} bytes");
        p.add(path.child("annotations"), message);
    }
}

pub(super) fn labels(p: &mut Problems, path: &Path, labels: &Labels) {
    for (key, value) in labels {
        invalid(p, path.clone(), key, names::qualified(key));
        invalid(p, path.clone(), value, names::label_value(value));
    }
}

/// Checks a selector, and returns it if it can be used.
pub(super) fn selector(
    p: &mut Problems,
    path: &Path,
    selector: &LabelSelector,
) -> Option<Selector> {
    if let Some(labels) = &selector.match_labels {
        self::labels(p, &path.child("matchLabels"), labels);
    }
    match Selector::try_from(selector) {
        Ok(selector) => Some(selector),
        Err(bad) => {
            p.invalid(path.child("matchExpressions"), &bad.what, bad.why);
            None
        }
    }
}

/// Notes a complaint about a value, if there is one.
pub(super) fn invalid(p: &mut Problems, path: Path, value: &str, complaint: names::Complaint) {
    if let Some(complaint) = complaint {
        p.invalid(path, value, &complaint);
    }
}
