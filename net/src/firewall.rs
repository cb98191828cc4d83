//! What a network needs of the host's firewall: translation of addresses, published ports, and its own walls.
//!
//! All of it is one nftables table, which belongs to a socket: when the last descriptor of that closes, whatever the owner
//! died of, the kernel removes the table. Rules of others are neither read nor touched.

use crate::Result;
use crate::bridge::{PREFIX, Uplink};
use crate::ipam::Subnet;
use crate::netlink::Socket;
use crate::nft::{
    CT_DNAT, Family, Field, Hook, Rule, Set, Table, TableFamily, Transaction, Value, Verdict,
};
use crate::ports::{Claimed, ClaimedPorts};
use ipnetwork::{IpNetwork, Ipv4Network};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug)]
pub(crate) struct Firewall {
    /// Owns the table.
    socket: Mutex<Socket>,
    table: Table,
    uplink: Uplink,
    loopback: AtomicBool,
}

impl Firewall {
    pub(crate) fn create(network: &str, subnets: &[Subnet], uplink: Uplink) -> Result<Firewall> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Every process that keeps the network has a table of its own; what they say of it is the same.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ampoule-{network}-{}-{number}", std::process::id());
        let table = Table {
            name,
            family: TableFamily::Inet,
        };
        let mut socket = uplink.host.run(Socket::netfilter)??;
        let mut all = Transaction::new(&table);
        all.create_table(true);
        walls(&mut all, uplink.index);
        ports(&mut all);
        translation(&mut all, uplink.index, subnets);
        all.commit(&mut socket)?;
        Ok(Firewall {
            socket: Mutex::new(socket),
            table,
            uplink,
            loopback: AtomicBool::new(false),
        })
    }

    /// Sends what arrives at these ports of the host to the addresses.
    pub(crate) fn publish(&self, ports: &[Claimed], addresses: &[IpNetwork]) -> Result<()> {
        if ports.iter().any(|port| port.reaches_loopback())
            && !self.loopback.swap(true, Ordering::Relaxed)
        {
            self.uplink.route_loopback()?;
        }
        let published = self.in_parts(ports, addresses, |all, port, target| {
            let data = Value::default().address(target).port(port.inner());
            all.insert(&map(port.address(), target), &key(port), &data, None);
        });
        if published.is_err() {
            self.withdraw(ports, addresses);
        }
        published
    }

    /// What is not there is left out; the rest fails only if the table is gone, and the ports with it.
    fn withdraw(&self, ports: &[Claimed], addresses: &[IpNetwork]) {
        let _ = self.in_parts(ports, addresses, |all, port, target| {
            all.remove(&map(port.address(), target), &key(port));
        });
    }

    /// Changes the maps of ports; thousands of them are more than one message holds.
    fn in_parts(
        &self,
        ports: &[Claimed],
        addresses: &[IpNetwork],
        change: impl Fn(&mut Transaction, &Claimed, IpAddr),
    ) -> Result<()> {
        ports.chunks(PART).try_for_each(|part| {
            let mut all = Transaction::new(&self.table);
            for (port, target) in pairs(part, addresses) {
                change(&mut all, port, target);
            }
            self.commit(&all)
        })
    }

    fn commit(&self, all: &Transaction) -> Result<()> {
        all.commit(&mut self.socket.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn uplink(&self) -> &Uplink {
        &self.uplink
    }
}

/// Ports changed at once: a message is refused that exceeds the socket's buffer of some 200 KiB.
const PART: usize = 500;

/// Ports that are claimed, and the firewall that is to lead them somewhere.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) firewall: Arc<Firewall>,
    pub(crate) ports: ClaimedPorts,
}

impl Ports {
    /// Leads them to these addresses, until what is returned is dropped.
    pub(crate) fn publish(self, addresses: &[IpNetwork]) -> Result<Publication> {
        self.firewall.publish(&self.ports.ports, addresses)?;
        Ok(Publication {
            ports: self,
            addresses: addresses.to_vec(),
        })
    }
}

/// Ports that lead to somebody's addresses.
#[derive(Debug)]
pub(crate) struct Publication {
    ports: Ports,
    addresses: Vec<IpNetwork>,
}

impl Publication {
    pub(crate) fn ports(&self) -> &[Claimed] {
        &self.ports.ports.ports
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        self.ports
            .firewall
            .withdraw(&self.ports.ports.ports, &self.addresses);
    }
}

/// Each port with the address of its family that it leads to.
fn pairs<'a>(
    ports: &'a [Claimed],
    addresses: &'a [IpNetwork],
) -> impl Iterator<Item = (&'a Claimed, IpAddr)> {
    let targets = |port: &'a Claimed| {
        addresses
            .iter()
            .map(|a| a.ip())
            .filter(move |ip| ip.is_ipv4() == port.address().is_ipv4())
    };
    ports
        .iter()
        .flat_map(move |port| targets(port).map(move |target| (port, target)))
}

fn key(port: &Claimed) -> Value {
    let key = match port.address() {
        any if any.is_unspecified() => Value::default(),
        one => Value::default().address(one),
    };
    key.protocol(port.protocol() as u8).port(port.outer())
}

/// The map of published ports for any address of the host, or for a certain one.
fn map(address: IpAddr, target: IpAddr) -> Set {
    ports_of(Family::of(target), !address.is_unspecified())
}

fn ports_of(family: Family, with_address: bool) -> Set {
    let (number, field) = match family {
        Family::V4 => (4, Field::Ipv4),
        Family::V6 => (6, Field::Ipv6),
    };
    let (name, address) = match with_address {
        true => ("ports-at", vec![field]),
        false => ("ports", Vec::new()),
    };
    let key: Vec<Field> = address
        .into_iter()
        .chain([Field::Protocol, Field::Port])
        .collect();
    Set::new(&format!("{name}{number}"), &key, &[field, Field::Port])
}

/// Networks do not reach one another, except by what they publish; and none reaches the host's own loopback.
fn walls(all: &mut Transaction, uplink: u32) {
    all.chain("first", Some(Hook::Raw), false);
    let loopback = IpNetwork::V4(LOOPBACK);
    let rule = Rule::new()
        .entering_by(uplink)
        .destination(loopback)
        .counter()
        .verdict(Verdict::Drop);
    all.rule("first", "the host's loopback is its own", rule);
    all.chain("walls", Some(Hook::Forward), false);
    let published = Rule::new()
        .entering_by(uplink)
        .connection_status(CT_DNAT)
        .verdict(Verdict::Accept);
    all.rule("walls", "what is published is for everybody", published);
    let rule = Rule::new()
        .entering_by(uplink)
        .not_leaving_by(uplink)
        .leaving_by_any(PREFIX);
    all.rule(
        "walls",
        "other networks are out of reach",
        rule.counter().verdict(Verdict::Drop),
    );
}

fn ports(all: &mut Transaction) {
    all.chain("ports", None, false);
    for family in [Family::V4, Family::V6] {
        for with_address in [true, false] {
            let map = ports_of(family, with_address);
            all.set(&map);
            all.rule(
                "ports",
                "published ports",
                Rule::new().translate_by(&map, family, with_address),
            );
        }
    }
    for (chain, hook) in [
        ("arriving", Hook::NatPrerouting),
        ("leaving", Hook::NatOutput),
    ] {
        all.chain(chain, Some(hook), false);
        all.rule(
            chain,
            "ports of this host",
            Rule::new()
                .for_this_machine()
                .verdict(Verdict::Jump("ports")),
        );
    }
}

fn translation(all: &mut Transaction, uplink: u32, subnets: &[Subnet]) {
    all.chain("senders", Some(Hook::NatPostrouting), false);
    for subnet in subnets {
        let out = Rule::new().source(subnet.network()).masquerade();
        // Outwards, because nobody there knows the way back; and back into the network, because a member that reaches
        // another one by a published port must not be answered directly.
        all.rule(
            "senders",
            "the network's members share the host's address",
            out,
        );
    }
    let loopback = Rule::new()
        .leaving_by(uplink)
        .source(IpNetwork::V4(LOOPBACK))
        .masquerade();
    all.rule(
        "senders",
        "127.0.0.1 is not a sender that can be answered",
        loopback,
    );
}

const LOOPBACK: Ipv4Network = Ipv4Network::new_checked(Ipv4Addr::new(127, 0, 0, 0), 8).unwrap();
