//! How people name images: `alpine`, `ghcr.io/org/app:1.2`, `localhost:5000/a/b@sha256:…`.

use crate::{Digest, Error};
use std::fmt;
use std::str::FromStr;

const DOCKER_HUB: &str = "docker.io";
/// Registry and repository together, as the reference grammar of Docker's distribution limits them.
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// The name of an image: a registry, a repository in it, and a tag or a digest or both.
///
/// The grammar is that of Docker's distribution project: a name without a registry means `docker.io`, one without a slash
/// means its `library/`, and one with neither tag nor digest means the tag `latest`.
///
/// # Examples
/// ```
/// use ampoule_image::Reference;
///
/// let alpine: Reference = "alpine".parse()?;
/// assert_eq!(alpine.to_string(), "docker.io/library/alpine:latest");
/// assert_eq!(alpine.familiar(), "alpine:latest");
///
/// let local: Reference = "localhost:5000/a/b:1".parse()?;
/// assert_eq!((local.registry(), local.repository(), local.tag()), ("localhost:5000", "a/b", Some("1")));
/// # Ok::<(), ampoule_image::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's host, with its port where one is given.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository inside the registry, without slashes at its ends.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; absent only where a digest stands in its place.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that pins the content.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest where there is one, else the tag.
    pub fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".into()),
        }
    }

    /// The same repository, at this content.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            tag: None,
            ..self.clone()
        }
    }

    /// The short form in which Docker shows it, without `docker.io/` and `library/`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        match full.strip_prefix("docker.io/") {
            Some(rest) => rest.strip_prefix("library/").unwrap_or(rest).to_string(),
            None => full,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|reason| Error::parse("image reference", text, reason))
    }
}

fn parse(text: &str) -> Result<Reference, String> {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (
            name,
            Some(digest.parse::<Digest>().map_err(|e| e.to_string())?),
        ),
        None => (text, None),
    };
    // A colon before the last slash belongs to the registry's port.
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match name[last..].split_once(':') {
        Some((end, tag)) => (&name[..last + end.len()], Some(tag)),
        None => (name, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (registry, repository) = split_registry(name);
    check_registry(registry)?;
    check_repository(repository)?;
    let repository = match registry == DOCKER_HUB && !repository.contains('/') {
        true => format!("library/{repository}"),
        false => repository.to_string(),
    };
    if registry.len() + 1 + repository.len() > LONGEST_NAME {
        return Err(format!("the name is longer than {LONGEST_NAME} characters"));
    }
    let tag = match (tag, digest) {
        (None, None) => Some("latest"),
        (tag, _) => tag,
    };
    Ok(Reference {
        registry: registry.to_string(),
        repository,
        tag: tag.map(str::to_string),
        digest,
    })
}

/// The first component is a host if it could not be a part of a repository's name, or is `localhost`.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((host, rest))
            if host == "localhost"
                || host.contains(['.', ':'])
                || host.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            // The old name of the same registry.
            let host = if host == "index.docker.io" {
                DOCKER_HUB
            } else {
                host
            };
            (host, rest)
        }
        _ => (DOCKER_HUB, name),
    }
}

fn check_registry(registry: &str) -> Result<(), String> {
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest
                .split_once(']')
                .ok_or("the IPv6 address of the registry has no closing bracket")?;
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(format!("{address:?} is no IPv6 address"));
            }
            ("v6", port)
        }
        None => match registry.find(':') {
            Some(colon) => registry.split_at(colon),
            None => (registry, ""),
        },
    };
    let port_is_good = match port.strip_prefix(':') {
        Some(digits) => !digits.starts_with('+') && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    if !port_is_good {
        return Err(format!("{registry:?} has no good port"));
    }
    let label_is_good = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    match host.split('.').all(label_is_good) {
        true => Ok(()),
        false => Err(format!("{registry:?} is no host name")),
    }
}

fn check_repository(repository: &str) -> Result<(), String> {
    if repository.is_empty() {
        return Err("the repository's name is empty".into());
    }
    if repository.len() == 64 && repository.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("64 hexadecimal digits are an image's id, not a name".into());
    }
    match repository.split('/').find(|part| !component_is_good(part)) {
        None => Ok(()),
        Some(part) if part.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Err(format!("{part:?} is not in lower case"))
        }
        Some(part) => Err(format!(
            "{part:?} is not made of a-z and 0-9, joined by one '.', one or two '_', or '-'"
        )),
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn component_is_good(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = part.bytes().peekable();
    if !part.bytes().next_back().is_some_and(is_word)
        || !bytes.peek().is_some_and(|byte| is_word(*byte))
    {
        return false;
    }
    let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    separators
        .filter(|separator| !separator.is_empty())
        .all(|separator| {
            matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        })
}

fn check_tag(tag: &str) -> Result<(), String> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let good = tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(is_word)
        && tag
            .bytes()
            .all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'));
    match good {
        true => Ok(()),
        false => Err(format!(
            "the tag {tag:?} is not made of 1 to {LONGEST_TAG} letters, digits, '_', '.' and '-'"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn check(text: &str, full: &str) {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), full, "{text:?}");
        assert_eq!(full.parse::<Reference>().unwrap(), reference, "{text:?}");
    }

    #[test]
    fn short_names_are_completed() {
        check("alpine", "docker.io/library/alpine:latest");
        check("alpine:3.20", "docker.io/library/alpine:3.20");
        check("org/app", "docker.io/org/app:latest");
        check("index.docker.io/org/app", "docker.io/org/app:latest");
        check("localhost/app", "localhost/app:latest");
        check("localhost:5000/a/b", "localhost:5000/a/b:latest");
        check("ghcr.io/a/b_c/d--e:V1", "ghcr.io/a/b_c/d--e:V1");
        check("[::1]:5000/a", "[::1]:5000/a:latest");
        check("Uppercase/a", "Uppercase/a:latest");
        check("host:80", "docker.io/library/host:80");
    }

    #[test]
    fn digests_pin() {
        check(
            &format!("a@sha256:{HEX}"),
            &format!("docker.io/library/a@sha256:{HEX}"),
        );
        check(
            &format!("r.io/a:1@sha256:{HEX}"),
            &format!("r.io/a:1@sha256:{HEX}"),
        );
        let pinned: Reference = format!("r.io/a:1@sha256:{HEX}").parse().unwrap();
        assert_eq!(pinned.target(), format!("sha256:{HEX}"));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in [
            "",
            ":",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a:",
            "a:-x",
            "a b",
            "a@",
            "a@sha256:0",
            "r.io/",
            "r.io/A",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "ho st:1/a",
            "r.io:port/a",
            "r.io:99999/a",
            "r.io:+1/a",
            "[::1/a",
            "[x]/a",
            "../a",
            "a/../b",
            "http://r.io/a",
            HEX,
            &format!("a:{}", "t".repeat(129)),
            &"a/".repeat(200),
            "ä",
            "-r.io/a",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered_and_any_value_round_trips(text in "[a-z0-9A-Z.:/@_\\-\\[\\]]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference.clone());
                prop_assert_eq!(reference.familiar().parse::<Reference>().unwrap(), reference);
            }
        }
    }
}
