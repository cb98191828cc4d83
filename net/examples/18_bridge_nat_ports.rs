//! **How does a container reach the world, and the world a container?**
//!
//! *The kernel's idea.* Nobody outside knows the way to a container's address, so on its way out a packet gets the host's
//! address instead (*masquerade*), and the kernel remembers the connection to undo that for the answers. A published port is
//! the reverse: what arrives at a port of the host gets the container's address as its destination.
//!
//! *Run it:* `sudo -E cargo run -p ampoule-net --features drivers --example 18_bridge_nat_ports`
//!
//! *Check it yourself:* all of it is one nftables table; with `nft` installed the example prints it. It has the flag
//! `owner`: kill this program with -9 at any point, and the kernel removes the table.
//!
//! *Try to escape:* what listens on the host's loopback alone is not reached by any of the host's addresses; the example
//! tries them.
//!
//! The "host" and the "world" are namespaces too: nothing here touches the machine's own network.

#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use ampoule_net::{Bridge, Driver, Endpoint, Namespace, Subnet};
use anyhow::{Result, ensure};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

fn main() -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("ampoule-18-{}", std::process::id()));
    // The wire between host and world is a network as well, whose members they are.
    let mut wire = Bridge::new("wire");
    wire.directory(&scratch)
        .subnet(Subnet::new("203.0.113.0/24".parse()?));
    let wire = wire.create()?;
    let join = |name: &str| -> Result<(Namespace, IpAddr, ampoule_net::Attachment)> {
        let namespace = Namespace::create()?;
        let end = wire
            .plan(Endpoint::new(name).default_route(false))?
            .attach(&namespace)?;
        let address = end.addresses()[0].ip();
        Ok((namespace, address, end))
    };
    let (world, world_address, _world_end) = join("world")?;
    let (host, host_address, _host_end) = join("host")?;
    let host = Arc::new(host);
    host.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;

    let mut config = Bridge::new("blue");
    config
        .directory(&scratch)
        .subnet(Subnet::new("10.18.0.0/24".parse()?))
        .uplink(Arc::clone(&host))
        .resolvers([]);
    let network = config.create()?;
    let container = Namespace::create()?;
    let attachment = network
        .plan(Endpoint::new("web").publish("8080:80".parse()?))?
        .attach(&container)?;

    // Outwards: the world sees the host's address.
    let server = world.run(|| TcpListener::bind("0.0.0.0:80"))??;
    let client = container.run(|| TcpStream::connect((world_address, 80)))??;
    let (_, seen) = server.accept()?;
    println!(
        "{} appears to the world as {}",
        client.local_addr()?.ip(),
        seen.ip()
    );
    ensure!(seen.ip() == host_address);

    // Inwards: a port of the host leads to the container, who sees the client's own address.
    let server = container.run(|| TcpListener::bind("0.0.0.0:80"))??;
    for (who, namespace, target) in [
        ("the world", &world, host_address),
        ("the host itself", &*host, "127.0.0.1".parse()?),
    ] {
        let mut client = namespace.run(|| TcpStream::connect((target, 8080)))??;
        let (mut accepted, from) = server.accept()?;
        accepted.write_all(b"welcome")?;
        drop(accepted);
        let mut text = String::new();
        client.read_to_string(&mut text)?;
        println!(
            "{who} reaches {target}:8080, is seen as {} and hears {text:?}",
            from.ip()
        );
        ensure!(text == "welcome");
    }

    // The host's loopback is out of reach from inside, also by the host's end of the uplink.
    let _secret = host.run(|| TcpListener::bind("127.0.0.1:6379"))??;
    for address in [host_address, "169.254.77.1".parse()?] {
        let target = (address, 6379).into();
        let attempt =
            container.run(|| TcpStream::connect_timeout(&target, Duration::from_millis(500)))?;
        ensure!(attempt.is_err());
        println!("the container tries {target}: {}", attempt.unwrap_err());
    }

    let rules = host.run(|| Command::new("nft").args(["list", "ruleset"]).output())?;
    if let Ok(rules) = rules {
        println!("\n{}", String::from_utf8_lossy(&rules.stdout));
    }
    drop((attachment, network));
    let _ = std::fs::remove_dir_all(&scratch);
    Ok(())
}
