//! Answers a registry's question who asks, and remembers the answers.

use super::challenge::{Challenge, parse};
use super::credentials::{Credential, Credentials};
use super::transport::is_loopback;
use crate::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::HashMap;
use std::io::Read;
use std::sync::Mutex;
use ureq::Agent;
use ureq::http::HeaderMap;

/// A token is a few kilobytes.
const LARGEST_TOKEN: u64 = 1 << 20;

/// Headers that a registry has accepted, by scope.
pub(super) struct Auth {
    credentials: Credentials,
    registry: String,
    headers: Mutex<HashMap<String, String>>,
}

/// Tokens stay out of logs.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Auth {
    pub(super) fn new(credentials: Credentials, registry: &str) -> Self {
        Self {
            credentials,
            registry: registry.into(),
            headers: Mutex::new(HashMap::new()),
        }
    }

    /// The header that was right the last time.
    pub(super) fn known(&self, scope: &str) -> Option<String> {
        self.headers.lock().ok()?.get(scope).cloned()
    }

    /// A header that answers the challenge; none where nothing is known to answer with.
    pub(super) fn answer(
        &self,
        agent: &Agent,
        headers: &HeaderMap,
        scope: &str,
        base: &str,
    ) -> Result<Option<String>> {
        let all = headers.get_all("www-authenticate");
        let challenge = all
            .iter()
            .filter_map(|value| parse(value.to_str().ok()?))
            .next();
        let credential = self.credentials.find(&self.registry)?;
        let header = match (challenge, credential) {
            (None, _) | (Some(Challenge::Basic), None) => return Ok(None),
            (Some(Challenge::Basic), Some(credential)) => basic(&credential),
            (
                Some(Challenge::Bearer {
                    realm,
                    service,
                    scope: asked,
                }),
                credential,
            ) => {
                check_realm(&realm, base)?;
                let scope = asked.as_deref().unwrap_or(scope);
                Some(format!(
                    "Bearer {}",
                    fetch(
                        agent,
                        &realm,
                        service.as_deref(),
                        scope,
                        credential.as_ref()
                    )?
                ))
            }
        };
        if let (Some(header), Ok(mut headers)) = (&header, self.headers.lock()) {
            headers.insert(scope.to_string(), header.clone());
        }
        Ok(header)
    }
}

fn basic(credential: &Credential) -> Option<String> {
    match credential {
        Credential::Password { user, password } => Some(format!(
            "Basic {}",
            STANDARD.encode(format!("{user}:{password}"))
        )),
        Credential::IdentityToken(_) => None,
    }
}

/// The registry names where passwords are sent to, so that place must be as safe as the registry itself.
fn check_realm(realm: &str, base: &str) -> Result<()> {
    let host = realm
        .strip_prefix("http://")
        .map(|rest| rest.split('/').next().unwrap_or_default());
    match host {
        None if realm.starts_with("https://") => Ok(()),
        Some(host) if base.starts_with("http://") || is_loopback(host) => Ok(()),
        _ => Err(Error::parse(
            "token service",
            realm,
            "it is not reached by HTTPS, though the registry is",
        )),
    }
}

fn fetch(
    agent: &Agent,
    realm: &str,
    service: Option<&str>,
    scope: &str,
    credential: Option<&Credential>,
) -> Result<String> {
    let failed = |error: ureq::Error| Error::Network {
        action: format!("fetch a token from {realm}"),
        source: error.into_io(),
    };
    let response = match credential {
        Some(Credential::IdentityToken(token)) => {
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", token),
                ("service", service.unwrap_or_default()),
                ("scope", scope),
                ("client_id", "ampoule"),
            ];
            agent.post(realm).send_form(form)
        }
        password => {
            let mut request = agent.get(realm).query("scope", scope);
            if let Some(service) = service {
                request = request.query("service", service);
            }
            if let Some(header) = password.and_then(basic) {
                request = request.header("authorization", header);
            }
            request.call()
        }
    };
    let response = response.map_err(failed)?;
    let status = response.status();
    if !status.is_success() {
        return Err(Error::Refused {
            action: format!("fetch a token from {realm}"),
            status: status.as_u16(),
            message: "the name or the password is wrong, or it does not allow this: `login` again"
                .into(),
        });
    }
    let mut text = Vec::new();
    let read = response
        .into_body()
        .into_reader()
        .take(LARGEST_TOKEN)
        .read_to_end(&mut text);
    read.map_err(|error| failed(error.into()))?;
    let answer: Token = serde_json::from_slice(&text)
        .map_err(|_| Error::document(realm, "its answer is no token"))?;
    let token = answer
        .token
        .or(answer.access_token)
        .filter(|token| !token.is_empty());
    token.ok_or_else(|| Error::document(realm, "its answer holds no token"))
}
