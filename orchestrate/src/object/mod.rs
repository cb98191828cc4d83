//! Kubernetes' objects: what a person declares, and what the controllers derive from it.
//!
//! The types are those of [`k8s_openapi`]; this module adds what is needed to hold *any* of them: [`Object`], its
//! [`Kind`] and its [`Key`].
//!
//! ```
//! use ampoule_orchestrate::object::{Object, Key, Builtin};
//! use k8s_openapi::api::core::v1::ConfigMap;
//!
//! let mut map = ConfigMap::default();
//! map.metadata.name = Some("settings".into());
//! map.metadata.namespace = Some("default".into());
//! let object = Object::from(map);
//! assert_eq!(object.key(), Key::new(Builtin::ConfigMap, "default", "settings"));
//! assert_eq!(object.to_json()["kind"], "ConfigMap");
//! ```

mod custom;
mod key;
mod kind;
mod owner;
mod table;

pub use custom::Custom;
pub use key::Key;
pub use kind::{CustomKind, Kind};
pub use owner::{controller_of, is_controlled_by, owner_reference};
pub use table::{Builtin, Object, Typed};

use crate::store::Revision;
use serde_json::Value;
use std::sync::Arc;

impl Object {
    /// What identifies the object; parts that are missing from its metadata are empty.
    pub fn key(&self) -> Key {
        let meta = self.meta();
        Key::new(
            self.kind(),
            meta.namespace.as_deref().unwrap_or_default(),
            self.name(),
        )
    }

    /// The object's name; empty while it has none.
    pub fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// The object's namespace; empty for kinds that live in none.
    pub fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    /// What tells this object from an earlier one of the same key; empty before it is stored.
    pub fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    /// The revision at which the object was written last; zero before it is stored.
    pub fn revision(&self) -> Revision {
        let text = self.meta().resource_version.as_deref().unwrap_or_default();
        Revision(text.parse().unwrap_or(0))
    }

    /// Whether somebody asked for the object to be deleted.
    pub fn is_terminating(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// The typed form, if the object is of that kind.
    pub fn as_type<T: Typed>(&self) -> Option<&Arc<T>> {
        T::from_object(self)
    }

    /// The object as JSON, with its `apiVersion` and `kind`.
    pub fn to_json(&self) -> Value {
        // Serialising maps with string keys into memory cannot fail, and a timestamp formats within its range.
        let mut value = self.fields_to_json().unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            let kind = self.kind();
            fields.insert("apiVersion".to_owned(), kind.api_version().into());
            fields.insert("kind".to_owned(), kind.name().into());
        }
        value
    }

    /// Reads an object of a known kind from JSON, without defaulting or checking it.
    ///
    /// # Errors
    /// A field has the wrong type.
    pub fn from_json(kind: &Kind, value: Value) -> serde_json::Result<Object> {
        match kind {
            Kind::Builtin(builtin) => Object::deserialize(*builtin, value),
            Kind::Custom(custom) => {
                let mut fields = serde_json::from_value::<serde_json::Map<_, _>>(value)?;
                let metadata = fields.remove("metadata").unwrap_or_default();
                fields.retain(|name, _| name != "apiVersion" && name != "kind");
                Ok(Object::Custom(Arc::new(Custom {
                    kind: custom.clone(),
                    metadata: serde_json::from_value(metadata)?,
                    fields,
                })))
            }
        }
    }
}
