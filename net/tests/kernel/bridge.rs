//! A bridge network: reachability, addresses, limits, and that nothing is left.

use crate::traffic::{can_connect, echo, ping};
use ampoule_net::{
    Attachment, Bridge, Driver, Endpoint, ErrorKind, Mac, Namespace, Network, Peer, Policy, Subnet,
    Traffic,
};
use needs::needs;
use std::collections::HashSet;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

const V4: &str = "10.5.0.0/24";
const V6: &str = "fd00:5::/64";

/// A network of its own directory, so that tests do not share leases.
pub fn bridge(name: &str, subnets: &[&str]) -> Bridge {
    let mut bridge = Bridge::new(name);
    bridge.directory(crate::scratch());
    for subnet in subnets {
        bridge.subnet(Subnet::new(subnet.parse().unwrap()));
    }
    bridge
}

pub struct Station {
    pub namespace: Namespace,
    pub attachment: Attachment,
}

impl Station {
    pub fn attach(network: &Network, endpoint: &Endpoint) -> Station {
        let namespace = Namespace::create().unwrap();
        let attachment = network.plan(endpoint).unwrap().attach(&namespace).unwrap();
        Station {
            namespace,
            attachment,
        }
    }

    pub fn new(network: &Network, name: &str) -> Station {
        Station::attach(network, &Endpoint::new(name))
    }

    pub fn v4(&self) -> IpAddr {
        self.attachment
            .addresses()
            .iter()
            .map(|a| a.ip())
            .find(IpAddr::is_ipv4)
            .unwrap()
    }

    pub fn v6(&self) -> IpAddr {
        self.attachment
            .addresses()
            .iter()
            .map(|a| a.ip())
            .find(IpAddr::is_ipv6)
            .unwrap()
    }
}

needs!(root => stations_reach_one_another_and_the_gateway);
fn stations_reach_one_another_and_the_gateway() {
    let network = bridge("blue", &[V4, V6]).create().unwrap();
    let (a, b) = (Station::new(&network, "a"), Station::new(&network, "b"));
    for target in [
        b.v4(),
        b.v6(),
        "10.5.0.1".parse().unwrap(),
        "fd00:5::1".parse().unwrap(),
    ] {
        for size in [56, 1400, 20_000] {
            assert!(
                ping(&a.namespace, target, size),
                "{target} with {size} bytes"
            );
        }
    }
    for target in [b.v4(), b.v6()] {
        let text = vec![7; 300_000];
        assert_eq!(echo(&a.namespace, &b.namespace, target, &text), text);
    }
}

needs!(root => isolated_stations_reach_the_gateway_only);
fn isolated_stations_reach_the_gateway_only() {
    let network = bridge("apart", &["10.5.0.0/16"])
        .isolated(true)
        .create()
        .unwrap();
    let at = |address: &str| {
        Station::attach(
            &network,
            Endpoint::new("x").address(address.parse().unwrap()),
        )
    };
    // The last is on another of the switch's bridges.
    let (a, b, far) = (at("10.5.0.10"), at("10.5.0.11"), at("10.5.9.9"));
    for station in [&a, &b, &far] {
        assert!(ping(&station.namespace, "10.5.0.1".parse().unwrap(), 56));
    }
    for (from, to) in [(&a, &b), (&a, &far), (&far, &b)] {
        assert!(
            !ping(&from.namespace, to.v4(), 56),
            "{} reached {}",
            from.v4(),
            to.v4()
        );
    }
}

needs!(root => stations_on_different_bridges_are_in_one_network);
fn stations_on_different_bridges_are_in_one_network() {
    let network = bridge("wide", &["10.5.0.0/16"]).create().unwrap();
    let at = |address: &str| {
        Station::attach(
            &network,
            Endpoint::new("x").address(address.parse().unwrap()),
        )
    };
    let stations: Vec<Station> = ["10.5.0.10", "10.5.1.10", "10.5.7.10"].map(at).into();
    for from in &stations {
        assert!(ping(&from.namespace, "10.5.0.1".parse().unwrap(), 56));
        for to in &stations {
            assert!(
                ping(&from.namespace, to.v4(), 1472),
                "{} to {}",
                from.v4(),
                to.v4()
            );
        }
    }
}

needs!(root => networks_do_not_share_anything);
fn networks_do_not_share_anything() {
    let networks = ["one", "two"].map(|name| bridge(name, &[V4]).create().unwrap());
    let stations = networks.each_ref().map(|network| {
        Station::attach(
            network,
            Endpoint::new("x").address("10.5.0.9".parse().unwrap()),
        )
    });
    // The same address twice, and neither sees the other's server.
    let server = stations[0]
        .namespace
        .run(|| std::net::TcpListener::bind("10.5.0.9:80"))
        .unwrap();
    let third = Station::new(&networks[1], "y");
    assert!(!can_connect(&third.namespace, "10.5.0.9:80"));
    let third = Station::new(&networks[0], "y");
    assert!(can_connect(&third.namespace, "10.5.0.9:80"));
    drop(server);
}

needs!(root => an_endpoint_gets_what_it_asks_for);
fn an_endpoint_gets_what_it_asks_for() {
    let network = bridge("asked", &[V4, V6]).mtu(1400).create().unwrap();
    let mac: Mac = "02:00:00:00:12:34".parse().unwrap();
    let mut endpoint = Endpoint::new("asks");
    endpoint
        .interface("net7")
        .address("10.5.0.77".parse().unwrap())
        .mac(mac);
    let ready = network.plan(&endpoint).unwrap();
    let text = ready.to_string();
    assert!(text.starts_with(
        "make a veth pair: p77 in the network \"asked\", net7 in the namespace, 02:00:00:00:12:34, mtu 1400\n\
         give net7 the address 10.5.0.77/24\ngive net7 the address fd00:5::"
    ), "{text}");
    assert!(text.ends_with(
        "switch net7 on\nknow 10.5.0.1 on net7 as 02:42:0a:05:00:01\nknow fd00:5::1 on net7 as 02:42:0a:05:00:01\nsend everything else by 10.5.0.1 on net7\nsend everything else by fd00:5::1 on net7\n"
    ), "{text}");
    let namespace = Namespace::create().unwrap();
    let attachment = ready.attach(&namespace).unwrap();
    assert_eq!(
        (attachment.interface(), attachment.mac()),
        ("net7", Some(mac))
    );
    let shown = crate::traffic::output(&namespace, "ip", &["-oneline", "addr", "show", "net7"]);
    assert!(
        shown.contains("inet 10.5.0.77/24 brd 10.5.0.255"),
        "{shown}"
    );
    let shown = crate::traffic::output(&namespace, "ip", &["link", "show", "net7"]);
    assert!(
        shown.contains("mtu 1400") && shown.contains("02:00:00:00:12:34"),
        "{shown}"
    );
}

needs!(root => a_namespace_may_be_in_several_networks);
fn a_namespace_may_be_in_several_networks() {
    let front = bridge("front", &["10.1.0.0/24"]).create().unwrap();
    let back = bridge("back", &["10.2.0.0/24"]).create().unwrap();
    let web = Station::new(&front, "web");
    let mut second = Endpoint::new("web");
    second.interface("eth1").default_route(false);
    let in_back = back.plan(&second).unwrap().attach(&web.namespace).unwrap();
    let db = Station::new(&back, "db");
    let client = Station::new(&front, "client");
    assert!(ping(&client.namespace, web.v4(), 56));
    assert!(ping(&web.namespace, db.v4(), 56));
    assert!(ping(&db.namespace, in_back.addresses()[0].ip(), 56));
    assert!(
        !ping(&client.namespace, db.v4(), 56),
        "a member of both networks is no router"
    );
}

needs!(root => detaching_frees_interface_and_address);
fn detaching_frees_interface_and_address() {
    let network = bridge("brief", &["10.5.0.0/30"]).create().unwrap();
    let station = Station::new(&network, "first");
    let error = network.plan(&Endpoint::new("second")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert_eq!(error.to_string(), "every address of 10.5.0.0/30 is taken");
    let Station {
        namespace,
        attachment,
    } = station;
    attachment.detach().unwrap();
    assert_eq!(crate::traffic::interfaces(&namespace), ["lo"]);
    // And once more, off the path.
    let attachment = network
        .plan(&Endpoint::new("second"))
        .unwrap()
        .attach(&namespace)
        .unwrap();
    drop(attachment);
    let deadline = Instant::now() + Duration::from_secs(10);
    while network.plan(&Endpoint::new("third")).is_err() {
        assert!(Instant::now() < deadline, "the address never became free");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(crate::traffic::interfaces(&namespace), ["lo"]);
}

needs!(root => an_address_is_usable_again_while_its_last_namespace_is_torn_down);
fn an_address_is_usable_again_while_its_last_namespace_is_torn_down() {
    let network = bridge("reuse", &[V4]).create().unwrap();
    let witness = Station::new(&network, "witness");
    let mut endpoint = Endpoint::new("again");
    endpoint.address("10.5.0.50".parse().unwrap());
    for _ in 0..10 {
        let Station {
            namespace,
            attachment,
        } = Station::attach(&network, &endpoint);
        assert!(ping(&witness.namespace, "10.5.0.50".parse().unwrap(), 56));
        drop(namespace);
        attachment.detach().unwrap();
    }
}

needs!(root => a_failed_attach_leaves_nothing);
fn a_failed_attach_leaves_nothing() {
    let network = bridge("failing", &[V4]).create().unwrap();
    let station = Station::new(&network, "first");
    let mut endpoint = Endpoint::new("second");
    endpoint.address("10.5.0.200".parse().unwrap());
    // The namespace has an eth0 already.
    let error = network
        .plan(&endpoint)
        .unwrap()
        .attach(&station.namespace)
        .unwrap_err();
    assert!(error.to_string().starts_with("make a veth pair"), "{error}");
    let error = Namespace::open("/proc/self/ns/uts").unwrap();
    let error = network.plan(&endpoint).unwrap().attach(&error).unwrap_err();
    assert!(error.to_string().contains("Invalid argument"), "{error}");
    // The interface is there, but has a default route already.
    endpoint.interface("eth1");
    let error = network
        .plan(&endpoint)
        .unwrap()
        .attach(&station.namespace)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("send everything else by 10.5.0.1 on eth1: File exists"),
        "{error}"
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while crate::traffic::interfaces(&station.namespace).len() > 2
        || network.plan(&endpoint).is_err()
    {
        assert!(Instant::now() < deadline, "something is left");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(
        crate::traffic::interfaces(&station.namespace),
        ["lo", "eth0"]
    );
}

needs!(root => addresses_are_refused_by_name);
fn addresses_are_refused_by_name() {
    let network = bridge("strict", &[V4]).create().unwrap();
    let holder = Station::new(&network, "web-1");
    let refused = |address: &str| {
        let error = network
            .plan(Endpoint::new("x").address(address.parse().unwrap()))
            .unwrap_err();
        (error.kind(), error.to_string())
    };
    let (kind, text) = refused(&holder.v4().to_string());
    assert_eq!(
        (kind, text),
        (
            ErrorKind::Taken,
            format!("the address {} belongs to web-1", holder.v4())
        )
    );
    assert_eq!(
        refused("10.9.0.1"),
        (
            ErrorKind::Invalid,
            "the address 10.9.0.1 is in no subnet of the network \"strict\"".into()
        )
    );
    for reserved in ["10.5.0.0", "10.5.0.1", "10.5.0.255"] {
        assert_eq!(
            refused(reserved),
            (
                ErrorKind::Invalid,
                format!("the address {reserved} of 10.5.0.0/24 is reserved")
            )
        );
    }
}

needs!(root => a_bad_configuration_is_told_at_once_and_whole);
fn a_bad_configuration_is_told_at_once_and_whole() {
    let mut config = bridge("a/b", &["10.5.0.0/31", "fd00::/64"]);
    let error = config.mtu(600).create().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "the network \"a/b\": the subnet 10.5.0.0/31 has no room: its prefix is longer than /30; \
         the interface name \"a/b\" has a character that is not allowed; the mtu 600 is not between 1280 and 65535"
    );
    let mut subnet = Subnet::new("10.5.0.0/24".parse().unwrap());
    subnet.range("10.5.0.20".parse().unwrap(), "10.5.0.10".parse().unwrap());
    let error = bridge("r", &[]).subnet(subnet).create().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the range 10.5.0.20-10.5.0.10 is reversed"),
        "{error}"
    );
}

needs!(root => a_thousand_stations);
fn a_thousand_stations() {
    let network = bridge("crowd", &["10.5.0.0/16"]).create().unwrap();
    let stations: Vec<Station> = (0..1000)
        .map(|i| Station::new(&network, &format!("s{i}")))
        .collect();
    let distinct: HashSet<IpAddr> = stations.iter().map(Station::v4).collect();
    assert_eq!(distinct.len(), 1000);
    for (from, to) in [(0, 999), (500, 17), (999, 64)] {
        assert!(ping(&stations[from].namespace, stations[to].v4(), 56));
    }
}

needs!(root, linux_6_9 => the_first_packet_arrives);
fn the_first_packet_arrives() {
    let network = bridge("prompt", &[V4, V6]).create().unwrap();
    let server = Station::new(&network, "server");
    crate::traffic::wait_until_asked_for(&server.namespace, server.v6());
    for target in [server.v4(), server.v6()] {
        let socket = server
            .namespace
            .run(|| UdpSocket::bind((target, 7)))
            .unwrap()
            .unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        for _ in 0..10 {
            let client = Station::new(&network, "client");
            // One datagram: nobody sends it again, and the first question for a neighbour's address is repeated after 1 s.
            let sender = client.namespace.run(|| {
                UdpSocket::bind(if target.is_ipv4() {
                    "0.0.0.0:0"
                } else {
                    "[::]:0"
                })
            });
            sender
                .unwrap()
                .unwrap()
                .send_to(b"now", (target, 7))
                .unwrap();
            let received = socket.recv(&mut [0; 8]);
            assert!(matches!(received, Ok(3)), "to {target}: {received:?}");
        }
    }
}

/// Where asking for a device lets its carrier take effect.
fn linux_6_9() -> Result<(), String> {
    needs::kernel((6, 9))
}

needs!(root => a_pool_of_members_is_attached_before_it_is_asked_for);
fn a_pool_of_members_is_attached_before_it_is_asked_for() {
    let mut policy = Policy::new();
    policy.allow(
        Peer::label("role", "client"),
        Peer::label("role", "web"),
        Traffic::Any,
    );
    let network = Arc::new(bridge("ready", &[V4]).policy(policy).create().unwrap());
    let pool = network.pool(3).unwrap();
    assert!(pool.wait_full(Duration::from_secs(10)));
    let (mut web, mut client) = (pool.take().unwrap(), pool.take().unwrap());
    assert_eq!(pool.stats().hits, 2);
    let address = web.attachment.addresses()[0].ip();
    assert!(
        !ping(&client.namespace, address, 56),
        "nobody's member is allowed nothing"
    );
    network
        .assign(
            &mut web.attachment,
            Endpoint::new("web-1").name("web").label("role", "web"),
        )
        .unwrap();
    network
        .assign(
            &mut client.attachment,
            Endpoint::new("client").label("role", "client"),
        )
        .unwrap();
    assert!(ping(&client.namespace, address, 56));
    assert_eq!(network.names().addresses("web"), Some(vec![address]));
    let error = network
        .assign(&mut web.attachment, Endpoint::new("w").address(address))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"w\" asks for an address, but has one already"
    );
    drop((web, client));
    assert_eq!(network.names().addresses("web"), None);
}

needs!(root => an_attachment_counts_what_passes);
fn an_attachment_counts_what_passes() {
    let network = bridge("count", &[V4]).create().unwrap();
    let (a, b) = (Station::new(&network, "a"), Station::new(&network, "b"));
    let before = (
        a.attachment.counters().unwrap(),
        b.attachment.counters().unwrap(),
    );
    let text = vec![1; 1_000_000];
    assert_eq!(echo(&a.namespace, &b.namespace, b.v4(), &text), text);
    let after = (
        a.attachment.counters().unwrap(),
        b.attachment.counters().unwrap(),
    );
    for (before, after) in [(before.0, after.0), (before.1, after.1)] {
        assert!(
            after.sent.bytes - before.sent.bytes > 1_000_000,
            "{after:?}"
        );
        assert!(
            after.received.bytes - before.received.bytes > 1_000_000,
            "{after:?}"
        );
    }
    let udp = a
        .namespace
        .run(|| UdpSocket::bind("0.0.0.0:0"))
        .unwrap()
        .unwrap();
    (0..100).for_each(|_| drop(udp.send_to(&[0; 1000], (b.v4(), 9))));
    let later = a.attachment.counters().unwrap();
    assert!(later.sent.packets - after.0.sent.packets >= 100);
    assert!(
        later.received.bytes - after.0.received.bytes < 50_000,
        "{later:?}"
    );
}
