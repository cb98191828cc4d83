//! A configuration list: a network's name and the plugins that make it, in order.

use crate::{Error, ErrorKind, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// A network's configuration, as `/etc/cni/net.d/*.conflist` has it. A single plugin's `.conf` is a list of one.
///
/// # Examples
///
/// ```
/// use ampoule_net::ConfList;
///
/// let list = ConfList::parse(r#"{
///     "cniVersion": "1.0.0", "name": "blue",
///     "plugins": [{ "type": "bridge", "bridge": "cni0", "ipam": { "type": "host-local", "subnet": "10.5.0.0/24" } }]
/// }"#)?;
/// assert_eq!(list.name(), "blue");
/// assert_eq!(ConfList::parse(r#"{"name": "blue"}"#).unwrap_err().to_string(), "the CNI configuration \"blue\" has no plugins");
/// # Ok::<(), ampoule_net::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ConfList {
    name: String,
    version: String,
    pub(super) plugins: Vec<Map<String, Value>>,
}

impl ConfList {
    /// Reads a list's text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`], saying where the text is wrong or what it lacks.
    pub fn parse(text: &str) -> Result<ConfList> {
        let invalid = |why: String| Error::new(ErrorKind::Invalid, why);
        let root: Map<String, Value> = serde_json::from_str(text)
            .map_err(|e| invalid(format!("the CNI configuration is not JSON: {e}")))?;
        let text = |map: &Map<String, Value>, key: &str| {
            map.get(key).and_then(Value::as_str).map(str::to_string)
        };
        let name = text(&root, "name").unwrap_or_default();
        // The specification's section 1: it becomes part of file names.
        let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(good) {
            return Err(invalid(format!(
                "the CNI configuration's name {name:?} is none"
            )));
        }
        let plugins = match (root.get("plugins"), root.contains_key("type")) {
            (Some(Value::Array(plugins)), _) => plugins.clone(),
            (None, true) => vec![Value::Object(root.clone())],
            _ => Vec::new(),
        };
        if plugins.is_empty() {
            return Err(invalid(format!(
                "the CNI configuration {name:?} has no plugins"
            )));
        }
        let plugins: Option<Vec<_>> = plugins
            .into_iter()
            .map(|plugin| plugin.as_object().cloned())
            .collect();
        let plugins = plugins.ok_or_else(|| {
            invalid(format!(
                "a plugin of the CNI configuration {name:?} is no object"
            ))
        })?;
        for plugin in &plugins {
            let kind = text(plugin, "type").unwrap_or_default();
            if kind.is_empty() || kind.contains('/') || kind.starts_with('.') {
                return Err(invalid(format!(
                    "the plugin type {kind:?} of the CNI configuration {name:?} is no program"
                )));
            }
        }
        let version = text(&root, "cniVersion").unwrap_or_else(|| "0.2.0".into());
        Ok(ConfList {
            name,
            version,
            plugins,
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Those of reading it, and of [`ConfList::parse`].
    pub fn read(path: impl AsRef<Path>) -> Result<ConfList> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path);
        ConfList::parse(
            &text.map_err(|e| Error::kernel(format!("read the CNI configuration {path:?}"), e))?,
        )
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of the specification that it is written for.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What one plugin is given: its own part, the list's name and version, what went before, and what it is capable
    /// of and was asked for.
    pub(super) fn input(
        &self,
        plugin: &Map<String, Value>,
        previous: Option<&Value>,
        arguments: &Map<String, Value>,
    ) -> Value {
        let mut input = plugin.clone();
        input.insert("name".into(), self.name.clone().into());
        input.insert("cniVersion".into(), self.version.clone().into());
        if let Some(previous) = previous {
            input.insert("prevResult".into(), previous.clone());
        }
        let capabilities = input.remove("capabilities");
        let capable = |key: &&String| {
            capabilities.as_ref().and_then(|c| c.get(key.as_str())) == Some(&Value::Bool(true))
        };
        let wanted: Map<String, Value> = arguments
            .iter()
            .filter(|(key, _)| capable(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if !wanted.is_empty() {
            input.insert("runtimeConfig".into(), wanted.into());
        }
        input.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_plugin_gets_what_it_is_capable_of() {
        let list = ConfList::parse(
            r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge"},{"type":"portmap","capabilities":{"portMappings":true}}]}"#,
        );
        let list = list.unwrap();
        let arguments = json!({"portMappings": [{"hostPort": 80}], "bandwidth": {}});
        let arguments = arguments.as_object().unwrap();
        assert_eq!(
            list.input(&list.plugins[0], None, arguments),
            json!({"type": "bridge", "name": "n", "cniVersion": "1.0.0"})
        );
        assert_eq!(
            list.input(&list.plugins[1], Some(&json!({"ips": []})), arguments),
            json!({"type": "portmap", "name": "n", "cniVersion": "1.0.0", "prevResult": {"ips": []},
                   "runtimeConfig": {"portMappings": [{"hostPort": 80}]}})
        );
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, why) in [
            ("{", "is not JSON"),
            ("[]", "is not JSON"),
            (r#"{"plugins":[]}"#, "name \"\" is none"),
            (
                r#"{"name":"../x","type":"bridge"}"#,
                "name \"../x\" is none",
            ),
            (r#"{"name":"x","plugins":[3]}"#, "is no object"),
            (
                r#"{"name":"x","plugins":[{"type":"../../bin/sh"}]}"#,
                "is no program",
            ),
        ] {
            let error = ConfList::parse(text).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn takes_any_text(text in ".{0,200}") {
            let _ = ConfList::parse(&text);
        }
    }
}
