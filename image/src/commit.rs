//! New images from old ones: a changed configuration, another layer on top, or a tree that becomes an image of its own.

use crate::{
    Algorithm, Descriptor, DiffOptions, Digest, Error, Hasher, History, Image, LARGEST_CONFIG,
    Lease, Manifest, Platform, Reference, Result, Store, archive_directory, media_type,
};
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::path::Path;

/// A configuration under change. It is the document itself, so that keys which this crate does not know stay as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigEdit {
    document: Map<String, Value>,
}

/// A layer that is in the store, not yet part of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLayer {
    /// The blob.
    pub descriptor: Descriptor,
    /// The digest of the plain archive.
    pub diff_id: Digest,
}

impl ConfigEdit {
    /// The configuration of an image without layers.
    pub fn scratch(platform: &Platform) -> Self {
        let mut document = Map::new();
        document.insert("architecture".into(), platform.architecture.clone().into());
        document.insert("os".into(), platform.os.clone().into());
        if let Some(variant) = &platform.variant {
            document.insert("variant".into(), variant.clone().into());
        }
        document.insert("config".into(), json!({}));
        document.insert("rootfs".into(), json!({"type": "layers", "diff_ids": []}));
        document.insert("history".into(), json!([]));
        Self { document }
    }

    /// The configuration of an image in the store.
    pub fn of(store: &Store, image: &Image) -> Result<Self> {
        let bytes = store.read_blob(image.id(), LARGEST_CONFIG)?;
        let document = serde_json::from_slice(&bytes)
            .map_err(|e| Error::document("image configuration", e))?;
        Ok(Self { document })
    }

    /// Sets a key of the part that says how the image is run (`Env`, `Cmd`, `Labels`, …); `null` takes it away.
    pub fn set(&mut self, key: &str, value: Value) -> &mut Self {
        let run = self.object("config");
        match value {
            Value::Null => drop(run.shift_remove(key)),
            value => drop(run.insert(key.into(), value)),
        }
        self
    }

    /// A key of the part that says how the image is run; `null` where it is not there.
    pub fn value(&self, key: &str) -> Value {
        let run = self.document.get("config");
        run.and_then(|run| run.get(key))
            .cloned()
            .unwrap_or(Value::Null)
    }

    /// Sets a key of the document itself (`author`, `created`).
    pub fn set_outer(&mut self, key: &str, value: Value) -> &mut Self {
        self.document.insert(key.into(), value);
        self
    }

    /// Adds a step to the history, with the layer that it made or without one.
    pub fn step(&mut self, mut step: History, layer: Option<&NewLayer>) -> &mut Self {
        step.empty_layer = layer.is_none();
        if let Some(layer) = layer {
            let rootfs = self.object("rootfs");
            let diff_ids = rootfs.entry("diff_ids").or_insert_with(|| json!([]));
            push(diff_ids, layer.diff_id.to_string().into());
        }
        let history = self.document.entry("history").or_insert_with(|| json!([]));
        push(history, serde_json::to_value(step).unwrap_or_default());
        self
    }

    /// The document's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A map of JSON values is always JSON.
        serde_json::to_vec(&self.document).unwrap_or_default()
    }

    fn object(&mut self, key: &str) -> &mut Map<String, Value> {
        let value = self.document.entry(key).or_insert_with(|| json!({}));
        if !value.is_object() {
            *value = json!({});
        }
        value
            .as_object_mut()
            .unwrap_or_else(|| unreachable!("it was made an object above"))
    }
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

impl Store {
    /// Makes a layer of a directory: of an upper directory with [`DiffOptions::upper`], of a tree that stands for itself with
    /// the default. It is packed with gzip, always to the same bytes.
    ///
    /// The lease keeps it until an image has it.
    pub fn layer_from(
        &self,
        directory: &Path,
        options: &DiffOptions,
        lease: &mut Lease,
    ) -> Result<NewLayer> {
        let packed = self.blob_writer(Algorithm::Sha256)?;
        let mut plain = Plain {
            hasher: Hasher::new(Algorithm::Sha256),
            // The fastest level that is worth it: a layer is packed once for each build.
            encoder: flate2::GzBuilder::new().write(packed, flate2::Compression::new(6)),
        };
        archive_directory(directory, &mut plain, options)?;
        let diff_id = plain.hasher.finish();
        let packed = plain
            .encoder
            .finish()
            .map_err(Error::io("pack layer of", directory))?;
        let (digest, length) = packed.commit_leased(lease)?;
        let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, digest, length);
        Ok(NewLayer {
            descriptor,
            diff_id,
        })
    }

    /// Makes an image of a configuration and layers, and gives it a name where one is wanted.
    ///
    /// # Errors
    /// `Document` where the configuration has another number of diff ids than there are layers.
    pub fn write_image(
        &self,
        config: &ConfigEdit,
        layers: Vec<Descriptor>,
        name: Option<&Reference>,
    ) -> Result<Image> {
        let _held = self.hold_collector()?;
        let config = self.write_document(media_type::OCI_CONFIG, &config.to_bytes())?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.into()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: Default::default(),
        };
        let bytes = serde_json::to_vec(&manifest).map_err(|e| Error::document("manifest", e))?;
        let descriptor = self.write_document(media_type::OCI_MANIFEST, &bytes)?;
        let image = self.image_at(&descriptor, &Platform::host())?;
        if let Some(name) = name {
            self.tag(name, &descriptor)?;
        }
        Ok(image)
    }

    /// Makes a new image: an upper directory on top of an image, as one more layer.
    pub fn commit(
        &self,
        base: &Image,
        upper: &Path,
        step: History,
        name: &Reference,
    ) -> Result<Image> {
        let mut lease = self.lease()?;
        lease.add(&base.descriptor().digest)?;
        let layer = self.layer_from(upper, &DiffOptions::upper(), &mut lease)?;
        let mut config = ConfigEdit::of(self, base)?;
        config.step(step, Some(&layer));
        let mut layers = base.manifest().layers.clone();
        layers.push(layer.descriptor);
        self.write_image(&config, layers, Some(name))
    }

    /// Makes an image of one layer from a directory that is a whole root tree.
    pub fn import(&self, tree: &Path, config: &ConfigEdit, name: &Reference) -> Result<Image> {
        let mut lease = self.lease()?;
        let layer = self.layer_from(tree, &DiffOptions::default(), &mut lease)?;
        let mut config = config.clone();
        let step = History {
            created_by: Some("import".into()),
            ..Default::default()
        };
        config.step(step, Some(&layer));
        self.write_image(&config, vec![layer.descriptor], Some(name))
    }
}

/// Hashes what goes into the packer.
struct Plain<W: Write> {
    hasher: Hasher,
    encoder: flate2::write::GzEncoder<W>,
}

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.encoder.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}
