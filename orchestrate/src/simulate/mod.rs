//! A simulated cluster: virtual time, nodes that start containers as slowly as real ones, and faults on demand.
//!
//! Everything that happens follows from the seed, so a run repeats itself exactly.
//!
//! ```
//! use ampoule_orchestrate::manifest;
//! use ampoule_orchestrate::simulate::{NodeSize, Simulation};
//!
//! # fn main() -> Result<(), ampoule_orchestrate::Error> {
//! let mut simulation = Simulation::new(7);
//! simulation.add_nodes(3, NodeSize::default());
//! simulation.apply(manifest::read("web.yaml", "
//! apiVersion: apps/v1
//! kind: Deployment
//! metadata: {name: web}
//! spec:
//!   replicas: 6
//!   selector: {matchLabels: {app: web}}
//!   template:
//!     metadata: {labels: {app: web}}
//!     spec: {containers: [{name: web, image: 'web:1'}]}
//! ")?)?;
//! simulation.run_for(jiff::SignedDuration::from_mins(1))?;
//! assert_eq!(simulation.pods_by_state().get("Ready"), Some(&6));
//! # Ok(())
//! # }
//! ```

mod behaviour;
mod chart;
mod events;
mod faults;
mod random;
mod run;
mod runtime;
mod timeline;

pub use behaviour::{Behaviour, NodeSize, Speeds};
pub use faults::Faults;
pub use random::Random;
pub use run::Simulation;
pub use runtime::SimulatedRuntime;
pub use timeline::{Sample, Timeline};
