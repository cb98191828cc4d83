//! **How do two network namespaces talk?**
//!
//! *The kernel's idea.* A network namespace has interfaces, routes and sockets of its own, and at first only a loopback. A
//! *veth* is a pair of Ethernet interfaces: what enters one comes out of the other, and the two may be in different
//! namespaces. A bridge is a switch: each cable's outer end is one of its ports.
//!
//! *Run it:* `sudo -E cargo run -p ampoule-net --features drivers --example 17_veth`
//!
//! *Check it yourself:* while it waits for Enter (with `WAIT=1`), look from the process's own view:
//! `sudo nsenter --net=/proc/<pid>/fd/<n> ip address`, where the fds are those that `ls -l /proc/<pid>/fd` shows as `net:`.
//!
//! *Try to escape:* a member's root may do as it likes with its own interface. It sees neither the bridge nor the machine's
//! interfaces; the last assertion looks.

#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use ampoule_net::{Bridge, Driver, Endpoint, Namespace, Subnet};
use anyhow::{Result, ensure};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("ampoule-17-{}", std::process::id()));
    let mut bridge = Bridge::new("blue");
    bridge
        .directory(&scratch)
        .subnet(Subnet::new("10.17.0.0/24".parse()?));
    let network = bridge.create()?;

    // Broken first: two namespaces that nobody has joined.
    let (left, right) = (Namespace::create()?, Namespace::create()?);
    let server = right.run(|| TcpListener::bind("0.0.0.0:80"))??;
    let alone = left.run(|| TcpStream::connect("10.17.0.3:80"))?;
    ensure!(alone.is_err(), "there is no way from one to the other");
    println!("alone: {}", alone.unwrap_err());

    // A plan says what it will do; attaching does it, in two sends to the kernel.
    let ready = network.plan(&Endpoint::new("left"))?;
    println!("\nthe plan for the left one:\n{ready}");
    let left_end = ready.attach(&left)?;
    let right_end = network.plan(&Endpoint::new("right"))?.attach(&right)?;

    let target = (right_end.addresses()[0].ip(), 80);
    let mut client = left.run(|| TcpStream::connect(target))??;
    client.write_all(b"hello")?;
    drop(client);
    let (mut heard, from) = server.accept()?;
    let mut text = String::new();
    heard.read_to_string(&mut text)?;
    println!("joined: {from} says {text:?}");
    ensure!(text == "hello" && from.ip() == left_end.addresses()[0].ip());

    let seen = left.run(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
    let interfaces: Vec<&str> = seen
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim()))
        .collect();
    println!("the left one sees {interfaces:?}");
    ensure!(
        interfaces == ["lo", "eth0"],
        "neither the bridge nor the machine's interfaces"
    );

    if std::env::var_os("WAIT").is_some() {
        println!("pid {}; Enter ends it", std::process::id());
        std::io::stdin().read_line(&mut String::new())?;
    }
    drop((left_end, right_end, network));
    fs::remove_dir_all(&scratch).or_else(|e| {
        if e.kind() == std::io::ErrorKind::NotFound {
            Ok(())
        } else {
            Err(e)
        }
    })?;
    Ok(())
}
