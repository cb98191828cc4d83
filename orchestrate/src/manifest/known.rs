//! The kinds that a reader knows.

use crate::object::{CustomKind, Kind, Object};
use std::sync::Arc;

/// The kinds that can be read: the built-in ones, and those that definitions added.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    custom: Vec<Arc<CustomKind>>,
}

/// Kinds that published files often hold and that this crate has no use for, with what takes their place.
const NOT_HERE: &[(&str, &str)] = &[
    ("Ingress", "routes from outside are not offered"),
    ("IngressClass", "routes from outside are not offered"),
    ("Gateway", "routes from outside are not offered"),
    ("HTTPRoute", "routes from outside are not offered"),
    ("Role", "there are no users to give rights to"),
    ("RoleBinding", "there are no users to give rights to"),
    ("ClusterRole", "there are no users to give rights to"),
    ("ClusterRoleBinding", "there are no users to give rights to"),
    ("LimitRange", "write the limits into the pods"),
    ("ResourceQuota", "namespaces have no quota"),
    ("ReplicationController", "use a Deployment"),
    ("Endpoints", "use an EndpointSlice"),
    ("PodTemplate", "write the template into its controller"),
    (
        "MutatingWebhookConfiguration",
        "admission cannot be extended",
    ),
    (
        "ValidatingWebhookConfiguration",
        "admission cannot be extended",
    ),
    ("VerticalPodAutoscaler", "use a HorizontalPodAutoscaler"),
    ("Event", "events are recorded, not declared"),
];

impl Catalog {
    /// Adds the kinds that an object defines, if it is a `CustomResourceDefinition`; every served version is one.
    pub fn learn(&mut self, object: &Object) {
        let Object::CustomResourceDefinition(definition) = object else {
            return;
        };
        let spec = &definition.spec;
        for version in spec.versions.iter().filter(|version| version.served) {
            let kind = CustomKind {
                group: spec.group.clone(),
                version: version.name.clone(),
                kind: spec.names.kind.clone(),
                plural: spec.names.plural.clone(),
                namespaced: spec.scope == "Namespaced",
            };
            self.custom.retain(|known| **known != kind);
            self.custom.push(Arc::new(kind));
        }
    }

    /// All kinds.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        Kind::builtins().chain(self.custom.iter().cloned().map(Kind::Custom))
    }

    /// The kind of an `apiVersion` and `kind`.
    ///
    /// # Errors
    /// It is not known; the message names the nearest one, or why it is not offered.
    pub fn lookup(&self, api_version: &str, kind: &str) -> Result<Kind, String> {
        let asked = format!("no kind {kind:?} in version {api_version:?}");
        let mut named = self.kinds().filter(|known| known.name() == kind).peekable();
        if named.peek().is_some() {
            let versions: Vec<String> = named.map(|known| known.api_version()).collect();
            let exact = self
                .kinds()
                .find(|known| known.name() == kind && known.api_version() == api_version);
            return exact.ok_or_else(|| {
                format!(
                    "{asked}: it is offered in version {:?}",
                    versions.join(", ")
                )
            });
        }
        if let Some((_, why)) = NOT_HERE.iter().find(|(name, _)| *name == kind) {
            return Err(format!("kind {kind:?} is not offered: {why}"));
        }
        let names: Vec<Kind> = self.kinds().collect();
        match nearest(kind, names.iter().map(Kind::name)) {
            Some(near) => Err(format!("{asked}: did you mean {near:?}?")),
            None => Err(asked),
        }
    }
}

/// The name that was probably meant, if any is near enough.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let scored = known.map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), k));
    let (distance, near) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + name.chars().count() / 4).then_some(near)
}
