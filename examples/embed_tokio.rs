//! *How do I start a thousand containers from asynchronous code?*
//!
//! Starts are work of the kernel, so a semaphore bounds how many are under way at once; how many *run* at once is another
//! question, and another bound. Cancelling is dropping: nothing stays of a container whose future is gone.
//!
//! **Run it**: `cargo run --release --example embed_tokio`

#![allow(clippy::print_stdout, reason = "an example talks")]

mod stage;

use ampoule::cgroups::Parent;
use ampoule::{Container, Output};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const CONTAINERS: u32 = 1_000;
/// More would only wait for one another in the kernel.
const AT_ONCE: usize = 16;

#[tokio::main]
async fn main() -> ExitCode {
    let result = run().await;
    stage::play(|_| result)
}

async fn run() -> anyhow::Result<()> {
    all().await?;
    cancelled().await?;
    // What was cancelled is taken away in the background.
    let begun = Instant::now();
    while left()? != Left::default() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", left()?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("left behind: nothing");
    Ok(())
}

/// Each container says its number.
async fn all() -> anyhow::Result<()> {
    let (begun, starts) = (Instant::now(), Arc::new(Semaphore::new(AT_ONCE)));
    let mut tasks = JoinSet::new();
    for number in 0..CONTAINERS {
        let starts = starts.clone();
        tasks.spawn(async move {
            let _permit = starts.acquire().await?;
            anyhow::Ok((number, say(number).output_async().await?))
        });
    }
    let mut walls = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (number, Output { report, stdout, .. }) = done??;
        assert_eq!(String::from_utf8(stdout)?, format!("{number}\n"));
        assert!(report.success(), "{report}");
        walls.push(report.wall);
    }
    walls.sort();
    let (time, count) = (begun.elapsed(), walls.len());
    let [p50, p99] = [count / 2, count * 99 / 100].map(|index| walls[index]);
    let rate = count as f64 / time.as_secs_f64();
    println!("{count} in {time:.1?}, {AT_ONCE} at once: {rate:.0} a second");
    println!("from the call to the last byte: p50 {p50:.1?}, p99 {p99:.1?}");
    assert_eq!(count, CONTAINERS as usize);
    Ok(())
}

/// Containers that would run for a minute, given up after a moment, each at another one of its life.
async fn cancelled() -> anyhow::Result<()> {
    let mut sleeper = Container::new("sleep");
    sleeper.arg("60");
    for millis in 0..20 {
        let run = tokio::time::timeout(Duration::from_millis(millis), sleeper.status_async());
        assert!(run.await.is_err(), "a sleeper ended");
    }
    println!("20 more were given up while they started or ran");
    Ok(())
}

fn say(number: u32) -> Container {
    let mut container = Container::new("echo");
    container.arg(number.to_string());
    container
}

/// What containers of this process could have left.
#[derive(Debug, Default, PartialEq)]
struct Left {
    children: usize,
    cgroups: usize,
    /// Descriptors beyond the few dozen that all containers share.
    files: usize,
}

fn left() -> anyhow::Result<Left> {
    let mut children = 0;
    for thread in stage::names("/proc/self/task")? {
        let list = std::fs::read_to_string(format!("/proc/self/task/{thread}/children"));
        children += list.unwrap_or_default().split_whitespace().count();
    }
    let mine = format!("{}-", std::process::id());
    let cgroups = match Parent::open("ampoule") {
        Ok(parent) => parent
            .names()?
            .iter()
            .filter(|name| name.starts_with(&mine))
            .count(),
        // An ordinary user without a delegated cgroup: there are none.
        Err(_) => 0,
    };
    let files = stage::names("/proc/self/fd")?.len().saturating_sub(100);
    Ok(Left {
        children,
        cgroups,
        files,
    })
}
