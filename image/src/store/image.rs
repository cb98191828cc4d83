//! An image that is present, and the directories of which its root tree is made.

use super::{Lease, Store};
use crate::{
    Config, Descriptor, Digest, Document, Error, LARGEST_CONFIG, LARGEST_MANIFEST, Manifest,
    Platform, Result,
};
use std::path::PathBuf;

/// An image for one platform: its manifest and its configuration, read and checked.
#[derive(Debug, Clone)]
pub struct Image {
    descriptor: Descriptor,
    manifest: Manifest,
    config: Config,
    chain_ids: Vec<Digest>,
}

impl Image {
    /// The manifest's descriptor.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What Docker calls the image's id: the digest of its configuration.
    pub fn id(&self) -> &Digest {
        &self.manifest.config.digest
    }

    /// The identity of the tree after each layer, the lowest first.
    pub fn chain_ids(&self) -> &[Digest] {
        &self.chain_ids
    }

    /// Puts together what was read.
    ///
    /// # Errors
    /// `Document` where the manifest has not as many layers as the configuration has diff ids.
    pub(crate) fn new(descriptor: Descriptor, manifest: Manifest, config: Config) -> Result<Self> {
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            let reason =
                format!("the manifest has {layers} layers, the configuration {diff_ids} diff ids");
            return Err(Error::document(
                format!("image {}", descriptor.digest),
                reason,
            ));
        }
        let chain_ids = config.chain_ids();
        Ok(Self {
            descriptor,
            manifest,
            config,
            chain_ids,
        })
    }
}

/// The lower directories of an image's root tree. They stay as long as this value lives.
#[derive(Debug)]
pub struct Rootfs {
    /// The directories, the *topmost* first, as overlay's `lowerdir` has them.
    pub lower: Vec<PathBuf>,
    /// Keeps them from the collector.
    pub lease: Lease,
}

impl Store {
    /// Reads the image that a name stands for; of a multi-platform one that for `platform`.
    ///
    /// # Errors
    /// `NotFound` where the name, the platform or a document is not present.
    pub fn image(&self, name: &str, platform: &Platform) -> Result<Image> {
        let descriptor = self.resolve(name)?;
        self.image_at(&descriptor, platform)
    }

    /// Reads the image at a descriptor.
    pub fn image_at(&self, descriptor: &Descriptor, platform: &Platform) -> Result<Image> {
        let (descriptor, manifest) = self.manifest_at(descriptor, platform)?;
        let config = Config::parse(&self.read_blob(&manifest.config.digest, LARGEST_CONFIG)?)?;
        Image::new(descriptor, manifest, config)
    }

    fn manifest_at(
        &self,
        descriptor: &Descriptor,
        platform: &Platform,
    ) -> Result<(Descriptor, Manifest)> {
        let mut descriptor = descriptor.clone();
        // An index may point to an index, but nobody nests deeper.
        for _ in 0..3 {
            let bytes = self.read_blob(&descriptor.digest, LARGEST_MANIFEST)?;
            match Document::parse(&bytes, Some(&descriptor.media_type))? {
                Document::Manifest(manifest) => return Ok((descriptor, *manifest)),
                Document::Index(index) => {
                    let chosen = platform.select(&index.manifests);
                    let missing = || {
                        self.missing(format!("an image for {platform} in {}", descriptor.digest))
                    };
                    descriptor = chosen.ok_or_else(missing)?.clone();
                }
            }
        }
        Err(Error::document(
            format!("index {}", descriptor.digest),
            "indexes are nested too deeply",
        ))
    }

    /// The lower directories of an image whose layers are unpacked.
    ///
    /// # Errors
    /// `NotFound` where a layer is not unpacked.
    pub fn rootfs(&self, image: &Image) -> Result<Rootfs> {
        // The lease first: what is there afterwards stays.
        let lease = self.lease_image(image)?;
        let mut lower = Vec::with_capacity(image.chain_ids.len());
        for chain_id in image.chain_ids.iter().rev() {
            let path = self.layer_path(chain_id);
            if rustix::fs::access(&path, rustix::fs::Access::EXISTS).is_err() {
                return Err(self.missing(format!("unpacked layer {chain_id}")));
            }
            lower.push(path);
        }
        Ok(Rootfs { lower, lease })
    }
}
