//! The configuration of an image: how it is run, and what its layers unpack to.

use crate::{Algorithm, Digest, Error, Platform, Result};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// No configuration may be larger, bytes.
pub const LARGEST_CONFIG: u64 = 8 << 20;
/// Overlay takes no more lower directories than 500.
pub const MOST_LAYERS: usize = 500;

/// The configuration document of an image.
///
/// It is for reading. Content-addressed bytes are never written back from it, because it does not keep keys that it does not
/// know; a build changes the document itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// When the image was made, RFC 3339.
    #[serde(default)]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default)]
    pub author: Option<String>,
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// How it is run.
    #[serde(default, rename = "config", deserialize_with = "null_as_default")]
    pub run: RunConfig,
    /// What its layers unpack to.
    pub rootfs: RootfsConfig,
    /// How it was made, the oldest step first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub history: Vec<History>,
}

/// The defaults for a container of this image, in Docker's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `user`, `uid`, `user:group` or `uid:gid`; empty is root.
    #[serde(deserialize_with = "null_as_default")]
    pub user: String,
    /// Ports such as `80/tcp`, which say what it listens to and open nothing.
    #[serde(deserialize_with = "keys")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`.
    #[serde(deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    /// The program and its first arguments; what a caller gives is added behind them.
    #[serde(deserialize_with = "null_as_default")]
    pub entrypoint: Vec<String>,
    /// The arguments (without an entrypoint: the program and its arguments) where the caller gives none.
    #[serde(deserialize_with = "null_as_default")]
    pub cmd: Vec<String>,
    /// Directories that want a volume.
    #[serde(deserialize_with = "keys")]
    pub volumes: BTreeSet<String>,
    /// Where the program starts; empty is `/`.
    #[serde(deserialize_with = "null_as_default")]
    pub working_dir: String,
    /// Free text by key.
    #[serde(deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks it to end, by name or number.
    pub stop_signal: Option<String>,
    /// How long after that signal it is killed, seconds.
    pub stop_timeout: Option<u64>,
    /// How to ask whether it is well.
    pub healthcheck: Option<Healthcheck>,
    /// The words in front of the shell form of RUN, CMD and ENTRYPOINT.
    #[serde(deserialize_with = "null_as_default")]
    pub shell: Vec<String>,
    /// Instructions for a build upon this image.
    #[serde(deserialize_with = "null_as_default")]
    pub on_build: Vec<String>,
}

/// How to ask a container whether it is well; times in nanoseconds, 0 for the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`.
    #[serde(deserialize_with = "null_as_default")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: u64,
    /// Until a check counts as failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// In which failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: u64,
    /// Between two checks in the start period.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: u64,
    /// How many failures in a row make it unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What the layers unpack to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootfsConfig {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests of the plain archives, the lowest first.
    #[serde(deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

/// One step of how the image was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which instruction or command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl Config {
    /// Reads a configuration document.
    ///
    /// # Errors
    /// `Document` where it is malformed or is not an image's, `Limit` where it is beyond 8 MiB or 500 layers.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let limit = |what: &str, limit: u64| Error::Limit {
            what: what.into(),
            limit,
        };
        if bytes.len() as u64 > LARGEST_CONFIG {
            return Err(limit("read image configuration", LARGEST_CONFIG));
        }
        let config: Self =
            serde_json::from_slice(bytes).map_err(|e| Error::document("image configuration", e))?;
        if config.rootfs.kind != "layers" {
            let reason = format!(
                "its rootfs.type is {:?}, not \"layers\"",
                config.rootfs.kind
            );
            return Err(Error::document("image configuration", reason));
        }
        if config.rootfs.diff_ids.len() > MOST_LAYERS {
            return Err(limit("count the image's layers", MOST_LAYERS as u64));
        }
        Ok(config)
    }

    /// The identity of the root tree after each layer, the lowest first.
    pub fn chain_ids(&self) -> Vec<Digest> {
        chain_ids(&self.rootfs.diff_ids)
    }
}

/// The identity of a stack of layers: `sha256(chain of those below + " " + diff id)`, by the image specification.
///
/// # Examples
/// ```
/// use ampoule_image::{Algorithm, Digest, chain_ids};
///
/// let layers = [Digest::of(Algorithm::Sha256, b"a"), Digest::of(Algorithm::Sha256, b"b")];
/// let chain = chain_ids(&layers);
/// assert_eq!(chain[0], layers[0]);
/// assert_eq!(chain[1], Digest::of(Algorithm::Sha256, format!("{} {}", layers[0], layers[1]).as_bytes()));
/// ```
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chain.push(match chain.last() {
            Some(below) => Digest::of(Algorithm::Sha256, format!("{below} {diff_id}").as_bytes()),
            None => *diff_id,
        });
    }
    chain
}

/// Go writes `null` for what is empty.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A set, which Go spells as a map to empty objects.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let map: Option<BTreeMap<String, serde::de::IgnoredAny>> = Option::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_as_docker_writes_it() {
        let text = r#"{"architecture":"amd64","os":"linux","created":"2026-01-01T00:00:00Z","unknown":{"kept":1},
            "config":{"User":"app","ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin"],"Entrypoint":null,"Cmd":["sh"],
                "Volumes":null,"WorkingDir":"/w","Labels":null,"StopSignal":"SIGINT",
                "Healthcheck":{"Test":["CMD","true"],"Interval":1000000000}},
            "rootfs":{"type":"layers","diff_ids":[]},"history":[{"created_by":"CMD sh","empty_layer":true}]}"#;
        let config = Config::parse(text.as_bytes()).unwrap();
        assert_eq!(config.platform.to_string(), "linux/amd64");
        assert_eq!(config.run.user, "app");
        assert!(config.run.exposed_ports.contains("80/tcp"));
        assert_eq!(config.run.healthcheck.unwrap().interval, 1_000_000_000);
        assert!(config.run.entrypoint.is_empty() && config.history[0].empty_layer);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for text in [
            "{}",
            r#"{"architecture":"a","os":"b","rootfs":{"type":"other","diff_ids":[]}}"#,
            r#"{"architecture":"a","os":"b","rootfs":{"type":"layers","diff_ids":["sha256:1"]}}"#,
        ] {
            assert_eq!(
                Config::parse(text.as_bytes()).unwrap_err().kind(),
                crate::ErrorKind::Invalid
            );
        }
    }
}
