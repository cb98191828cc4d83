//! What the host spends on a root tree before the child is born: descriptions in, a draft out. Needs root.
//!
//! What is made is dropped outside of the measured time: in a real start the child takes it over.

use ampoule_plan::{Draft, Part};
use ampoule_rootfs::{Overlay, Root, Rootfs, Templates, Upper};
use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Five layers and an upper directory on the disk, taken away at the end.
struct Layers(PathBuf);

impl Layers {
    fn create() -> Layers {
        let path = std::env::temp_dir().join(format!("ampoule-bench-{}", std::process::id()));
        for name in [
            "upper", "work", "0/dev", "1/proc", "2/sys", "3/bin", "4/etc",
        ] {
            std::fs::create_dir_all(path.join(name)).expect("a directory for the bench");
        }
        Layers(path)
    }

    fn overlay(&self) -> Overlay {
        Overlay::new((0..5).map(|n| self.0.join(n.to_string())))
    }
}

impl Drop for Layers {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn measure(bencher: &mut Bencher<'_>, rootfs: &Rootfs) {
    let templates = Templates::new();
    bencher.iter_custom(|times| {
        let mut total = Duration::ZERO;
        for _ in 0..times {
            let start = Instant::now();
            let ready = rootfs.prepare(&templates).expect("a root tree");
            let mut draft = Draft::new();
            ready.contribute(&mut draft).expect("a part of the plan");
            total += start.elapsed();
            black_box(draft);
        }
        total
    });
}

fn prepare(criterion: &mut Criterion) {
    let layers = Layers::create();
    let (upper, work) = (layers.0.join("upper"), layers.0.join("work"));
    let memory = Upper::Memory { size: 64 << 20 };
    let roots = [
        (
            "overlay of 5 layers, upper in memory",
            Root::overlay(layers.overlay().upper(memory)),
        ),
        (
            "overlay of 5 layers, upper on disk",
            Root::overlay(layers.overlay().upper(Upper::Directory { upper, work })),
        ),
        ("host view", Root::host()),
        ("directory", Root::dir(layers.0.join("0"))),
    ];
    for (name, root) in roots {
        let rootfs = Rootfs::new(root);
        criterion.bench_function(name, |bencher| measure(bencher, &rootfs));
    }
    let bare = |root| {
        let mut rootfs = Rootfs::new(root);
        rootfs.dev(None);
        rootfs
    };
    let rootfs = bare(Root::overlay(
        layers.overlay().upper(Upper::Memory { size: 64 << 20 }),
    ));
    criterion.bench_function("the same in memory without /dev", |bencher| {
        measure(bencher, &rootfs)
    });
}

criterion_group!(benches, prepare);
criterion_main!(benches);
