//! The files by which a program finds names: `/etc/resolv.conf` and `/etc/hosts`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What resolv.conf(5) says.
///
/// Its [`Display`](fmt::Display) is the file's text.
///
/// # Examples
///
/// ```
/// use ampoule_net::ResolvConf;
///
/// let host = ResolvConf::parse("# written by hand\nnameserver 192.0.2.53\nsearch example.org\noptions ndots:2\n");
/// assert_eq!(host.to_string(), "nameserver 192.0.2.53\nsearch example.org\noptions ndots:2\n");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolvConf {
    /// Servers to ask, in this order.
    pub servers: Vec<IpAddr>,
    /// Domains that are tried after a short name.
    pub search: Vec<String>,
    /// Options, as they are written.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// Reads the file's text; what the resolver would ignore is ignored.
    pub fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let keyword = words.next();
            let rest = words.map(str::to_string);
            match keyword {
                // A zone such as %eth0 means nothing in another namespace.
                Some("nameserver") => conf
                    .servers
                    .extend(rest.take(1).filter_map(|word| word.parse::<IpAddr>().ok())),
                // The last one counts.
                Some("search" | "domain") => conf.search = rest.collect(),
                Some("options") => conf.options.extend(rest),
                _ => {}
            }
        }
        conf
    }

    /// The servers as sockets can ask them.
    pub fn resolvers(&self) -> Vec<SocketAddr> {
        self.servers
            .iter()
            .map(|server| SocketAddr::new(*server, 53))
            .collect()
    }
}

impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in &self.servers {
            writeln!(f, "nameserver {server}")?;
        }
        for (keyword, words) in [("search", &self.search), ("options", &self.options)] {
            if !words.is_empty() {
                writeln!(f, "{keyword} {}", words.join(" "))?;
            }
        }
        Ok(())
    }
}

/// What hosts(5) says: the loopback, the member itself, and whatever else is added.
///
/// # Examples
///
/// ```
/// use ampoule_net::Hosts;
///
/// let mut hosts = Hosts::new();
/// hosts.add("10.5.0.7".parse()?, &["web-1"]);
/// assert!(hosts.to_string().ends_with("10.5.0.7\tweb-1\n"));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    lines: Vec<(IpAddr, Vec<String>)>,
}

impl Hosts {
    /// The loopback's names alone.
    pub fn new() -> Hosts {
        let mut hosts = Hosts { lines: Vec::new() };
        hosts.add(std::net::Ipv4Addr::LOCALHOST.into(), &["localhost"]);
        hosts.add(
            std::net::Ipv6Addr::LOCALHOST.into(),
            &["localhost", "ip6-localhost", "ip6-loopback"],
        );
        hosts
    }

    /// Adds names of an address.
    pub fn add(&mut self, address: IpAddr, names: &[&str]) -> &mut Hosts {
        self.lines
            .push((address, names.iter().map(|name| name.to_string()).collect()));
        self
    }
}

impl Default for Hosts {
    fn default() -> Hosts {
        Hosts::new()
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines
            .iter()
            .try_for_each(|(address, names)| writeln!(f, "{address}\t{}", names.join(" ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_resolvers_read() {
        let text = "nameserver 10.0.0.1 ; first\nnameserver fe80::1%eth0\nnameserver\nsearch a.org b.org\ndomain c.org\n\
                    options ndots:5 edns0\n  nameserver ::1\nnonsense here\n";
        let conf = ResolvConf::parse(text);
        assert_eq!(
            conf.to_string(),
            "nameserver 10.0.0.1\nnameserver ::1\nsearch c.org\noptions ndots:5 edns0\n"
        );
    }
}
