//! The name of one object.

use super::Kind;
use std::fmt;
use std::sync::Arc;

/// What identifies an object among all that exist now: its kind, namespace and name.
///
/// A later object may bear the same key; only the uid tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for kinds that live in none.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl Key {
    /// The key of an object; `namespace` is ignored for kinds that live in none.
    pub fn new(kind: impl Into<Kind>, namespace: &str, name: &str) -> Key {
        let kind = kind.into();
        let namespace = if kind.is_namespaced() { namespace } else { "" };
        Key {
            namespace: namespace.into(),
            name: name.into(),
            kind,
        }
    }

    /// The key of another object in the same namespace.
    pub fn sibling(&self, kind: impl Into<Kind>, name: &str) -> Key {
        Key {
            kind: kind.into(),
            namespace: self.namespace.clone(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.name();
        match &*self.namespace {
            "" => write!(f, "{kind} {}", self.name),
            namespace => write!(f, "{kind} {namespace}/{}", self.name),
        }
    }
}
