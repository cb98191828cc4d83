//! Objects of kinds that users defined.

use super::CustomKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};
use std::sync::Arc;

/// An object of a kind that a `CustomResourceDefinition` describes: metadata, and fields that only its operator knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Custom {
    /// Its kind.
    pub kind: Arc<CustomKind>,
    /// Its metadata, like any object's.
    pub metadata: ObjectMeta,
    /// Every other field at the top: `spec`, `status`, and what else the definition allows.
    pub fields: Map<String, Value>,
}

impl Custom {
    /// An object with a name and a specification.
    pub fn new(kind: Arc<CustomKind>, namespace: &str, name: &str, spec: Value) -> Custom {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: kind.namespaced.then(|| namespace.to_owned()),
            ..ObjectMeta::default()
        };
        let fields = Map::from_iter([("spec".to_owned(), spec)]);
        Custom {
            kind,
            metadata,
            fields,
        }
    }

    /// What should be; null when the object has no `spec`.
    pub fn spec(&self) -> &Value {
        self.fields.get("spec").unwrap_or(&Value::Null)
    }

    /// What is; null when no operator has said yet.
    pub fn status(&self) -> &Value {
        self.fields.get("status").unwrap_or(&Value::Null)
    }

    /// Sets what is.
    pub fn set_status(&mut self, status: Value) {
        self.fields.insert("status".to_owned(), status);
    }
}
