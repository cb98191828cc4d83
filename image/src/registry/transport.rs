//! Requests to one host, tried again where that may help.

use super::auth::Auth;
use super::{Protocol, RegistryOptions};
use crate::{Error, Result};
use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use ureq::http::{Method, Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, SendBody};

/// Where distributions keep the certificates that the machine trusts.
const SYSTEM_CERTIFICATES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
const CONNECT: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A registry that asks for a longer pause is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// As much of an error's body is read.
const LARGEST_MESSAGE: u64 = 64 << 10;

/// A host and how it is spoken to.
#[derive(Debug)]
pub(super) struct Transport {
    agent: Agent,
    host: String,
    protocol: Protocol,
    base: OnceLock<String>,
    auth: Auth,
    attempts: u32,
}

/// One request, which may be sent more than once.
pub(super) struct Request<'a> {
    pub method: Method,
    /// From the first slash on, or an absolute URL that the registry has named.
    pub path: String,
    /// What a token must allow.
    pub scope: String,
    pub headers: Vec<(&'static str, String)>,
    /// Opens the body, and tells its length.
    pub body: Option<&'a BodyOpener<'a>>,
}

/// A body that is sent again must be opened again.
pub(super) type BodyOpener<'a> = dyn Fn() -> Result<(Box<dyn Read + 'a>, u64)> + 'a;

impl Request<'_> {
    pub(super) fn new(method: Method, path: String, scope: String) -> Self {
        Self {
            method,
            path,
            scope,
            headers: Vec::new(),
            body: None,
        }
    }

    pub(super) fn get(path: String, scope: String) -> Self {
        Self::new(Method::GET, path, scope)
    }
}

impl Transport {
    pub(super) fn new(host: &str, options: &RegistryOptions) -> Result<Self> {
        let tls = TlsConfig::builder()
            .root_certs(certificates(options)?)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .user_agent(concat!("ampoule-image/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(options.stall))
            .timeout_per_write(Some(options.stall))
            .timeout_recv_response(Some(options.stall.max(Duration::from_secs(60))))
            .max_idle_connections_per_host(8);
        Ok(Self {
            agent: config.build().new_agent(),
            host: host.to_string(),
            protocol: options.protocol,
            base: OnceLock::new(),
            auth: Auth::new(options.credentials.clone(), host),
            attempts: options.attempts.max(1),
        })
    }

    /// Sends a request until it is answered with success, or with an error that another attempt would not change.
    pub(super) fn send(&self, request: &Request<'_>) -> Result<Response<Body>> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let last = attempt >= self.attempts;
            let wanted = match self.send_once(request) {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) if last || !is_transient(response.status()) => {
                    return Err(self.refused(request, response));
                }
                Ok(response) => retry_after(&response),
                Err(error) if last || !is_temporary(&error) => return Err(error),
                Err(_) => None,
            };
            if wanted.is_some_and(|wanted| wanted > LONGEST_PAUSE) {
                break;
            }
            thread::sleep(wanted.unwrap_or(pause));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(Error::Refused {
            action: format!("{} {}", request.method, request.path),
            status: 429,
            message: "the registry asks to come back later".into(),
        })
    }

    /// With whatever status it is answered; authenticates on the way.
    pub(super) fn send_once(&self, request: &Request<'_>) -> Result<Response<Body>> {
        let url = self.url(&request.path)?;
        // A token is for the registry, not for where it keeps its blobs.
        let is_own = url.starts_with(&format!("{}/", self.base()?));
        let known = if is_own {
            self.auth.known(&request.scope)
        } else {
            None
        };
        let response = self.run(request, &url, known.as_deref())?;
        if response.status() != StatusCode::UNAUTHORIZED || !is_own {
            return Ok(response);
        }
        match self.auth.answer(
            &self.agent,
            response.headers(),
            &request.scope,
            self.base()?,
        )? {
            Some(header) => self.run(request, &url, Some(&header)),
            None => Ok(response),
        }
    }

    fn run(
        &self,
        request: &Request<'_>,
        url: &str,
        authorization: Option<&str>,
    ) -> Result<Response<Body>> {
        let mut builder = ureq::http::Request::builder()
            .method(request.method.clone())
            .uri(url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some(authorization) = authorization {
            builder = builder.header("authorization", authorization);
        }
        let malformed = |e: ureq::http::Error| Error::parse("URL", url, e.to_string());
        let sent = match request.body {
            None if request.method == Method::GET
                || request.method == Method::HEAD
                || request.method == Method::DELETE =>
            {
                self.agent.run(builder.body(()).map_err(malformed)?)
            }
            None => self.agent.run(
                builder
                    .header("content-length", "0")
                    .body(SendBody::none())
                    .map_err(malformed)?,
            ),
            Some(open) => {
                let (mut body, length) = open()?;
                let builder = builder.header("content-length", length);
                self.agent.run(
                    builder
                        .body(SendBody::from_reader(&mut *body))
                        .map_err(malformed)?,
                )
            }
        };
        sent.map_err(|error| self.broken(request.method.as_str(), &request.path, error.into_io()))
    }

    /// The URL that a path or a `Location` means.
    fn url(&self, path: &str) -> Result<String> {
        match path.starts_with('/') {
            true => Ok(format!("{}{path}", self.base()?)),
            false => Ok(path.to_string()),
        }
    }

    /// Scheme and host; on loopback it is found out with the first request.
    pub(super) fn base(&self) -> Result<&str> {
        if let Some(base) = self.base.get() {
            return Ok(base);
        }
        // The hub's name is not the name of its registry's host.
        let host = match self.host.as_str() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let (secure, plain) = (format!("https://{host}"), format!("http://{host}"));
        let base = match self.protocol {
            Protocol::Http => plain,
            Protocol::Https => secure,
            Protocol::Automatic if is_loopback(host) && self.answers_plainly(&plain) => plain,
            Protocol::Automatic => secure,
        };
        Ok(self.base.get_or_init(|| base))
    }

    /// Whether plain HTTP is spoken there. A server of HTTPS answers 400 or nothing; a certificate that is not trusted must not
    /// lead to plain HTTP, so HTTPS is not what is tried.
    fn answers_plainly(&self, base: &str) -> bool {
        let answer = self.agent.get(format!("{base}/v2/")).call();
        answer.is_ok_and(|response| response.status() != StatusCode::BAD_REQUEST)
    }

    pub(super) fn broken(&self, action: &str, path: &str, source: io::Error) -> Error {
        Error::Network {
            action: format!("{action} {path} at {}", self.host),
            source,
        }
    }

    /// The registry's own words, where it has some.
    pub(super) fn refused(&self, request: &Request<'_>, response: Response<Body>) -> Error {
        let status = response.status().as_u16();
        let mut text = Vec::new();
        // An error's text that cannot be read is no other error.
        let _ = response
            .into_body()
            .into_reader()
            .take(LARGEST_MESSAGE)
            .read_to_end(&mut text);
        Error::Refused {
            action: format!("{} {} at {}", request.method, request.path, self.host),
            status,
            message: message(&text).unwrap_or_else(|| {
                StatusCode::from_u16(status).map_or(String::new(), |s| s.to_string())
            }),
        }
    }
}

/// The first error in the form of the distribution specification.
fn message(text: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(text).ok()?;
    let error = json.get("errors")?.get(0)?;
    let part = |name: &str| {
        error
            .get(name)
            .and_then(|value| value.as_str())
            .unwrap_or_default()
    };
    Some(
        format!("{}: {}", part("code"), part("message"))
            .chars()
            .take(300)
            .collect(),
    )
}

fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

fn is_temporary(error: &Error) -> bool {
    let Error::Network { source, .. } = error else {
        return false;
    };
    // A name that is not there and a certificate that is not trusted stay so.
    !matches!(
        source.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::NotFound
    )
}

fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let value = response.headers().get("retry-after")?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

pub(super) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn certificates(options: &RegistryOptions) -> Result<RootCerts> {
    let mut found = Vec::new();
    if let Some(system) = SYSTEM_CERTIFICATES
        .iter()
        .find(|path| std::path::Path::new(path).exists())
    {
        read_certificates(system.as_ref(), &mut found)?;
    }
    if found.is_empty() && options.certificates.is_empty() {
        return Ok(RootCerts::WebPki);
    }
    for path in &options.certificates {
        read_certificates(path, &mut found)?;
    }
    Ok(RootCerts::Specific(Arc::new(found)))
}

fn read_certificates(path: &std::path::Path, found: &mut Vec<Certificate<'static>>) -> Result<()> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    for item in parse_pem(&bytes) {
        let item = item.map_err(|e| Error::document(path.display().to_string(), e))?;
        if let PemItem::Certificate(certificate) = item {
            found.push(certificate);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_loopback() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5000",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example.com",
            "r.io",
            "10.0.0.1",
            "127.0.0.1.example.com",
            "[::2]:5000",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn messages_are_the_registrys_own() {
        let text = br#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#;
        assert_eq!(message(text).as_deref(), Some("DENIED: not yours"));
        assert_eq!(message(b"<html>"), None);
    }
}
