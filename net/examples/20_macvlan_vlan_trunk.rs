//! **How do networks share one cable, and stay apart?**
//!
//! *The kernel's idea.* An 802.1Q sub-interface sends and hears only frames with its number (*VLAN tag*) on the parent's
//! wire. A *macvlan* is a station of its own on a wire, without a bridge. Together: yellow members are stations of VLAN 10,
//! blue ones of VLAN 20, and one cable carries both.
//!
//! *Run it:* `sudo -E cargo run -p ampoule-net --features drivers --example 20_macvlan_vlan_trunk`
//! (It needs the kernel's 8021q and macvlan.)
//!
//! *Check it yourself:* remove the two `vlan` calls, and yellow meets blue.
//!
//! *Try to escape:* a member cannot tag frames for the other VLAN: its own tag is put around whatever it sends.

#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use ampoule_net::{
    Attachment, Bridge, Driver, Endpoint, MacvlanMode, Namespace, Parent, ParentNetwork, Subnet,
};
use anyhow::{Result, ensure};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A VLAN on the machine's end of the cable.
fn trunk(
    machine: &Arc<Namespace>,
    name: &str,
    number: u16,
    scratch: &Path,
) -> Result<ParentNetwork> {
    let mut parent = Parent::macvlan(name, "eth0", MacvlanMode::Bridge);
    parent
        .host(Arc::clone(machine))
        .vlan(number)
        .directory(scratch)
        .subnet(Subnet::new("192.0.2.0/24".parse()?));
    Ok(parent.create()?)
}

fn member(network: &ParentNetwork, address: &str) -> Result<(Namespace, Attachment)> {
    let namespace = Namespace::create()?;
    let mut endpoint = Endpoint::new(address);
    let ready = network.plan(endpoint.address(address.parse()?).default_route(false))?;
    print!("{ready}");
    let attachment = ready.attach(&namespace)?;
    Ok((namespace, attachment))
}

fn reaches(from: &Namespace, address: &str) -> Result<bool> {
    let target = format!("{address}:80").parse()?;
    Ok(from
        .run(|| TcpStream::connect_timeout(&target, Duration::from_secs(2)))?
        .is_ok())
}

fn main() -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("ampoule-20-{}", std::process::id()));
    // Two machines and a cable between them, which are namespaces and a bridge.
    let mut cable = Bridge::new("cable");
    cable
        .directory(&scratch)
        .subnet(Subnet::new("203.0.113.0/24".parse()?));
    let cable = cable.create()?;
    let (left, right) = (
        Arc::new(Namespace::create()?),
        Arc::new(Namespace::create()?),
    );
    let _left = cable.plan(&Endpoint::new("left"))?.attach(&left)?;
    let _right = cable.plan(&Endpoint::new("right"))?.attach(&right)?;

    let yellow = [
        trunk(&left, "yellow", 10, &scratch.join("l"))?,
        trunk(&right, "yellow", 10, &scratch.join("r"))?,
    ];
    let blue = trunk(&right, "blue", 20, &scratch.join("r"))?;
    let one = member(&yellow[0], "192.0.2.11")?;
    let far = member(&yellow[1], "192.0.2.12")?;
    let other = member(&blue, "192.0.2.13")?;
    let listen = |(namespace, _): &(Namespace, Attachment)| {
        namespace.run(|| TcpListener::bind("0.0.0.0:80"))
    };
    let _servers = (listen(&far)??, listen(&other)??);

    ensure!(
        reaches(&one.0, "192.0.2.12")?,
        "yellow meets yellow over the cable"
    );
    println!("yellow on the left -> yellow on the right: yes");
    ensure!(!reaches(&one.0, "192.0.2.13")?, "and never blue");
    println!("yellow on the left -> blue on the right: never");
    drop((one, far, other, yellow, blue, cable));
    let _ = std::fs::remove_dir_all(&scratch);
    Ok(())
}
