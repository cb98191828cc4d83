//! **How may a container reach `api.example` and nothing else?**
//!
//! *The kernel's idea.* A firewall knows addresses, not names. But the network's name server sees which addresses a name has
//! at the moment a member asks for it: it puts them into a set, with the name's own lifetime, *before* it answers. The
//! firewall lets through what is in the set.
//!
//! *Run it:* `sudo -E cargo run -p ampoule-net --features drivers --example 25_egress_by_domain`
//!
//! *Check it yourself:* `refused` counts what was dropped.
//!
//! *Try to escape:* knowing the address does not help before somebody asked for the name, and asking for another name of
//! the same address opens nothing. But two names at one address are one to a firewall: who may reach one, reaches both.
//!
//! The "host" and the "world", whose resolver says that everything is 203.0.113.9, are namespaces.

#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use ampoule_net::{Bridge, Driver, Endpoint, Namespace, Peer, Policy, Subnet, Traffic};
use anyhow::{Result, ensure};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// A query for the address of a name, and, with the address appended, an answer to it.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

fn resolver(socket: UdpSocket) {
    let mut buffer = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        let mut reply = buffer[..length].to_vec();
        (reply[2], reply[7]) = (0x81, 1);
        // A pointer to the name, A, IN, 60 seconds, four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 9]);
        let _ = socket.send_to(&reply, client);
    }
}

fn main() -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("ampoule-25-{}", std::process::id()));
    let mut wire = Bridge::new("wire");
    wire.directory(&scratch)
        .subnet(Subnet::new("203.0.113.0/24".parse()?));
    let wire = wire.create()?;
    let (world, host) = (Namespace::create()?, Arc::new(Namespace::create()?));
    let mut endpoint = Endpoint::new("world");
    let _world = wire
        .plan(
            endpoint
                .address("203.0.113.9".parse()?)
                .default_route(false),
        )?
        .attach(&world)?;
    let _host = wire
        .plan(Endpoint::new("host").default_route(false))?
        .attach(&host)?;
    host.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;
    let socket = world.run(|| UdpSocket::bind("203.0.113.9:53"))??;
    std::thread::spawn(move || resolver(socket));
    let _server = world.run(|| TcpListener::bind("203.0.113.9:443"))??;

    let mut policy = Policy::new();
    policy.allow(
        Peer::label("role", "agent"),
        Peer::Domain("api.example".into()),
        Traffic::tcp(443),
    );
    let mut config = Bridge::new("agents");
    config
        .directory(&scratch)
        .subnet(Subnet::new("10.25.0.0/24".parse()?));
    config
        .uplink(host)
        .resolvers([SocketAddr::from(([203, 0, 113, 9], 53))])
        .policy(policy);
    let network = config.create()?;
    let agent = Namespace::create()?;
    let attachment = network
        .plan(Endpoint::new("agent").label("role", "agent"))?
        .attach(&agent)?;

    let gateway = network.resolv_conf().servers[0];
    let resolve = |name: &str| -> Result<IpAddr> {
        let socket = agent.run(|| UdpSocket::bind("0.0.0.0:0"))??;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.send_to(&question(name), (gateway, 53))?;
        let mut reply = [0; 512];
        let length = socket.recv(&mut reply)?;
        let octets: [u8; 4] = reply[length - 4..length].try_into()?;
        Ok(octets.into())
    };
    let reaches = |port: u16| -> Result<bool> {
        let target = SocketAddr::from(([203, 0, 113, 9], port));
        Ok(agent
            .run(|| TcpStream::connect_timeout(&target, Duration::from_millis(400)))?
            .is_ok())
    };

    ensure!(!reaches(443)?, "nobody has asked for the name");
    println!("before any question: refused");
    println!("evil.example is {}", resolve("evil.example")?);
    ensure!(!reaches(443)?, "that name opens nothing");
    println!("after asking for evil.example: refused");
    println!("api.example is {}", resolve("api.example")?);
    ensure!(reaches(443)?);
    println!("after asking for api.example: connected");
    ensure!(!reaches(80)?, "another port");
    println!("refused: {} packets", network.refused()?);
    ensure!(network.refused()? >= 3);
    drop((attachment, network, wire));
    let _ = std::fs::remove_dir_all(&scratch);
    Ok(())
}
