//! What the API server checks.

pub(super) mod batch;
mod container;
pub(super) mod meta;
mod names;
pub(super) mod pod;
pub(super) mod policy;
pub(super) mod service;
pub(super) mod storage;
pub(super) mod update;
pub(super) mod workload;
