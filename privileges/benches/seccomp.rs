//! What a filter costs: to compile, and to load, ours against libseccomp's, interleaved in one run.
//!
//! Criterion reports each alone; the table at the end takes turns, so that a noisy machine is noisy for all.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use ampoule_privileges::capabilities::CapabilitySet;
use ampoule_privileges::seccomp::{
    Arch, Compare, Filter, Host, KernelVersion, Profile, Program, Template,
};
use criterion::Criterion;
use seccomp_oracle::{Comparison, Context};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Docker's profile for a container with Docker's capabilities, on x86-64 alone or with x86 and x32.
fn docker(arches: &[Arch]) -> Profile {
    let host = Host {
        arch: Arch::X86_64,
        capabilities: CapabilitySet::DOCKER,
        kernel: KernelVersion { major: 6, minor: 1 },
    };
    let mut profile = Template::docker().resolve(&host);
    profile.arches = arches.to_vec();
    profile
}

/// The same profile, compiled by libseccomp at an optimisation level: 1 is a list, 2 a binary tree.
fn libseccomp(profile: &Profile, level: u32) -> Vec<u8> {
    let token = |arch: &Arch| match arch {
        Arch::X32 => 0x4000_003e,
        arch => arch.audit(),
    };
    let tokens: Vec<u32> = profile.arches.iter().map(token).collect();
    let mut context = Context::new(profile.default.to_return_value(), &tokens);
    context.optimize(level);
    for rule in &profile.rules {
        let conditions = rule.conditions.iter().map(|condition| {
            let (operator, a, b) = match condition.compare {
                Compare::Lt(value) => (2, value, 0),
                Compare::Eq(value) => (4, value, 0),
                Compare::MaskedEq { mask, value } => (7, mask, value),
                other => unreachable!("Docker's profile has no {other:?}"),
            };
            Comparison {
                argument: condition.argument,
                operator,
                a,
                b,
            }
        });
        let conditions: Vec<Comparison> = conditions.collect();
        for name in &rule.syscalls {
            // A name that this libseccomp is too old for is left out, as runc leaves it out.
            let _ = context.rule(rule.action.to_return_value(), name, &conditions);
        }
    }
    context.export()
}

/// How long seccomp(2) takes in a child of its own, which dies with it: filters add up otherwise.
fn load(words: &[u64]) -> Duration {
    seccomp_oracle::time_to_load(words).expect("a filter that the kernel takes")
}

fn words(bytes: &[u8]) -> Vec<u64> {
    Program::from_bytes(bytes)
        .expect("whole instructions")
        .to_words()
}

fn compiling(criterion: &mut Criterion) {
    let three = [Arch::X86_64, Arch::X86, Arch::X32];
    for (name, arches) in [("x86_64", &three[..1]), ("three ABIs", &three[..])] {
        let profile = docker(arches);
        criterion.bench_function(&format!("compile/{name}"), |b| {
            b.iter(|| black_box(&profile).compile().expect("Docker's profile"));
        });
    }
    criterion.bench_function("resolve and compile/three ABIs", |b| {
        b.iter(|| docker(&three).compile().expect("Docker's profile"));
    });
}

/// The median, and the 95th and 99th of a hundred, in microseconds.
fn percentiles(mut times: Vec<Duration>) -> [f64; 3] {
    times.sort_unstable();
    [50, 95, 99].map(|percent| times[times.len() * percent / 100].as_secs_f64() * 1e6)
}

fn interleaved() {
    const ROUNDS: usize = 400;
    let three = [Arch::X86_64, Arch::X86, Arch::X32];
    let mut rows: Vec<(String, Vec<u64>, Vec<Duration>)> = Vec::new();
    for (name, arches) in [("x86_64", &three[..1]), ("three ABIs", &three[..])] {
        let profile = docker(arches);
        let ours: Filter = profile.compile().expect("Docker's profile");
        rows.push((format!("ours, {name}"), ours.words().to_vec(), Vec::new()));
        if seccomp_oracle::available().is_ok() {
            let row = |what: &str, level| {
                (
                    format!("{what}, {name}"),
                    words(&libseccomp(&profile, level)),
                    Vec::new(),
                )
            };
            rows.push(row("libseccomp's list", 1));
            rows.push(row("libseccomp's tree", 2));
        }
    }
    let allow = Profile::new(ampoule_privileges::seccomp::Action::Allow)
        .compile()
        .expect("an empty profile");
    rows.push((
        "an empty profile".into(),
        allow.words().to_vec(),
        Vec::new(),
    ));
    for _ in 0..ROUNDS {
        for (_, words, times) in &mut rows {
            times.push(load(words));
        }
    }
    println!(
        "\n{:<34}{:>13}{:>9}{:>9}{:>9}",
        "load, us", "instructions", "p50", "p95", "p99"
    );
    for (name, words, times) in rows {
        let [p50, p95, p99] = percentiles(times);
        println!(
            "{name:<34}{:>13}{p50:>9.1}{p95:>9.1}{p99:>9.1}",
            words.len()
        );
    }
    if seccomp_oracle::available().is_ok() {
        let profile = docker(&three);
        let times = |work: &dyn Fn()| -> Vec<Duration> {
            let once = |_| {
                let start = Instant::now();
                work();
                start.elapsed()
            };
            (0..50).map(once).collect()
        };
        let ours = percentiles(times(&|| drop(black_box(profile.compile()))));
        let theirs = percentiles(times(&|| drop(black_box(libseccomp(&profile, 1)))));
        println!(
            "\ncompile three ABIs, p50 us: ours {:.0}, libseccomp's list {:.0}",
            ours[0], theirs[0]
        );
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    compiling(&mut criterion);
    criterion.final_summary();
    // `cargo test --benches` only asks whether it runs.
    if !std::env::args().any(|argument| argument == "--test") {
        interleaved();
    }
}
