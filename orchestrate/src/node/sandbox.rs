//! What a pod's object refers to, looked up for the runtime: volumes with their content, variables with their values.

use crate::control::View;
use crate::runtime::{File, Sandbox, Volume, VolumeSource};
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, KeyToPath, Pod, Secret};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a pod refers to and is not there, in words.
#[derive(Debug)]
pub(super) struct Missing(pub String);

type Contents = BTreeMap<String, Vec<u8>>;

pub(super) fn make(pod: &Arc<Pod>, view: &View) -> Result<Sandbox, Missing> {
    let spec = pod.spec.as_ref();
    let volumes = spec
        .and_then(|spec| spec.volumes.as_deref())
        .unwrap_or_default();
    let made = volumes.iter().map(|volume| {
        Ok(Volume {
            name: volume.name.clone(),
            source: source(pod, volume, view)?,
        })
    });
    Ok(Sandbox {
        pod: pod.clone(),
        volumes: made.collect::<Result<_, Missing>>()?,
    })
}

/// A container with every variable resolved.
pub(super) fn complete(
    pod: &Pod,
    container: &Container,
    view: &View,
) -> Result<Container, Missing> {
    let mut env: Vec<(String, String)> = Vec::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.clone().unwrap_or_default();
        let contents = match (&source.config_map_ref, &source.secret_ref) {
            (Some(map), _) => config_map(pod, &map.name, map.optional, view)?,
            (_, Some(secret)) => self::secret(pod, &secret.name, secret.optional, view)?,
            _ => Contents::new(),
        };
        env.extend(
            contents
                .into_iter()
                .map(|(key, value)| (format!("{prefix}{key}"), text(value))),
        );
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) => Some(expand(value, &env)),
            (None, Some(from)) => referred(pod, container, from, view)?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            env.retain(|(name, _)| *name != variable.name);
            env.push((variable.name.clone(), value));
        }
    }
    let mut completed = container.clone();
    let expanded = |list: &Option<Vec<String>>| {
        list.as_ref()
            .map(|list| list.iter().map(|word| expand(word, &env)).collect())
    };
    completed.command = expanded(&container.command);
    completed.args = expanded(&container.args);
    completed.env_from = None;
    completed.env = Some(
        env.into_iter()
            .map(|(name, value)| EnvVar {
                name,
                value: Some(value),
                value_from: None,
            })
            .collect(),
    );
    Ok(completed)
}

fn source(pod: &Pod, volume: &api::Volume, view: &View) -> Result<VolumeSource, Missing> {
    if let Some(empty) = &volume.empty_dir {
        return Ok(VolumeSource::Empty {
            memory: empty.medium.as_deref() == Some("Memory"),
            limit: empty.size_limit.clone(),
        });
    }
    if let Some(host) = &volume.host_path {
        return Ok(VolumeSource::Host {
            path: host.path.clone(),
            kind: host.type_.clone().unwrap_or_default(),
        });
    }
    if let Some(map) = &volume.config_map {
        let contents = config_map(pod, &map.name, map.optional, view)?;
        return files(contents, map.items.as_deref(), map.default_mode).map(VolumeSource::Files);
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.clone().unwrap_or_default();
        let contents = self::secret(pod, &name, secret.optional, view)?;
        return files(contents, secret.items.as_deref(), secret.default_mode)
            .map(VolumeSource::Files);
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let found = view.find::<api::PersistentVolumeClaim>(namespace, &claim.claim_name);
        let spec = found
            .and_then(|claim| claim.spec.clone())
            .unwrap_or_default();
        let name = spec.volume_name.clone().unwrap_or_default();
        let bound = view.find::<api::PersistentVolume>("", &name);
        let Some(bound) = bound else {
            return Err(Missing(format!(
                "persistentvolumeclaim \"{}\" is not bound",
                claim.claim_name
            )));
        };
        return Ok(VolumeSource::Persistent {
            volume: bound.clone(),
            request: spec.resources,
            read_only: claim.read_only == Some(true),
        });
    }
    Err(Missing(format!(
        "the source of volume \"{}\" is not supported",
        volume.name
    )))
}

fn files(
    contents: Contents,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
) -> Result<Vec<File>, Missing> {
    let bits = |mode: Option<i32>| mode.and_then(|mode| u32::try_from(mode).ok());
    let usual = bits(mode).unwrap_or(0o644);
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        let all = contents.into_iter().map(|(path, content)| File {
            path,
            content,
            mode: usual,
        });
        return Ok(all.collect());
    };
    let chosen = items.iter().map(|item| {
        let found = contents.get(&item.key);
        let content = found
            .ok_or_else(|| Missing(format!("references non-existent config key: {}", item.key)))?;
        Ok(File {
            path: item.path.clone(),
            content: content.clone(),
            mode: bits(item.mode).unwrap_or(usual),
        })
    });
    chosen.collect()
}

fn config_map(
    pod: &Pod,
    name: &str,
    optional: Option<bool>,
    view: &View,
) -> Result<Contents, Missing> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let Some(map) = view.find::<ConfigMap>(namespace, name) else {
        return absent("configmap", name, optional);
    };
    let words = map
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let bytes = map
        .binary_data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.0.clone()));
    Ok(words.chain(bytes).collect())
}

fn secret(pod: &Pod, name: &str, optional: Option<bool>, view: &View) -> Result<Contents, Missing> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let Some(secret) = view.find::<Secret>(namespace, name) else {
        return absent("secret", name, optional);
    };
    let bytes = secret
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.0.clone()));
    let words = secret.string_data.iter().flatten();
    Ok(bytes
        .chain(words.map(|(key, value)| (key.clone(), value.clone().into_bytes())))
        .collect())
}

fn absent(what: &str, name: &str, optional: Option<bool>) -> Result<Contents, Missing> {
    match optional {
        Some(true) => Ok(Contents::new()),
        _ => Err(Missing(format!("{what} \"{name}\" not found"))),
    }
}

fn referred(
    pod: &Pod,
    container: &Container,
    from: &api::EnvVarSource,
    view: &View,
) -> Result<Option<String>, Missing> {
    let pick = |contents: Contents, key: &str, optional: Option<bool>, what: &str| match contents
        .get(key)
    {
        Some(value) => Ok(Some(text(value.clone()))),
        None if optional == Some(true) => Ok(None),
        None => Err(Missing(format!("couldn't find key {key} in {what}"))),
    };
    if let Some(key) = &from.config_map_key_ref {
        let contents = config_map(pod, &key.name, key.optional, view)?;
        return pick(
            contents,
            &key.key,
            key.optional,
            &format!("ConfigMap {}", key.name),
        );
    }
    if let Some(key) = &from.secret_key_ref {
        let contents = secret(pod, &key.name, key.optional, view)?;
        return pick(
            contents,
            &key.key,
            key.optional,
            &format!("Secret {}", key.name),
        );
    }
    if let Some(field) = &from.field_ref {
        let found = own_field(pod, &field.field_path);
        return found
            .map(Some)
            .ok_or_else(|| Missing(format!("field {} is not supported", field.field_path)));
    }
    if let Some(field) = &from.resource_field_ref {
        let resources = container.resources.clone().unwrap_or_default();
        let (list, name) = field
            .resource
            .split_once('.')
            .unwrap_or(("limits", &field.resource));
        let amounts = if list == "requests" {
            resources.requests
        } else {
            resources.limits
        };
        let amount = amounts.and_then(|amounts| amounts.get(name).map(|amount| amount.0.clone()));
        return Ok(Some(amount.unwrap_or_else(|| "0".to_owned())));
    }
    Err(Missing(
        "the source of a variable is not supported".to_owned(),
    ))
}

fn own_field(pod: &Pod, path: &str) -> Option<String> {
    let (meta, spec, status) = (&pod.metadata, pod.spec.as_ref(), pod.status.as_ref());
    if let Some(rest) = path.strip_prefix("metadata.labels['") {
        let labels = meta.labels.as_ref()?;
        return Some(
            labels
                .get(rest.strip_suffix("']")?)
                .cloned()
                .unwrap_or_default(),
        );
    }
    if let Some(rest) = path.strip_prefix("metadata.annotations['") {
        let annotations = meta.annotations.as_ref()?;
        return Some(
            annotations
                .get(rest.strip_suffix("']")?)
                .cloned()
                .unwrap_or_default(),
        );
    }
    let found = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.podIP" => status.and_then(|status| status.pod_ip.clone()),
        "status.hostIP" => status.and_then(|status| status.host_ip.clone()),
        _ => return None,
    };
    Some(found.unwrap_or_default())
}

/// Puts the values of earlier variables in: `$(NAME)`; `$$(NAME)` stays as `$(NAME)`, and so does what is not known.
fn expand(word: &str, env: &[(String, String)]) -> String {
    let mut done = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        done.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let end = after.strip_prefix('(').and_then(|inner| inner.find(')'));
        if let Some(escaped) = after.strip_prefix('$') {
            done.push('$');
            rest = escaped;
        } else if let Some(end) = end {
            let name = &after[1..=end];
            match env.iter().find(|(known, _)| known == name) {
                Some((_, value)) => done.push_str(value),
                None => done.push_str(&rest[at..at + end + 3]),
            }
            rest = &after[end + 2..];
        } else {
            done.push('$');
            rest = after;
        }
    }
    done.push_str(rest);
    done
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn variables_in_words() {
        let env = [
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), "$(A)".to_owned()),
        ];
        for (word, expect) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$(C)", "$(C)"),
            ("$(B)", "$(A)"),
            ("$", "$"),
            ("$(A", "$(A"),
            ("a$b", "a$b"),
            ("", ""),
        ] {
            assert_eq!(expand(word, &env), expect, "of {word}");
        }
    }
}
