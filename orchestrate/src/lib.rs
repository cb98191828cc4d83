//! Kubernetes' objects, controllers and scheduler as a library that runs in one process, or in a simulation.

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
