//! Sets and maps: one lookup however many elements.

use super::attributes::Attributes;
use std::net::IpAddr;
use std::time::Duration;

/// One field of a key or of a map's data; each takes a multiple of 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Ipv4,
    Ipv6,
    Protocol,
    Port,
}

impl Field {
    /// What the field's value takes, without padding.
    fn length(self) -> u32 {
        match self {
            Field::Ipv4 => 4,
            Field::Ipv6 => 16,
            Field::Protocol => 1,
            Field::Port => 2,
        }
    }

    /// The number by which `nft list ruleset` knows how to show it; the kernel does not care.
    fn datatype(self) -> u32 {
        match self {
            Field::Ipv4 => 7,
            Field::Ipv6 => 8,
            Field::Protocol => 12,
            Field::Port => 13,
        }
    }
}

/// A set, or with `data` a map, of a table.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    pub(crate) name: String,
    key: Vec<Field>,
    data: Vec<Field>,
    /// Elements may end by themselves.
    timeout: bool,
}

impl Set {
    pub(crate) fn new(name: &str, key: &[Field], data: &[Field]) -> Set {
        Set {
            name: name.into(),
            key: key.to_vec(),
            data: data.to_vec(),
            timeout: false,
        }
    }

    /// The same, of elements that end by themselves.
    pub(crate) fn with_timeout(mut self) -> Set {
        self.timeout = true;
        self
    }

    pub(super) fn write(&self, id: u32, attributes: &mut Attributes) {
        let mut flags = 0;
        flags |= if self.data.is_empty() { 0 } else { SET_MAP };
        flags |= if self.timeout { SET_TIMEOUT } else { 0 };
        flags |= if self.key.len() > 1 { SET_CONCAT } else { 0 };
        attributes.text(2, &self.name).number(3, flags);
        attributes
            .number(4, datatype(&self.key))
            .number(5, length(&self.key));
        if !self.data.is_empty() {
            attributes
                .number(6, datatype(&self.data))
                .number(7, length(&self.data));
        }
        if self.key.len() > 1 {
            attributes.nested(9, |description| {
                description.nested(2, |fields| self.write_fields(fields));
            });
        }
        attributes.number(10, id);
    }

    fn write_fields(&self, fields: &mut Attributes) {
        for field in &self.key {
            fields.nested(LIST_ELEM, |element| {
                element.number(1, field.length());
            });
        }
    }
}

/// An element: its key, the map's data, and how long it stays.
pub(super) fn write_element(
    list: &mut Attributes,
    key: &Value,
    data: &Value,
    timeout: Option<Duration>,
) {
    list.nested(LIST_ELEM, |element| {
        element.nested(1, |value| {
            value.bytes(DATA_VALUE, &key.0);
        });
        if !data.0.is_empty() {
            element.nested(2, |value| {
                value.bytes(DATA_VALUE, &data.0);
            });
        }
        if let Some(timeout) = timeout {
            element.bytes(4, &(timeout.as_millis() as u64).to_be_bytes());
        }
    });
}

/// Values of fields, each padded to a multiple of 4 bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Value(Vec<u8>);

impl Value {
    pub(crate) fn address(mut self, address: IpAddr) -> Value {
        match address {
            IpAddr::V4(v4) => self.0.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => self.0.extend_from_slice(&v6.octets()),
        }
        self
    }

    pub(crate) fn protocol(mut self, protocol: u8) -> Value {
        self.0.extend_from_slice(&[protocol, 0, 0, 0]);
        self
    }

    pub(crate) fn port(mut self, port: u16) -> Value {
        let [high, low] = port.to_be_bytes();
        self.0.extend_from_slice(&[high, low, 0, 0]);
        self
    }
}

/// Six bits a field, the first one highest.
fn datatype(fields: &[Field]) -> u32 {
    fields
        .iter()
        .fold(0, |number, field| number << 6 | field.datatype())
}

fn length(fields: &[Field]) -> u32 {
    match fields {
        [only] => only.length(),
        several => several
            .iter()
            .map(|field| field.length().next_multiple_of(4))
            .sum(),
    }
}

/// From `linux/netfilter/nf_tables.h`.
const SET_MAP: u32 = 0x8;
const SET_TIMEOUT: u32 = 0x10;
const SET_CONCAT: u32 = 0x80;
const LIST_ELEM: u16 = 1;
const DATA_VALUE: u16 = 1;
