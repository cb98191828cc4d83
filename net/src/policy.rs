//! Who may talk to whom: allow lists, kept by the network's own router.
//!
//! In a network with a policy every packet between members passes that router, because the members' ports are isolated from
//! one another. What no rule allows is dropped, and counted.

use crate::dns::Observer;
use crate::driver::Endpoint;
use crate::netlink::Socket;
use crate::nft::{
    CT_ESTABLISHED, Family, Field, Hook, Rule, Set, Table, TableFamily, Transaction, Value, Verdict,
};
use crate::ports::Protocol;
use crate::{Namespace, Result};
use ipnetwork::IpNetwork;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One side of an allowed conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// Anybody, inside or outside.
    Anyone,
    /// Members that have this label with this value.
    Label(String, String),
    /// Addresses of this network.
    Cidr(IpNetwork),
    /// The addresses of a domain of the world, such as `example.org`; `*.example.org` for everything below it. They are
    /// those that the network's own name server told its members.
    Domain(String),
}

impl Peer {
    /// Members that have this label with this value.
    pub fn label(name: impl Into<String>, value: impl Into<String>) -> Peer {
        Peer::Label(name.into(), value.into())
    }

    fn is(&self, endpoint: &Endpoint) -> bool {
        match self {
            Peer::Label(name, value) => {
                endpoint.labels.iter().any(|(n, v)| n == name && v == value)
            }
            Peer::Anyone | Peer::Cidr(_) | Peer::Domain(_) => false,
        }
    }

    fn has_domain(&self, name: &str) -> bool {
        let Peer::Domain(domain) = self else {
            return false;
        };
        let (name, domain) = (
            name.trim_end_matches('.').to_ascii_lowercase(),
            domain.to_ascii_lowercase(),
        );
        match domain.strip_prefix("*.") {
            Some(above) => name
                .strip_suffix(above)
                .is_some_and(|below| below.ends_with('.')),
            None => name == domain,
        }
    }
}

/// What may be said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Traffic {
    /// Everything.
    Any,
    /// To these ports.
    Ports(Protocol, RangeInclusive<u16>),
}

impl Traffic {
    /// To one TCP port.
    pub fn tcp(port: u16) -> Traffic {
        Traffic::Ports(Protocol::Tcp, port..=port)
    }

    /// To one UDP port.
    pub fn udp(port: u16) -> Traffic {
        Traffic::Ports(Protocol::Udp, port..=port)
    }
}

/// Who may begin to talk to whom, and about what; answers are always allowed, and all else is not.
///
/// Members always reach the network's name server. What comes in by a published port comes from [`Peer::Anyone`].
///
/// # Examples
///
/// Two workers that both use a database, and never meet:
///
/// ```
/// use ampoule_net::{Peer, Policy, Traffic};
///
/// let mut policy = Policy::new();
/// policy.allow(Peer::label("role", "worker"), Peer::label("role", "db"), Traffic::tcp(5432));
/// policy.allow(Peer::label("role", "worker"), Peer::Domain("*.example.org".into()), Traffic::tcp(443));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    allowed: Vec<Allowed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    from: Peer,
    to: Peer,
    traffic: Traffic,
}

impl Policy {
    /// Nothing is allowed.
    pub fn new() -> Policy {
        Policy::default()
    }

    /// Allows one side to begin to talk to the other.
    pub fn allow(&mut self, from: Peer, to: Peer, traffic: Traffic) -> &mut Policy {
        self.allowed.push(Allowed { from, to, traffic });
        self
    }
}

/// A policy in force, as a table in the network's own namespace, with which it goes.
#[derive(Debug)]
pub(crate) struct Enforcer {
    socket: Mutex<Socket>,
    table: Table,
    policy: Policy,
}

impl Enforcer {
    pub(crate) fn create(policy: &Policy, network: &Namespace) -> Result<Arc<Enforcer>> {
        let table = Table {
            name: "policy".into(),
            family: TableFamily::Inet,
        };
        let mut socket = network.run(Socket::netfilter)??;
        let mut all = Transaction::new(&table);
        all.create_table(false);
        all.chain("forward", Some(Hook::Forward), true);
        let answers = Rule::new()
            .connection_state(CT_ESTABLISHED)
            .verdict(Verdict::Accept);
        all.rule("forward", "answers", answers);
        for (number, allowed) in policy.allowed.iter().enumerate() {
            for family in [Family::V4, Family::V6] {
                allow(&mut all, number, allowed, family);
            }
        }
        all.rule(
            "forward",
            REFUSED,
            Rule::new().counter().verdict(Verdict::Drop),
        );
        // A router that sends a packet back by where it came from tells the sender a shorter way, which is closed here.
        all.chain("output", Some(Hook::Output), false);
        all.rule(
            "output",
            "no shorter ways",
            Rule::new().icmpv6(REDIRECT).verdict(Verdict::Drop),
        );
        all.commit(&mut socket)?;
        Ok(Arc::new(Enforcer {
            socket: Mutex::new(socket),
            table,
            policy: policy.clone(),
        }))
    }

    /// Lets a member take part according to its labels, until what is returned is dropped.
    pub(crate) fn admit(self: &Arc<Enforcer>, endpoint: &Endpoint) -> Membership {
        let mut sets = Vec::new();
        for (number, allowed) in self.policy.allowed.iter().enumerate() {
            for (side, peer) in [(Side::From, &allowed.from), (Side::To, &allowed.to)] {
                if peer.is(endpoint) {
                    sets.push((number, side));
                }
            }
        }
        Membership {
            enforcer: Arc::clone(self),
            sets,
            addresses: Vec::new(),
        }
    }

    /// Fills the sets of domains from what the name server answers.
    pub(crate) fn observer(self: &Arc<Enforcer>) -> Observer {
        let enforcer = Arc::clone(self);
        Box::new(move |name, addresses, lifetime| enforcer.learn(name, addresses, lifetime))
    }

    fn learn(&self, name: &str, addresses: &[IpAddr], lifetime: Duration) {
        for (number, allowed) in self.policy.allowed.iter().enumerate() {
            for (side, peer) in [(Side::From, &allowed.from), (Side::To, &allowed.to)] {
                if !peer.has_domain(name) {
                    continue;
                }
                for address in addresses {
                    let set = set(number, side, peer, Family::of(*address));
                    let key = Value::default().address(*address);
                    let mut renewed = Transaction::new(&self.table);
                    // Inserting again would not make it last longer; it may not be there yet.
                    renewed.remove(&set, &key);
                    let _ = self.commit(&renewed);
                    let mut new = Transaction::new(&self.table);
                    new.insert(&set, &key, &Value::default(), Some(lifetime + GRACE));
                    // Fails only if the network is gone.
                    let _ = self.commit(&new);
                }
            }
        }
    }

    /// Packets that no rule allowed.
    pub(crate) fn refused(&self) -> Result<u64> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        crate::nft::counted(&mut socket, &self.table, "forward", REFUSED)
    }

    fn commit(&self, all: &Transaction) -> Result<()> {
        all.commit(&mut self.socket.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The comment of the rule that drops what is left.
const REFUSED: &str = "refused";
/// How much longer than its name an address stays allowed: a member may use it as long as the name is good.
const GRACE: Duration = Duration::from_secs(30);
/// ICMPv6's number of a redirect (RFC 4861 section 4.5).
const REDIRECT: u8 = 137;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    From,
    To,
}

fn allow(all: &mut Transaction, number: usize, allowed: &Allowed, family: Family) {
    let mut rule = Rule::new();
    for (side, peer) in [(Side::From, &allowed.from), (Side::To, &allowed.to)] {
        rule = match peer {
            Peer::Anyone => rule,
            Peer::Cidr(network) if Family::of(network.ip()) != family => return,
            Peer::Cidr(network) => match side {
                Side::From => rule.source(*network),
                Side::To => rule.destination(*network),
            },
            Peer::Label(..) | Peer::Domain(_) => {
                let set = set(number, side, peer, family);
                all.set(&set);
                match side {
                    Side::From => rule.source_in(&set, family),
                    Side::To => rule.destination_in(&set, family),
                }
            }
        };
    }
    if let Traffic::Ports(protocol, ports) = &allowed.traffic {
        rule = rule
            .protocol(*protocol as u8)
            .destination_port(*ports.start(), *ports.end());
    }
    let why = format!("allowed {number}");
    all.rule(
        "forward",
        &why,
        rule.family(family).counter().verdict(Verdict::Accept),
    );
}

fn set(number: usize, side: Side, peer: &Peer, family: Family) -> Set {
    let side = match side {
        Side::From => "from",
        Side::To => "to",
    };
    let (version, field) = match family {
        Family::V4 => (4, Field::Ipv4),
        Family::V6 => (6, Field::Ipv6),
    };
    let set = Set::new(&format!("{side}{number}-{version}"), &[field], &[]);
    match peer {
        Peer::Domain(_) => set.with_timeout(),
        _ => set,
    }
}

/// A member's place in a policy.
#[derive(Debug)]
pub(crate) struct Membership {
    enforcer: Arc<Enforcer>,
    sets: Vec<(usize, Side)>,
    addresses: Vec<IpAddr>,
}

impl Membership {
    /// Puts these addresses where the member's labels belong.
    pub(crate) fn begin(&mut self, addresses: &[IpAddr]) -> Result<()> {
        self.addresses = addresses.to_vec();
        let all = self.changes(|all, set, key| {
            all.insert(set, key, &Value::default(), None);
        });
        self.enforcer.commit(&all)
    }

    fn changes(&self, change: impl Fn(&mut Transaction, &Set, &Value)) -> Transaction {
        let mut all = Transaction::new(&self.enforcer.table);
        for (number, side) in &self.sets {
            let allowed = &self.enforcer.policy.allowed[*number];
            let peer = if *side == Side::From {
                &allowed.from
            } else {
                &allowed.to
            };
            for address in &self.addresses {
                let set = set(*number, *side, peer, Family::of(*address));
                change(&mut all, &set, &Value::default().address(*address));
            }
        }
        all
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let all = self.changes(|all, set, key| {
            all.remove(set, key);
        });
        // Fails only if it never began, or the network is gone.
        let _ = self.enforcer.commit(&all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_match_whole_labels() {
        let domain = |text: &str| Peer::Domain(text.into());
        for (pattern, name) in [
            ("example.org", "Example.ORG."),
            ("*.example.org", "a.b.example.org"),
        ] {
            assert!(domain(pattern).has_domain(name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("example.org", "www.example.org"),
            ("*.example.org", "example.org"),
            ("*.example.org", "evilexample.org"),
            ("example.org", "example.org.evil.net"),
        ] {
            assert!(!domain(pattern).has_domain(name), "{pattern} {name}");
        }
        assert!(!Peer::Anyone.has_domain("example.org"));
    }
}
