//! Where pods go: every node is filtered and scored as Kubernetes does, and every decision can be explained.
//!
//! Filtering and scoring 10,000 nodes for each pod would take milliseconds, which is why other schedulers look at a sample.
//! Here no work is done twice. Pods that ask for the same share a *shape*; a shape keeps all nodes ranked; placing a pod
//! changes one node, so each ranking re-evaluates that node only. What depends on other pods (affinity, spreading) is counted
//! by topology domain, and nodes are ranked in buckets within which those counts are equal: a bucket's best node is known, so
//! the best of all is found among a handful of buckets.
//!
//! ```
//! use ampoule_orchestrate::manifest;
//! use ampoule_orchestrate::object::Object;
//! use ampoule_orchestrate::scheduler::Scheduling;
//!
//! # fn main() -> Result<(), ampoule_orchestrate::Error> {
//! let objects = manifest::read("demo", "
//! {apiVersion: v1, kind: Node, metadata: {name: small}, status: {allocatable: {cpu: 1, memory: 1Gi, pods: 110}}}
//! ---
//! {apiVersion: v1, kind: Node, metadata: {name: large}, status: {allocatable: {cpu: 8, memory: 16Gi, pods: 110}}}
//! ---
//! {apiVersion: v1, kind: Pod, metadata: {name: web, uid: '1'}, spec: {containers: [{name: c, image: i, resources: {requests: {cpu: 2}}}]}}
//! ")?;
//! let mut scheduling = Scheduling::default();
//! for object in &objects {
//!     if let Object::Node(node) = object {
//!         scheduling.set_node(node);
//!     }
//! }
//! let Object::Pod(pod) = &objects[2] else { unreachable!() };
//! let shape = scheduling.shape(pod);
//! assert_eq!(scheduling.place(shape).as_deref(), Some("large"));
//! # Ok(())
//! # }
//! ```

mod controller;
mod counts;
mod demand;
mod explain;
mod filter;
mod nodes;
mod preempt;
mod ranking;
mod resources;
mod score;
mod state;
mod terms;

pub use controller::Scheduler;
pub use explain::Explanation;
pub use filter::Refusal;
pub use preempt::Preemption;
pub use score::{Plugin, Weights};
pub use state::{Scheduling, ShapeId};

#[cfg(test)]
mod tests;
