//! Images sent to a registry: blobs that it lacks, several at once, then the manifest that names them.

use super::Registry;
use super::transport::Request;
use crate::{
    Descriptor, Digest, Document, Error, Event, Manifest, Progress, Reference, Result, Silent,
    Source,
};
use std::io::{self, Read};
use std::sync::Mutex;
use ureq::http::{Method, Response, StatusCode};

/// How an image is sent.
#[derive(Clone, Copy)]
pub struct PushOptions<'a> {
    /// How many blobs are sent at once.
    pub parallel: usize,
    /// Another repository of the same registry that may have the blobs: what it has is not sent again.
    pub mount_from: Option<&'a Reference>,
    /// Who is told what happens.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for PushOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("PushOptions");
        debug
            .field("parallel", &self.parallel)
            .field("mount_from", &self.mount_from)
            .finish_non_exhaustive()
    }
}

impl Default for PushOptions<'_> {
    fn default() -> Self {
        Self {
            parallel: 3,
            mount_from: None,
            progress: &Silent,
        }
    }
}

impl Registry {
    /// Sends an image from any source, so also from another registry, and gives it this reference's tag.
    ///
    /// Manifests go as the bytes that they are, so the digest stays. Of an index, all images that the source has go along.
    ///
    /// # Errors
    /// `Denied` without the right to push, `NotFound` where the source lacks a blob.
    ///
    /// # Examples
    /// ```no_run
    /// use ampoule_image::{LayoutSource, PushOptions, Registry, RegistryOptions};
    ///
    /// let registry = Registry::new(&"localhost:5000/app:1".parse()?, &RegistryOptions::default())?;
    /// let descriptor = registry.push(&LayoutSource::new("images", Some("app:1")), &PushOptions::default())?;
    /// println!("{}", descriptor.digest);
    /// # Ok::<(), ampoule_image::Error>(())
    /// ```
    pub fn push(&self, source: &dyn Source, options: &PushOptions<'_>) -> Result<Descriptor> {
        let (descriptor, bytes) = source.resolve()?;
        match Document::parse(&bytes, Some(&descriptor.media_type))? {
            Document::Manifest(manifest) => self.push_blobs(source, &manifest, options)?,
            Document::Index(index) => {
                for entry in &index.manifests {
                    let bytes = match source.manifest(entry) {
                        // A store has of an index only what was pulled of it; the registry decides whether that will do.
                        Err(error) if error.kind() == crate::ErrorKind::NotFound => continue,
                        bytes => bytes?,
                    };
                    if let Document::Manifest(manifest) =
                        Document::parse(&bytes, Some(&entry.media_type))?
                    {
                        self.push_blobs(source, &manifest, options)?;
                    }
                    self.put_manifest(&entry.digest.to_string(), entry, &bytes)?;
                }
            }
        }
        self.put_manifest(&self.reference().target(), &descriptor, &bytes)?;
        Ok(descriptor)
    }

    fn push_blobs(
        &self,
        source: &dyn Source,
        manifest: &Manifest,
        options: &PushOptions<'_>,
    ) -> Result<()> {
        let mut blobs: Vec<&Descriptor> = Vec::new();
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            if blobs.iter().all(|other| other.digest != blob.digest) {
                blobs.push(blob);
            }
        }
        let queue = Mutex::new(blobs);
        let send_all = || -> Result<()> {
            loop {
                let next = queue.lock().ok().and_then(|mut queue| queue.pop());
                let Some(blob) = next else { return Ok(()) };
                let sent = self.push_blob(source, blob, options);
                if sent.is_err()
                    && let Ok(mut queue) = queue.lock()
                {
                    // What the others would send is of no use any more.
                    queue.clear();
                }
                sent?;
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..options.parallel.max(1))
                .map(|_| scope.spawn(send_all))
                .collect();
            let join = |worker: std::thread::ScopedJoinHandle<'_, Result<()>>| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            workers
                .into_iter()
                .map(join)
                .collect::<Result<Vec<()>>>()
                .map(drop)
        })
    }

    fn push_blob(
        &self,
        source: &dyn Source,
        blob: &Descriptor,
        options: &PushOptions<'_>,
    ) -> Result<()> {
        if self.has_blob(&blob.digest)? || self.mount(&blob.digest, options.mount_from)? {
            options.progress.event(Event::Present(blob));
            return Ok(());
        }
        options.progress.event(Event::Started { blob, offset: 0 });
        let open = || -> Result<(Box<dyn Read + '_>, u64)> {
            let stream = source.open(blob, 0)?.take(blob.size);
            let counted = Counted {
                stream,
                blob,
                progress: options.progress,
            };
            Ok((Box::new(counted), blob.size))
        };
        let mut attempt = 1;
        loop {
            // An upload that broke cannot be sent again under its old address.
            let mut request = Request::new(
                Method::PUT,
                self.begin_upload(&blob.digest)?,
                self.scope("pull,push"),
            );
            request
                .headers
                .push(("content-type", "application/octet-stream".into()));
            request.body = Some(&open);
            let response = self.itself().send_once(&request);
            match response {
                Ok(response) if response.status().is_success() => break,
                Ok(response) if attempt >= 3 || response.status().as_u16() < 500 => {
                    return Err(self.itself().refused(&request, response));
                }
                Err(error) if attempt >= 3 => return Err(error),
                _ => attempt += 1,
            }
        }
        options.progress.event(Event::Stored(blob));
        Ok(())
    }

    fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let request = Request::new(
            Method::HEAD,
            self.path(&format!("blobs/{digest}")),
            self.scope("pull,push"),
        );
        match self.itself().send(&request) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == crate::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the registry took the blob over from another repository.
    fn mount(&self, digest: &Digest, from: Option<&Reference>) -> Result<bool> {
        let Some(from) = from.filter(|from| from.registry() == self.reference().registry()) else {
            return Ok(false);
        };
        let path = self.path(&format!(
            "blobs/uploads/?mount={digest}&from={}",
            from.repository()
        ));
        let scope = format!(
            "{} repository:{}:pull",
            self.scope("pull,push"),
            from.repository()
        );
        let response = self
            .itself()
            .send_once(&Request::new(Method::POST, path, scope))?;
        // 202 means that it has begun an upload instead, which ends by itself.
        Ok(response.status() == StatusCode::CREATED)
    }

    /// Where the registry wants the blob.
    fn begin_upload(&self, digest: &Digest) -> Result<String> {
        let request = Request::new(
            Method::POST,
            self.path("blobs/uploads/"),
            self.scope("pull,push"),
        );
        let response = self.itself().send(&request)?;
        let location = location(&response)
            .ok_or_else(|| Error::document(&request.path, "its answer names no Location"))?;
        let separator = if location.contains('?') { '&' } else { '?' };
        Ok(format!("{location}{separator}digest={digest}"))
    }

    pub(super) fn put_manifest(
        &self,
        target: &str,
        descriptor: &Descriptor,
        bytes: &[u8],
    ) -> Result<()> {
        let mut request = Request::new(
            Method::PUT,
            self.path(&format!("manifests/{target}")),
            self.scope("pull,push"),
        );
        request
            .headers
            .push(("content-type", descriptor.media_type.clone()));
        let open =
            || -> Result<(Box<dyn Read + '_>, u64)> { Ok((Box::new(bytes), bytes.len() as u64)) };
        request.body = Some(&open);
        self.itself().send(&request).map(drop)
    }
}

fn location(response: &Response<ureq::Body>) -> Option<String> {
    response
        .headers()
        .get("location")?
        .to_str()
        .ok()
        .map(str::to_string)
}

/// Tells how much has been sent.
struct Counted<'a, R> {
    stream: R,
    blob: &'a Descriptor,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.progress.event(Event::Bytes {
            blob: &self.blob.digest,
            count: count as u64,
        });
        Ok(count)
    }
}
