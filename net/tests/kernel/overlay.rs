//! One network over two hosts, which are namespaces joined by a wire.

use crate::bridge::{Station, bridge};
use crate::lab::Lab;
use crate::traffic::{echo, ping};
use ampoule_net::{Endpoint, ErrorKind, Namespace, Network, Overlay};
use needs::needs;
use std::net::IpAddr;
use std::sync::Arc;

struct Host {
    network: Network,
    address: IpAddr,
}

/// The lab's two namespaces as hosts of one network; each has a station.
fn hosts(v6: bool) -> (Lab, [Host; 2], [Station; 2]) {
    let lab = Lab::new();
    let world = Arc::new(lab.world.try_clone().unwrap());
    let wires = if v6 {
        ["2001:db8::2", "2001:db8::1"]
    } else {
        ["203.0.113.2", "203.0.113.1"]
    };
    let host = |namespace: &Arc<Namespace>, address: &str| {
        let address: IpAddr = address.parse().unwrap();
        let mut config = bridge("wide", &["10.5.0.0/16", "fd00:5::/64"]);
        config
            .mtu(1430)
            .overlay(Overlay::new(4711, address, Arc::clone(namespace)));
        Host {
            network: config.create().unwrap(),
            address,
        }
    };
    let hosts = [host(&lab.host, wires[0]), host(&world, wires[1])];
    hosts[0].network.add_host(hosts[1].address).unwrap();
    hosts[1].network.add_host(hosts[0].address).unwrap();
    let station = |host: &Host, v4: &str, v6: &str| {
        let mut endpoint = Endpoint::new("s");
        Station::attach(
            &host.network,
            endpoint
                .address(v4.parse().unwrap())
                .address(v6.parse().unwrap()),
        )
    };
    let stations = [
        station(&hosts[0], "10.5.1.1", "fd00:5::1:1"),
        station(&hosts[1], "10.5.2.1", "fd00:5::2:1"),
    ];
    (lab, hosts, stations)
}

needs!(root => stations_on_two_hosts_are_in_one_network);
fn stations_on_two_hosts_are_in_one_network() {
    for over_v6 in [false, true] {
        let (_lab, _hosts, [one, two]) = hosts(over_v6);
        for address in [two.v4(), two.v6()] {
            crate::traffic::wait_until_asked_for(&two.namespace, address);
            for size in [56, 1380, 10_000] {
                assert!(
                    ping(&one.namespace, address, size),
                    "{address} with {size} bytes"
                );
            }
            let text = vec![9; 500_000];
            assert_eq!(echo(&one.namespace, &two.namespace, address, &text), text);
        }
    }
}

needs!(root => a_known_member_needs_no_flooding);
fn a_known_member_needs_no_flooding() {
    let (_lab, [near, far], [one, two]) = hosts(false);
    near.network.remove_host(far.address).unwrap();
    far.network.remove_host(near.address).unwrap();
    assert!(
        !ping(&one.namespace, two.v4(), 56),
        "nobody knows where it is"
    );
    let know = |host: &Host, station: &Station, at: IpAddr| {
        let attachment = &station.attachment;
        host.network
            .add_member(attachment.mac().unwrap(), attachment.addresses(), at)
            .unwrap();
    };
    know(&near, &two, far.address);
    know(&far, &one, near.address);
    // The question of before is repeated once a second.
    assert!((0..5).any(|_| ping(&one.namespace, two.v4(), 1000)));
    let attachment = &two.attachment;
    near.network
        .remove_member(
            attachment.mac().unwrap(),
            attachment.addresses(),
            far.address,
        )
        .unwrap();
    assert!(!ping(&one.namespace, two.v4(), 56));
}

needs!(root => an_overlay_that_cannot_be_is_refused);
fn an_overlay_that_cannot_be_is_refused() {
    let lab = Lab::new();
    let overlay = |number| Overlay::new(number, "203.0.113.2".parse().unwrap(), lab.host.clone());
    let error = bridge("far", &["10.5.0.0/16"])
        .overlay(overlay(1 << 24))
        .create()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("the VXLAN identifier 16777216 is not between 1 and 16777215"),
        "{error}"
    );
    let network = bridge("far", &["10.5.0.0/16"])
        .overlay(overlay(7))
        .create()
        .unwrap();
    let error = bridge("far2", &["10.6.0.0/16"])
        .overlay(overlay(7))
        .create()
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (
            ErrorKind::Taken,
            "the VXLAN identifier 7 is in use on this host".into()
        )
    );
    let error = network
        .add_host("2001:db8::1".parse().unwrap())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the host 2001:db8::1 cannot be reached from 203.0.113.2"
    );
    let error = bridge("near", &["10.7.0.0/16"])
        .create()
        .unwrap()
        .add_host("192.0.2.1".parse().unwrap())
        .unwrap_err();
    assert_eq!(error.to_string(), "the network \"near\" is no overlay");
}
