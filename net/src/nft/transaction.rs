//! Changes that take effect together or not at all.

use super::attributes::Attributes;
use super::rule::Rule;
use super::set::{Set, Value, write_element};
use crate::Result;
use crate::netlink::{Request, Socket};
use std::time::Duration;

/// Where in a packet's way a chain stands, and when among those that stand there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hook {
    /// Before everything, connection tracking included.
    Raw,
    /// Where the destination of what comes in is translated.
    NatPrerouting,
    /// The same for what this machine sends.
    NatOutput,
    /// Where the source of what goes out is translated.
    NatPostrouting,
    /// What passes through this machine.
    Forward,
    /// What this machine sends.
    Output,
}

impl Hook {
    /// The kind of chain, the hook's number and the priority (`nft list hooks` shows them).
    fn place(self) -> (&'static str, u32, i32) {
        match self {
            Hook::Raw => ("filter", 0, -300),
            Hook::NatPrerouting => ("nat", 0, -100),
            Hook::NatOutput => ("nat", 3, -100),
            Hook::NatPostrouting => ("nat", 4, 100),
            Hook::Forward => ("filter", 2, 0),
            Hook::Output => ("filter", 3, 0),
        }
    }
}

/// A table's name and the kind of packets it sees.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) family: TableFamily,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum TableFamily {
    /// IPv4 and IPv6.
    Inet = 1,
}

/// A list of changes to one table.
#[derive(Debug)]
pub(crate) struct Transaction {
    table: Table,
    requests: Vec<Request>,
    sets: u32,
}

impl Transaction {
    pub(crate) fn new(table: &Table) -> Transaction {
        Transaction {
            table: table.clone(),
            requests: Vec::new(),
            sets: 0,
        }
    }

    fn push(&mut self, what: String, kind: u16, flags: u16, write: impl FnOnce(&mut Attributes)) {
        let mut attributes = Attributes::default();
        write(&mut attributes);
        // `struct nfgenmsg`: family, version 0, no resource.
        let mut body = vec![self.table.family as u8, 0, 0, 0];
        body.extend_from_slice(attributes.as_bytes());
        self.requests.push(
            Request::new(what, NFNL_SUBSYS_NFTABLES << 8 | kind)
                .flags(flags)
                .body(body),
        );
    }

    /// Makes the table; with `owned` it belongs to the socket and goes when that is closed (Linux 5.12).
    pub(crate) fn create_table(&mut self, owned: bool) -> &mut Transaction {
        let name = self.table.name.clone();
        self.push(
            format!("make the nftables table {name}"),
            NEWTABLE,
            CREATE | EXCL,
            |table| {
                table
                    .text(1, &name)
                    .number(2, if owned { TABLE_OWNER } else { 0 });
            },
        );
        self
    }

    pub(crate) fn chain(
        &mut self,
        name: &str,
        hook: Option<Hook>,
        drop_by_default: bool,
    ) -> &mut Transaction {
        let table = self.table.name.clone();
        self.push(
            format!("make the chain {name} of {table}"),
            NEWCHAIN,
            CREATE,
            |chain| {
                chain.text(1, &table).text(3, name);
                if let Some((kind, number, priority)) = hook.map(Hook::place) {
                    chain.nested(4, |hook| {
                        hook.number(1, number).number(2, priority as u32);
                    });
                    chain.number(5, u32::from(!drop_by_default)).text(7, kind);
                }
            },
        );
        self
    }

    /// Adds a rule at the end of a chain; `why` is shown as its comment.
    pub(crate) fn rule(&mut self, chain: &str, why: &str, rule: Rule) -> &mut Transaction {
        let table = self.table.name.clone();
        self.push(
            format!("add a rule to {chain} of {table}: {why}"),
            NEWRULE,
            CREATE | APPEND,
            |new| {
                new.text(1, &table).text(2, chain);
                new.bytes(4 | NESTED, rule.expressions().as_bytes());
                // libnftnl's user data: type 0 is the comment, ended by a zero.
                let mut comment = vec![0, why.len() as u8 + 1];
                comment.extend_from_slice(why.as_bytes());
                comment.push(0);
                new.bytes(7, &comment);
            },
        );
        self
    }

    pub(crate) fn set(&mut self, set: &Set) -> &mut Transaction {
        let table = self.table.name.clone();
        self.sets += 1;
        let id = self.sets;
        self.push(
            format!("make the set {} of {table}", set.name),
            NEWSET,
            CREATE,
            |new| {
                new.text(1, &table);
                set.write(id, new);
            },
        );
        self
    }

    /// Adds an element, or a pair of a map; it fails if the map has the key with other data.
    pub(crate) fn insert(
        &mut self,
        set: &Set,
        key: &Value,
        data: &Value,
        timeout: Option<Duration>,
    ) -> &mut Transaction {
        self.element(NEWSETELEM, CREATE, "add to", set, key, data, timeout)
    }

    pub(crate) fn remove(&mut self, set: &Set, key: &Value) -> &mut Transaction {
        self.element(
            DELSETELEM,
            0,
            "remove from",
            set,
            key,
            &Value::default(),
            None,
        )
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the two callers above have names for them"
    )]
    fn element(
        &mut self,
        kind: u16,
        flags: u16,
        verb: &str,
        set: &Set,
        key: &Value,
        data: &Value,
        timeout: Option<Duration>,
    ) -> &mut Transaction {
        let table = self.table.name.clone();
        self.push(
            format!("{verb} the set {} of {table}", set.name),
            kind,
            flags,
            |elements| {
                elements
                    .text(1, &table)
                    .text(2, &set.name)
                    .nested(3, |list| {
                        write_element(list, key, data, timeout);
                    });
            },
        );
        self
    }

    /// Carries all changes out, or none.
    pub(crate) fn commit(&self, socket: &mut Socket) -> Result<()> {
        socket.transaction(&self.requests, NFNL_SUBSYS_NFTABLES)
    }
}

pub(super) const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NEWTABLE: u16 = 0;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;
const TABLE_OWNER: u32 = 0x2;
/// From `linux/netlink.h`.
const EXCL: u16 = 0x200;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;
