//! What an image runs on, and which entry of a multi-platform index fits best.

use crate::{Descriptor, Error};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An operating system and an architecture, in Go's words (`linux/amd64`, `linux/arm64/v8`), as the OCI image index has them.
///
/// # Examples
/// ```
/// use ampoule_image::Platform;
///
/// let platform: Platform = "linux/arm/v7".parse()?;
/// assert!(platform.runs(&"linux/arm/v6".parse()?));
/// assert!(!platform.runs(&"linux/arm64".parse()?));
/// # Ok::<(), ampoule_image::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The instruction set, for example `amd64`, `arm64`, `riscv64`.
    pub architecture: String,
    /// The operating system, for example `linux`.
    pub os: String,
    /// The version of the operating system; only Windows uses it.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// Features of the operating system; only Windows uses them.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The level of the instruction set, for example `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// The platform that this program was compiled for.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self::new("linux", architecture, variant)
    }

    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        Self {
            architecture: architecture.into(),
            os: os.into(),
            os_version: None,
            os_features: Vec::new(),
            variant: variant.map(Into::into),
        }
    }

    /// Whether a program for `other` runs here: the same system and architecture, and no newer a variant.
    pub fn runs(&self, other: &Platform) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && other.level() <= self.level()
    }

    /// Takes the entry that runs here and asks for the newest variant; the first of equals.
    ///
    /// An entry without a platform is taken only where none with one fits.
    pub fn select<'a>(&self, entries: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let mut best: Option<(&Descriptor, u32)> = None;
        for entry in entries {
            let Some(platform) = &entry.platform else {
                continue;
            };
            let better = best.is_none_or(|(_, level)| platform.level() > level);
            if self.runs(platform) && better {
                best = Some((entry, platform.level()));
            }
        }
        best.map(|(entry, _)| entry)
            .or_else(|| entries.iter().find(|entry| entry.platform.is_none()))
    }

    /// `v8` is 8. Absent means what the specification calls the default: v8 for arm64, v7 for arm, else v1.
    fn level(&self) -> u32 {
        let default = match self.architecture.as_str() {
            "arm64" => 8,
            "arm" => 7,
            _ => 1,
        };
        let digits = self
            .variant
            .as_deref()
            .and_then(|variant| variant.strip_prefix('v'));
        // `v8.1` and the like: what stands before the dot.
        digits
            .and_then(|digits| digits.split('.').next()?.parse().ok())
            .unwrap_or(default)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = text.split('/').collect();
        let good = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_')
        };
        if !parts.iter().all(good) {
            return Err(Error::parse(
                "platform",
                text,
                "expected OS/ARCHITECTURE[/VARIANT], as in linux/arm64/v8",
            ));
        }
        let lower: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
        let (os, architecture, variant) = match lower.as_slice() {
            [architecture] => ("linux", architecture, None),
            [os, architecture] => (os.as_str(), architecture, None),
            [os, architecture, variant] => (os.as_str(), architecture, Some(variant.as_str())),
            _ => {
                return Err(Error::parse(
                    "platform",
                    text,
                    "it has more than three parts",
                ));
            }
        };
        // The names that `uname -m` gives are what people type.
        let (architecture, variant) = match architecture.as_str() {
            "x86_64" => ("amd64", variant),
            "i386" | "i686" => ("386", variant),
            "aarch64" => ("arm64", variant),
            "armhf" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            other => (other, variant),
        };
        Ok(Self::new(os, architecture, variant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Digest};

    fn entry(platform: Option<&str>) -> Descriptor {
        let mut entry = Descriptor::new(
            "application/vnd.oci.image.manifest.v1+json",
            Digest::of(Algorithm::Sha256, b""),
            0,
        );
        entry.platform = platform.map(|text| text.parse().unwrap());
        entry
    }

    fn check(host: &str, entries: &[Option<&str>], expect: Option<usize>) {
        let list: Vec<Descriptor> = entries.iter().map(|text| entry(*text)).collect();
        let chosen = host.parse::<Platform>().unwrap().select(&list);
        let index = chosen.map(|found| list.iter().position(|e| std::ptr::eq(e, found)).unwrap());
        assert_eq!(index, expect, "{host} among {entries:?}");
    }

    #[test]
    fn the_best_variant_that_runs_is_taken() {
        check(
            "linux/amd64",
            &[Some("linux/arm64"), Some("linux/amd64")],
            Some(1),
        );
        check(
            "linux/arm/v7",
            &[
                Some("linux/arm/v6"),
                Some("linux/arm/v7"),
                Some("linux/arm64/v8"),
            ],
            Some(1),
        );
        check(
            "linux/arm/v6",
            &[Some("linux/arm/v7"), Some("linux/arm/v5")],
            Some(1),
        );
        check(
            "linux/amd64",
            &[Some("linux/amd64/v3"), Some("linux/amd64")],
            Some(1),
        );
        check("linux/arm64", &[Some("linux/arm64/v8")], Some(0));
        check(
            "linux/amd64",
            &[Some("windows/amd64"), Some("unknown/unknown")],
            None,
        );
        check("linux/amd64", &[None], Some(0));
        check("linux/amd64", &[None, Some("linux/amd64")], Some(1));
    }

    #[test]
    fn other_spellings_are_understood() {
        for (text, expect) in [
            ("x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("armhf", "linux/arm/v7"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), expect);
        }
        for text in ["", "/", "linux/", "linux//v1", "a/b/c/d", "linux/ä"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }
}
