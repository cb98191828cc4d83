//! Netlink attributes: a length, a type, a value; in nf_tables, numbers are big-endian.

/// Writes attributes one after another.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Attributes {
        let length = (4 + value.len()) as u16;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn number(&mut self, kind: u16, value: u32) -> &mut Attributes {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) -> &mut Attributes {
        let mut text = value.as_bytes().to_vec();
        text.push(0);
        self.bytes(kind, &text)
    }

    pub(super) fn nested(
        &mut self,
        kind: u16,
        write: impl FnOnce(&mut Attributes),
    ) -> &mut Attributes {
        let mut inner = Attributes::default();
        write(&mut inner);
        self.bytes(kind | NLA_F_NESTED, &inner.0)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// From `linux/netlink.h`.
const NLA_F_NESTED: u16 = 0x8000;
