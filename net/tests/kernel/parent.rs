//! Members on the wire of an interface of the host.

use crate::lab::Lab;
use crate::scratch;
use crate::traffic::{echo, interfaces, ping};
use ampoule_net::{
    Attachment, Driver, Endpoint, ErrorKind, IpvlanMode, MacvlanMode, Namespace, Parent,
    ParentNetwork, Subnet,
};
use needs::needs;
use std::process::Command;

fn on(lab: &Lab, mut parent: Parent) -> ParentNetwork {
    let mut subnet = Subnet::new("203.0.113.0/24".parse().unwrap());
    subnet.range(
        "203.0.113.100".parse().unwrap(),
        "203.0.113.199".parse().unwrap(),
    );
    parent
        .host(lab.host.clone())
        .directory(scratch())
        .subnet(subnet)
        .create()
        .unwrap()
}

fn attach(network: &ParentNetwork) -> (Namespace, Attachment) {
    let namespace = Namespace::create().unwrap();
    let attachment = network
        .plan(&Endpoint::new("m"))
        .unwrap()
        .attach(&namespace)
        .unwrap();
    (namespace, attachment)
}

fn members_are_on_the_wire(lab: &Lab, parent: Parent, meet: bool) {
    let network = on(lab, parent);
    let (one, two) = (attach(&network), attach(&network));
    let address = two.1.addresses()[0].ip();
    for size in [56, 1472, 20_000] {
        assert!(
            ping(&one.0, "203.0.113.1".parse().unwrap(), size),
            "the world, {size} bytes"
        );
        assert_eq!(
            ping(&one.0, address, size),
            meet,
            "one another, {size} bytes"
        );
    }
    assert!(ping(&lab.world, address, 56), "the world reaches members");
    let text = vec![3; 200_000];
    assert_eq!(echo(&lab.world, &two.0, address, &text), text);
    two.1.detach().unwrap();
    assert_eq!(interfaces(&two.0), ["lo"]);
    assert_eq!(
        interfaces(&lab.host),
        ["lo", "out"],
        "the host has no more interfaces than before"
    );
}

needs!(root => macvlan_members_meet_or_not_by_mode);
fn macvlan_members_meet_or_not_by_mode() {
    for (mode, meet) in [
        (MacvlanMode::Bridge, true),
        (MacvlanMode::Private, false),
        (MacvlanMode::Vepa, false),
    ] {
        members_are_on_the_wire(&Lab::new(), Parent::macvlan("wire", "out", mode), meet);
    }
}

needs!(root => passthru_has_one_member);
fn passthru_has_one_member() {
    let lab = Lab::new();
    let network = on(&lab, Parent::macvlan("wire", "out", MacvlanMode::Passthru));
    let first = attach(&network);
    assert!(ping(&first.0, "203.0.113.1".parse().unwrap(), 56));
    let second = Namespace::create().unwrap();
    let error = network
        .plan(&Endpoint::new("late"))
        .unwrap()
        .attach(&second)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("make the macvlan eth0 on out"),
        "{error}"
    );
    assert_eq!(interfaces(&second), ["lo"]);
}

needs!(root => a_parent_that_is_not_there_is_named);
fn a_parent_that_is_not_there_is_named() {
    let lab = Lab::new();
    let mut parent = Parent::macvlan("wire", "eth7", MacvlanMode::Bridge);
    let error = parent
        .host(lab.host.clone())
        .directory(scratch())
        .create()
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::Missing, "there is no interface eth7".into())
    );
    let mut parent = Parent::macvlan("wire", "out", MacvlanMode::Bridge);
    let error = parent
        .host(lab.host.clone())
        .vlan(4095)
        .create()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the network \"wire\": the VLAN 4095 is not between 1 and 4094"
    );
}

needs!(root, no_ipvlan => a_driver_that_the_kernel_lacks_is_named);
fn a_driver_that_the_kernel_lacks_is_named() {
    let lab = Lab::new();
    let network = on(&lab, Parent::ipvlan("wire", "out", IpvlanMode::L2));
    let namespace = Namespace::create().unwrap();
    let error = network
        .plan(&Endpoint::new("m"))
        .unwrap()
        .attach(&namespace)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error
            .to_string()
            .ends_with("(this kernel has no ipvlan: modprobe ipvlan)"),
        "{error}"
    );
}

needs!(root, ipvlan => ipvlan_members_share_the_parents_address);
fn ipvlan_members_share_the_parents_address() {
    members_are_on_the_wire(
        &Lab::new(),
        Parent::ipvlan("wire", "out", IpvlanMode::L2),
        true,
    );
}

needs!(root, vlan => vlans_on_one_trunk_do_not_meet);
fn vlans_on_one_trunk_do_not_meet() {
    let lab = Lab::new();
    let trunk = |name: &str, number: u16| {
        let mut parent = Parent::macvlan(name, "out", MacvlanMode::Bridge);
        parent.vlan(number);
        on(&lab, parent)
    };
    let (yellow, blue) = (trunk("yellow", 10), trunk("blue", 20));
    let at = |network: &ParentNetwork, address: &str| {
        let namespace = Namespace::create().unwrap();
        let mut endpoint = Endpoint::new("m");
        let ready = network
            .plan(endpoint.address(address.parse().unwrap()))
            .unwrap();
        let attachment = ready.attach(&namespace).unwrap();
        (namespace, attachment)
    };
    let (one, two) = (at(&yellow, "203.0.113.110"), at(&yellow, "203.0.113.111"));
    let other = at(&blue, "203.0.113.112");
    assert!(ping(&one.0, "203.0.113.111".parse().unwrap(), 1400));
    assert!(!ping(&one.0, "203.0.113.112".parse().unwrap(), 56));
    drop(two);
    // The world has the other end of the trunk: only what is tagged as 10 is seen by its VLAN 10.
    crate::lab::ip(&lab.world, "link add link in name in.10 type vlan id 10");
    crate::lab::ip(&lab.world, "addr flush dev in");
    crate::lab::ip(&lab.world, "addr add 203.0.113.1/24 dev in.10");
    crate::lab::ip(&lab.world, "link set in.10 up");
    assert!(ping(&one.0, "203.0.113.1".parse().unwrap(), 1400));
    assert!(!ping(&other.0, "203.0.113.1".parse().unwrap(), 56));
    assert_eq!(
        interfaces(&lab.host),
        ["lo", "out"],
        "the sub-interfaces are the networks'"
    );
}

fn link(kind: &str) -> Result<(), String> {
    let scratch = Namespace::create().map_err(|e| e.to_string())?;
    let words = format!("link add link lo name probe0 type {kind}");
    let made = scratch.run(|| Command::new("ip").args(words.split(' ')).output());
    match made {
        Ok(Ok(output))
            if String::from_utf8_lossy(&output.stderr).contains("Unknown device type") =>
        {
            Err(format!("the kernel has no {kind}"))
        }
        Ok(Ok(_)) => Ok(()),
        _ => Err("ip is not installed".into()),
    }
}

fn ipvlan() -> Result<(), String> {
    link("ipvlan")
}

fn no_ipvlan() -> Result<(), String> {
    match ipvlan() {
        Ok(()) => Err("the kernel has ipvlan".into()),
        Err(_) => Ok(()),
    }
}

fn vlan() -> Result<(), String> {
    link("vlan id 5").map_err(|_| "the kernel has no 802.1Q".into())
}

needs!(root => a_member_may_have_its_parents_name);
fn a_member_may_have_its_parents_name() {
    let lab = Lab::new();
    let network = on(&lab, Parent::macvlan("wire", "out", MacvlanMode::Bridge));
    let namespace = Namespace::create().unwrap();
    let attachment = network
        .plan(Endpoint::new("m").interface("out"))
        .unwrap()
        .attach(&namespace)
        .unwrap();
    assert!(ping(&namespace, "203.0.113.1".parse().unwrap(), 56));
    assert_eq!(interfaces(&namespace), ["lo", "out"]);
    // A name that the namespace has already is refused, and what has it stays.
    let error = network
        .plan(Endpoint::new("n").interface("out"))
        .unwrap()
        .attach(&namespace)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("call the interface out: File exists"),
        "{error}"
    );
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while interfaces(&namespace).len() > 2 {
        assert!(std::time::Instant::now() < deadline, "something is left");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(ping(&namespace, "203.0.113.1".parse().unwrap(), 56));
    assert!(attachment.counters().unwrap().sent.packets >= 2);
}
