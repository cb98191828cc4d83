//! Benchmarks only: see `cgroup.rs`.
