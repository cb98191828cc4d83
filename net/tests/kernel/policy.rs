//! Who may talk to whom: workers and their database, the world by name, and what is refused.

use crate::bridge::{Station, bridge};
use crate::lab::{Lab, ip};
use crate::names::{ask, resolver};
use crate::traffic::{can_connect, ping, wait_until_asked_for};
use ampoule_net::{Endpoint, Network, Peer, Policy, Traffic};
use needs::needs;
use simple_dns::TYPE;
use std::net::{IpAddr, TcpListener};

fn member(network: &Network, role: &str) -> Station {
    Station::attach(network, Endpoint::new(role).name(role).label("role", role))
}

fn workers_and_db() -> Policy {
    let mut policy = Policy::new();
    let (worker, db) = (
        || Peer::label("role", "worker"),
        || Peer::label("role", "db"),
    );
    policy.allow(worker(), db(), Traffic::tcp(5432));
    policy
}

/// Listeners on both families, for as long as they are held.
fn listen(station: &Station, port: u16) -> Vec<TcpListener> {
    let bind = || TcpListener::bind(("::", port));
    vec![station.namespace.run(bind).unwrap().unwrap()]
}

needs!(root => workers_share_a_database_and_never_meet);
fn workers_share_a_database_and_never_meet() {
    let network = bridge("seg", &["10.5.0.0/24", "fd00:5::/64"])
        .policy(workers_and_db())
        .create()
        .unwrap();
    let (w1, w2, db) = (
        member(&network, "worker"),
        member(&network, "worker"),
        member(&network, "db"),
    );
    let _listening = (
        listen(&w1, 5432),
        listen(&w2, 5432),
        listen(&db, 5432),
        listen(&db, 22),
    );
    for station in [&w1, &w2, &db] {
        wait_until_asked_for(&station.namespace, station.v6());
    }
    let both = |to: &Station, port: u16| {
        [
            format!("{}:{port}", to.v4()),
            format!("[{}]:{port}", to.v6()),
        ]
    };
    for worker in [&w1, &w2] {
        for address in both(&db, 5432) {
            assert!(can_connect(&worker.namespace, &address), "{address}");
        }
        assert!(
            !can_connect(&worker.namespace, &both(&db, 22)[0]),
            "another port"
        );
        assert!(
            ping(&worker.namespace, "10.5.0.1".parse().unwrap(), 56),
            "the gateway"
        );
        assert_eq!(
            ask(&worker.namespace, "10.5.0.1:53", "db", TYPE::A),
            Ok(vec![db.v4()]),
            "its name server"
        );
    }
    let before = network.refused().unwrap();
    for (from, to) in [(&w1, &w2), (&w2, &w1), (&db, &w1)] {
        for address in both(to, 5432) {
            assert!(!can_connect(&from.namespace, &address), "{address}");
        }
        assert!(!ping(&from.namespace, to.v4(), 56));
    }
    assert!(
        network.refused().unwrap() >= before + 9,
        "{before} {}",
        network.refused().unwrap()
    );
}

needs!(root => a_members_root_finds_no_way_around);
fn a_members_root_finds_no_way_around() {
    let network = bridge("root", &["10.5.0.0/24"])
        .policy(workers_and_db())
        .create()
        .unwrap();
    let (w1, w2, db) = (
        member(&network, "worker"),
        member(&network, "worker"),
        member(&network, "db"),
    );
    let _listening = listen(&w2, 5432);
    // Straight to the neighbour, as if the subnet were on the wire.
    ip(&w1.namespace, "route replace 10.5.0.0/24 dev eth0");
    let target = format!("{}:5432", w2.v4());
    assert!(!can_connect(&w1.namespace, &target));
    let mac = w2.attachment.mac().unwrap();
    ip(
        &w1.namespace,
        &format!("neigh replace {} lladdr {mac} dev eth0", w2.v4()),
    );
    assert!(!can_connect(&w1.namespace, &target));
    // Under the database's address.
    let _listening = listen(&db, 5432);
    ip(&w1.namespace, &format!("addr add {}/32 dev eth0", db.v4()));
    ip(
        &w1.namespace,
        &format!("route replace {} via 10.5.0.1 src {}", w2.v4(), db.v4()),
    );
    assert!(!can_connect(&w1.namespace, &target));
}

needs!(root => a_member_that_leaves_takes_its_permissions_along);
fn a_member_that_leaves_takes_its_permissions_along() {
    let network = bridge("leave", &["10.5.0.0/24"])
        .policy(workers_and_db())
        .create()
        .unwrap();
    let db = member(&network, "db");
    let _listening = listen(&db, 5432);
    let mut worker = Endpoint::new("w");
    worker
        .address("10.5.0.77".parse().unwrap())
        .label("role", "worker");
    let first = Station::attach(&network, &worker);
    let target = format!("{}:5432", db.v4());
    assert!(can_connect(&first.namespace, &target));
    first.attachment.detach().unwrap();
    let stranger = Station::attach(
        &network,
        Endpoint::new("s").address("10.5.0.77".parse().unwrap()),
    );
    assert!(!can_connect(&stranger.namespace, &target));
}

needs!(root => the_world_is_open_by_name_only);
fn the_world_is_open_by_name_only() {
    let lab = Lab::new();
    let _asked = resolver(&lab);
    // The resolver says that every name below `example` is 192.0.2.7.
    ip(&lab.world, "addr add 192.0.2.7/32 dev in");
    ip(&lab.world, "addr add 192.0.2.8/32 dev in");
    ip(&lab.host, "route add 192.0.2.0/24 via 203.0.113.1");
    let _server = lab
        .world
        .run(|| TcpListener::bind("0.0.0.0:443"))
        .unwrap()
        .unwrap();
    let mut policy = Policy::new();
    policy.allow(
        Peer::label("role", "worker"),
        Peer::Domain("*.good.example".into()),
        Traffic::tcp(443),
    );
    let network = bridge("egress", &["10.5.0.0/24"])
        .uplink(lab.host.clone())
        .resolvers(["203.0.113.1:53".parse().unwrap()])
        .policy(policy)
        .create()
        .unwrap();
    let worker = member(&network, "worker");
    let stranger = member(&network, "stranger");
    assert!(
        !can_connect(&worker.namespace, "192.0.2.7:443"),
        "not before it is asked for"
    );
    let address: IpAddr = "192.0.2.7".parse().unwrap();
    assert_eq!(
        ask(
            &worker.namespace,
            "10.5.0.1:53",
            "www.evil.example",
            TYPE::A
        ),
        Ok(vec![address])
    );
    assert!(
        !can_connect(&worker.namespace, "192.0.2.7:443"),
        "another name opens nothing"
    );
    assert_eq!(
        ask(
            &worker.namespace,
            "10.5.0.1:53",
            "api.good.example",
            TYPE::A
        ),
        Ok(vec![address])
    );
    assert!(can_connect(&worker.namespace, "192.0.2.7:443"));
    assert!(
        !can_connect(&worker.namespace, "192.0.2.8:443")
            && !can_connect(&stranger.namespace, "192.0.2.7:443")
    );
    assert!(network.refused().unwrap() > 0);
}

needs!(root => what_is_published_still_needs_a_rule);
fn what_is_published_still_needs_a_rule() {
    let lab = Lab::new();
    let mut policy = Policy::new();
    policy.allow(Peer::Anyone, Peer::label("role", "web"), Traffic::tcp(80));
    let network = bridge("front", &["10.5.0.0/24"])
        .uplink(lab.host.clone())
        .policy(policy)
        .create()
        .unwrap();
    let publishing = |role: &str, port: &str| {
        Station::attach(
            &network,
            Endpoint::new(role)
                .label("role", role)
                .publish(port.parse().unwrap()),
        )
    };
    let (web, db) = (publishing("web", "8080:80"), publishing("db", "8081:80"));
    let _listening = (listen(&web, 80), listen(&db, 80));
    assert!(can_connect(&lab.world, "203.0.113.2:8080"));
    assert!(!can_connect(&lab.world, "203.0.113.2:8081"));
    assert!(
        !can_connect(&web.namespace, "203.0.113.1:80"),
        "and the way out is shut"
    );
}
