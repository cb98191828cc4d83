//! Names and passwords, from where Docker and Podman keep them.

use crate::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Who somebody is to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token with which the token service is asked for others.
    IdentityToken(String),
}

/// Secrets stay out of logs.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password {{ user: {user:?}, .. }}"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(..)"),
        }
    }
}

/// Where credentials are found.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    given: HashMap<String, Credential>,
    files: Vec<PathBuf>,
}

/// `config.json` of Docker, `auth.json` of Podman.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ConfigFile {
    auths: HashMap<String, AuthEntry>,
    cred_helpers: HashMap<String, String>,
    creds_store: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase", default)]
struct AuthEntry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

impl Credentials {
    /// None at all.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// From the files that Docker and Podman use: `$REGISTRY_AUTH_FILE`, `$XDG_RUNTIME_DIR/containers/auth.json`,
    /// `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, the first that knows the registry.
    pub fn from_environment() -> Self {
        let path = |variable: &str, rest: &str| {
            std::env::var_os(variable).map(|base| Path::new(&base).join(rest))
        };
        let docker =
            path("DOCKER_CONFIG", "config.json").or_else(|| path("HOME", ".docker/config.json"));
        let own = std::env::var_os("REGISTRY_AUTH_FILE").map(PathBuf::from);
        let files = [own, path("XDG_RUNTIME_DIR", "containers/auth.json"), docker];
        Self {
            given: HashMap::new(),
            files: files.into_iter().flatten().collect(),
        }
    }

    /// From this file alone.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self {
            given: HashMap::new(),
            files: vec![path.into()],
        }
    }

    /// Adds a credential that goes before those of files.
    pub fn add(&mut self, registry: &str, credential: Credential) -> &mut Self {
        self.given.insert(registry.into(), credential);
        self
    }

    /// What is known for a registry; none means to ask without a name.
    ///
    /// # Errors
    /// `Document` where a file is malformed; `Io` where a credential helper is named and cannot be run.
    pub fn find(&self, registry: &str) -> Result<Option<Credential>> {
        if let Some(credential) = self.given.get(registry) {
            return Ok(Some(credential.clone()));
        }
        for path in &self.files {
            let Ok(bytes) = std::fs::read(path) else {
                continue;
            };
            let file: ConfigFile = serde_json::from_slice(&bytes)
                .map_err(|e| Error::document(path.display().to_string(), e))?;
            if let Some(credential) = file.find(registry)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }
}

/// Docker's hub has a key of its own, from the registry API's first version.
fn keys(registry: &str) -> Vec<String> {
    let mut keys = vec![
        registry.to_string(),
        format!("https://{registry}"),
        format!("http://{registry}"),
    ];
    if registry == "docker.io" {
        keys.insert(0, "https://index.docker.io/v1/".into());
    }
    keys
}

impl ConfigFile {
    fn find(&self, registry: &str) -> Result<Option<Credential>> {
        for key in keys(registry) {
            if let Some(helper) = self.cred_helpers.get(&key) {
                return ask_helper(helper, &key);
            }
            if let Some(entry) = self.auths.get(&key).and_then(AuthEntry::credential) {
                return Ok(Some(entry));
            }
        }
        match self.creds_store.as_str() {
            "" => Ok(None),
            helper => ask_helper(helper, &keys(registry)[0]),
        }
    }
}

impl AuthEntry {
    fn credential(&self) -> Option<Credential> {
        if !self.identitytoken.is_empty() {
            return Some(Credential::IdentityToken(self.identitytoken.clone()));
        }
        if !self.username.is_empty() {
            let (user, password) = (self.username.clone(), self.password.clone());
            return Some(Credential::Password { user, password });
        }
        let decoded = STANDARD.decode(self.auth.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (user, password) = text.trim_end_matches('\0').split_once(':')?;
        Some(Credential::Password {
            user: user.into(),
            password: password.into(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// A helper is a program `docker-credential-NAME` that reads the registry from its input.
fn ask_helper(helper: &str, key: &str) -> Result<Option<Credential>> {
    let program = format!("docker-credential-{helper}");
    if helper.contains('/') {
        return Err(Error::parse(
            "credential helper",
            helper,
            "it is a path, not a name",
        ));
    }
    let failed = || Error::io("run", &program);
    let mut command = Command::new(&program);
    command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().map_err(failed())?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that reads nothing says so by its status.
        let _ = input.write_all(key.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed())?;
    if !output.status.success() {
        // By the protocol, that is how it says that it knows nothing.
        return Ok(None);
    }
    let answer: HelperAnswer = serde_json::from_slice(&output.stdout)
        .map_err(|_| Error::document(&program, "its answer is no JSON"))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Credential::IdentityToken(answer.secret),
        _ => Credential::Password {
            user: answer.username,
            password: answer.secret,
        },
    }))
}

impl Credentials {
    /// Keeps a name and a password in a file, readable by its owner alone; what else the file holds stays.
    ///
    /// # Errors
    /// `Document` where the file is there and is no JSON object.
    pub fn login(path: &Path, registry: &str, user: &str, password: &str) -> Result<()> {
        let auth = STANDARD.encode(format!("{user}:{password}"));
        change(path, |auths| {
            drop(auths.insert(
                keys(registry)[0].clone(),
                serde_json::json!({ "auth": auth }),
            ))
        })
    }

    /// Takes them out again.
    pub fn logout(path: &Path, registry: &str) -> Result<()> {
        change(path, |auths| {
            auths.retain(|key, _| !keys(registry).contains(key))
        })
    }
}

type Json = serde_json::Map<String, serde_json::Value>;

fn change(path: &Path, change: impl FnOnce(&mut Json)) -> Result<()> {
    let name = || path.display().to_string();
    let mut file: Json = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| Error::document(name(), e))?,
        Err(_) => Json::new(),
    };
    let auths = file.entry("auths").or_insert_with(|| Json::new().into());
    change(
        auths
            .as_object_mut()
            .ok_or_else(|| Error::document(name(), "its \"auths\" is no object"))?,
    );
    let bytes = serde_json::to_vec_pretty(&file).map_err(|e| Error::document(name(), e))?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(Error::io("create directory", parent))?;
    }
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let written = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary);
    let written =
        written.and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
    written
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Password {
            user: user.into(),
            password: password.into(),
        })
    }

    #[test]
    fn files_as_docker_writes_them() {
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpiOmM="},"r.io":{"identitytoken":"t"},
            "p.io:5000":{"username":"u","password":"p"},"empty.io":{}},"HttpHeaders":{}}"#;
        let file: ConfigFile = serde_json::from_str(text).unwrap();
        assert_eq!(file.find("docker.io").unwrap(), password("a", "b:c"));
        assert_eq!(
            file.find("r.io").unwrap(),
            Some(Credential::IdentityToken("t".into()))
        );
        assert_eq!(file.find("p.io:5000").unwrap(), password("u", "p"));
        assert_eq!(file.find("empty.io").unwrap(), None);
        assert_eq!(file.find("other.io").unwrap(), None);
    }

    #[test]
    fn login_and_logout_keep_the_rest() {
        let path =
            std::env::temp_dir().join(format!("ampoule-login-{}/config.json", std::process::id()));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, r#"{"other":1,"auths":{"x.io":{"auth":"YTpi"}}}"#).unwrap();
        Credentials::login(&path, "docker.io", "me", "secret").unwrap();
        let credentials = Credentials::from_file(&path);
        assert_eq!(
            credentials.find("docker.io").unwrap(),
            password("me", "secret")
        );
        assert_eq!(credentials.find("x.io").unwrap(), password("a", "b"));
        Credentials::logout(&path, "docker.io").unwrap();
        assert_eq!(credentials.find("docker.io").unwrap(), None);
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .contains("\"other\": 1")
        );
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn secrets_are_not_printed() {
        assert!(!format!("{:?}", password("me", "secret")).contains("secret"));
    }
}
