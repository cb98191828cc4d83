//! How long a container's start takes, in process: each case alone, by criterion.
//!
//! The race against the floor and against others, in one run and taking turns, is `benches/peers`. As root.

use ampoule::net::Pool;
use ampoule::{Container, Network, Overlay, Root, Stdio, Upper};
use criterion::{Criterion, criterion_group, criterion_main};
use std::process::Command;
use std::time::Duration;

/// Five layers, and `/usr` and its like of this machine below them so that there is a `true`.
fn container(layers: &tempfile::TempDir) -> Container {
    let mut lower: Vec<_> = (0..4).map(|n| layers.path().join(n.to_string())).collect();
    lower
        .iter()
        .for_each(|layer| std::fs::create_dir_all(layer).expect("a layer"));
    lower.push("/".into());
    let mut container = Container::new("/bin/true");
    container
        .root(Root::overlay(
            Overlay::new(lower).upper(Upper::Memory { size: 64 << 20 }),
        ))
        .memory(64 << 20)
        .cpus(0.5)
        .pids(32)
        .stdin(Stdio::Null)
        .stdout(Stdio::Null)
        .stderr(Stdio::Null);
    container
}

fn start(criterion: &mut Criterion) {
    let layers = tempfile::tempdir().expect("a directory");
    let mut group = criterion.benchmark_group("start");
    group
        .sample_size(50)
        .measurement_time(Duration::from_secs(3));
    let mut container = container(&layers);
    group.bench_function("everything on", |bencher| {
        bencher.iter(|| container.status().expect("a container"));
    });
    container.network(Network::host());
    group.bench_function("host network", |bencher| {
        bencher.iter(|| container.status().expect("a container"));
    });
    let pool = Pool::namespaces(8).expect("a pool");
    group.bench_function("pooled network", |bencher| {
        bencher.iter(|| {
            container.network(Network::namespace(pool.take().expect("a namespace")));
            container.status().expect("a container")
        });
    });
    group.bench_function("std::process::Command", |bencher| {
        bencher.iter(|| Command::new("/bin/true").status().expect("a process"));
    });
    group.finish();
}

criterion_group!(benches, start);
criterion_main!(benches);
