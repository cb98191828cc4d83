//! The table of built-in kinds: one line a kind, everything else follows from it.

use super::{Custom, Kind};
use k8s_openapi::Resource as _;
use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet,
};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service,
    ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use std::sync::Arc;

/// What never changes about a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub kind: &'static str,
    pub group: &'static str,
    pub api_version: &'static str,
    pub plural: &'static str,
    pub namespaced: bool,
}

/// A type that is one kind of object.
///
/// Implemented for the types of `k8s_openapi` that this crate knows; it is what the typed reads and writes ask for.
pub trait Typed: Sized + Clone + 'static {
    /// The kind.
    const BUILTIN: Builtin;
    /// Makes an object of it.
    fn into_object(self: Arc<Self>) -> Object;
    /// The typed form of an object, if it is of this kind.
    fn from_object(object: &Object) -> Option<&Arc<Self>>;
    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;
    /// Its metadata, to be changed.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
}

macro_rules! kinds {
    ($($name:ident, $scope:ident, $status:ident, $spec:ident;)*) => {
        /// The kinds whose fields this crate knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Builtin { $($name,)* }

        pub(crate) const BUILTINS: &[Builtin] = &[$(Builtin::$name,)*];

        impl Builtin {
            pub(crate) fn facts(self) -> Facts {
                match self { $(Builtin::$name => Facts {
                    kind: $name::KIND,
                    group: $name::GROUP,
                    api_version: $name::API_VERSION,
                    plural: $name::URL_PATH_SEGMENT,
                    namespaced: kinds!(@scope $scope),
                },)* }
            }
        }

        /// Any object. A clone costs one reference count.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        #[non_exhaustive]
        pub enum Object { $($name(Arc<$name>),)* Custom(Arc<Custom>) }

        impl Object {
            /// The object's kind.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Object::$name(_) => Kind::Builtin(Builtin::$name),)*
                    Object::Custom(custom) => Kind::Custom(custom.kind.clone()),
                }
            }

            /// The object's metadata.
            pub fn meta(&self) -> &ObjectMeta {
                match self {
                    $(Object::$name(object) => &object.metadata,)*
                    Object::Custom(object) => &object.metadata,
                }
            }

            /// The object's metadata, to be changed; the object is copied first if others hold it too.
            pub fn meta_mut(&mut self) -> &mut ObjectMeta {
                match self {
                    $(Object::$name(object) => &mut Arc::make_mut(object).metadata,)*
                    Object::Custom(object) => &mut Arc::make_mut(object).metadata,
                }
            }

            /// Takes the status of `other`, which must be of the same kind; false for kinds without a status.
            pub(crate) fn adopt_status(&mut self, other: &Object) -> bool {
                match (self, other) {
                    $((Object::$name(_mine), Object::$name(_theirs)) => kinds!(@status $status, _mine, _theirs),)*
                    (Object::Custom(mine), Object::Custom(theirs)) => {
                        let mine = Arc::make_mut(mine);
                        match theirs.fields.get("status") {
                            Some(status) => mine.fields.insert("status".to_owned(), status.clone()),
                            None => mine.fields.remove("status"),
                        };
                        true
                    }
                    _ => false,
                }
            }

            /// Whether objects of this kind say what should be, so that a `generation` counts its changes.
            pub(crate) fn has_spec(&self) -> bool {
                match self {
                    $(Object::$name(_) => kinds!(@has $spec),)*
                    Object::Custom(_) => true,
                }
            }

            /// Whether the two agree in what should be.
            pub(crate) fn same_spec(&self, other: &Object) -> bool {
                match (self, other) {
                    $((Object::$name(_a), Object::$name(_b)) => kinds!(@spec $spec, _a, _b),)*
                    (Object::Custom(a), Object::Custom(b)) => a.spec() == b.spec(),
                    _ => false,
                }
            }

            pub(super) fn fields_to_json(&self) -> serde_json::Result<Value> {
                match self {
                    $(Object::$name(object) => serde_json::to_value(&**object),)*
                    Object::Custom(object) => {
                        let mut fields = object.fields.clone();
                        fields.insert("metadata".to_owned(), serde_json::to_value(&object.metadata)?);
                        Ok(Value::Object(fields))
                    }
                }
            }

            pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
                kind: Builtin,
                from: D,
            ) -> Result<Object, D::Error> {
                match kind {
                    $(Builtin::$name => serde::Deserialize::deserialize(from).map(|o| Object::$name(Arc::new(o))),)*
                }
            }
        }

        $(impl Typed for $name {
            const BUILTIN: Builtin = Builtin::$name;
            fn into_object(self: Arc<Self>) -> Object { Object::$name(self) }
            fn from_object(object: &Object) -> Option<&Arc<Self>> {
                match object { Object::$name(typed) => Some(typed), _ => None }
            }
            fn meta(&self) -> &ObjectMeta { &self.metadata }
            fn meta_mut(&mut self) -> &mut ObjectMeta { &mut self.metadata }
        }

        impl From<$name> for Object {
            fn from(typed: $name) -> Object { Object::$name(Arc::new(typed)) }
        })*
    };
    (@scope namespaced) => { true };
    (@scope cluster) => { false };
    (@status status, $mine:ident, $theirs:ident) => {{
        Arc::make_mut($mine).status = $theirs.status.clone();
        true
    }};
    (@status none, $mine:ident, $theirs:ident) => { false };
    (@has spec) => { true };
    (@has none) => { false };
    (@spec spec, $a:ident, $b:ident) => { $a.spec == $b.spec };
    (@spec none, $a:ident, $b:ident) => { true };
}

kinds! {
    Namespace,                cluster,    status, spec;
    Node,                     cluster,    status, spec;
    PriorityClass,            cluster,    none,   none;
    StorageClass,             cluster,    none,   none;
    PersistentVolume,         cluster,    status, spec;
    CustomResourceDefinition, cluster,    status, spec;
    ServiceAccount,           namespaced, none,   none;
    ConfigMap,                namespaced, none,   none;
    Secret,                   namespaced, none,   none;
    PersistentVolumeClaim,    namespaced, status, spec;
    Service,                  namespaced, status, spec;
    EndpointSlice,            namespaced, none,   none;
    NetworkPolicy,            namespaced, none,   spec;
    Lease,                    namespaced, none,   spec;
    ControllerRevision,       namespaced, none,   none;
    Pod,                      namespaced, status, spec;
    ReplicaSet,               namespaced, status, spec;
    Deployment,               namespaced, status, spec;
    StatefulSet,              namespaced, status, spec;
    DaemonSet,                namespaced, status, spec;
    Job,                      namespaced, status, spec;
    CronJob,                  namespaced, status, spec;
    HorizontalPodAutoscaler,  namespaced, status, spec;
    PodDisruptionBudget,      namespaced, status, spec;
}
