//! Images written to one file, which Docker, Podman, skopeo and this crate read.

use crate::tar::{Entry, Kind, Writer};
use crate::{Descriptor, Digest, Error, Image, Index, Reference, Result, Store, store::REF_NAME};
use std::collections::BTreeSet;
use std::io::{BufWriter, Read, Write};

impl Store {
    /// Writes images with their names into an archive: an OCI layout that is what `docker save` writes too.
    ///
    /// Blobs go as they are, so digests stay; the same images give the same bytes.
    ///
    /// # Errors
    /// `NotFound` where a blob is missing.
    pub fn save(&self, images: &[(&Reference, &Image)], archive: impl Write) -> Result<()> {
        let mut saver = Saver {
            store: self,
            archive: Writer::new(BufWriter::with_capacity(256 << 10, archive)),
            written: BTreeSet::new(),
        };
        saver.text("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let mut entries = Vec::new();
        for (name, image) in images {
            let mut entry = image.descriptor().clone();
            entry.annotations.insert(REF_NAME.into(), name.to_string());
            // What containerd, and with it Docker, reads as the name.
            entry
                .annotations
                .insert("io.containerd.image.name".into(), name.to_string());
            entries.push(entry);
        }
        saver.text("index.json", &json(&Index::new(entries))?)?;
        saver.text("manifest.json", &json(&docker_manifest(images))?)?;
        for (_, image) in images {
            saver.blob(image.descriptor())?;
            saver.blob(&image.manifest().config)?;
            image
                .manifest()
                .layers
                .iter()
                .try_for_each(|layer| saver.blob(layer))?;
        }
        let written = saver.archive.finish().and_then(|mut stream| stream.flush());
        written.map_err(Error::io("write", "the archive"))
    }
}

/// What Docker's `load` read before it knew layouts.
fn docker_manifest(images: &[(&Reference, &Image)]) -> serde_json::Value {
    let entry = |(name, image): &(&Reference, &Image)| {
        let layers: Vec<String> = image
            .manifest()
            .layers
            .iter()
            .map(|layer| path(&layer.digest))
            .collect();
        serde_json::json!({"Config": path(image.id()), "RepoTags": [name.familiar()], "Layers": layers})
    };
    images.iter().map(entry).collect()
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::document("archive", e))
}

struct Saver<'a, W: Write> {
    store: &'a Store,
    archive: Writer<BufWriter<W>>,
    written: BTreeSet<Digest>,
}

impl<W: Write> Saver<'_, W> {
    fn text(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.file(name, content.len() as u64, &mut &content[..])
    }

    fn blob(&mut self, descriptor: &Descriptor) -> Result<()> {
        if !self.written.insert(descriptor.digest) {
            return Ok(());
        }
        let (mut file, length) = self.store.open_blob(&descriptor.digest)?;
        self.file(&path(&descriptor.digest), length, &mut file)
    }

    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<()> {
        let entry = Entry {
            name: name.into(),
            size,
            ..Entry::plain(Kind::File)
        };
        self.archive
            .entry(&entry, content)
            .map_err(Error::io("archive", name))
    }
}
