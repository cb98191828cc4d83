//! What earlier builds have made, by what they made it of.
//!
//! A record keeps no layer alive: it counts as long as the layer is there, which it is while an image has it.

use super::state::State;
use crate::{Descriptor, Digest, Error, NewLayer, Result, Store};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Serialize, Deserialize)]
struct Record {
    layer: Descriptor,
    diff_id: Digest,
}

fn path(store: &Store, key: &Digest) -> PathBuf {
    store.path().join("ampoule/build").join(key.hex())
}

/// The layer of a step, where it was made before and is still there, blob and files.
pub(super) fn find(store: &Store, state: &State) -> Option<NewLayer> {
    let bytes = std::fs::read(path(store, &state.key)).ok()?;
    let Record { layer, diff_id } = serde_json::from_slice(&bytes).ok()?;
    let is_there = store.has_blob(&layer.digest) && store.has_layer(&state.chain_with(&diff_id)?);
    is_there.then_some(NewLayer {
        descriptor: layer,
        diff_id,
    })
}

/// Remembers what a step has made.
pub(super) fn keep(store: &Store, key: &Digest, layer: &NewLayer) -> Result<()> {
    let path = path(store, key);
    let directory = store.path().join("ampoule/build");
    std::fs::create_dir_all(&directory).map_err(Error::io("create directory", &directory))?;
    let record = Record {
        layer: layer.descriptor.clone(),
        diff_id: layer.diff_id,
    };
    let bytes = serde_json::to_vec(&record).map_err(|e| Error::document("build record", e))?;
    // A record that a crash has cut is no JSON, and counts as none.
    std::fs::write(&path, bytes).map_err(Error::io("write", &path))
}
