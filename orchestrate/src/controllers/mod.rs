//! Kubernetes' own controllers.

pub mod deployment;
mod endpoints;
mod garbage;
mod pods;
mod replica_set;
mod share;

pub use deployment::Deployments;
pub use endpoints::Endpoints;
pub use garbage::Garbage;
pub(crate) use pods::{is_active, is_over, is_ready};
pub use replica_set::ReplicaSets;
pub use share::{Rounding, share_of};

use crate::control::Queue;
use crate::object::{Builtin, Key, Object, controller_of};
use crate::selector::{Labels, Selector};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::hash::{Hash, Hasher};

/// Queues the owners of this kind that control an object now, or did before.
fn add_owners(before: Option<&Object>, after: Option<&Object>, owner: Builtin, queue: &mut Queue) {
    for object in [before, after].into_iter().flatten() {
        if let Some(reference) = controller_of(object.meta())
            && reference.kind == owner.facts().kind
        {
            queue.add(Key::new(owner, object.namespace(), &reference.name));
        }
    }
}

/// A selector that has been checked when its object was admitted; one that is broken all the same means nothing.
fn selector(selector: &LabelSelector) -> Option<Selector> {
    Selector::try_from(selector)
        .ok()
        .filter(|selector| !selector.is_everything())
}

/// Whether a selector means an object with these labels.
fn selects(selector: Option<&Selector>, labels: Option<&Labels>) -> bool {
    let none = Labels::new();
    selector.is_some_and(|selector| selector.matches(labels.unwrap_or(&none)))
}

/// A short name for a value: the same for the same value, in letters that make no words.
fn short_hash(value: &impl serde::Serialize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hasher = rustc_hash::FxHasher::default();
    let text = serde_json::to_string(value).unwrap_or_default();
    text.hash(&mut hasher);
    let mut rest = hasher.finish();
    let mut name = String::with_capacity(10);
    for _ in 0..10 {
        name.push(char::from(
            ALPHABET[(rest % ALPHABET.len() as u64) as usize],
        ));
        rest /= ALPHABET.len() as u64;
    }
    name
}
