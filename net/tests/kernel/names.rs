//! Names are found by members, also while others come and go, and the world's by the host's resolvers.

use crate::bridge::{Station, bridge};
use crate::lab::Lab;
use ampoule_net::{Driver, Endpoint, ErrorKind, Namespace, Protocol};
use needs::needs;
use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn query(name: &str, kind: TYPE, id: u16) -> Vec<u8> {
    let mut packet = Packet::new_query(id);
    packet.questions.push(Question::new(
        Name::new(name).unwrap(),
        QTYPE::TYPE(kind),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().unwrap()
}

fn read(reply: &[u8]) -> Result<Vec<IpAddr>, RCODE> {
    let reply = Packet::parse(reply).unwrap();
    if reply.rcode() != RCODE::NoError {
        return Err(reply.rcode());
    }
    let address = |record: &ResourceRecord<'_>| match &record.rdata {
        RData::A(a) => Some(IpAddr::from(Ipv4Addr::from(a.address))),
        RData::AAAA(a) => Some(IpAddr::from(std::net::Ipv6Addr::from(a.address))),
        _ => None,
    };
    Ok(reply.answers.iter().filter_map(address).collect())
}

pub fn ask(from: &Namespace, server: &str, name: &str, kind: TYPE) -> Result<Vec<IpAddr>, RCODE> {
    let server: SocketAddr = server.parse().unwrap();
    let any = if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = from.run(|| UdpSocket::bind(any)).unwrap().unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    socket.send_to(&query(name, kind, 77), server).unwrap();
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..2], [0, 77]);
    read(&buffer[..length])
}

fn ask_by_tcp(from: &Namespace, server: &str, name: &str) -> Result<Vec<IpAddr>, RCODE> {
    let server: SocketAddr = server.parse().unwrap();
    let mut stream = from
        .run(|| TcpStream::connect_timeout(&server, Duration::from_secs(5)))
        .unwrap()
        .unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let query = query(name, TYPE::A, 78);
    stream
        .write_all(&(query.len() as u16).to_be_bytes())
        .unwrap();
    stream.write_all(&query).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut reply = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut reply).unwrap();
    read(&reply)
}

/// A resolver of the world, who counts how often it is asked: every name below `example` is 192.0.2.7 for a minute.
pub fn resolver(lab: &Lab) -> Arc<AtomicU32> {
    let udp = lab
        .world
        .run(|| UdpSocket::bind("203.0.113.1:53"))
        .unwrap()
        .unwrap();
    let tcp = lab
        .world
        .run(|| TcpListener::bind("203.0.113.1:53"))
        .unwrap()
        .unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let reply = |query: &[u8]| {
        let query = Packet::parse(query).unwrap();
        let question = query.questions[0].clone();
        let mut reply = Packet::new_reply(query.id());
        if question.qname.to_string().ends_with("example") {
            let data = RData::A(A::from(Ipv4Addr::new(192, 0, 2, 7)));
            reply.answers.push(ResourceRecord::new(
                question.qname.clone(),
                CLASS::IN,
                60,
                data,
            ));
        } else {
            *reply.rcode_mut() = RCODE::NameError;
        }
        reply.questions.push(question);
        reply.build_bytes_vec().unwrap()
    };
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, client)) = udp.recv_from(&mut buffer) {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut forged = reply(&buffer[..length]);
            forged[0] ^= 0xff;
            udp.send_to(&forged, client).unwrap();
            udp.send_to(&reply(&buffer[..length]), client).unwrap();
        }
    });
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut query).unwrap();
            let reply = reply(&query);
            stream
                .write_all(&(reply.len() as u16).to_be_bytes())
                .unwrap();
            stream.write_all(&reply).unwrap();
        }
    });
    asked
}

needs!(root => members_find_one_another);
fn members_find_one_another() {
    let network = bridge("blue", &["10.5.0.0/24", "fd00:5::/64"])
        .create()
        .unwrap();
    let mut endpoint = Endpoint::new("db");
    endpoint
        .name("db")
        .name("database")
        .named_port("sql", Protocol::Tcp, 5432);
    let db = Station::attach(&network, &endpoint);
    let client = Station::new(&network, "client");
    for name in ["db", "database", "DB.blue"] {
        assert_eq!(
            ask(&client.namespace, "10.5.0.1:53", name, TYPE::A),
            Ok(vec![db.v4()]),
            "{name}"
        );
        assert_eq!(
            ask(&client.namespace, "[fd00:5::1]:53", name, TYPE::AAAA),
            Ok(vec![db.v6()]),
            "{name}"
        );
        assert_eq!(
            ask_by_tcp(&client.namespace, "10.5.0.1:53", name),
            Ok(vec![db.v4()]),
            "{name}"
        );
    }
    assert_eq!(
        ask(&client.namespace, "10.5.0.1:53", "nobody", TYPE::A),
        Err(RCODE::NameError)
    );
    assert_eq!(
        ask(&client.namespace, "10.5.0.1:53", "example.org", TYPE::A),
        Err(RCODE::ServerFailure),
        "internal"
    );
    db.attachment.detach().unwrap();
    assert_eq!(
        ask(&client.namespace, "10.5.0.1:53", "db", TYPE::A),
        Err(RCODE::NameError),
        "gone with its owner"
    );
    assert_eq!(
        network.resolv_conf().to_string(),
        "nameserver 10.5.0.1\nnameserver fd00:5::1\nsearch blue\noptions ndots:0\n"
    );
}

needs!(root => a_service_has_the_addresses_of_all_its_members_in_turn);
fn a_service_has_the_addresses_of_all_its_members_in_turn() {
    let network = bridge("turns", &["10.5.0.0/24"]).create().unwrap();
    let mut endpoint = Endpoint::new("web");
    endpoint.name("web");
    let members: Vec<Station> = (0..3)
        .map(|_| Station::attach(&network, &endpoint))
        .collect();
    let client = Station::new(&network, "client");
    let mut firsts = std::collections::HashSet::new();
    for _ in 0..6 {
        let found = ask(&client.namespace, "10.5.0.1:53", "web", TYPE::A).unwrap();
        assert_eq!(found.len(), 3);
        firsts.insert(found[0]);
    }
    assert_eq!(firsts, members.iter().map(Station::v4).collect());
}

needs!(root => names_of_the_world_are_the_hosts_business);
fn names_of_the_world_are_the_hosts_business() {
    let lab = Lab::new();
    let asked = resolver(&lab);
    let dead: SocketAddr = "203.0.113.1:54".parse().unwrap();
    let network = bridge("far", &["10.5.0.0/24"])
        .uplink(lab.host.clone())
        .resolvers([dead, "203.0.113.1:53".parse().unwrap()])
        .create()
        .unwrap();
    let client = Station::new(&network, "client");
    let found = Ok(vec!["192.0.2.7".parse().unwrap()]);
    // The first resolver is dead; a forged answer comes before the true one.
    assert_eq!(
        ask(&client.namespace, "10.5.0.1:53", "www.example", TYPE::A),
        found
    );
    assert_eq!(
        ask(&client.namespace, "10.5.0.1:53", "www.example", TYPE::A),
        found
    );
    assert_eq!(
        asked.load(Ordering::Relaxed),
        1,
        "the second time from the cache"
    );
    assert_eq!(
        ask_by_tcp(&client.namespace, "10.5.0.1:53", "tcp.example"),
        found
    );
    assert_eq!(
        ask(&client.namespace, "10.5.0.1:53", "www.invalid", TYPE::A),
        Err(RCODE::NameError)
    );
    assert_eq!(
        ask(&client.namespace, "10.5.0.1:53", "alone", TYPE::A),
        Err(RCODE::NameError)
    );
    assert_eq!(
        asked.load(Ordering::Relaxed),
        2,
        "a name without a dot is nobody else's business"
    );
}

needs!(root => a_name_that_is_none_is_refused);
fn a_name_that_is_none_is_refused() {
    let network = bridge("names", &["10.5.0.0/24"]).create().unwrap();
    let error = network.plan(Endpoint::new("x").name("a..b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "\"\" in the name \"a..b\" is no DNS label (1-63 letters, digits, `-` and `_`)"
    );
}
