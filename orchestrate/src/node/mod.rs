//! Nodes: the pods that were placed on them are run, and a node that is no longer heard of is evacuated.

mod agents;
mod awake;
mod lifecycle;
mod sandbox;

pub use agents::Agents;
pub use lifecycle::Lifecycle;

/// The namespace of the nodes' leases, as in Kubernetes.
const LEASES: &str = "kube-node-lease";
/// How often an agent says that it is there, in seconds.
const HEARTBEAT: i64 = 10;
/// After how long without a word a node counts as unreachable, in seconds.
const PATIENCE: i64 = 40;
/// The taint of a node that is not heard of.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
