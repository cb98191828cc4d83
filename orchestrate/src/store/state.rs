//! The objects themselves, and how a write changes them. Shared by the stores that keep them in this process.

use super::history::History;
use super::rules::{self, Outcome, Stamp};
use super::{Change, List, Revision, Scope, Write};
use crate::admit::{admit, check_update};
use crate::error::{Error, Result};
use crate::object::{Key, Kind, Object};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

type Name = (Arc<str>, Arc<str>);

#[derive(Debug)]
pub(super) struct State {
    revision: Revision,
    /// Distinguishes the uids of this store from those of any other.
    seed: u64,
    kinds: BTreeMap<Kind, Table>,
}

#[derive(Debug, Default)]
struct Table {
    objects: BTreeMap<Name, Object>,
    history: History,
}

/// A change that has been made to the objects.
#[derive(Debug)]
pub(super) struct Effect {
    pub key: Key,
    pub change: Option<Change>,
    /// What the writer is told.
    pub result: Object,
}

impl State {
    pub(super) fn new(seed: u64) -> State {
        State {
            revision: Revision::START,
            seed,
            kinds: BTreeMap::new(),
        }
    }

    pub(super) fn read(&self, key: &Key) -> Result<Object> {
        self.find(key)
            .cloned()
            .ok_or_else(|| Error::NotFound(key.clone()))
    }

    pub(super) fn list(&self, scope: &Scope) -> List {
        let table = self.kinds.get(&scope.kind);
        let objects = table.into_iter().flat_map(|table| table.objects.values());
        List {
            objects: objects
                .filter(|object| scope.contains(object))
                .cloned()
                .collect(),
            revision: self.revision,
        }
    }

    pub(super) fn history(&mut self, kind: &Kind) -> &mut History {
        &mut self.table(kind).history
    }

    /// Makes a change, without telling the watches yet.
    pub(super) fn apply(&mut self, write: Write, now: Timestamp) -> Result<Effect> {
        let stamp = Stamp {
            now,
            revision: Revision(self.revision.0 + 1),
        };
        let (key, existed, outcome) = match write {
            Write::Create(object) => {
                let object = self.create(object, stamp)?;
                (object.key(), false, Outcome::Put(object))
            }
            Write::Update(mut object) => {
                let old = self.read(&object.key())?;
                admit(&mut object)?;
                check_update(&old, &object)?;
                let outcome = rules::update(&old, object, stamp)?;
                (old.key(), true, outcome)
            }
            Write::Status(object) => {
                let old = self.read(&object.key())?;
                let outcome = rules::status(&old, object, stamp)?;
                (old.key(), true, outcome)
            }
            Write::Bind { pod, uid, node } => {
                let old = self.read(&pod)?;
                let outcome = rules::bind(&old, &uid, &node, stamp)?;
                (pod, true, outcome)
            }
            Write::Delete(key, deletion) => {
                let old = self.read(&key)?;
                let outcome = rules::delete(&old, &deletion, stamp)?;
                (key, true, outcome)
            }
        };
        Ok(self.carry_out(key, existed, outcome))
    }

    /// Lets the watches see a change; returns whom to wake once the lock is released.
    pub(super) fn publish(&mut self, key: &Key, change: Change) -> Vec<Waker> {
        let history = &mut self.table(&key.kind).history;
        history.push(change);
        history.wake()
    }

    fn create(&mut self, mut object: Object, stamp: Stamp) -> Result<Object> {
        let uid = uid(self.seed, stamp.revision);
        let meta = object.meta_mut();
        if let (None, Some(prefix)) = (meta.name.as_ref(), meta.generate_name.as_ref()) {
            meta.name = Some(format!("{prefix}{}", suffix(self.seed, stamp.revision)));
        }
        admit(&mut object)?;
        let key = object.key();
        if self.find(&key).is_some() {
            return Err(Error::AlreadyExists(key));
        }
        Ok(rules::create(object, uid, stamp))
    }

    fn carry_out(&mut self, key: Key, existed: bool, outcome: Outcome) -> Effect {
        let (result, change) = match outcome {
            Outcome::Same(object) => {
                return Effect {
                    key,
                    change: None,
                    result: object,
                };
            }
            Outcome::Put(object) => {
                self.put(&key, object.clone());
                let change = match existed {
                    true => Change::Modified(object.clone()),
                    false => Change::Added(object.clone()),
                };
                (object, change)
            }
            Outcome::Gone(object) => {
                self.remove(&key);
                (object.clone(), Change::Deleted(object))
            }
        };
        self.revision.0 += 1;
        Effect {
            key,
            change: Some(change),
            result,
        }
    }

    fn find(&self, key: &Key) -> Option<&Object> {
        let table = self.kinds.get(&key.kind)?;
        table
            .objects
            .get(&(key.namespace.clone(), key.name.clone()))
    }

    fn put(&mut self, key: &Key, object: Object) {
        let name = (key.namespace.clone(), key.name.clone());
        self.table(&key.kind).objects.insert(name, object);
    }

    fn remove(&mut self, key: &Key) {
        let name = (key.namespace.clone(), key.name.clone());
        self.table(&key.kind).objects.remove(&name);
    }

    fn table(&mut self, kind: &Kind) -> &mut Table {
        // The entry API would clone the kind for every lookup.
        if !self.kinds.contains_key(kind) {
            self.kinds.insert(kind.clone(), Table::default());
        }
        match self.kinds.get_mut(kind) {
            Some(table) => table,
            None => unreachable!("inserted above"),
        }
    }
}

/// A uid in the form of a UUID: the same for the same store and revision, so that a simulation repeats itself.
fn uid(seed: u64, revision: Revision) -> String {
    let (a, b) = (
        mix(seed ^ revision.0),
        mix(!seed ^ revision.0.rotate_left(32)),
    );
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        0x8000 | (b >> 50),
        b & 0xffff_ffff_ffff
    )
}

/// Five characters to complete a `generateName`, from the alphabet that Kubernetes uses: no vowels, so no words.
fn suffix(seed: u64, revision: Revision) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rest = mix(seed.rotate_left(17) ^ revision.0);
    let mut next = || {
        let letter = ALPHABET[(rest % ALPHABET.len() as u64) as usize];
        rest /= ALPHABET.len() as u64;
        char::from(letter)
    };
    (0..5).map(|_| next()).collect()
}

/// Spreads the bits of a number over all of its width (the finalizer of SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
