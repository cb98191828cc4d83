//! All objects, as the watches have told of them, with the indexes that controllers need.

use crate::object::{Key, Kind, Object, Typed};
use crate::selector::Selector;
use crate::store::{Change, Revision};
use k8s_openapi::api::core::v1::Pod;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Namespace and name.
type Name = (Arc<str>, Arc<str>);
/// Namespace, and key and value of a label.
type Label = (Arc<str>, Arc<str>, Arc<str>);

/// The objects as they are known here: what the watches told, and what was written from here.
#[derive(Debug, Default)]
pub struct View {
    kinds: BTreeMap<Kind, BTreeMap<Name, Object>>,
    owned: FxHashMap<Arc<str>, BTreeSet<Key>>,
    placed: FxHashMap<Arc<str>, BTreeSet<Name>>,
    labelled: FxHashMap<Label, BTreeSet<Name>>,
    /// Objects whose deletion is known while the watch may still tell of earlier changes.
    gone: FxHashMap<Key, Revision>,
}

impl View {
    /// An object by its key.
    pub fn object(&self, key: &Key) -> Option<&Object> {
        let name = (key.namespace.clone(), key.name.clone());
        self.kinds.get(&key.kind)?.get(&name)
    }

    /// An object by its name; the namespace of kinds that live in none is empty.
    pub fn find<T: Typed>(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        let objects = self.kinds.get(&Kind::Builtin(T::BUILTIN))?;
        T::from_object(objects.get(&(namespace.into(), name.into()))?)
    }

    /// All objects of a kind, by namespace and name.
    pub fn all<T: Typed>(&self) -> impl Iterator<Item = &Arc<T>> {
        let objects = self.kinds.get(&Kind::Builtin(T::BUILTIN));
        objects
            .into_iter()
            .flat_map(|o| o.values())
            .filter_map(T::from_object)
    }

    /// All objects of a kind, also of one that users defined.
    pub fn of_kind(&self, kind: &Kind) -> impl Iterator<Item = &Object> {
        self.kinds
            .get(kind)
            .into_iter()
            .flat_map(|objects| objects.values())
    }

    /// The objects of a kind in one namespace.
    pub fn in_namespace<T: Typed>(&self, namespace: &str) -> impl Iterator<Item = &Arc<T>> {
        let objects = self.kinds.get(&Kind::Builtin(T::BUILTIN));
        let first: Name = (namespace.into(), "".into());
        let range = objects
            .into_iter()
            .flat_map(move |o| o.range(first.clone()..));
        let inside = range.take_while(move |((space, _), _)| **space == *namespace);
        inside.filter_map(|(_, object)| T::from_object(object))
    }

    /// The objects of a kind that an owner owns.
    pub fn owned_by<T: Typed>(&self, uid: &str) -> impl Iterator<Item = &Arc<T>> {
        self.dependents(uid).filter_map(T::from_object)
    }

    /// All objects that an owner owns.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = &Object> {
        let keys = self.owned.get(uid).into_iter().flatten();
        keys.filter_map(|key| self.object(key))
    }

    /// The pods that were placed on a node.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods(self.placed.get(node))
    }

    /// The pods of a namespace that a selector means.
    pub fn pods_matching<'v>(
        &'v self,
        namespace: &'v str,
        selector: &'v Selector,
    ) -> Box<dyn Iterator<Item = &'v Arc<Pod>> + 'v> {
        let matches = |pod: &&Arc<Pod>| match &pod.metadata.labels {
            Some(labels) => selector.matches(labels),
            None => selector.matches(&BTreeMap::new()),
        };
        match selector.pivot() {
            Some((key, value)) => {
                let index = (namespace.into(), key.into(), value.into());
                Box::new(self.pods(self.labelled.get(&index)).filter(matches))
            }
            None => Box::new(self.in_namespace::<Pod>(namespace).filter(matches)),
        }
    }

    fn pods<'v>(&'v self, names: Option<&'v BTreeSet<Name>>) -> impl Iterator<Item = &'v Arc<Pod>> {
        let pods = self.kinds.get(&Kind::Builtin(Pod::BUILTIN));
        let names = names.into_iter().flatten();
        names.filter_map(move |name| Pod::from_object(pods?.get(name)?))
    }

    /// Takes in a change. Returns the object as it was before, or `Err` if the change is old news.
    pub(super) fn apply(&mut self, change: &Change) -> Result<Option<Object>, ()> {
        let object = change.object();
        let key = object.key();
        let revision = object.revision();
        let known = self.object(&key).map(Object::revision);
        let buried = self.gone.get(&key).copied();
        if known.max(buried).is_some_and(|seen| seen >= revision) {
            if matches!(change, Change::Deleted(_)) && buried == Some(revision) {
                self.gone.remove(&key);
            }
            return Err(());
        }
        let before = match change {
            Change::Added(object) | Change::Modified(object) => self.put(&key, object.clone()),
            Change::Deleted(_) => self.remove(&key),
        };
        Ok(before)
    }

    /// Takes in a deletion that was made from here, of which the watch will tell later.
    pub(super) fn bury(&mut self, object: &Object) -> Option<Object> {
        let key = object.key();
        let before = self.remove(&key);
        self.gone.insert(key, object.revision());
        before
    }

    /// The keys of a kind, for a comparison with a fresh list.
    pub(super) fn keys(&self, kind: &Kind) -> Vec<Key> {
        self.of_kind(kind).map(Object::key).collect()
    }

    fn put(&mut self, key: &Key, object: Object) -> Option<Object> {
        let name = (key.namespace.clone(), key.name.clone());
        let objects = self.kinds.entry(key.kind.clone()).or_default();
        let before = objects.insert(name, object.clone());
        let same = before
            .as_ref()
            .is_some_and(|before| same_index(before, &object));
        if !same {
            if let Some(before) = &before {
                self.unindex(key, before);
            }
            self.index(key, &object);
        }
        before
    }

    fn remove(&mut self, key: &Key) -> Option<Object> {
        let name = (key.namespace.clone(), key.name.clone());
        let before = self.kinds.get_mut(&key.kind)?.remove(&name)?;
        self.unindex(key, &before);
        Some(before)
    }

    fn index(&mut self, key: &Key, object: &Object) {
        for uid in object.owner_uids() {
            entry(&mut self.owned, uid).insert(key.clone());
        }
        let Object::Pod(pod) = object else { return };
        let name = (key.namespace.clone(), key.name.clone());
        if let Some(node) = node_of(pod) {
            entry(&mut self.placed, node).insert(name.clone());
        }
        for (label, value) in pod.metadata.labels.iter().flatten() {
            let index = (
                key.namespace.clone(),
                label.as_str().into(),
                value.as_str().into(),
            );
            self.labelled.entry(index).or_default().insert(name.clone());
        }
    }

    fn unindex(&mut self, key: &Key, object: &Object) {
        for uid in object.owner_uids() {
            take(&mut self.owned, uid, key);
        }
        let Object::Pod(pod) = object else { return };
        let name = (key.namespace.clone(), key.name.clone());
        if let Some(node) = node_of(pod) {
            take(&mut self.placed, node, &name);
        }
        for (label, value) in pod.metadata.labels.iter().flatten() {
            let index: Label = (
                key.namespace.clone(),
                label.as_str().into(),
                value.as_str().into(),
            );
            if let Some(names) = self.labelled.get_mut(&index) {
                names.remove(&name);
                if names.is_empty() {
                    self.labelled.remove(&index);
                }
            }
        }
    }
}

/// The node that a pod was placed on.
pub(crate) fn node_of(pod: &Pod) -> Option<&str> {
    let node = pod.spec.as_ref()?.node_name.as_deref();
    node.filter(|node| !node.is_empty())
}

/// Whether the indexes need no change: most changes are of a status.
fn same_index(a: &Object, b: &Object) -> bool {
    let (x, y) = (a.meta(), b.meta());
    let pods = match (a, b) {
        (Object::Pod(a), Object::Pod(b)) => node_of(a) == node_of(b),
        _ => true,
    };
    pods && x.labels == y.labels && x.owner_references == y.owner_references
}

/// The set behind a key, made if it is not there; the key is copied only then.
fn entry<'m, V>(map: &'m mut FxHashMap<Arc<str>, BTreeSet<V>>, key: &str) -> &'m mut BTreeSet<V> {
    if !map.contains_key(key) {
        map.insert(key.into(), BTreeSet::new());
    }
    match map.get_mut(key) {
        Some(set) => set,
        None => unreachable!("inserted above"),
    }
}

fn take<V: Ord>(map: &mut FxHashMap<Arc<str>, BTreeSet<V>>, key: &str, value: &V) {
    if let Some(set) = map.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            map.remove(key);
        }
    }
}
