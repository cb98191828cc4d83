//! **How are containers on two machines in one network?**
//!
//! *The kernel's idea.* VXLAN (RFC 7348) puts whole Ethernet frames into UDP packets. To its bridge the tunnel is one more
//! port; to the network between the hosts it is just UDP. Which member is on which host is *told*, not learned from packets
//! that anybody could send.
//!
//! *Run it:* `sudo -E cargo run -p ampoule-net --features drivers --example 22_overlay_two_hosts`
//!
//! *Check it yourself:* the example captures the wire between the hosts and finds the members' words in it: VXLAN hides
//! nothing.
//!
//! *Try to escape:* a member that is not told of is not reached; the first connection shows it.
//!
//! The two "hosts" are namespaces joined by a wire.

#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use ampoule_net::{Attachment, Bridge, Driver, Endpoint, Namespace, Network, Overlay, Subnet};
use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

struct Host {
    namespace: Arc<Namespace>,
    address: IpAddr,
    network: Network,
    member: Namespace,
    end: Attachment,
    _wire: Attachment,
}

fn host(wire: &Network, name: &str, member: &str, scratch: &Path) -> Result<Host> {
    let namespace = Arc::new(Namespace::create()?);
    let end = wire
        .plan(Endpoint::new(name).default_route(false))?
        .attach(&namespace)?;
    let address = end.addresses()[0].ip();
    let mut config = Bridge::new("wide");
    config
        .directory(scratch.join(name))
        .subnet(Subnet::new("10.22.0.0/16".parse()?));
    // 50 bytes of each packet are the tunnel's.
    config
        .mtu(1450)
        .overlay(Overlay::new(22, address, Arc::clone(&namespace)));
    let network = config.create()?;
    let inside = Namespace::create()?;
    let attached = network
        .plan(Endpoint::new("member").address(member.parse()?))?
        .attach(&inside)?;
    Ok(Host {
        namespace,
        address,
        network,
        member: inside,
        end: attached,
        _wire: end,
    })
}

fn connect(from: &Host, to: &Host) -> Result<std::io::Result<TcpStream>> {
    let target = (to.end.addresses()[0].ip(), 80).into();
    Ok(from
        .member
        .run(|| TcpStream::connect_timeout(&target, Duration::from_secs(2)))?)
}

fn tell(network: &Network, other: &Host) -> Result<()> {
    network.add_host(other.address)?;
    let mac = other
        .end
        .mac()
        .context("a veth has an address of its own")?;
    Ok(network.add_member(mac, other.end.addresses(), other.address)?)
}

fn main() -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("ampoule-22-{}", std::process::id()));
    let mut wire = Bridge::new("wire");
    wire.directory(&scratch)
        .subnet(Subnet::new("203.0.113.0/24".parse()?));
    let wire = wire.create()?;
    let (one, two) = (
        host(&wire, "one", "10.22.1.1", &scratch)?,
        host(&wire, "two", "10.22.2.1", &scratch)?,
    );
    let server = two.member.run(|| TcpListener::bind("0.0.0.0:80"))??;

    let untold = connect(&one, &two)?;
    ensure!(untold.is_err(), "nobody said where the member is");
    println!(
        "before the hosts know of one another: {}",
        untold.unwrap_err()
    );

    tell(&one.network, &two)?;
    tell(&two.network, &one)?;
    let capture = capture(&two.namespace)?;
    let mut client = connect(&one, &two)?.context("connect over the tunnel")?;
    let (_open, from) = server.accept()?;
    println!(
        "a member on host {} reaches one on host {} as {}",
        one.address,
        two.address,
        from.ip()
    );
    ensure!(
        from.ip() == one.end.addresses()[0].ip(),
        "no translation between"
    );

    if let Some(mut capture) = capture {
        // The capture ends by itself once it has seen enough.
        for _ in 0..50 {
            client.write_all(b"words-of-a-member")?;
            std::thread::sleep(Duration::from_millis(20));
            if capture.try_wait()?.is_some() {
                break;
            }
        }
        let _ = capture.kill();
        let seen = capture.wait_with_output()?.stdout;
        let clear = seen
            .windows(17)
            .any(|window| window == b"words-of-a-member");
        println!("the wire shows the members' words: {clear}");
        ensure!(clear);
    }
    drop((one, two, wire));
    let _ = std::fs::remove_dir_all(&scratch);
    Ok(())
}

/// Ten of the tunnel's packets as they pass a host, if tcpdump is installed.
fn capture(host: &Namespace) -> Result<Option<Child>> {
    let mut tcpdump = Command::new("tcpdump");
    tcpdump.args([
        "-i", "eth0", "-c", "12", "-U", "-w", "-", "udp", "port", "4789",
    ]);
    tcpdump.stdout(Stdio::piped()).stderr(Stdio::null());
    let child = host.run(|| tcpdump.spawn())?.ok();
    std::thread::sleep(Duration::from_millis(300));
    Ok(child)
}
