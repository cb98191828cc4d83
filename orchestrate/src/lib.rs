//! Kubernetes' objects, controllers and scheduler as a library that runs in one process, or in a simulation.
//!
//! A person declares what should be, in Kubernetes' own files, and controllers keep it so. They reach the world through four
//! traits only: [`Runtime`](runtime::Runtime), [`Store`](store::Store), [`Clock`](clock::Clock) and
//! [`Network`](network::Network). With a virtual clock, a roll-out of ten minutes is a test of some milliseconds:
//!
//! ```
//! use ampoule_orchestrate::manifest;
//! use ampoule_orchestrate::simulate::{NodeSize, Simulation};
//! use jiff::SignedDuration;
//!
//! # fn main() -> Result<(), ampoule_orchestrate::Error> {
//! let mut cluster = Simulation::new(42);
//! cluster.add_nodes(3, NodeSize::default());
//! cluster.apply(manifest::read("web.yaml", "
//! apiVersion: apps/v1
//! kind: Deployment
//! metadata: {name: web}
//! spec:
//!   replicas: 4
//!   selector: {matchLabels: {app: web}}
//!   template:
//!     metadata: {labels: {app: web}}
//!     spec: {containers: [{name: web, image: 'web:1'}]}
//! ")?)?;
//! cluster.run_for(SignedDuration::from_mins(1))?;
//! cluster.crash_node(0);
//! cluster.run_for(SignedDuration::from_mins(10))?;
//! assert_eq!(cluster.pods_by_state().get("Ready"), Some(&4), "what died was replaced");
//! println!("{}", cluster.timeline());
//! # Ok(())
//! # }
//! ```

pub mod admit;
pub mod clock;
pub mod control;
pub mod controllers;
mod error;
pub mod field;
pub mod manifest;
pub mod network;
pub mod node;
pub mod object;
pub mod pod;
pub mod quantity;
pub mod runtime;
pub mod schedule;
pub mod scheduler;
pub mod selector;
pub mod simulate;
pub mod store;

pub use error::{Error, ErrorKind, Result};
