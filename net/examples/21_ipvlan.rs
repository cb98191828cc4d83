//! **What if the switch allows only one hardware address a port?**
//!
//! *The kernel's idea.* An *ipvlan* member shares its parent's hardware address; the kernel tells members apart by their IP
//! address. To the switch, the machine and all its containers are one station.
//!
//! *Run it:* `sudo -E cargo run -p ampoule-net --features drivers --example 21_ipvlan` (It needs the kernel's ipvlan.)
//!
//! *Check it yourself:* the two hardware addresses that are printed are the same.
//!
//! *Try to escape:* a member that takes another's address gets `EADDRINUSE` from the kernel, not the other's packets: the
//! example tries.

#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use ampoule_net::{Attachment, Bridge, Driver, Endpoint, IpvlanMode, Namespace, Parent, Subnet};
use anyhow::{Result, ensure};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

fn hardware_address(namespace: &Namespace) -> Result<String> {
    let show = || {
        Command::new("ip")
            .args(["-oneline", "link", "show", "dev", "eth0"])
            .output()
    };
    let line = String::from_utf8(namespace.run(show)??.stdout)?;
    Ok(line
        .split("link/ether ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_default()
        .to_string())
}

fn main() -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("ampoule-21-{}", std::process::id()));
    let mut wire = Bridge::new("wire");
    wire.directory(&scratch)
        .subnet(Subnet::new("203.0.113.0/24".parse()?));
    let wire = wire.create()?;
    let (machine, world) = (Arc::new(Namespace::create()?), Namespace::create()?);
    let _machine = wire.plan(&Endpoint::new("machine"))?.attach(&machine)?;
    let world_end = wire.plan(&Endpoint::new("world"))?.attach(&world)?;

    let mut parent = Parent::ipvlan("shared", "eth0", IpvlanMode::L2);
    parent
        .host(Arc::clone(&machine))
        .directory(&scratch)
        .subnet(Subnet::new("203.0.113.0/24".parse()?));
    let network = parent.create()?;
    let member = |address: &str| -> Result<(Namespace, Attachment)> {
        let namespace = Namespace::create()?;
        let mut endpoint = Endpoint::new(address);
        let attachment = network
            .plan(endpoint.address(address.parse()?).default_route(false))?
            .attach(&namespace)?;
        Ok((namespace, attachment))
    };
    let (one, two) = (member("203.0.113.201")?, member("203.0.113.202")?);

    let addresses = (hardware_address(&machine)?, hardware_address(&one.0)?);
    println!("the machine is {}, its member {}", addresses.0, addresses.1);
    ensure!(addresses.0 == addresses.1 && !addresses.0.is_empty());

    let server = world.run(|| TcpListener::bind("0.0.0.0:80"))??;
    let target = (world_end.addresses()[0].ip(), 80).into();
    let client = one
        .0
        .run(|| TcpStream::connect_timeout(&target, Duration::from_secs(3)))??;
    ensure!(
        server.accept()?.1 == client.local_addr()?,
        "the world sees the member's own address"
    );
    println!("the world sees the member as {}", client.local_addr()?.ip());

    let steal = || {
        Command::new("ip")
            .args(["addr", "add", "203.0.113.201/32", "dev", "eth0"])
            .output()
    };
    let stolen = two.0.run(steal)??;
    println!(
        "the other member takes that address: {}",
        String::from_utf8_lossy(&stolen.stderr).trim()
    );
    ensure!(!stolen.status.success());
    drop((one, two, network, wire));
    let _ = std::fs::remove_dir_all(&scratch);
    Ok(())
}
