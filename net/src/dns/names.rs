//! The records of one network.

use crate::ports::Protocol;
use crate::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The names of a network's members. Cheap to clone: all clones are the same records.
///
/// # Examples
///
/// ```
/// use ampoule_net::Names;
///
/// let names = Names::new("blue");
/// let db = names.register(&["db", "database"], &["10.5.0.7".parse()?], &[])?;
/// assert_eq!(names.addresses("DB.blue.").unwrap(), ["10.5.0.7".parse::<std::net::IpAddr>()?]);
/// drop(db);
/// assert_eq!(names.addresses("db"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Names {
    network: Arc<str>,
    records: Arc<RwLock<Records>>,
}

#[derive(Debug, Default)]
struct Records {
    addresses: HashMap<String, Vec<IpAddr>>,
    reverse: HashMap<IpAddr, Vec<String>>,
    /// `_port._protocol.name` to the port's number, once for each member that has it.
    services: HashMap<String, Vec<u16>>,
}

/// A port with a name, for SRV records: `_http._tcp.web`.
pub(crate) type NamedPort = (String, Protocol, u16);

impl Names {
    /// No names yet; `network` is the domain that may follow each of them.
    pub fn new(network: &str) -> Names {
        Names {
            network: network.to_ascii_lowercase().into(),
            records: Arc::default(),
        }
    }

    /// Adds names for addresses, until what is returned is dropped.
    ///
    /// Several registrations of one name add up: that is a service with several members.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a name that is none; see [`check_name`].
    pub fn register(
        &self,
        names: &[&str],
        addresses: &[IpAddr],
        ports: &[(String, Protocol, u16)],
    ) -> Result<Registration> {
        for name in names {
            check_name(name)?;
        }
        for (port, ..) in ports {
            check_name(port)?;
        }
        let names: Vec<String> = names.iter().map(|name| normal(name)).collect();
        let mut services = Vec::new();
        for (port, protocol, number) in ports {
            services.extend(
                names
                    .iter()
                    .map(|name| (format!("_{}._{protocol}.{name}", normal(port)), *number)),
            );
        }
        let registration = Registration {
            names: self.clone(),
            added: names,
            addresses: addresses.to_vec(),
            services,
        };
        let mut records = self.write();
        for name in &registration.added {
            records
                .addresses
                .entry(name.clone())
                .or_default()
                .extend(addresses);
        }
        for address in addresses {
            records
                .reverse
                .entry(*address)
                .or_default()
                .extend(registration.added.first().cloned());
        }
        for (service, port) in &registration.services {
            records
                .services
                .entry(service.clone())
                .or_default()
                .push(*port);
        }
        drop(records);
        Ok(registration)
    }

    /// The addresses of a name; `None` if the network has no such name.
    pub fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.read().addresses.get(&self.inner_name(name)).cloned()
    }

    /// The name of an address.
    pub fn name_of(&self, address: IpAddr) -> Option<String> {
        self.read().reverse.get(&address)?.first().cloned()
    }

    /// The port of a service such as `_http._tcp.web`, and the name of who has it.
    pub(super) fn service(&self, name: &str) -> Option<(u16, String)> {
        let name = self.inner_name(name);
        let port = *self.read().services.get(&name)?.first()?;
        let (_, target) = name.split_once('.')?.1.split_once('.')?;
        Some((port, target.to_string()))
    }

    /// Whether a name belongs to this network even if nobody has it: a single label, or one below the network's.
    pub(super) fn is_local(&self, name: &str) -> bool {
        let name = normal(name);
        let inner = self.inner_name(&name);
        inner.len() < name.len() || !name.contains('.')
    }

    /// The name without the network's domain.
    fn inner_name(&self, name: &str) -> String {
        let name = normal(name);
        match name
            .strip_suffix(&*self.network)
            .and_then(|name| name.strip_suffix('.'))
        {
            Some(inner) => inner.to_string(),
            None => name,
        }
    }

    /// Nothing panics half way through a change.
    fn read(&self) -> RwLockReadGuard<'_, Records> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Records> {
        self.records.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names that somebody has, until this is dropped.
#[derive(Debug)]
pub struct Registration {
    names: Names,
    added: Vec<String>,
    addresses: Vec<IpAddr>,
    services: Vec<(String, u16)>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut records = self.names.write();
        for name in &self.added {
            if let Some(addresses) = records.addresses.get_mut(name) {
                addresses.retain(|address| !self.addresses.contains(address));
                if addresses.is_empty() {
                    records.addresses.remove(name);
                }
            }
        }
        for (service, port) in &self.services {
            if let Some(ports) = records.services.get_mut(service) {
                if let Some(ours) = ports.iter().position(|other| other == port) {
                    ports.swap_remove(ours);
                }
                if ports.is_empty() {
                    records.services.remove(service);
                }
            }
        }
        for address in &self.addresses {
            records.reverse.remove(address);
        }
    }
}

/// Refuses what is no name of a host: labels of 1-63 letters, digits, `-` and `_`, not beginning or ending with `-`,
/// 253 bytes in all ([RFC 1123](https://www.rfc-editor.org/rfc/rfc1123#section-2.1); `_` because Compose has it).
///
/// # Errors
///
/// [`ErrorKind::Invalid`], saying which label.
pub fn check_name(name: &str) -> Result<()> {
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match name.split('.').find(|label| !good(label)) {
        None if name.len() <= 253 => Ok(()),
        None => Err(Error::new(
            ErrorKind::Invalid,
            format!("the name {name:?} is longer than 253 bytes"),
        )),
        Some(label) => {
            let what = format!("{label:?} in the name {name:?} is no DNS label");
            Err(Error::new(ErrorKind::Invalid, what).hint("1-63 letters, digits, `-` and `_`"))
        }
    }
}

/// As it is compared: lower case, without the root's dot.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_with_several_members_loses_one_at_a_time() {
        let names = Names::new("Blue");
        let one = names
            .register(
                &["web"],
                &[ip("10.5.0.1")],
                &[("http".into(), Protocol::Tcp, 80)],
            )
            .unwrap();
        let two = names
            .register(&["WEB", "www"], &[ip("10.5.0.2")], &[])
            .unwrap();
        assert_eq!(
            names.addresses("web.blue").unwrap(),
            [ip("10.5.0.1"), ip("10.5.0.2")]
        );
        assert_eq!(
            names.service("_http._tcp.web.blue."),
            Some((80, "web".into()))
        );
        assert_eq!(names.name_of(ip("10.5.0.2")).as_deref(), Some("web"));
        drop(one);
        assert_eq!(names.addresses("web").unwrap(), [ip("10.5.0.2")]);
        drop(two);
        assert_eq!(
            (names.addresses("web"), names.service("_http._tcp.web")),
            (None, None)
        );
        assert_eq!(names.name_of(ip("10.5.0.2")), None);
    }

    #[test]
    fn knows_its_own_domain() {
        let names = Names::new("blue");
        for local in ["db", "db.", "nobody.blue", "a.b.blue."] {
            assert!(names.is_local(local), "{local}");
        }
        for foreign in ["example.org", "db.red", "xblue.org"] {
            assert!(!names.is_local(foreign), "{foreign}");
        }
    }

    #[test]
    fn refuses_what_is_no_name() {
        for good in ["a", "web-1", "my_db", "a.b.c", &"x".repeat(63)] {
            check_name(good).unwrap();
        }
        for bad in [
            "",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a b",
            "é",
            &"x".repeat(64),
            &["x"; 130].join("."),
        ] {
            assert_eq!(
                check_name(bad).unwrap_err().kind(),
                ErrorKind::Invalid,
                "{bad}"
            );
        }
    }
}
