//! Ampoule, in process.

use crate::place::Place;
use crate::table::Sample;
use ampoule::net::{Namespace, Pool};
use ampoule::{Child, Container, Exec, Network, Overlay, Root, Stdio, Upper};
use anyhow::ensure;
use std::time::Instant;

pub const MEMORY: u64 = 64 << 20;
pub const CPUS: f64 = 0.5;
pub const PIDS: u64 = 32;

/// Everything on: new namespaces, five layers and an upper directory in memory, masks, Docker's capabilities and filter,
/// limits of memory, processor and processes.
pub fn container(place: &Place, program: &str) -> Container {
    let mut container = Container::new(program);
    let overlay = Overlay::new(&place.layers).upper(Upper::Memory { size: MEMORY });
    container
        .root(Root::overlay(overlay))
        .memory(MEMORY)
        .cpus(CPUS)
        .pids(PIDS)
        .stdin(Stdio::Null)
        .stdout(Stdio::Null)
        .stderr(Stdio::Null);
    container
}

pub fn start(container: &Container) -> anyhow::Result<Sample> {
    start_with(|| Ok(container.spawn()?))
}

pub fn start_with(spawn: impl FnOnce() -> anyhow::Result<Child>) -> anyhow::Result<Sample> {
    let began = Instant::now();
    let mut child = spawn()?;
    let executed = began.elapsed();
    let report = child.wait()?;
    let ended = began.elapsed();
    ensure!(report.success(), "{report}");
    Ok((Some(executed), ended))
}

/// With a network namespace that was made before.
pub fn start_pooled(container: &mut Container, pool: &Pool<Namespace>) -> anyhow::Result<Sample> {
    pool.wait_full(std::time::Duration::from_secs(5));
    let began = Instant::now();
    container.network(Network::namespace(pool.take()?));
    let mut child = container.spawn()?;
    let executed = began.elapsed();
    let report = child.wait()?;
    let ended = began.elapsed();
    // The last reference to the namespace goes, outside of what is measured: the kernel takes it down by itself.
    container.network(Network::none());
    ensure!(report.success(), "{report}");
    Ok((Some(executed), ended))
}

pub fn exec_with<'a>(make: impl FnOnce() -> Exec<'a>) -> anyhow::Result<Sample> {
    start_with(|| {
        let mut exec = make();
        exec.stdin(Stdio::Null)
            .stdout(Stdio::Null)
            .stderr(Stdio::Null);
        Ok(exec.spawn()?)
    })
}
