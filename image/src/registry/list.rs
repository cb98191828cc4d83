//! What a registry has: tags, repositories, what refers to a manifest; and how something is taken away.

use super::Registry;
use super::transport::Request;
use crate::{Descriptor, Digest, Error, ErrorKind, Index, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io::Read;
use ureq::http::Method;

/// No list may have more pages, or larger ones.
const MOST_PAGES: usize = 1000;
const LARGEST_PAGE: u64 = 8 << 20;

impl Registry {
    /// The tags of the repository, in the registry's order.
    pub fn tags(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        self.pages(self.path("tags/list"), self.scope("pull"), |page: Page| {
            page.tags.unwrap_or_default()
        })
    }

    /// The repositories of the registry whose name contains the text. Many registries do not offer this.
    pub fn search(&self, text: &str) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Page {
            repositories: Option<Vec<String>>,
        }
        let all = self.pages(
            "/v2/_catalog".into(),
            "registry:catalog:*".into(),
            |page: Page| page.repositories.unwrap_or_default(),
        )?;
        Ok(all.into_iter().filter(|name| name.contains(text)).collect())
    }

    /// The manifests that name this one as their subject: signatures, bills of materials.
    ///
    /// Where the registry is older than specification 1.1, the tag that stands in for it is read.
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let request = Request::get(
            self.path(&format!("referrers/{subject}")),
            self.scope("pull"),
        );
        let fetched = self.page::<Index>(&request);
        match fetched {
            Ok((index, _)) => Ok(index.manifests),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let tag = subject.to_string().replace(':', "-");
                match self.fetch_manifest(&tag) {
                    Ok((_, bytes)) => {
                        let index: Index =
                            serde_json::from_slice(&bytes).map_err(|e| Error::document(tag, e))?;
                        Ok(index.manifests)
                    }
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes the manifest that the reference stands for, with all its tags. Many registries do not allow it.
    pub fn delete(&self) -> Result<()> {
        let digest = match self.reference().digest() {
            Some(digest) => *digest,
            None => crate::Source::resolve(self)?.0.digest,
        };
        let request = Request::new(
            Method::DELETE,
            self.path(&format!("manifests/{digest}")),
            self.scope("*"),
        );
        self.itself().send(&request).map(drop)
    }

    fn pages<P: DeserializeOwned>(
        &self,
        path: String,
        scope: String,
        items: impl Fn(P) -> Vec<String>,
    ) -> Result<Vec<String>> {
        let mut request = Request::get(path, scope);
        let mut all = Vec::new();
        for _ in 0..MOST_PAGES {
            let (page, next) = self.page(&request)?;
            all.extend(items(page));
            match next {
                Some(next) => request.path = next,
                None => return Ok(all),
            }
        }
        let what = format!("list {}", request.path);
        Err(Error::Limit {
            what,
            limit: MOST_PAGES as u64,
        })
    }

    fn page<P: DeserializeOwned>(&self, request: &Request<'_>) -> Result<(P, Option<String>)> {
        let response = self.itself().send(request)?;
        let link = response
            .headers()
            .get("link")
            .and_then(|link| link.to_str().ok().and_then(next_link));
        let mut text = Vec::new();
        let read = response
            .into_body()
            .into_reader()
            .take(LARGEST_PAGE)
            .read_to_end(&mut text);
        read.map_err(|source| self.itself().broken("read", &request.path, source))?;
        let page = serde_json::from_slice(&text).map_err(|e| Error::document(&request.path, e))?;
        Ok((page, link))
    }
}

/// `<URL>; rel="next"`
fn next_link(header: &str) -> Option<String> {
    let (url, rest) = header.strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then(|| url.to_string())
}
