//! Tags: names for manifests, kept in the layout's `index.json`.

use super::{Store, replace_file};
use crate::{Descriptor, Digest, Error, Index, LARGEST_MANIFEST, Reference, Result};
use std::fs;
use std::path::PathBuf;

/// The annotation under which an image layout keeps the name of an entry.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A name and what it points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The name as it stands in the layout: here a complete reference; other tools write what they like.
    pub name: String,
    /// The manifest or index.
    pub descriptor: Descriptor,
}

impl Store {
    /// Gives a manifest or index a name; what had the name loses it.
    pub fn tag(&self, name: &Reference, descriptor: &Descriptor) -> Result<()> {
        let name = name.to_string();
        let mut entry = Descriptor {
            platform: descriptor.platform.clone(),
            ..Descriptor::new(&descriptor.media_type, descriptor.digest, descriptor.size)
        };
        entry.annotations.insert(REF_NAME.into(), name.clone());
        self.change_index(|index| {
            index
                .manifests
                .retain(|other| name_of(other) != Some(name.as_str()));
            index.manifests.push(entry);
        })
    }

    /// Takes a name away. What it pointed to stays until the next collection.
    ///
    /// # Errors
    /// `NotFound` where nothing has the name.
    pub fn untag(&self, name: &Reference) -> Result<()> {
        let name = name.to_string();
        let mut found = false;
        self.change_index(|index| {
            let before = index.manifests.len();
            index
                .manifests
                .retain(|entry| name_of(entry) != Some(name.as_str()));
            found = index.manifests.len() < before;
        })?;
        match found {
            true => Ok(()),
            false => Err(self.missing(format!("image {name}"))),
        }
    }

    /// All names, in the order of the layout.
    pub fn tags(&self) -> Result<Vec<Tag>> {
        let named = |descriptor: Descriptor| {
            let name = name_of(&descriptor)?.to_string();
            Some(Tag { name, descriptor })
        };
        Ok(self
            .index()?
            .manifests
            .into_iter()
            .filter_map(named)
            .collect())
    }

    /// Finds what people write for an image: a reference, a digest, or the beginning of an id of at least four digits.
    ///
    /// # Errors
    /// `NotFound`; `Parse` where it is none of these, or an id begins that way twice.
    pub fn resolve(&self, name: &str) -> Result<Descriptor> {
        let entries = self.index()?.manifests;
        if let Some(entry) = entries.iter().find(|entry| name_of(entry) == Some(name)) {
            return Ok(entry.clone());
        }
        if let Ok(reference) = name.parse::<Reference>() {
            let full = reference.to_string();
            let by_name = |entry: &&Descriptor| name_of(entry) == Some(full.as_str());
            let by_digest = |entry: &&Descriptor| Some(&entry.digest) == reference.digest();
            if let Some(entry) = entries
                .iter()
                .find(by_name)
                .or_else(|| entries.iter().find(by_digest))
            {
                return Ok(entry.clone());
            }
        }
        self.resolve_id(name, &entries)
    }

    fn resolve_id(&self, name: &str, entries: &[Descriptor]) -> Result<Descriptor> {
        let hex = name.strip_prefix("sha256:").unwrap_or(name);
        let is_id = hex.len() >= 4 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let begins = |digest: &Digest| is_id && digest.hex().starts_with(hex);
        let mut found: Vec<&Descriptor> = Vec::new();
        for entry in entries {
            let new = found.iter().all(|other| other.digest != entry.digest);
            if new
                && (begins(&entry.digest)
                    || self
                        .config_digest(entry)
                        .is_some_and(|digest| begins(&digest)))
            {
                found.push(entry);
            }
        }
        match found.as_slice() {
            [] => Err(self.missing(format!("image {name:?}"))),
            [entry] => Ok((*entry).clone()),
            _ => Err(Error::parse(
                "image id",
                name,
                "more than one image begins so: write more digits",
            )),
        }
    }

    /// Docker calls the digest of the configuration the image's id.
    fn config_digest(&self, entry: &Descriptor) -> Option<Digest> {
        let bytes = self.read_blob(&entry.digest, LARGEST_MANIFEST).ok()?;
        match crate::Document::parse(&bytes, None).ok()? {
            crate::Document::Manifest(manifest) => Some(manifest.config.digest),
            crate::Document::Index(_) => None,
        }
    }

    /// The layout's own index, with entries of other tools and entries without a name.
    pub fn index(&self) -> Result<Index> {
        let path = self.index_path();
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|e| Error::document(path.display().to_string(), e))
    }

    pub(super) fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn change_index(&self, change: impl FnOnce(&mut Index)) -> Result<()> {
        let _held = self.lock_index()?;
        let mut index = self.index()?;
        change(&mut index);
        let bytes = serde_json::to_vec(&index).map_err(|e| Error::document("index.json", e))?;
        replace_file(&self.index_path(), &bytes)
    }
}

fn name_of(entry: &Descriptor) -> Option<&str> {
    entry.annotations.get(REF_NAME).map(String::as_str)
}
