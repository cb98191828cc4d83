//! The kinds of objects.

use super::table::{self, Builtin};
use std::fmt;
use std::sync::Arc;

/// What sort of thing an object is: one of Kubernetes' own kinds, or one that a `CustomResourceDefinition` added.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A kind of which this crate knows the fields.
    Builtin(Builtin),
    /// A kind that users defined.
    Custom(Arc<CustomKind>),
}

/// A kind that a `CustomResourceDefinition` describes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomKind {
    /// The API group, `example.com`.
    pub group: String,
    /// The version, `v1`.
    pub version: String,
    /// The kind, `Database`.
    pub kind: String,
    /// The name in URLs and messages, `databases`.
    pub plural: String,
    /// Whether its objects live in a namespace.
    pub namespaced: bool,
}

impl Kind {
    /// The name of the kind: `Deployment`.
    pub fn name(&self) -> &str {
        match self {
            Kind::Builtin(kind) => kind.facts().kind,
            Kind::Custom(kind) => &kind.kind,
        }
    }

    /// The API group: `apps`; empty for the core group.
    pub fn group(&self) -> &str {
        match self {
            Kind::Builtin(kind) => kind.facts().group,
            Kind::Custom(kind) => &kind.group,
        }
    }

    /// Group and version as they stand in a file: `apps/v1`, `v1`.
    pub fn api_version(&self) -> String {
        match self {
            Kind::Builtin(kind) => kind.facts().api_version.to_owned(),
            Kind::Custom(kind) => format!("{}/{}", kind.group, kind.version),
        }
    }

    /// The plural in URLs: `deployments`.
    pub fn plural(&self) -> &str {
        match self {
            Kind::Builtin(kind) => kind.facts().plural,
            Kind::Custom(kind) => &kind.plural,
        }
    }

    /// The plural with its group, as messages show it: `deployments.apps`, `pods`.
    pub fn resource(&self) -> String {
        join(self.plural(), self.group())
    }

    /// The kind with its group, as messages show it: `Deployment.apps`, `Pod`.
    pub fn qualified(&self) -> String {
        join(self.name(), self.group())
    }

    /// Whether objects of this kind live in a namespace.
    pub fn is_namespaced(&self) -> bool {
        match self {
            Kind::Builtin(kind) => kind.facts().namespaced,
            Kind::Custom(kind) => kind.namespaced,
        }
    }

    /// All kinds that this crate knows the fields of.
    pub fn builtins() -> impl Iterator<Item = Kind> {
        table::BUILTINS.iter().copied().map(Kind::Builtin)
    }

    /// The built-in kind of an `apiVersion` and `kind`, if there is one.
    pub fn lookup(api_version: &str, kind: &str) -> Option<Kind> {
        Kind::builtins().find(|candidate| {
            candidate.name() == kind
                && matches!(candidate, Kind::Builtin(builtin) if builtin.facts().api_version == api_version)
        })
    }
}

impl From<Builtin> for Kind {
    fn from(kind: Builtin) -> Kind {
        Kind::Builtin(kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn join(name: &str, group: &str) -> String {
    match group {
        "" => name.to_owned(),
        group => format!("{name}.{group}"),
    }
}
