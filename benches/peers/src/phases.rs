//! Where the time of our own start goes.

use crate::ours;
use crate::sections::Bench;
use ampoule::plan::Phase;
use ampoule::{Report, Stdio};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The phases of a cold start and of a program that joins a running container: minimum and median.
pub fn phases(bench: &Bench) -> anyhow::Result<Value> {
    let container = bench.container();
    let running = ours::container(&bench.place, "/bin/pause").spawn()?;
    let count = if bench.quick { 50 } else { 300 };
    let mut results = Map::new();
    let cold = gather(count, || Ok(container.status()?))?;
    results.insert("cold".into(), show("Phases of a cold start", cold));
    let joined = gather(count, || {
        let mut exec = running.exec("/bin/true");
        let null = || Stdio::Null;
        Ok(exec.stdin(null()).stdout(null()).stderr(null()).status()?)
    })?;
    results.insert(
        "exec".into(),
        show("Phases of an exec into a running one", joined),
    );
    Ok(Value::Object(results))
}

fn gather(
    count: usize,
    start: impl Fn() -> anyhow::Result<Report>,
) -> anyhow::Result<Vec<Vec<(Phase, Duration)>>> {
    (0..count).map(|_| Ok(start()?.phases)).collect()
}

fn show(title: &str, runs: Vec<Vec<(Phase, Duration)>>) -> Value {
    println!("\n### {title}\n\n| phase | min µs | p50 µs |\n|---|---|---|");
    let mut result = Map::new();
    for phase in Phase::ALL {
        let of_run =
            |run: &Vec<(Phase, Duration)>| run.iter().find(|(p, _)| *p == phase).map(|(_, t)| *t);
        let mut times: Vec<Duration> = runs.iter().filter_map(of_run).collect();
        times.sort_unstable();
        if let (Some(least), Some(middle)) = (times.first(), times.get(times.len() / 2)) {
            println!(
                "| {phase} | {} | {} |",
                least.as_micros(),
                middle.as_micros()
            );
            let value = json!({"min": least.as_micros() as u64, "p50": middle.as_micros() as u64});
            result.insert(phase.to_string(), value);
        }
    }
    Value::Object(result)
}
