//! What rules have counted.

use super::transaction::{NFNL_SUBSYS_NFTABLES, Table};
use crate::Result;
use crate::netlink::{Request, Socket};

/// Packets that came to a chain's rule of this comment.
pub(crate) fn counted(
    socket: &mut Socket,
    table: &Table,
    chain: &str,
    comment: &str,
) -> Result<u64> {
    // `struct nfgenmsg`: family, version 0, no resource.
    let request = Request::new(
        "read the counters of nftables",
        NFNL_SUBSYS_NFTABLES << 8 | GETRULE,
    )
    .body([table.family as u8, 0, 0, 0]);
    let rules = socket.dump(&request)?;
    let ours = rules
        .iter()
        .filter_map(|rule| rule.get(4..))
        .filter(|rule| {
            text(rule, 1) == Some(table.name.as_bytes())
                && text(rule, 2) == Some(chain.as_bytes())
                && value(rule, 7)
                    .and_then(|user| user.get(2..))
                    .map(until_zero)
                    == Some(comment.as_bytes())
        });
    Ok(ours.filter_map(packets).sum())
}

/// The packets of the first counter among a rule's expressions.
fn packets(rule: &[u8]) -> Option<u64> {
    let expressions = attributes(value(rule, 4)?);
    let counter = expressions
        .map(|(_, element)| element)
        .find(|element| text(element, 1) == Some(b"counter"))?;
    let packets = value(value(counter, 2)?, 2)?;
    Some(u64::from_be_bytes(packets.try_into().ok()?))
}

fn text(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    value(bytes, kind).map(until_zero)
}

fn until_zero(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn value(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(found, _)| *found == kind)
        .map(|(_, value)| value)
}

/// The attributes in a message; it ends at the first that does not fit.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & NLA_TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

const GETRULE: u16 = 7;
/// From `linux/netlink.h`.
const NLA_TYPE_MASK: u16 = 0x3fff;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn takes_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            packets(&bytes);
            attributes(&bytes).count();
        }
    }
}
