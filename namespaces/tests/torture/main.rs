//! Starts from a host that misbehaves: many threads that allocate, lock, panic and change their minds, under an allocator
//! that ends whoever allocates in a child.

#[path = "../kernel/container.rs"]
#[allow(dead_code, reason = "the kernel tests use the rest of it")]
mod container;
mod host;
mod trap;

use ampoule_namespaces::{Command, Status};
use container::{container, start};
use needs::needs;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Barrier, Mutex};

#[global_allocator]
static ALLOCATOR: trap::Trap = trap::Trap;

fn main() -> std::process::ExitCode {
    // The torture's own panics need not be read.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.to_string().contains(ON_PURPOSE) {
            report(info);
        }
    }));
    needs::run_one_by_one()
}

const ON_PURPOSE: &str = "on purpose";
const THREADS: usize = 16;
const STARTS: usize = 10_000;

needs!(root => ten_thousand_starts_from_sixteen_threads_that_misbehave);
fn ten_thousand_starts_from_sixteen_threads_that_misbehave() {
    let before = host::State::here();
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let shared = Mutex::new(HashMap::new());
    let barrier = Barrier::new(2 * THREADS);
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            scope.spawn({
                let (shared, done, barrier) = (&shared, &done, &barrier);
                move || {
                    barrier.wait();
                    misbehave(seed, shared, done);
                }
            });
        }
        let starters: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    while next.fetch_add(1, Relaxed) < STARTS {
                        let mut process = start(&container(), &Command::new("/bin/true")).unwrap();
                        assert_eq!(process.wait().unwrap().status, Status::Exited(0));
                    }
                })
            })
            .collect();
        let ends: Vec<_> = starters.into_iter().map(|starter| starter.join()).collect();
        done.store(true, Relaxed);
        assert!(ends.into_iter().all(|end| end.is_ok()), "a start failed");
    });
    before.assert_unchanged();
}

/// Allocates, holds a lock while it does, and panics now and then: what a child that is not careful would inherit half done.
fn misbehave(seed: usize, shared: &Mutex<HashMap<usize, String>>, done: &AtomicBool) {
    let mut round = seed;
    while !done.load(Relaxed) {
        round = round
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let mut map = shared
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        map.insert(round % 512, "x".repeat(round % 4096));
        drop(map);
        if round.is_multiple_of(64) {
            let stumble = std::panic::catch_unwind(|| panic!("{ON_PURPOSE}: {}", "y".repeat(100)));
            assert!(stumble.is_err());
        }
        // Two processors are shared with those who start: they must get on.
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
}

needs!(root => a_start_leaves_its_host_as_it_was);
fn a_start_leaves_its_host_as_it_was() {
    // The first start makes the spawner, whose thread and socket stay.
    start(&container(), &Command::new("/bin/true"))
        .unwrap()
        .wait()
        .unwrap();
    let before = host::State::here();
    for _ in 0..10 {
        start(&container(), &Command::new("/bin/true"))
            .unwrap()
            .wait()
            .unwrap();
        start(&container(), &Command::new("/no/such/program")).unwrap_err();
    }
    before.assert_unchanged();
}

needs!(root => the_trap_fires_for_a_child_that_allocates);
fn the_trap_fires_for_a_child_that_allocates() {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    let mut command = std::process::Command::new("/bin/true");
    // SAFETY: it is the point of the trap that this is wrong; the child ends in it.
    unsafe {
        command.pre_exec(|| {
            drop(std::hint::black_box(vec![1, 2, 3]));
            Ok(())
        });
    }
    // The child dies before its exec: std reads the end of its pipe as success, and the status tells.
    let status = command.status().unwrap();
    assert_eq!(status.signal(), Some(9), "{status}");
}
