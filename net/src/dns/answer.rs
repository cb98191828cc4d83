//! From a question to an answer, without any input or output.

use super::names::Names;
use simple_dns::rdata::{A, AAAA, PTR, RData, SRV};
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QTYPE, Question, RCODE, ResourceRecord, TYPE,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is to be done with a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Send this back.
    Reply(Vec<u8>),
    /// It is about the world: ask the host's resolvers.
    Forward,
    /// It is not a query at all: answering would make us a tool for others.
    Ignore,
}

/// How long a member may remember a name: a peer may be gone or moved by then.
const TTL: u32 = 1;

/// Decides about one query. `turn` rotates the addresses of a name that has several.
pub(super) fn answer(query: &[u8], names: &Names, turn: usize) -> Answer {
    let Ok(packet) = Packet::parse(query) else {
        return match query {
            // Enough of a header to say that the rest is none, and it is no answer.
            [a, b, flags, ..] if query.len() >= 12 && flags & 0x80 == 0 => {
                refusal([*a, *b], RCODE::FormatError)
            }
            _ => Answer::Ignore,
        };
    };
    if packet.has_flags(PacketFlag::RESPONSE) {
        return Answer::Ignore;
    }
    let [question] = packet.questions.as_slice() else {
        return refusal(packet.id().to_be_bytes(), RCODE::FormatError);
    };
    if packet.opcode() != OPCODE::StandardQuery {
        return refusal(packet.id().to_be_bytes(), RCODE::NotImplemented);
    }
    let name = question.qname.to_string();
    let found = match question.qtype {
        QTYPE::TYPE(TYPE::PTR) => match reversed(&name) {
            Some(address) => match names.name_of(address) {
                Some(name) => Some(vec![RecordData::Name(name)]),
                // Who asks may learn it from the host's resolvers, if they know the network.
                None => return Answer::Forward,
            },
            None => return Answer::Forward,
        },
        QTYPE::TYPE(TYPE::SRV) => names
            .service(&name)
            .map(|(port, target)| vec![RecordData::Service(port, target)]),
        _ => names
            .addresses(&name)
            .map(|addresses| rotated(addresses, turn)),
    };
    match found {
        Some(records) => reply(&packet, question, RCODE::NoError, &records),
        // A name that has addresses has no service of that name: not an error, but nothing.
        None if names.is_local(&name) => reply(&packet, question, RCODE::NameError, &[]),
        None => Answer::Forward,
    }
}

enum RecordData {
    Address(IpAddr),
    Name(String),
    Service(u16, String),
}

fn rotated(mut addresses: Vec<IpAddr>, turn: usize) -> Vec<RecordData> {
    let by = turn.checked_rem(addresses.len()).unwrap_or(0);
    addresses.rotate_left(by);
    addresses.into_iter().map(RecordData::Address).collect()
}

fn reply(
    query: &Packet<'_>,
    question: &Question<'_>,
    code: RCODE,
    records: &[RecordData],
) -> Answer {
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    *reply.rcode_mut() = code;
    reply.questions.push(question.clone());
    for record in records {
        let data = match record {
            RecordData::Address(IpAddr::V4(v4)) => RData::A(A::from(*v4)),
            RecordData::Address(IpAddr::V6(v6)) => RData::AAAA(AAAA::from(*v6)),
            RecordData::Name(name) => RData::PTR(PTR(Name::new_unchecked(name))),
            RecordData::Service(port, target) => RData::SRV(SRV {
                priority: 0,
                weight: 0,
                port: *port,
                target: Name::new_unchecked(target),
            }),
        };
        let record = ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, data);
        if record.match_qtype(question.qtype) {
            reply.answers.push(record);
        }
    }
    match reply.build_bytes_vec_compressed() {
        Ok(bytes) => Answer::Reply(bytes),
        Err(_) => refusal(query.id().to_be_bytes(), RCODE::ServerFailure),
    }
}

/// An answer that says only what went wrong.
pub(super) fn refusal(id: [u8; 2], code: RCODE) -> Answer {
    let flags = 0x8000_u16 | code as u16;
    let [high, low] = flags.to_be_bytes();
    Answer::Reply(vec![id[0], id[1], high, low, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` stands for (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reversed(name: &str) -> Option<IpAddr> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let octets: Option<Vec<u8>> = digits.rsplit('.').map(|octet| octet.parse().ok()).collect();
        return Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets?).ok()?).into());
    }
    let nibbles = name.strip_suffix(".ip6.arpa")?;
    let nibbles: Option<Vec<u8>> = nibbles
        .rsplit('.')
        .map(|nibble| {
            u8::from_str_radix(nibble, 16)
                .ok()
                .filter(|_| nibble.len() == 1)
        })
        .collect();
    let octets: Vec<u8> = nibbles?
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |octet, nibble| octet << 4 | nibble))
        .collect();
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;
    use proptest::prelude::*;

    fn names() -> (Names, Vec<super::super::Registration>) {
        let names = Names::new("blue");
        let ips = |list: &[&str]| -> Vec<IpAddr> {
            list.iter().map(|text| text.parse().unwrap()).collect()
        };
        let web = names.register(
            &["web"],
            &ips(&["10.5.0.7", "fd00:5::7"]),
            &[("http".into(), Protocol::Tcp, 8080)],
        );
        let more = names.register(&["web"], &ips(&["10.5.0.8"]), &[]);
        (names, vec![web.unwrap(), more.unwrap()])
    }

    fn query(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(4711);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(name).unwrap();
        packet.questions.push(Question::new(
            name,
            QTYPE::TYPE(kind),
            simple_dns::QCLASS::CLASS(CLASS::IN),
            false,
        ));
        packet.build_bytes_vec().unwrap()
    }

    /// The reply's code and answers, in words.
    fn ask(name: &str, kind: TYPE, turn: usize) -> (RCODE, Vec<String>) {
        let (names, _held) = names();
        let Answer::Reply(bytes) = answer(&query(name, kind), &names, turn) else {
            panic!("{name} was not answered");
        };
        let reply = Packet::parse(&bytes).unwrap();
        assert_eq!(reply.id(), 4711);
        let words = reply.answers.iter().map(|record| match &record.rdata {
            RData::A(a) => Ipv4Addr::from(a.address).to_string(),
            RData::AAAA(a) => Ipv6Addr::from(a.address).to_string(),
            RData::PTR(name) => name.0.to_string(),
            RData::SRV(srv) => format!("{}:{}", srv.target, srv.port),
            other => format!("{other:?}"),
        });
        (reply.rcode(), words.collect())
    }

    #[test]
    fn answers_for_its_members() {
        let yes = |words: &[&str]| {
            (
                RCODE::NoError,
                words
                    .iter()
                    .map(|word| word.to_string())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(ask("web", TYPE::A, 0), yes(&["10.5.0.7", "10.5.0.8"]));
        assert_eq!(
            ask("WEB.Blue", TYPE::A, 2),
            yes(&["10.5.0.8", "10.5.0.7"]),
            "in turn"
        );
        assert_eq!(ask("web", TYPE::AAAA, 0), yes(&["fd00:5::7"]));
        assert_eq!(
            ask("web", TYPE::MX, 0),
            yes(&[]),
            "the name is there, this of it is not"
        );
        assert_eq!(ask("_http._tcp.web.blue", TYPE::SRV, 0), yes(&["web:8080"]));
        assert_eq!(ask("7.0.5.10.in-addr.arpa", TYPE::PTR, 0), yes(&["web"]));
        let v6 = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(ask(v6, TYPE::PTR, 0), yes(&["web"]));
        for nobody in ["db", "db.blue"] {
            assert_eq!(ask(nobody, TYPE::A, 0), (RCODE::NameError, vec![]));
        }
    }

    #[test]
    fn leaves_the_world_to_others() {
        let (names, _held) = names();
        for (name, kind) in [
            ("example.org", TYPE::A),
            ("web.red", TYPE::A),
            ("8.8.8.8.in-addr.arpa", TYPE::PTR),
        ] {
            assert_eq!(
                answer(&query(name, kind), &names, 0),
                Answer::Forward,
                "{name}"
            );
        }
    }

    #[test]
    fn never_answers_an_answer() {
        let (names, _held) = names();
        let mut packet = query("web", TYPE::A);
        packet[2] |= 0x80;
        assert_eq!(answer(&packet, &names, 0), Answer::Ignore);
        packet.truncate(14);
        assert_eq!(answer(&packet, &names, 0), Answer::Ignore);
    }

    proptest! {
        #[test]
        fn takes_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let (names, _held) = names();
            answer(&bytes, &names, 3);
        }

        #[test]
        fn takes_any_damage(at in 0_usize..40, value: u8, cut in 0_usize..40) {
            let (names, _held) = names();
            let mut packet = query("web.blue", TYPE::A);
            if let Some(byte) = packet.get_mut(at) {
                *byte = value;
            }
            packet.truncate(packet.len().saturating_sub(cut));
            answer(&packet, &names, 0);
        }

        #[test]
        fn reverses_any_name(name in "[0-9a-f.]{0,80}(.in-addr.arpa|.ip6.arpa)?") {
            reversed(&name);
        }
    }
}
