//! How long the root tree of a present image of twenty layers takes to be ready: `cargo bench -p ampoule-image --bench rootfs`.
#![allow(clippy::print_stdout)]

use ampoule_image::{ConfigEdit, DiffOptions, Platform, Store, UnpackOptions};
use std::time::{Duration, Instant};

const LAYERS: usize = 20;
const ROUNDS: usize = 2000;

fn main() {
    let scratch = std::env::temp_dir().join(format!("ampoule-image-bench-{}", std::process::id()));
    let store = Store::open(scratch.join("store")).unwrap();
    let mut lease = store.lease().unwrap();
    let (mut config, mut layers) = (ConfigEdit::scratch(&Platform::host()), Vec::new());
    for number in 0..LAYERS {
        let tree = scratch.join(format!("tree{number}"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join(format!("file{number}")), "content").unwrap();
        let layer = store
            .layer_from(&tree, &DiffOptions::default(), &mut lease)
            .unwrap();
        config.step(Default::default(), Some(&layer));
        layers.push(layer.descriptor);
    }
    let name = "bench/twenty:1".parse().unwrap();
    let image = store.write_image(&config, layers, Some(&name)).unwrap();
    store.unpack(&image, &UnpackOptions::default()).unwrap();
    report("rootfs of an image at hand", || {
        drop(store.rootfs(&image).unwrap())
    });
    report("rootfs by name", || {
        let image = store.image("bench/twenty:1", &Platform::host()).unwrap();
        drop(store.rootfs(&image).unwrap());
    });
    std::fs::remove_dir_all(scratch).unwrap();
}

fn report(what: &str, work: impl Fn()) {
    let mut times: Vec<Duration> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work();
        times.push(start.elapsed());
    }
    times.sort();
    println!(
        "{what:28} min {:?}  median {:?}  99 % {:?}",
        times[0],
        times[ROUNDS / 2],
        times[ROUNDS * 99 / 100]
    );
}
