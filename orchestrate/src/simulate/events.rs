//! What will happen, in the order of its time.

use crate::runtime::{ContainerRef, Event};
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Something that will happen on a node.
#[derive(Clone, Debug)]
pub(super) enum Coming {
    /// An event to report.
    Report(Event),
    /// A container ends, unless it ended before.
    Exit(ContainerRef, i32),
}

/// The future; what happens at the same time happens in the order in which it was planned.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    coming: BTreeMap<Reverse<(Timestamp, u64)>, (usize, Coming)>,
    planned: u64,
}

impl Agenda {
    pub(super) fn plan(&mut self, at: Timestamp, node: usize, coming: Coming) {
        self.planned += 1;
        self.coming
            .insert(Reverse((at, self.planned)), (node, coming));
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.coming
            .last_key_value()
            .map(|(Reverse((at, _)), _)| *at)
    }

    /// Takes the earliest that is due by now.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<(usize, Coming)> {
        if self.next()? > now {
            return None;
        }
        self.coming.pop_last().map(|(_, entry)| entry)
    }
}
