//! Registries: pull, push, list, delete, by the OCI distribution specification 1.1 and Docker's registry API version 2.
//!
//! The client is our own, on ureq, because oci-client lacks what a store needs from one (retries with `Retry-After`, resume in
//! the middle of a blob, mirrors, variants of platforms) and brings an asynchronous run time with 147 packages.

mod auth;
mod blob;
mod challenge;
mod credentials;
mod list;
mod push;
mod transport;

pub use credentials::{Credential, Credentials};
pub use push::PushOptions;

use crate::source::Source;
use crate::{
    Algorithm, Descriptor, Digest, Document, Error, LARGEST_MANIFEST, Reference, Result,
    media_type, store::mismatch,
};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use transport::{Request, Transport};

/// Which protocol is spoken to a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTPS; on a loopback address plain HTTP too, where HTTPS is not answered.
    #[default]
    Automatic,
    /// HTTPS only, also on loopback.
    Https,
    /// Plain HTTP: everyone on the way can read the credentials and, by tag, exchange the image.
    Http,
}

/// How registries are spoken to.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// The protocol.
    pub protocol: Protocol,
    /// Names and passwords.
    pub credentials: Credentials,
    /// Files with certificates (PEM) that are trusted besides those of the system.
    pub certificates: Vec<PathBuf>,
    /// Hosts that are asked before the registry itself, in this order, when something is pulled from `docker.io`.
    pub mirrors: Vec<String>,
    /// How often a request is tried before its error is returned.
    pub attempts: u32,
    /// How long nothing may arrive before a connection counts as dead.
    pub stall: Duration,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            protocol: Protocol::Automatic,
            credentials: Credentials::from_environment(),
            certificates: Vec::new(),
            mirrors: Vec::new(),
            attempts: 5,
            stall: Duration::from_secs(30),
        }
    }
}

/// A repository of a registry, and a tag or digest in it: a [`Source`], and where images are pushed to.
///
/// # Examples
/// ```no_run
/// use ampoule_image::{PullOptions, Reference, Registry, RegistryOptions, Store};
///
/// let name: Reference = "localhost:5000/team/app:1".parse()?;
/// let registry = Registry::new(&name, &RegistryOptions::default())?;
/// let image = Store::open("images")?.pull(&registry, &name, &PullOptions::default())?;
/// println!("{}", image.id());
/// # Ok::<(), ampoule_image::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Registry {
    reference: Reference,
    /// Mirrors first; pushes go to the last, which is the registry itself.
    transports: Vec<Arc<Transport>>,
}

impl Registry {
    /// Prepares to speak to the registry of a reference. Nothing is sent yet.
    ///
    /// # Errors
    /// `Io` or `Invalid` where a certificate cannot be read.
    pub fn new(reference: &Reference, options: &RegistryOptions) -> Result<Self> {
        let mut hosts: Vec<&str> = Vec::new();
        if reference.registry() == "docker.io" {
            hosts.extend(options.mirrors.iter().map(String::as_str));
        }
        hosts.push(reference.registry());
        let transports = hosts
            .into_iter()
            .map(|host| Transport::new(host, options).map(Arc::new));
        Ok(Self {
            reference: reference.clone(),
            transports: transports.collect::<Result<_>>()?,
        })
    }

    /// What it was made for.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The same repository, at another tag or digest; credentials and connections are shared.
    pub fn at(&self, reference: &Reference) -> Self {
        Self {
            reference: reference.clone(),
            transports: self.transports.clone(),
        }
    }

    fn itself(&self) -> &Transport {
        &self.transports[self.transports.len() - 1]
    }

    /// Asks the mirrors, then the registry; the last one's error counts.
    fn first<T>(&self, ask: impl Fn(&Transport) -> Result<T>) -> Result<T> {
        let (itself, mirrors) = (self.itself(), &self.transports[..self.transports.len() - 1]);
        let answered = mirrors.iter().find_map(|mirror| ask(mirror).ok());
        answered.map_or_else(|| ask(itself), Ok)
    }

    fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.reference.repository())
    }

    fn scope(&self, actions: &str) -> String {
        format!("repository:{}:{actions}", self.reference.repository())
    }

    fn fetch_manifest(&self, target: &str) -> Result<(Option<String>, Vec<u8>)> {
        let accept = [
            media_type::OCI_INDEX,
            media_type::OCI_MANIFEST,
            media_type::DOCKER_INDEX,
            media_type::DOCKER_MANIFEST,
        ];
        let mut request = Request::get(
            self.path(&format!("manifests/{target}")),
            self.scope("pull"),
        );
        request.headers.push(("accept", accept.join(", ")));
        self.first(|transport| {
            let response = transport.send(&request)?;
            let header = |name: &str| {
                response
                    .headers()
                    .get(name)
                    .and_then(|value| value.to_str().ok().map(str::to_string))
            };
            let kind = header("content-type").map(|kind| {
                kind.split(';')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_string()
            });
            let claimed =
                header("docker-content-digest").and_then(|digest| digest.parse::<Digest>().ok());
            let mut bytes = Vec::new();
            let mut body = response
                .into_body()
                .into_reader()
                .take(LARGEST_MANIFEST + 1);
            body.read_to_end(&mut bytes)
                .map_err(|source| transport.broken("read manifest of", &request.path, source))?;
            if bytes.len() as u64 > LARGEST_MANIFEST {
                let what = format!("read manifest of {}", self.reference);
                return Err(Error::Limit {
                    what,
                    limit: LARGEST_MANIFEST,
                });
            }
            let found = |claimed: &Digest| Digest::of(claimed.algorithm(), &bytes);
            if let Some(claimed) = claimed.filter(|claimed| found(claimed) != *claimed) {
                return Err(mismatch("manifest", claimed, found(&claimed)));
            }
            Ok((kind, bytes))
        })
    }
}

impl Source for Registry {
    fn resolve(&self) -> Result<(Descriptor, Vec<u8>)> {
        let (kind, bytes) = self.fetch_manifest(&self.reference.target())?;
        let digest = match self.reference.digest() {
            // Compared by whoever takes it in.
            Some(digest) => *digest,
            None => Digest::of(Algorithm::Sha256, &bytes),
        };
        let document = Document::parse(&bytes, kind.as_deref())?;
        let descriptor = Descriptor::new(document.media_type(), digest, bytes.len() as u64);
        Ok((descriptor, bytes))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        Ok(self.fetch_manifest(&descriptor.digest.to_string())?.1)
    }

    fn open(&self, descriptor: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>> {
        let (itself, mirrors) = (self.itself(), &self.transports[..self.transports.len() - 1]);
        let opened = mirrors
            .iter()
            .find_map(|mirror| blob::Resuming::open(mirror, self, descriptor, offset).ok());
        let reader = opened.map_or_else(
            || blob::Resuming::open(itself, self, descriptor, offset),
            Ok,
        )?;
        Ok(Box::new(reader))
    }

    fn name(&self) -> String {
        self.reference.to_string()
    }
}
