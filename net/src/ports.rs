//! Ports of the host that lead to a namespace: how they are written, and how they are held.

use crate::ipam::{Claim, open_directory};
use crate::{Error, ErrorKind, Namespace, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::str::FromStr;

/// A transport protocol with ports, by its number (`/etc/protocols`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are those of the protocols")]
pub enum Protocol {
    Tcp = 6,
    Udp = 17,
    Sctp = 132,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

/// Ports of the host that lead to ports of a namespace.
///
/// It is written `[[ADDRESS:]HOST-PORTS:]PORTS[/PROTOCOL]`, with ports as one number or a range `FIRST-LAST`. Without
/// host ports, or with 0, the kernel chooses free ones; without an address, all of the host's addresses are meant, its
/// loopback included.
///
/// # Examples
///
/// ```
/// use ampoule_net::Publish;
///
/// for text in ["8080:80", "127.0.0.1:8080:80", "[::1]:5353:53/udp", "8000-8009:9000-9009", "80"] {
///     let publish: Publish = text.parse()?;
/// }
/// let error = "8080:65536".parse::<Publish>().unwrap_err();
/// assert_eq!(error.to_string(), "the published port \"8080:65536\": 65536 is no port (1-65535)");
/// # Ok::<(), ampoule_net::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    address: Option<IpAddr>,
    /// `None` for any free ones.
    outer: Option<RangeInclusive<u16>>,
    inner: RangeInclusive<u16>,
    protocol: Protocol,
}

impl FromStr for Publish {
    type Err = Error;

    fn from_str(text: &str) -> Result<Publish> {
        let invalid = |why: String| {
            Error::new(
                ErrorKind::Invalid,
                format!("the published port {text:?}: {why}"),
            )
        };
        let (rest, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((rest, "tcp")) => (rest, Protocol::Tcp),
            Some((rest, "udp")) => (rest, Protocol::Udp),
            Some((rest, "sctp")) => (rest, Protocol::Sctp),
            Some((_, other)) => {
                return Err(invalid(format!("{other:?} is none of tcp, udp, sctp")));
            }
        };
        let (rest, inner) = rest
            .rsplit_once(':')
            .map_or(("", rest), |(rest, inner)| (rest, inner));
        let inner = range(inner).map_err(invalid)?;
        let (address, outer) = rest
            .rsplit_once(':')
            .map_or(("", rest), |(address, outer)| (address, outer));
        let outer = match outer {
            "" | "0" => None,
            outer => Some(range(outer).map_err(invalid)?),
        };
        let address = match address.trim_start_matches('[').trim_end_matches(']') {
            "" => None,
            address => Some(
                address
                    .parse()
                    .map_err(|_| invalid(format!("{address:?} is no IP address")))?,
            ),
        };
        if outer
            .as_ref()
            .is_some_and(|outer| outer.len() != inner.len())
        {
            return Err(invalid("the two ranges differ in length".into()));
        }
        Ok(Publish {
            address,
            outer,
            inner,
            protocol,
        })
    }
}

fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| match text.parse::<u64>() {
        Ok(number @ 1..=65_535) => Ok(number as u16),
        Ok(number) => Err(format!("{number} is no port (1-65535)")),
        Err(_) => Err(format!("{text:?} is no port (1-65535)")),
    };
    let (first, last) = (port(first)?, port(last)?);
    match first <= last {
        true => Ok(first..=last),
        false => Err(format!("the range {first}-{last} is reversed")),
    }
}

/// One port of the host that is ours, and the port of the namespace to which it leads.
#[derive(Debug)]
pub(crate) struct Claimed {
    protocol: Protocol,
    outer: SocketAddr,
    inner: u16,
    /// Bound, so that no program of the host gets the port, and no other network.
    _socket: Option<OwnedFd>,
}

/// Ports of the host that one namespace has.
#[derive(Debug)]
pub(crate) struct ClaimedPorts {
    pub(crate) ports: Vec<Claimed>,
    /// Says whose they are: the sockets cannot.
    _claim: Claim,
}

impl Claimed {
    pub(crate) fn address(&self) -> IpAddr {
        self.outer.ip()
    }

    pub(crate) fn outer(&self) -> u16 {
        self.outer.port()
    }

    pub(crate) fn outer_socket(&self) -> SocketAddr {
        self.outer
    }

    pub(crate) fn inner(&self) -> u16 {
        self.inner
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(crate) fn reaches_loopback(&self) -> bool {
        match self.address() {
            IpAddr::V4(v4) => v4.is_unspecified() || v4.is_loopback(),
            IpAddr::V6(_) => false,
        }
    }
}

/// Claims ports of the host for a namespace that has addresses of these families.
///
/// # Errors
///
/// [`ErrorKind::Taken`], with the owner's name, when one of them is somebody's; then none is claimed.
pub(crate) fn claim(
    ports: &[Publish],
    owner: &str,
    (v4, v6): (bool, bool),
    host: &Namespace,
    directory: &Path,
) -> Result<ClaimedPorts> {
    open_directory(directory)?;
    // A socket belongs to the namespace of the thread that makes it.
    host.run(|| {
        let mut claimed = Vec::new();
        for publish in ports {
            let addresses: Vec<IpAddr> = match publish.address {
                Some(address) => vec![address],
                None => [v4.then(|| Ipv4Addr::UNSPECIFIED.into()), v6.then(|| Ipv6Addr::UNSPECIFIED.into())]
                    .into_iter()
                    .flatten()
                    .collect(),
            };
            if !addresses.iter().all(|address| if address.is_ipv4() { v4 } else { v6 }) {
                let what = "a port of an address is published, but the network has no subnet of that family";
                return Err(Error::new(ErrorKind::Invalid, what));
            }
            for (at, inner) in publish.inner.clone().enumerate() {
                let mut outer = publish.outer.as_ref().map_or(0, |outer| outer.start() + at as u16);
                for address in &addresses {
                    let port = claim_one(publish.protocol, SocketAddr::new(*address, outer), inner, directory)?;
                    // Both families get the number that the kernel chose for the first.
                    outer = port.outer();
                    claimed.push(port);
                }
            }
        }
        let claim = Claim::take(directory, &claim_name(&claimed), &claim_text(owner, &claimed))?;
        let claim = claim.ok_or_else(|| {
            Error::new(ErrorKind::Taken, format!("the ports of {owner} belong to another owner"))
        })?;
        Ok(ClaimedPorts { ports: claimed, _claim: claim })
    })?
}

/// The first port names the claim: nobody else can have it, since it is bound.
fn claim_name(ports: &[Claimed]) -> String {
    ports.first().map_or_else(String::new, |port| {
        format!("{} {}", port.protocol, port.outer)
    })
}

/// The owner, then a line for each run of ports: protocol, address, first and last.
fn claim_text(owner: &str, ports: &[Claimed]) -> String {
    let mut runs: Vec<(Protocol, IpAddr, u16, u16)> = Vec::new();
    let mut sorted: Vec<&Claimed> = ports.iter().collect();
    sorted.sort_by_key(|port| (port.protocol as u8, port.outer));
    for port in sorted {
        let (protocol, address, number) = (port.protocol, port.address(), port.outer());
        match runs.last_mut() {
            Some((p, a, _, last))
                if (*p, *a) == (protocol, address) && last.checked_add(1) == Some(number) =>
            {
                *last = number
            }
            _ => runs.push((protocol, address, number, number)),
        }
    }
    let lines = runs
        .iter()
        .map(|(protocol, address, first, last)| format!("\n{protocol} {address} {first} {last}"));
    // An owner's name is one line, whatever it is.
    owner.replace('\n', " ") + &lines.collect::<String>()
}

/// The owner that a claim's text names, if the text has this port.
fn owner_in(text: &str, protocol: Protocol, wanted: SocketAddr) -> Option<String> {
    let (owner, runs) = text.split_once('\n')?;
    let has_it = runs.lines().any(|run| {
        let mut words = run.split(' ');
        let same_protocol = words.next() == Some(protocol.to_string().as_str());
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        let mut number = || words.next().and_then(|word| word.parse::<u16>().ok());
        let (Some(address), Some(first), Some(last)) = (address, number(), number()) else {
            return false;
        };
        let overlap =
            address == wanted.ip() || address.is_unspecified() || wanted.ip().is_unspecified();
        let same_family = address.is_ipv4() == wanted.is_ipv4();
        same_protocol && same_family && overlap && (first..=last).contains(&wanted.port())
    });
    has_it.then(|| owner.to_string())
}

fn claim_one(
    protocol: Protocol,
    outer: SocketAddr,
    inner: u16,
    directory: &Path,
) -> Result<Claimed> {
    let socket = bind(protocol, outer).map_err(|errno| match errno {
        rustix::io::Errno::ADDRINUSE => taken(protocol, outer, directory),
        errno => Error::kernel(
            format!("reserve {protocol} port {outer} of the host"),
            errno,
        ),
    })?;
    let outer = match &socket {
        Some((_, bound)) => *bound,
        None => outer,
    };
    Ok(Claimed {
        protocol,
        outer,
        inner,
        _socket: socket.map(|(socket, _)| socket),
    })
}

/// Binds the port without listening, so that it is refused to others and connections to it are refused too.
///
/// `None` where the kernel has no such protocol: then no program can have the port either.
fn bind(
    protocol: Protocol,
    address: SocketAddr,
) -> rustix::io::Result<Option<(OwnedFd, SocketAddr)>> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::SEQPACKET, ipproto::SCTP),
    };
    let socket = match socket_with(family, kind, SocketFlags::CLOEXEC, Some(number)) {
        Err(rustix::io::Errno::PROTONOSUPPORT) if address.port() != 0 => return Ok(None),
        socket => socket?,
    };
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    let bound = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    Ok(Some((socket, bound)))
}

/// Names who has a port: another network's namespace, or a program of the host.
fn taken(protocol: Protocol, address: SocketAddr, directory: &Path) -> Error {
    let texts = Claim::all(directory);
    let owner = texts
        .iter()
        .find_map(|text| owner_in(text, protocol, address));
    let owner = owner
        .or_else(|| program_at(protocol, address))
        .unwrap_or_else(|| "another program".into());
    Error::new(
        ErrorKind::Taken,
        format!("the {protocol} port {address} of the host belongs to {owner}"),
    )
}

/// The program that has a socket at this port in the calling thread's namespace.
fn program_at(protocol: Protocol, address: SocketAddr) -> Option<String> {
    let tables = [
        format!("/proc/thread-self/net/{protocol}"),
        format!("/proc/thread-self/net/{protocol}6"),
    ];
    let inode = tables.iter().find_map(|table| {
        let table = std::fs::read_to_string(table).ok()?;
        table
            .lines()
            .skip(1)
            .find_map(|line| inode_at(line, address.port()))
    })?;
    let socket = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        if process
            .file_name()
            .to_string_lossy()
            .parse::<u32>()
            .is_err()
        {
            continue;
        }
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let has_it = |entry: std::fs::DirEntry| {
            std::fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == socket.as_str())
        };
        if descriptors.flatten().any(has_it) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!(
                "{} (process {})",
                name.trim(),
                process.file_name().to_string_lossy()
            ));
        }
    }
    None
}

/// The inode of the socket on one line of `/proc/net/tcp` or `udp`, if its local port is this one.
fn inode_at(line: &str, port: u16) -> Option<u64> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let (_, local) = local.rsplit_once(':')?;
    (u16::from_str_radix(local, 16).ok()? == port).then_some(())?;
    fields.nth(7)?.parse().ok().filter(|inode| *inode != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        let publish = |text: &str| text.parse::<Publish>().unwrap();
        assert_eq!(
            publish("80"),
            Publish {
                address: None,
                outer: None,
                inner: 80..=80,
                protocol: Protocol::Tcp
            }
        );
        assert_eq!(publish("0:80"), publish("80"));
        assert_eq!(publish("8080:80").outer, Some(8080..=8080));
        assert_eq!(
            publish("127.0.0.1::80/udp").address,
            Some("127.0.0.1".parse().unwrap())
        );
        assert_eq!(
            publish("[::1]:8080:80").address,
            Some("::1".parse().unwrap())
        );
        assert_eq!(publish("8000-8002:80-82/sctp").outer, Some(8000..=8002));
    }

    #[test]
    fn says_what_is_wrong() {
        let wrong = |text: &str| text.parse::<Publish>().unwrap_err().to_string();
        assert!(wrong("80:0").ends_with("0 is no port (1-65535)"));
        assert!(wrong("65536:80").ends_with("65536 is no port (1-65535)"));
        assert!(wrong("http").ends_with("\"http\" is no port (1-65535)"));
        assert!(wrong("90-80:90-80").ends_with("the range 90-80 is reversed"));
        assert!(wrong("8000-8005:80-81").ends_with("the two ranges differ in length"));
        assert!(wrong("80/icmp").ends_with("\"icmp\" is none of tcp, udp, sctp"));
        assert!(wrong("host:80:80").ends_with("\"host\" is no IP address"));
        assert!(wrong("").ends_with("\"\" is no port (1-65535)"));
    }

    #[test]
    fn a_claim_names_the_owner_of_its_ports_only() {
        let port = |text: &str, inner| Claimed {
            protocol: Protocol::Tcp,
            outer: text.parse().unwrap(),
            inner,
            _socket: None,
        };
        let ports = [
            port("0.0.0.0:81", 1),
            port("0.0.0.0:80", 2),
            port("[::]:80", 3),
            port("127.0.0.1:90", 4),
        ];
        let text = claim_text("web\n1", &ports);
        assert_eq!(
            text,
            "web 1\ntcp 0.0.0.0 80 81\ntcp 127.0.0.1 90 90\ntcp :: 80 80"
        );
        let owner = |protocol, address: &str| owner_in(&text, protocol, address.parse().unwrap());
        assert_eq!(
            owner(Protocol::Tcp, "10.0.0.1:81").as_deref(),
            Some("web 1")
        );
        assert_eq!(owner(Protocol::Tcp, "0.0.0.0:90").as_deref(), Some("web 1"));
        for (protocol, other) in [
            (Protocol::Udp, "0.0.0.0:80"),
            (Protocol::Tcp, "[::]:81"),
            (Protocol::Tcp, "10.0.0.1:90"),
        ] {
            assert_eq!(owner(protocol, other), None, "{other}");
        }
        assert_eq!(
            owner_in(
                "garbage\ntcp x",
                Protocol::Tcp,
                "0.0.0.0:1".parse().unwrap()
            ),
            None
        );
    }

    #[test]
    fn reads_the_kernels_tables() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0";
        assert_eq!(inode_at(line, 8080), Some(4711));
        assert_eq!(inode_at(line, 80), None);
        assert_eq!(inode_at("garbage", 80), None);
    }
}
