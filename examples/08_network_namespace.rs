//! *What is a network of one's own?*
//!
//! **The kernel's idea.** A network namespace is a whole network stack: interfaces, addresses, routes, ports, packet filter,
//! abstract Unix sockets. A new one has a loopback interface that is down, and nothing else. A socket stays in the namespace
//! in which it was made; a thread can change its own.
//!
//! **Run it**: `cargo run --example 08_network_namespace`
//!
//! **Check it yourself**: `unshare --user --map-root-user --net sh -c 'cat /proc/net/dev; ping -c1 127.0.0.1'`
//!
//! **Try to escape**: through whatever is *not* a network: a Unix socket with a path in a shared directory, an open socket
//! that was passed in. A container with the host's network finds the host's abstract sockets as well (CVE-2020-15257).

#![allow(clippy::print_stdout, reason = "an example talks")]

mod stage;

use ampoule::namespaces::{Isolation, Namespaces};
use ampoule::net::Namespace;
use ampoule::plan::{Draft, Part};
use anyhow::Context;
use nix::sched::{CloneFlags, unshare};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::process::ExitCode;

fn main() -> ExitCode {
    stage::play(|_| {
        stage::may_make_namespaces()?;
        // Two services of the host.
        let service = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let name = UnixAddr::from_abstract_name(format!("example-{}", std::process::id()))?;
        let _listener = UnixListener::bind_addr(&name)?;
        let address = service.local_addr()?;
        shared(address, &name)?;
        bare(address, &name)?;
        with_loopback(address)?;
        plan()
    })
}

/// Broken: without a namespace of its own, everything that listens "locally" listens to the guest, too.
fn shared(address: SocketAddr, name: &UnixAddr) -> anyhow::Result<()> {
    println!("in the host's network: interfaces {:?}", interfaces()?);
    println!("  the host's service on {address}: {:?}", reach(address));
    assert_eq!(reach(address), Ok(()));
    assert!(UnixStream::connect_addr(name).is_ok());
    Ok(())
}

/// Fixed, and too much so: not even the guest reaches itself.
fn bare(address: SocketAddr, name: &UnixAddr) -> anyhow::Result<()> {
    let guest = || -> anyhow::Result<()> {
        // This thread only.
        unshare(CloneFlags::CLONE_NEWNET).context("unshare")?;
        println!("in a new network: interfaces {:?}", interfaces()?);
        println!("  {address}: {:?}", reach(address));
        assert_eq!(interfaces()?, ["lo"]);
        assert_eq!(reach(address), Err(ErrorKind::NetworkUnreachable));
        let unix = UnixStream::connect_addr(name).map_err(|error| error.kind());
        println!("  the host's abstract socket: {unix:?}");
        assert_eq!(unix.err(), Some(ErrorKind::ConnectionRefused));
        Ok(())
    };
    std::thread::scope(|scope| scope.spawn(guest).join().expect("the guest's thread"))
}

/// Fixed: with the loopback interface up, 127.0.0.1 is the guest itself, and all ports are free.
fn with_loopback(address: SocketAddr) -> anyhow::Result<()> {
    Namespace::create()?.run(|| {
        println!("with lo up: {address}: {:?}", reach(address));
        assert_eq!(reach(address), Err(ErrorKind::ConnectionRefused));
        let _own = TcpListener::bind(address).context("listen on the same port")?;
        println!("  after it listens there itself: {:?}", reach(address));
        assert_eq!(reach(address), Ok(()));
        Ok(())
    })?
}

/// The same as the steps of a container's start; a container's child makes them before it has given up its privileges.
fn plan() -> anyhow::Result<()> {
    let mut draft = Draft::new();
    Isolation::new()
        .unshare(Namespaces::CLONE_NEWNET)
        .loopback()
        .contribute(&mut draft)?;
    let plan = draft.finish()?.to_string();
    println!("\nas a plan:\n{plan}");
    assert!(plan.contains("CLONE_NEWNET") && plan.contains("IFF_UP"));
    Ok(())
}

fn reach(address: SocketAddr) -> Result<(), ErrorKind> {
    TcpStream::connect(address)
        .map(drop)
        .map_err(|error| error.kind())
}

/// The interfaces that this thread sees: two lines of headings, then one a line.
fn interfaces() -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let lines = text.lines().skip(2);
    let names = lines.filter_map(|line| line.split(':').next());
    Ok(names.map(|name| name.trim().to_string()).collect())
}
