//! Rules: expressions that are evaluated in turn, until one does not hold or one decides.

use super::attributes::Attributes;
use super::set::Set;
use ipnetwork::IpNetwork;
use std::net::IpAddr;

/// The protocol that a rule, a map or an address belongs to, by its number in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4 = 2,
    V6 = 10,
}

impl Family {
    pub(crate) fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Bytes of an address.
    pub(crate) fn length(self) -> u32 {
        match self {
            Family::V4 => 4,
            Family::V6 => 16,
        }
    }

    /// Where source and destination stand in the header.
    fn offsets(self) -> (u32, u32) {
        match self {
            Family::V4 => (12, 16),
            Family::V6 => (8, 24),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict<'a> {
    Drop,
    Accept,
    Jump(&'a str),
}

/// A rule under construction; each method adds one condition or action.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rule {
    expressions: Attributes,
}

/// The registers that expressions pass values in: 16 of 4 bytes each. A long value takes several.
const DECISION: u32 = 0;
const FIRST: u32 = 8;

impl Rule {
    pub(crate) fn new() -> Rule {
        Rule::default()
    }

    pub(super) fn expressions(&self) -> &Attributes {
        &self.expressions
    }

    fn add(mut self, name: &str, write: impl FnOnce(&mut Attributes)) -> Rule {
        self.expressions.nested(LIST_ELEM, |element| {
            element.text(EXPR_NAME, name).nested(EXPR_DATA, write);
        });
        self
    }

    fn meta(self, key: u32, register: u32) -> Rule {
        self.add("meta", |meta| {
            meta.number(1, register).number(2, key);
        })
    }

    fn payload(self, base: u32, offset: u32, length: u32, register: u32) -> Rule {
        self.add("payload", |payload| {
            payload
                .number(1, register)
                .number(2, base)
                .number(3, offset)
                .number(4, length);
        })
    }

    fn compare(self, register: u32, operator: u32, value: &[u8]) -> Rule {
        self.add("cmp", |cmp| {
            cmp.number(1, register)
                .number(2, operator)
                .nested(3, |data| {
                    data.bytes(DATA_VALUE, value);
                });
        })
    }

    fn mask(self, register: u32, mask: &[u8]) -> Rule {
        self.add("bitwise", |bitwise| {
            bitwise
                .number(1, register)
                .number(2, register)
                .number(3, mask.len() as u32);
            bitwise.nested(4, |data| {
                data.bytes(DATA_VALUE, mask);
            });
            bitwise.nested(5, |data| {
                data.bytes(DATA_VALUE, &vec![0; mask.len()]);
            });
        })
    }

    /// Only packets that came in by this interface.
    pub(crate) fn entering_by(self, index: u32) -> Rule {
        self.meta(META_IIF, FIRST)
            .compare(FIRST, EQUAL, &index.to_ne_bytes())
    }

    /// Only packets that leave by this interface.
    pub(crate) fn leaving_by(self, index: u32) -> Rule {
        self.meta(META_OIF, FIRST)
            .compare(FIRST, EQUAL, &index.to_ne_bytes())
    }

    /// Only packets that leave by another interface than this one.
    pub(crate) fn not_leaving_by(self, index: u32) -> Rule {
        self.meta(META_OIF, FIRST)
            .compare(FIRST, NOT_EQUAL, &index.to_ne_bytes())
    }

    /// Only packets that leave by an interface whose name begins so.
    pub(crate) fn leaving_by_any(self, prefix: &str) -> Rule {
        self.meta(META_OIFNAME, FIRST)
            .compare(FIRST, EQUAL, prefix.as_bytes())
    }

    /// Only packets of this family.
    pub(crate) fn family(self, family: Family) -> Rule {
        self.meta(META_NFPROTO, FIRST)
            .compare(FIRST, EQUAL, &[family as u8])
    }

    /// Only packets of this protocol above IP.
    pub(crate) fn protocol(self, protocol: u8) -> Rule {
        self.meta(META_L4PROTO, FIRST)
            .compare(FIRST, EQUAL, &[protocol])
    }

    /// Only ICMPv6 messages of this type.
    pub(crate) fn icmpv6(self, kind: u8) -> Rule {
        self.protocol(ICMPV6)
            .payload(TRANSPORT_HEADER, 0, 1, FIRST)
            .compare(FIRST, EQUAL, &[kind])
    }

    /// Only packets to one of these ports of the transport protocol (TCP, UDP and SCTP have it in the same place).
    pub(crate) fn destination_port(self, first: u16, last: u16) -> Rule {
        let rule = self.payload(TRANSPORT_HEADER, 2, 2, FIRST);
        match first == last {
            true => rule.compare(FIRST, EQUAL, &first.to_be_bytes()),
            false => rule.compare(FIRST, AT_LEAST, &first.to_be_bytes()).compare(
                FIRST,
                AT_MOST,
                &last.to_be_bytes(),
            ),
        }
    }

    /// Only packets from an address that the set has.
    pub(crate) fn source_in(self, set: &Set, family: Family) -> Rule {
        let offset = family.offsets().0;
        self.family(family)
            .payload(NETWORK_HEADER, offset, family.length(), FIRST)
            .look_up(set, None)
    }

    /// Only packets to an address that the set has.
    pub(crate) fn destination_in(self, set: &Set, family: Family) -> Rule {
        let offset = family.offsets().1;
        self.family(family)
            .payload(NETWORK_HEADER, offset, family.length(), FIRST)
            .look_up(set, None)
    }

    /// Only packets from an address of this network.
    pub(crate) fn source(self, network: IpNetwork) -> Rule {
        let family = Family::of(network.ip());
        self.address(family, family.offsets().0, network)
    }

    /// Only packets to an address of this network.
    pub(crate) fn destination(self, network: IpNetwork) -> Rule {
        let family = Family::of(network.ip());
        self.address(family, family.offsets().1, network)
    }

    fn address(self, family: Family, offset: u32, network: IpNetwork) -> Rule {
        let (value, mask) = match network {
            IpNetwork::V4(v4) => (v4.network().octets().to_vec(), v4.mask().octets().to_vec()),
            IpNetwork::V6(v6) => (v6.network().octets().to_vec(), v6.mask().octets().to_vec()),
        };
        let rule = self
            .family(family)
            .payload(NETWORK_HEADER, offset, family.length(), FIRST);
        let rule = match network.prefix() == network_bits(family) {
            true => rule,
            false => rule.mask(FIRST, &mask),
        };
        rule.compare(FIRST, EQUAL, &value)
    }

    /// Only packets to an address of this machine.
    pub(crate) fn for_this_machine(self) -> Rule {
        self.add("fib", |fib| {
            fib.number(1, FIRST)
                .number(2, FIB_ADDRTYPE)
                .number(3, FIB_DADDR);
        })
        .compare(FIRST, EQUAL, &RTN_LOCAL.to_ne_bytes())
    }

    /// Only packets of connections whose status has one of these bits, such as [`CT_DNAT`].
    pub(crate) fn connection_status(self, bits: u32) -> Rule {
        self.connection(CT_STATUS, bits)
    }

    /// Only packets of connections in one of these states, such as [`CT_ESTABLISHED`].
    pub(crate) fn connection_state(self, bits: u32) -> Rule {
        self.connection(CT_STATE, bits)
    }

    fn connection(self, key: u32, bits: u32) -> Rule {
        self.add("ct", |ct| {
            ct.number(1, FIRST).number(2, key);
        })
        .mask(FIRST, &bits.to_ne_bytes())
        .compare(FIRST, NOT_EQUAL, &[0; 4])
    }

    /// Looks the protocol and the port up, with the destination's address before them if the map has it, and translates
    /// the destination to the address and port found.
    pub(crate) fn translate_by(self, map: &Set, family: Family, with_address: bool) -> Rule {
        let words = if with_address { family.length() / 4 } else { 0 };
        let mut rule = self.family(family);
        if with_address {
            rule = rule.payload(NETWORK_HEADER, family.offsets().1, family.length(), FIRST);
        }
        let port = FIRST + family.length() / 4;
        rule.meta(META_L4PROTO, FIRST + words)
            .payload(TRANSPORT_HEADER, 2, 2, FIRST + words + 1)
            .look_up(map, Some(FIRST))
            .add("nat", |nat| {
                nat.number(1, NAT_DESTINATION).number(2, family as u32);
                nat.number(3, FIRST).number(5, port);
            })
    }

    fn look_up(self, set: &Set, result: Option<u32>) -> Rule {
        self.add("lookup", |lookup| {
            lookup.text(1, &set.name).number(2, FIRST);
            if let Some(register) = result {
                lookup.number(3, register);
            }
        })
    }

    /// Translates the source to the address of the interface by which the packet leaves.
    pub(crate) fn masquerade(self) -> Rule {
        self.add("masq", |_| {})
    }

    /// Counts packets and bytes that come so far.
    pub(crate) fn counter(self) -> Rule {
        self.add("counter", |_| {})
    }

    pub(crate) fn verdict(self, verdict: Verdict<'_>) -> Rule {
        self.add("immediate", |immediate| {
            immediate.number(1, DECISION).nested(2, |data| {
                data.nested(DATA_VERDICT, |code| match verdict {
                    Verdict::Drop => drop(code.number(1, 0)),
                    Verdict::Accept => drop(code.number(1, 1)),
                    Verdict::Jump(chain) => drop(code.number(1, JUMP as u32).text(2, chain)),
                });
            });
        })
    }
}

fn network_bits(family: Family) -> u8 {
    (family.length() * 8) as u8
}

/// Bits of a connection's status and state (`nf_conntrack_common.h`, `nf_conntrack_tuple_common.h`).
pub(crate) const CT_DNAT: u32 = 1 << 5;
pub(crate) const CT_ESTABLISHED: u32 = 1 << 1 | 1 << 2;

const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const JUMP: i32 = -3;
const NAT_DESTINATION: u32 = 1;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const META_IIF: u32 = 4;
const META_OIF: u32 = 5;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const ICMPV6: u8 = 58;
const FIB_ADDRTYPE: u32 = 3;
const FIB_DADDR: u32 = 2;
/// From `linux/rtnetlink.h`.
const RTN_LOCAL: u32 = 2;
