//! The life of a pod on its node: a state machine without I/O.
//!
//! [`Machine`] takes what happened ([`runtime::Event`](crate::runtime::Event)s, the passing of time, a changed pod) and gives
//! what is to be done ([`Action`]s) and the pod's status. It knows no engine and asks no clock, so a life of hours is tested
//! in microseconds. The rules are those of
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>.

mod backoff;
mod container;
mod machine;
mod probe;
mod question;
mod status;

#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use machine::{Action, Machine};
pub(crate) use status::holds;
