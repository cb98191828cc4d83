//! The way out of a network and the ports that lead in, and that a killed owner leaves neither.

use crate::bridge::{Station, bridge};
use crate::lab::Lab;
use crate::traffic::{can_connect, interfaces, output, ping};
use ampoule_net::{Driver, Endpoint, ErrorKind, Namespace, Network, Protocol, Publish};
use needs::needs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const V4: &str = "10.5.0.0/24";
const V6: &str = "fd00:5::/64";

fn network(name: &str, subnets: &[&str], lab: &Lab) -> Network {
    bridge(name, subnets)
        .uplink(Arc::clone(&lab.host))
        .create()
        .unwrap()
}

fn publishing(ports: &[&str]) -> Endpoint {
    let mut endpoint = Endpoint::new("web-1");
    for port in ports {
        endpoint.publish(port.parse().unwrap());
    }
    endpoint
}

/// A server in a namespace that tells each client the address it sees.
fn serve(namespace: &Namespace, address: &str) -> SocketAddr {
    let server = namespace
        .run(|| TcpListener::bind(address))
        .unwrap()
        .unwrap();
    let bound = server.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in server.incoming().flatten().take(64) {
            let mut stream: TcpStream = stream;
            let _ = writeln!(stream, "{}", stream.peer_addr().unwrap().ip());
        }
    });
    bound
}

/// The address as which a client appears at a server.
fn seen_from(namespace: &Namespace, target: &str) -> Option<IpAddr> {
    let target: SocketAddr = target.parse().unwrap();
    let connect = || TcpStream::connect_timeout(&target, Duration::from_secs(1));
    let mut stream = namespace.run(connect).unwrap().ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let address: IpAddr = text.trim().parse().ok()?;
    Some(address.to_canonical())
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

needs!(root => members_share_the_hosts_address_outside);
fn members_share_the_hosts_address_outside() {
    let lab = Lab::new();
    let network = network("out", &[V4, V6], &lab);
    let station = Station::new(&network, "a");
    for world in ["203.0.113.1", "2001:db8::1"] {
        for size in [56, 1400, 10_000] {
            assert!(
                ping(&station.namespace, world.parse().unwrap(), size),
                "{world} with {size} bytes"
            );
        }
    }
    serve(&lab.world, "[::]:80");
    assert_eq!(
        seen_from(&station.namespace, "203.0.113.1:80"),
        address("203.0.113.2")
    );
    assert_eq!(
        seen_from(&station.namespace, "[2001:db8::1]:80"),
        address("2001:db8::2")
    );
    assert!(
        ping(&lab.host, station.v4(), 56) && ping(&lab.host, station.v6(), 56),
        "the host reaches its networks"
    );
    assert!(
        !ping(&lab.world, station.v4(), 56),
        "the world has no way in"
    );
}

needs!(root => an_internal_network_has_no_way_out);
fn an_internal_network_has_no_way_out() {
    let lab = Lab::new();
    let network = bridge("inner", &[V4]).create().unwrap();
    let station = Station::new(&network, "a");
    assert!(!ping(
        &station.namespace,
        "203.0.113.1".parse().unwrap(),
        56
    ));
    assert_eq!(interfaces(&lab.host), ["lo", "out"]);
    let error = network.plan(&publishing(&["80"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ports are published, but the network \"inner\" has no way out"
    );
}

needs!(root => networks_do_not_reach_one_another_but_for_what_is_published);
fn networks_do_not_reach_one_another_but_for_what_is_published() {
    let lab = Lab::new();
    let (red, blue) = (
        network("red", &["10.1.0.0/24"], &lab),
        network("blue", &["10.2.0.0/24"], &lab),
    );
    let inside = Station::new(&red, "a");
    let other = Station::attach(&blue, &publishing(&["8080:80"]));
    serve(&other.namespace, "0.0.0.0:80");
    assert!(!ping(&inside.namespace, other.v4(), 56) && !ping(&other.namespace, inside.v4(), 56));
    assert!(!can_connect(
        &inside.namespace,
        &format!("{}:80", other.v4())
    ));
    assert!(seen_from(&inside.namespace, "203.0.113.2:8080").is_some());
}

needs!(root => published_ports_are_reached_from_everywhere);
fn published_ports_are_reached_from_everywhere() {
    let lab = Lab::new();
    let network = network("web", &[V4, V6], &lab);
    let station = Station::attach(
        &network,
        &publishing(&["8080:80", "127.0.0.1:9090:80", "9000-9002:80-82"]),
    );
    serve(&station.namespace, "[::]:80");
    serve(&station.namespace, "[::]:82");
    let world = &lab.world;
    assert_eq!(
        seen_from(world, "203.0.113.2:8080"),
        address("203.0.113.1"),
        "the client's address is kept"
    );
    assert_eq!(
        seen_from(world, "[2001:db8::2]:8080"),
        address("2001:db8::1"),
        "also in IPv6"
    );
    assert!(
        seen_from(world, "203.0.113.2:9002").is_some() && !can_connect(world, "203.0.113.2:9001")
    );
    assert!(
        !can_connect(world, "203.0.113.2:9090"),
        "this port is the loopback's"
    );
    for own in [
        "127.0.0.1:8080",
        "127.0.0.1:9090",
        "203.0.113.2:8080",
        "[2001:db8::2]:8080",
    ] {
        assert!(
            seen_from(&lab.host, own).is_some(),
            "the host reaches {own}"
        );
    }
    let neighbour = Station::new(&network, "b");
    for from in [&neighbour.namespace, &station.namespace] {
        assert!(
            seen_from(from, "203.0.113.2:8080").is_some(),
            "a member, the server included, reaches the host's port"
        );
    }
    drop(station.attachment.detach());
    assert!(
        !can_connect(world, "203.0.113.2:8080"),
        "gone with the attachment"
    );
}

needs!(root => udp_ports_and_random_ones);
fn udp_ports_and_random_ones() {
    let lab = Lab::new();
    let network = network("dns", &[V4], &lab);
    let station = Station::attach(&network, &publishing(&["5300:53/udp", "53/udp"]));
    let ports = station.attachment.ports();
    assert_eq!(
        (ports[0].0, ports[0].1.port(), ports[0].2),
        (Protocol::Udp, 5300, 53)
    );
    assert!(ports[1].1.port() >= 1024, "{ports:?}");
    let server = station
        .namespace
        .run(|| UdpSocket::bind("0.0.0.0:53"))
        .unwrap()
        .unwrap();
    server
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    for port in [5300, ports[1].1.port()] {
        let client = lab
            .world
            .run(|| UdpSocket::bind("0.0.0.0:0"))
            .unwrap()
            .unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        client.send_to(b"question", ("203.0.113.2", port)).unwrap();
        let mut buffer = [0; 16];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&buffer[..length], from).unwrap();
        assert_eq!(
            client.recv_from(&mut buffer).unwrap(),
            (8, format!("203.0.113.2:{port}").parse().unwrap())
        );
    }
}

needs!(root, nft => the_hosts_loopback_stays_its_own);
fn the_hosts_loopback_stays_its_own() {
    let lab = Lab::new();
    let network = network("wall", &[V4], &lab);
    // Publishing on the loopback opens the uplink for such addresses.
    let station = Station::attach(&network, &publishing(&["127.0.0.1:8080:80"]));
    let _victim = lab
        .host
        .run(|| TcpListener::bind("127.0.0.1:6379"))
        .unwrap()
        .unwrap();
    assert!(!can_connect(&station.namespace, "169.254.77.1:6379"));
    // Worse than any member can: the network's own router sends to the host's 127.0.0.1.
    let router = network.namespace();
    for command in [
        "route del local 127.0.0.1 dev lo table local",
        "route del local 127.0.0.0/8 dev lo table local",
        "route add 127.0.0.1/32 via 169.254.77.1 dev uplink onlink src 169.254.77.2",
    ] {
        crate::lab::ip(router, command);
    }
    router
        .run(|| std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1"))
        .unwrap()
        .unwrap();
    assert!(!can_connect(router, "127.0.0.1:6379"));
    let rules = output(&lab.host, "nft", &["list", "ruleset"]);
    let dropped = rules
        .lines()
        .find(|line| line.contains("the host's loopback is its own"))
        .unwrap();
    assert!(
        !dropped.contains("packets 0 "),
        "it was this rule that dropped them: {dropped}"
    );
}

needs!(root => a_taken_port_is_refused_by_name);
fn a_taken_port_is_refused_by_name() {
    let lab = Lab::new();
    let network = network("taken", &[V4], &lab);
    let holder = Station::attach(&network, &publishing(&["8080:80"]));
    let refused = |port: &str| {
        let mut endpoint = Endpoint::new("late");
        let error = network
            .plan(endpoint.publish(port.parse().unwrap()))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Taken);
        error.to_string()
    };
    assert_eq!(
        refused("8080:80"),
        "the tcp port 0.0.0.0:8080 of the host belongs to web-1"
    );
    assert_eq!(
        refused("127.0.0.1:8080:80"),
        "the tcp port 127.0.0.1:8080 of the host belongs to web-1"
    );
    let program = lab
        .host
        .run(|| TcpListener::bind("127.0.0.1:9999"))
        .unwrap()
        .unwrap();
    let text = refused("9999:80");
    assert!(
        text.ends_with(&format!(" (process {})", std::process::id())),
        "{text}"
    );
    drop((holder, program));
}

needs!(root => what_the_host_has_already_is_refused);
fn what_the_host_has_already_is_refused() {
    let lab = Lab::new();
    let error = bridge("same", &["203.0.113.128/25"])
        .uplink(lab.host.clone())
        .create()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Taken);
    assert!(
        error
            .to_string()
            .starts_with("the subnet 203.0.113.128/25 overlaps the host's route to 203.0.113.0/24"),
        "{error}"
    );
    let _first = network("same", &[V4], &lab);
    let error = bridge("same", &["10.6.0.0/24"])
        .uplink(lab.host.clone())
        .create()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the network \"same\" exists: there is an interface am-same"
    );
    let error = bridge("other", &[V4])
        .uplink(lab.host.clone())
        .create()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("overlaps the host's route to 10.5.0.0/24"),
        "{error}"
    );
    lab.host
        .run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "0"))
        .unwrap()
        .unwrap();
    let error = bridge("third", &["10.7.0.0/24"])
        .uplink(lab.host.clone())
        .create()
        .unwrap_err();
    assert!(
        error.to_string().contains("(sysctl net.ipv4.ip_forward=1"),
        "{error}"
    );
}

needs!(root, nft => the_rules_are_what_nft_reads);
fn the_rules_are_what_nft_reads() {
    let lab = Lab::new();
    let network = network("read", &[V4, V6], &lab);
    let _station = Station::attach(&network, &publishing(&["8080:80", "127.0.0.1:53:53/udp"]));
    let rules = output(&lab.host, "nft", &["list", "ruleset"]);
    let table = format!("table inet ampoule-read-{}-", std::process::id());
    for expected in [
        table.as_str(),
        "flags owner",
        "type nat hook prerouting priority dstnat; policy accept;",
        "type nat hook postrouting priority srcnat; policy accept;",
        "fib daddr type local jump ports comment \"ports of this host\"",
        "type inet_proto . inet_service : ipv4_addr . inet_service",
        "tcp . 8080 : 10.5.0.",
        "elements = { 127.0.0.1 . udp . 53 : 10.5.0.",
        "ip saddr 10.5.0.0/24 masquerade",
        "ip6 saddr fd00:5::/64 masquerade",
        "ip daddr 127.0.0.0/8 counter packets 0 bytes 0 drop",
        "oifname \"am-*\" counter packets 0 bytes 0 drop",
    ] {
        assert!(rules.contains(expected), "{expected}\nis not in\n{rules}");
    }
}

fn nft() -> Result<(), String> {
    needs::program("nft")
}

needs!(root => rules_of_others_stay);
fn rules_of_others_stay() {
    let lab = Lab::new();
    let foreign =
        "table ip filter {\nchain FORWARD {\ntype filter hook forward priority 0\ncounter\n}\n}";
    let before = lab
        .host
        .run(|| Command::new("nft").arg(foreign).status())
        .unwrap();
    assert!(before.unwrap().success());
    let listing = || output(&lab.host, "nft", &["list", "table", "ip", "filter"]);
    let before = listing();
    let network = network("beside", &[V4], &lab);
    let station = Station::attach(&network, &publishing(&["8080:80"]));
    drop((station, network));
    assert_eq!(listing(), before);
}

/// The process that the tests below kill: it owns a network with a station and a published port.
#[allow(clippy::print_stdout, reason = "its parent listens")]
pub fn own_a_network(host: &str, directory: &str) {
    let host = Arc::new(Namespace::open(host).unwrap());
    println!("begin");
    let mut bridge = ampoule_net::Bridge::new("doomed");
    bridge
        .directory(directory)
        .subnet(ampoule_net::Subnet::new(V4.parse().unwrap()));
    let network = bridge.uplink(host).create().unwrap();
    let mut endpoint = publishing(&["8080:80"]);
    let station = Station::attach(&network, endpoint.address("10.5.0.9".parse().unwrap()));
    println!("attached");
    let _ = std::io::stdin().read(&mut [0]);
    drop(station);
}

fn owner(lab: &Lab, directory: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let host = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        lab.host.as_fd().as_raw_fd()
    );
    let mut owner = Command::new(std::env::current_exe().unwrap());
    owner
        .env("AMPOULE_NET_OWNER", host)
        .env("AMPOULE_NET_DIRECTORY", directory);
    let mut owner = owner
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(owner.stdout.take().unwrap());
    (owner, output)
}

fn line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim().to_string()
}

/// Waits until the host is as it was; the kernel takes namespaces back in the background.
fn wait_clean(lab: &Lab) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left = (
            interfaces(&lab.host),
            output(&lab.host, "nft", &["list", "ruleset"]),
        );
        if left.0 == ["lo", "out"] && left.1.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{left:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    let routes = output(&lab.host, "ip", &["route"]);
    assert!(!routes.contains("10.5.0"), "{routes}");
}

needs!(root, nft => a_killed_owner_leaves_nothing_at_any_step);
fn a_killed_owner_leaves_nothing_at_any_step() {
    let lab = Lab::new();
    let directory = crate::scratch();
    let directory = directory.to_str().unwrap();
    // Whole, then killed at ever later points of its way.
    let (mut whole, mut said) = owner(&lab, directory);
    assert_eq!(
        (line(&mut said), line(&mut said)),
        ("begin".into(), "attached".into())
    );
    assert_eq!(interfaces(&lab.host), ["lo", "out", "am-doomed"]);
    assert!(!output(&lab.host, "nft", &["list", "ruleset"]).is_empty());
    whole.kill().unwrap();
    whole.wait().unwrap();
    wait_clean(&lab);
    for step in 0..30 {
        let (mut owner, mut said) = owner(&lab, directory);
        assert_eq!(line(&mut said), "begin");
        std::thread::sleep(Duration::from_micros(200 * step));
        owner.kill().unwrap();
        owner.wait().unwrap();
        wait_clean(&lab);
    }
    // The address, the port and the name are free again.
    let mut again = ampoule_net::Bridge::new("doomed");
    again
        .directory(directory)
        .subnet(ampoule_net::Subnet::new(V4.parse().unwrap()));
    let again = again.uplink(lab.host.clone()).create().unwrap();
    let mut endpoint = publishing(&["8080:80"]);
    let station = Station::attach(&again, endpoint.address("10.5.0.9".parse().unwrap()));
    serve(&station.namespace, "0.0.0.0:80");
    assert!(seen_from(&lab.world, "203.0.113.2:8080").is_some());
}

needs!(root => two_processes_race_for_an_address_and_a_port);
fn two_processes_race_for_an_address_and_a_port() {
    let lab = Lab::new();
    let directory = crate::scratch();
    let directory = directory.to_str().unwrap();
    let (mut first, mut said) = owner(&lab, directory);
    assert_eq!(
        (line(&mut said), line(&mut said)),
        ("begin".into(), "attached".into())
    );
    let mut bridge = ampoule_net::Bridge::new("doomed");
    bridge
        .directory(directory)
        .subnet(ampoule_net::Subnet::new(V4.parse().unwrap()));
    // The same network's leases, seen from another process.
    let network = bridge.create().unwrap();
    let mut endpoint = Endpoint::new("rival");
    let error = network
        .plan(endpoint.address("10.5.0.9".parse().unwrap()))
        .unwrap_err();
    assert_eq!(error.to_string(), "the address 10.5.0.9 belongs to web-1");
    let mut other = ampoule_net::Bridge::new("other");
    other
        .directory(directory)
        .subnet(ampoule_net::Subnet::new("10.6.0.0/24".parse().unwrap()));
    let other = other.uplink(lab.host.clone()).create().unwrap();
    let error = other.plan(&publishing(&["8080:80"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the tcp port 0.0.0.0:8080 of the host belongs to web-1"
    );
    first.kill().unwrap();
    first.wait().unwrap();
    // A dead owner's are free at once.
    let mut endpoint = Endpoint::new("rival");
    drop(
        network
            .plan(endpoint.address("10.5.0.9".parse().unwrap()))
            .unwrap(),
    );
    drop(other.plan(&publishing(&["8080:80"])).unwrap());
}

needs!(root => ten_thousand_published_ports);
fn ten_thousand_published_ports() {
    let lab = Lab::new();
    let network = network("many", &[V4], &lab);
    let mut endpoint = Endpoint::new("many");
    let ports: Publish = "20000-29999:20000-29999".parse().unwrap();
    let station = Station::attach(&network, endpoint.publish(ports));
    serve(&station.namespace, "0.0.0.0:20000");
    serve(&station.namespace, "0.0.0.0:29999");
    for port in [20000, 29999] {
        assert!(seen_from(&lab.world, &format!("203.0.113.2:{port}")).is_some());
    }
    let start = Instant::now();
    let one_more = Station::attach(&network, &publishing(&["8080:80"]));
    let took = start.elapsed();
    serve(&one_more.namespace, "0.0.0.0:80");
    assert!(seen_from(&lab.world, "203.0.113.2:8080").is_some());
    assert!(took < Duration::from_millis(200), "{took:?}");
}
