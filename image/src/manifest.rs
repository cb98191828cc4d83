//! Descriptors, manifests and indexes, in the spellings of OCI and of Docker.

use crate::{Digest, Error, Platform, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The names of the document and layer formats that this crate reads and writes.
pub mod media_type {
    /// An OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An OCI image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A plain layer.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer packed with gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer packed with Zstandard.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker's manifest, version 2, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker's layer, packed with gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
}

/// No manifest or index may be larger: registries refuse more than 4 MiB too.
pub const LARGEST_MANIFEST: u64 = 4 << 20;

/// A pointer to a blob: its format, address and length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The format of the content.
    #[serde(default)]
    pub media_type: String,
    /// The address of the content.
    pub digest: Digest,
    /// The length of the content, bytes.
    pub size: u64,
    /// Other places that hold the content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free text by key.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub annotations: BTreeMap<String, String>,
    /// What the content runs on; in the entries of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The kind of artifact that a manifest describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor without the optional parts.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }
}

/// Go writes `null` for an empty map.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The layers and the configuration of an image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The format, where the document names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The kind of artifact, where it is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free text by key.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests, one a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The format, where the document names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The kind of artifact, where it is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests.
    #[serde(deserialize_with = "null_as_default")]
    pub manifests: Vec<Descriptor>,
    /// Free text by key.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An OCI index of these manifests.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.into()),
            artifact_type: None,
            manifests,
            annotations: BTreeMap::new(),
        }
    }
}

/// What a tag may point to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// A choice of images.
    Index(Index),
}

/// The keys that tell the two apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u32>,
    media_type: Option<String>,
    #[serde(default, deserialize_with = "present")]
    config: bool,
    #[serde(default, deserialize_with = "present")]
    layers: bool,
    #[serde(default, deserialize_with = "present")]
    manifests: bool,
}

/// A key counts also where its value is `null`, which is how Go writes an empty list.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer)?;
    Ok(true)
}

impl Document {
    /// Reads a manifest or an index; `media_type` is what its descriptor or the registry calls it, where either does.
    ///
    /// # Errors
    /// `Document` where it is neither, or could be read as both (CVE-2021-41190: then two programs see two images behind
    /// one digest), or names another format than `media_type`. `Limit` above 4 MiB.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self> {
        if bytes.len() as u64 > LARGEST_MANIFEST {
            return Err(Error::Limit {
                what: "read manifest".into(),
                limit: LARGEST_MANIFEST,
            });
        }
        let error = |reason: &dyn std::fmt::Display| Error::document("manifest", reason);
        let shape: Shape = serde_json::from_slice(bytes).map_err(|e| error(&e))?;
        let is_index = shape.manifests;
        if is_index && (shape.config || shape.layers) {
            return Err(error(&"it is a manifest and an index at once"));
        }
        let is_known =
            |name: &&str| !name.is_empty() && *name != "application/json" && *name != "text/plain";
        let (inside, outside) = (shape.media_type.as_deref(), media_type.filter(is_known));
        if let (Some(inside), Some(outside)) = (inside, outside)
            && inside != outside
        {
            return Err(error(&format!(
                "it calls itself {inside:?}, its descriptor calls it {outside:?}"
            )));
        }
        if let Some(name) = inside.or(outside) {
            check_media_type(name, is_index).map_err(|reason| error(&reason))?;
        }
        match (shape.schema_version, is_index) {
            (Some(2), true) => Ok(Self::Index(
                serde_json::from_slice(bytes).map_err(|e| error(&e))?,
            )),
            (Some(2), false) => Ok(Self::Manifest(
                serde_json::from_slice(bytes).map_err(|e| error(&e))?,
            )),
            (Some(1), _) => Err(error(
                &"schema 1 is obsolete: push the image again with a newer Docker",
            )),
            (version, _) => Err(error(&format!("its schemaVersion is {version:?}, not 2"))),
        }
    }

    /// The format's name, as a descriptor should have it.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => manifest
                .media_type
                .as_deref()
                .unwrap_or(media_type::OCI_MANIFEST),
            Self::Index(index) => index.media_type.as_deref().unwrap_or(media_type::OCI_INDEX),
        }
    }
}

fn check_media_type(name: &str, is_index: bool) -> Result<(), String> {
    match (name, is_index) {
        (media_type::OCI_INDEX | media_type::DOCKER_INDEX, true) => Ok(()),
        (media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST, false) => Ok(()),
        (_, true) => Err(format!(
            "it has the keys of an index, but is called {name:?}"
        )),
        (_, false) => Err(format!(
            "it has the keys of a manifest, but is called {name:?}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn manifest(rest: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{DIGEST}","size":1}},"layers":[]{rest}}}"#
        )
    }

    #[test]
    fn manifests_and_indexes_are_told_apart() {
        let parsed = Document::parse(manifest("").as_bytes(), None).unwrap();
        assert!(matches!(parsed, Document::Manifest(_)));
        let index = r#"{"schemaVersion":2,"manifests":null}"#;
        assert_eq!(
            Document::parse(index.as_bytes(), None)
                .unwrap()
                .media_type(),
            media_type::OCI_INDEX
        );
    }

    #[test]
    fn ambiguity_is_refused() {
        let both = manifest(r#","manifests":[]"#);
        let lies = manifest(&format!(r#","mediaType":"{}""#, media_type::OCI_INDEX));
        let named = manifest(&format!(
            r#","mediaType":"{}""#,
            media_type::DOCKER_MANIFEST
        ));
        for (text, outside) in [
            (both, None),
            (lies, None),
            (named, Some(media_type::OCI_MANIFEST)),
            (manifest(""), Some(media_type::OCI_INDEX)),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.into(), None),
            ("[]".into(), None),
            ("".into(), None),
            ("[".repeat(100_000), None),
        ] {
            let error = Document::parse(text.as_bytes(), outside).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Invalid, "{text:.80}");
        }
    }

    #[test]
    fn a_manifest_bomb_is_refused() {
        let bomb = vec![b' '; 5 << 20];
        assert_eq!(
            Document::parse(&bomb, None).unwrap_err().kind(),
            crate::ErrorKind::Limit
        );
    }
}
