//! Takes an image in: documents first, then the layers that are missing, several at once, each in one pass.

mod fetch;
mod layers;

use crate::store::mismatch;
use crate::{
    Config, Descriptor, Digest, Document, Error, Image, Ingestion, LARGEST_CONFIG, Lease, Manifest,
    Platform, Progress, Reference, Result, Silent, Source, Store, UnpackOptions,
};
use std::io::Read;

/// How an image is taken in.
#[derive(Clone, Copy)]
pub struct PullOptions<'a> {
    /// Which image of a multi-platform one; none for that of this machine.
    pub platform: Option<&'a Platform>,
    /// How layers are unpacked; none where only the blobs are wanted.
    pub unpack: Option<&'a UnpackOptions>,
    /// How many layers are fetched and unpacked at once.
    pub parallel: usize,
    /// The largest blob that is accepted, bytes. 32 GiB.
    pub largest_blob: u64,
    /// Who is told what happens.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for PullOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("PullOptions");
        debug
            .field("platform", &self.platform)
            .field("unpack", &self.unpack);
        debug
            .field("parallel", &self.parallel)
            .finish_non_exhaustive()
    }
}

impl Default for PullOptions<'_> {
    fn default() -> Self {
        const UNPACK: &UnpackOptions = &UnpackOptions {
            ownership: crate::Ownership::Archive,
            limits: crate::UnpackLimits {
                bytes: 64 << 30,
                entries: 10_000_000,
            },
        };
        Self {
            platform: None,
            unpack: Some(UNPACK),
            parallel: 3,
            largest_blob: 32 << 30,
            progress: &Silent,
        }
    }
}

impl Store {
    /// Takes in an image from a source, unpacks its layers, and gives it a name.
    ///
    /// What is present is neither fetched nor unpacked again; what an interrupted attempt has left is continued. Nothing is
    /// visible under its name before its digest is verified.
    ///
    /// # Errors
    /// `NotFound` where the source has no such image or none for the platform; `Corrupt` where content is not what its digest
    /// says; `Limit` at a size that is refused; `NoSpace`.
    ///
    /// # Examples
    /// ```no_run
    /// use ampoule_image::{LayoutSource, PullOptions, Store};
    ///
    /// let store = Store::open("/var/lib/images")?;
    /// let image = store.pull(&LayoutSource::new("layout", Some("app")), &"app:1".parse()?, &PullOptions::default())?;
    /// let rootfs = store.rootfs(&image)?;
    /// println!("{:?}", rootfs.lower);
    /// # Ok::<(), ampoule_image::Error>(())
    /// ```
    pub fn pull(
        &self,
        source: &dyn Source,
        name: &Reference,
        options: &PullOptions<'_>,
    ) -> Result<Image> {
        let mut lease = self.lease()?;
        let image = self.pull_documents(source, options, &mut lease)?;
        for (layer, chain_id) in image.manifest().layers.iter().zip(image.chain_ids()) {
            if layer.size > options.largest_blob {
                let what = format!("accept layer {} of {} bytes", layer.digest, layer.size);
                return Err(Error::Limit {
                    what,
                    limit: options.largest_blob,
                });
            }
            lease.add(chain_id)?;
        }
        self.pull_layers(source, &image, options)?;
        self.tag(name, image.descriptor())?;
        Ok(image)
    }

    /// Unpacks the layers of a present image that are not unpacked yet.
    pub fn unpack(&self, image: &Image, options: &UnpackOptions) -> Result<()> {
        let mut lease = self.lease()?;
        lease.add(&image.descriptor().digest)?;
        image
            .chain_ids()
            .iter()
            .try_for_each(|chain_id| lease.add(chain_id))?;
        let options = PullOptions {
            unpack: Some(options),
            ..Default::default()
        };
        let itself = crate::LayoutSource::of(self);
        self.pull_layers(&itself, image, &options)
    }

    fn pull_documents(
        &self,
        source: &dyn Source,
        options: &PullOptions<'_>,
        lease: &mut Lease,
    ) -> Result<Image> {
        let (mut descriptor, mut bytes) = source.resolve()?;
        let host = Platform::host();
        let platform = options.platform.unwrap_or(&host);
        for _ in 0..3 {
            check_document(&descriptor, &bytes)?;
            lease.add(&descriptor.digest)?;
            self.write_exactly(&descriptor.digest, &bytes)?;
            match Document::parse(&bytes, Some(&descriptor.media_type))? {
                Document::Manifest(manifest) => {
                    options.progress.event(crate::Event::Resolved(&descriptor));
                    let config = self.pull_config(source, &manifest)?;
                    return Image::new(descriptor, *manifest, config);
                }
                Document::Index(index) => {
                    let chosen = platform.select(&index.manifests);
                    descriptor = chosen.cloned().ok_or_else(|| Error::NotFound {
                        what: format!("an image for {platform}"),
                        place: source.name(),
                    })?;
                    bytes = source.manifest(&descriptor)?;
                }
            }
        }
        Err(Error::document(
            source.name(),
            "its indexes are nested too deeply",
        ))
    }

    fn pull_config(&self, source: &dyn Source, manifest: &Manifest) -> Result<Config> {
        let descriptor = &manifest.config;
        if descriptor.size > LARGEST_CONFIG {
            let what = "accept image configuration".into();
            return Err(Error::Limit {
                what,
                limit: LARGEST_CONFIG,
            });
        }
        if let Ingestion::Wanted(mut ingest) = self.ingest(descriptor)? {
            ingest.start_again()?;
            let mut content = Vec::new();
            let mut reader = source.open(descriptor, 0)?.take(LARGEST_CONFIG + 1);
            reader
                .read_to_end(&mut content)
                .map_err(Error::io("read", source.name()))?;
            ingest.write(&content)?;
            ingest.commit()?;
        }
        Config::parse(&self.read_blob(&descriptor.digest, LARGEST_CONFIG)?)
    }

    /// A manifest's algorithm is its descriptor's, so the name is kept as the source has it.
    fn write_exactly(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        self.write_blob(digest.algorithm(), bytes).map(drop)
    }
}

fn check_document(descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
    let found = Digest::of(descriptor.digest.algorithm(), bytes);
    if found != descriptor.digest {
        return Err(mismatch("manifest", descriptor.digest, found));
    }
    match bytes.len() as u64 == descriptor.size {
        true => Ok(()),
        false => Err(Error::SizeMismatch {
            digest: Box::new(descriptor.digest),
            expected: descriptor.size,
            found: bytes.len() as u64,
        }),
    }
}
