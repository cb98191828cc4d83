//! What goes wrong by itself.

/// How often things go wrong, each in millionths per second of virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A running container ends with an error: per container.
    pub container_crash: u64,
    /// A node is switched off, for one to ten minutes: per node.
    pub node_crash: u64,
    /// A node is cut off, for one to ten minutes: per node.
    pub partition: u64,
}

impl Faults {
    /// Whether nothing ever goes wrong.
    pub fn is_none(&self) -> bool {
        *self == Faults::default()
    }
}
