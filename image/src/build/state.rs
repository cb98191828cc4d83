//! What a stage is after each of its steps.

use crate::dockerfile::{Dockerfile, Step};
use crate::{
    Algorithm, ConfigEdit, Descriptor, Digest, History, Image, NewLayer, Platform, Result, Store,
    chain_ids,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where programs are looked for in an image that says nothing of it.
pub(super) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A stage under construction.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub config: ConfigEdit,
    pub layers: Vec<Descriptor>,
    pub diff_ids: Vec<Digest>,
    /// What the tree and the configuration were made of, so far.
    pub key: Digest,
    /// ARGs of this stage.
    pub arguments: BTreeMap<String, String>,
    /// Whether this stage has its own CMD.
    pub has_command: bool,
    /// ONBUILD instructions of the image that it began with.
    pub inherited: Vec<Step>,
}

impl State {
    pub(super) fn scratch(platform: &Platform) -> Self {
        let mut config = ConfigEdit::scratch(platform);
        // As Docker and buildah do, so that a program that is copied in is found.
        config.set("Env", json!([format!("PATH={DEFAULT_PATH}")]));
        Self {
            config,
            layers: Vec::new(),
            diff_ids: Vec::new(),
            key: Digest::of(Algorithm::Sha256, format!("scratch {platform}").as_bytes()),
            arguments: BTreeMap::new(),
            has_command: false,
            inherited: Vec::new(),
        }
    }

    pub(super) fn of(store: &Store, image: &Image) -> Result<Self> {
        let mut config = ConfigEdit::of(store, image)?;
        let text: String = image
            .config()
            .run
            .on_build
            .iter()
            .map(|line| format!("{line}\n"))
            .collect();
        let inherited = match text.is_empty() {
            true => Vec::new(),
            false => {
                Dockerfile::parse("ONBUILD", &format!("FROM scratch\n{text}"))?
                    .stages
                    .remove(0)
                    .steps
            }
        };
        // They are for this build, not for the next one upon it.
        config.set("OnBuild", Value::Null);
        Ok(Self {
            config,
            layers: image.manifest().layers.clone(),
            diff_ids: image.config().rootfs.diff_ids.clone(),
            key: *image.id(),
            arguments: BTreeMap::new(),
            has_command: false,
            inherited,
        })
    }

    /// As a later stage begins upon it: its arguments end with it.
    pub(super) fn continued(&self) -> Self {
        Self {
            arguments: BTreeMap::new(),
            has_command: false,
            ..self.clone()
        }
    }

    /// The unpacked layers, the topmost first.
    pub(super) fn lower(&self, store: &Store) -> Vec<PathBuf> {
        let chain = chain_ids(&self.diff_ids);
        chain
            .iter()
            .rev()
            .map(|chain_id| store.layer_path(chain_id))
            .collect()
    }

    pub(super) fn chain_with(&self, diff_id: &Digest) -> Option<Digest> {
        let all: Vec<Digest> = self.diff_ids.iter().chain([diff_id]).copied().collect();
        chain_ids(&all).pop()
    }

    /// Goes on to what a step has made of it.
    pub(super) fn add(&mut self, text: &str, layer: Option<NewLayer>, latest: Option<i64>) {
        let step = History {
            created: latest.map(rfc3339),
            created_by: Some(text.into()),
            ..Default::default()
        };
        self.config.step(step, layer.as_ref());
        if let Some(layer) = layer {
            self.layers.push(layer.descriptor);
            self.diff_ids.push(layer.diff_id);
        }
    }

    /// Mixes a step into the key.
    pub(super) fn mix(&mut self, step: &str) {
        self.key = Digest::of(
            Algorithm::Sha256,
            format!("{}\n{step}", self.key).as_bytes(),
        );
    }

    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let list = self.config.value("Env");
        let items = list
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        items
            .filter_map(|item| item.split_once('='))
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    pub(super) fn set_environment(&mut self, name: &str, value: &str) {
        let mut all = self.environment();
        match all.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = value.into(),
            None => all.push((name.into(), value.into())),
        }
        let list: Vec<String> = all
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        self.config.set("Env", json!(list));
    }

    pub(super) fn set_label(&mut self, name: &str, value: &str) {
        self.insert("Labels", name, json!(value));
    }

    /// Adds to one of the maps of the configuration.
    pub(super) fn insert(&mut self, map: &str, key: &str, value: Value) {
        let mut object = match self.config.value(map) {
            Value::Object(object) => object,
            _ => Default::default(),
        };
        object.insert(key.into(), value);
        self.config.set(map, Value::Object(object));
    }

    /// What a variable stands for: the environment goes before arguments.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let from_environment = self
            .environment()
            .into_iter()
            .find(|(other, _)| other == name);
        from_environment
            .map(|(_, value)| value)
            .or_else(|| self.arguments.get(name).cloned())
    }

    pub(super) fn text(&self, key: &str) -> String {
        self.config.value(key).as_str().unwrap_or_default().into()
    }

    /// An absolute path in the image; a relative one begins at the working directory.
    pub(super) fn path(&self, path: &str) -> String {
        let base = self.text("WorkingDir");
        let joined = match path.starts_with('/') {
            true => path.to_string(),
            false => format!("{base}/{path}"),
        };
        let normal = crate::unpack::follow(b"", joined.as_bytes());
        format!("/{}", String::from_utf8_lossy(&normal))
    }
}

/// Seconds since 1970 as the specification wants them; days by Howard Hinnant's `civil_from_days`.
fn rfc3339(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_specification_wants() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
