//! What attaching and detaching cost, and how that grows with the network. Root; all of it in namespaces of its own.
//!
//! Not criterion: each sample changes the kernel's state for the next one, so the sizes are interleaved by hand.

#![allow(
    clippy::print_stdout,
    reason = "a bench reports to the person who runs it"
)]

use ampoule_net::{Bridge, Driver, Endpoint, Namespace, Network, Pool, Subnet};
use std::time::{Duration, Instant};

const SAMPLES: usize = 200;

fn main() {
    let directory =
        std::path::PathBuf::from(format!("/run/ampoule-net-bench-{}", std::process::id()));
    let network = |name: &str| -> Network {
        let mut bridge = Bridge::new(name);
        bridge
            .directory(&directory)
            .subnet(Subnet::new("10.5.0.0/16".parse().unwrap()));
        bridge.create().unwrap()
    };
    let (empty, full) = (network("empty"), network("full"));
    let crowd: Vec<_> = (0..1000).map(|_| attach(&full).1).collect();

    let mut samples: [Vec<Duration>; 5] = Default::default();
    let pool = Pool::namespaces(1).unwrap();
    for _ in 0..SAMPLES {
        let (detach, inline) = {
            let (d, a) = attach(&empty);
            let t = Instant::now();
            drop(a.1);
            (t.elapsed(), d)
        };
        samples[0].push(inline);
        samples[1].push(detach);
        let (duration, attached) = attach(&full);
        samples[2].push(duration);
        drop(attached);
        let start = Instant::now();
        drop(Namespace::create().unwrap());
        samples[3].push(start.elapsed());
        pool.wait_full(Duration::from_secs(5));
        let start = Instant::now();
        let taken = pool.take().unwrap();
        samples[4].push(start.elapsed());
        drop(taken);
        // Teardown is asynchronous and holds the lock that the next attachment needs.
        std::thread::sleep(Duration::from_millis(30));
    }
    drop(crowd);
    let names = [
        "attach inline, alone",
        "detach, as its caller sees it",
        "attach inline, beside 1,000",
        "make a namespace",
        "take a namespace from the pool",
    ];
    for (name, samples) in names.iter().zip(&mut samples) {
        samples.sort();
        let at = |q: f64| samples[(samples.len() as f64 * q) as usize].as_secs_f64() * 1e6;
        println!(
            "{name:34} min {:7.1}  median {:7.1}  p90 {:7.1} µs",
            at(0.0),
            at(0.5),
            at(0.9)
        );
    }
    drop((empty, full));
    let _ = std::fs::remove_dir_all(&directory);
}

fn attach(network: &Network) -> (Duration, (Namespace, ampoule_net::Attachment)) {
    let namespace = Namespace::create().unwrap();
    let start = Instant::now();
    let attachment = network
        .plan(&Endpoint::new("bench"))
        .unwrap()
        .attach(&namespace)
        .unwrap();
    (start.elapsed(), (namespace, attachment))
}
