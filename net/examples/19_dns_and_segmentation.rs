//! **How do two workers use one database, and never meet?**
//!
//! *The kernel's idea.* Ports of a bridge can be *isolated*: frames between two isolated ports are dropped. Then every
//! packet between members must pass the network's router, and the router has a firewall. Each member is one element of a
//! set, so a thousand workers are still one rule.
//!
//! *Run it:* `sudo -E cargo run -p ampoule-net --features drivers --example 19_dns_and_segmentation`
//!
//! *Check it yourself:* add `Peer::label("role", "worker")` as a second receiver and see the last assertion fail.
//!
//! *Try to escape:* a worker's root may claim that the other's address is on its own wire. Isolated ports do not hear one
//! another, so the claim leads nowhere; the example tries.

#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use ampoule_net::{Attachment, Bridge, Driver, Endpoint, Namespace, Peer, Policy, Subnet, Traffic};
use anyhow::{Result, ensure};
use std::io::Write;
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

struct Member {
    namespace: Namespace,
    attachment: Attachment,
}

impl Member {
    fn address(&self) -> IpAddr {
        self.attachment.addresses()[0].ip()
    }

    fn reaches(&self, target: IpAddr, port: u16) -> Result<bool> {
        let connect =
            || TcpStream::connect_timeout(&(target, port).into(), Duration::from_millis(500));
        Ok(self
            .namespace
            .run(connect)?
            .is_ok_and(|mut stream| stream.write_all(b"hello").is_ok()))
    }

    /// Asks the network's name server, as any program inside would.
    fn resolve(&self, server: IpAddr, name: &str) -> Result<IpAddr> {
        let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8];
        query.extend(name.bytes().chain([0, 0, 1, 0, 1]));
        let socket = self.namespace.run(|| UdpSocket::bind("0.0.0.0:0"))??;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.send_to(&query, (server, 53))?;
        let mut reply = [0; 512];
        let length = socket.recv(&mut reply)?;
        // The one address is the last thing in the answer.
        let octets: [u8; 4] = reply[length - 4..length].try_into()?;
        Ok(octets.into())
    }
}

fn main() -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("ampoule-19-{}", std::process::id()));
    let mut policy = Policy::new();
    policy.allow(
        Peer::label("role", "worker"),
        Peer::label("role", "db"),
        Traffic::tcp(5432),
    );
    let mut config = Bridge::new("backend");
    config
        .directory(&scratch)
        .subnet(Subnet::new("10.19.0.0/24".parse()?))
        .policy(policy);
    let network = config.create()?;

    let join = |name: &str, role: &str| -> Result<Member> {
        let namespace = Namespace::create()?;
        let attachment = network
            .plan(Endpoint::new(name).name(name).label("role", role))?
            .attach(&namespace)?;
        Ok(Member {
            namespace,
            attachment,
        })
    };
    let (w1, w2, db) = (
        join("w1", "worker")?,
        join("w2", "worker")?,
        join("db", "db")?,
    );
    let listen = |member: &Member| member.namespace.run(|| TcpListener::bind("0.0.0.0:5432"));
    let _servers = (listen(&w1)??, listen(&w2)??, listen(&db)??);

    let server = network.resolv_conf().servers[0];
    for (name, worker) in [("w1", &w1), ("w2", &w2)] {
        let found = worker.resolve(server, "db")?;
        println!("{name} finds db at {found}");
        ensure!(found == db.address());
        ensure!(
            worker.reaches(found, 5432)?,
            "the database is there for {name}"
        );
        println!("{name} -> db: yes");
    }
    ensure!(!w1.reaches(w2.address(), 5432)? && !w2.reaches(w1.address(), 5432)?);
    println!("w1 -> w2: never");
    ensure!(!db.reaches(w1.address(), 5432)?);
    println!("db -> w1: never, although w1 -> db is allowed: answers are, beginnings are not");

    // w1's root puts the whole subnet on its own wire.
    let straight = || {
        Command::new("ip")
            .args(["route", "replace", "10.19.0.0/24", "dev", "eth0"])
            .status()
    };
    if w1
        .namespace
        .run(straight)?
        .is_ok_and(|status| status.success())
    {
        ensure!(!w1.reaches(w2.address(), 5432)?);
        println!("w1 -> w2 without the gateway: never");
    }
    println!("refused so far: {} packets", network.refused()?);
    ensure!(network.refused()? > 0);
    drop((w1, w2, db, network));
    let _ = std::fs::remove_dir_all(&scratch);
    Ok(())
}
