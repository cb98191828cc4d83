//! The order in which a container comes to be.

use std::fmt;

/// A stretch of a container's start; the variants stand in the order in which they happen.
///
/// Contributions sort by phase, and within one phase they keep the order in which they were drafted. Each variant says why
/// it stands where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The child is born in its namespaces. No part contributes here: it is the launcher's own.
    Birth,
    /// Namespaces that exist already are joined: first, because everything later is done *in* them.
    Join,
    /// Identity maps and ids: before any file is made, so that its owner is right.
    Identity,
    /// Cgroups, resource limits, scheduling: before anything that costs memory or time, so that it is accounted.
    Limits,
    /// Interfaces: while the child still has the privilege, and before `/sys` shows them.
    Network,
    /// Mounts are made and attached: before the root changes, while what they come from can still be reached.
    Mounts,
    /// The root tree becomes `/`, and the host's tree is let go.
    Root,
    /// What the kernel shows too much of is hidden: after the root, because the paths are the container's own.
    Mask,
    /// Session, terminal, standard streams, host name, working directory.
    Session,
    /// Privileges are given up: after everything that needs them. The user changes here too, by the part that drops the
    /// capabilities, because each of the two decides what the other may still do.
    Drop,
    /// The system-call filter: last but one, because it also filters us.
    Filter,
    /// The program.
    Exec,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Phase; 12] = [
        Phase::Birth,
        Phase::Join,
        Phase::Identity,
        Phase::Limits,
        Phase::Network,
        Phase::Mounts,
        Phase::Root,
        Phase::Mask,
        Phase::Session,
        Phase::Drop,
        Phase::Filter,
        Phase::Exec,
    ];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` keeps a width that the caller asks for.
        f.pad(match self {
            Phase::Birth => "birth",
            Phase::Join => "join",
            Phase::Identity => "identity",
            Phase::Limits => "limits",
            Phase::Network => "network",
            Phase::Mounts => "mounts",
            Phase::Root => "root",
            Phase::Mask => "mask",
            Phase::Session => "session",
            Phase::Drop => "drop",
            Phase::Filter => "filter",
            Phase::Exec => "exec",
        })
    }
}
