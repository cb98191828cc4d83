//! How fast containers start: Ampoule's, the floor's, and those of others, taking turns in one run.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml -- [--quick] [SECTION…]`, as root. It prints tables in
//! Markdown and writes `target/start.json`. BENCHMARKS.md at the root says what they mean.

mod commands;
mod conditions;
mod floor;
mod ours;
mod phases;
mod place;
mod sections;
mod table;

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

fn main() -> anyhow::Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    // SAFETY: no arguments.
    ensure!(
        unsafe { libc::geteuid() } == 0,
        "root is needed, as the peers need it"
    );
    let quick = args.iter().any(|arg| arg == "--quick");
    args.retain(|arg| arg != "--quick");
    alone()?;
    let began = Instant::now();
    let bench = sections::Bench::new(quick)?;
    let mut results = Map::new();
    results.insert("machine".into(), machine());
    for (name, section) in sections::ALL {
        if args.is_empty() || args.iter().any(|arg| arg == name) {
            let result = section(&bench).with_context(|| format!("section {name}"))?;
            results.insert((*name).to_string(), result);
            eprintln!("{name}: {:.0?} so far", began.elapsed());
        }
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    std::fs::create_dir_all(&target)?;
    let file = target.join("start.json");
    std::fs::write(
        &file,
        serde_json::to_string_pretty(&Value::Object(results))?,
    )?;
    eprintln!("{}", file.display());
    Ok(())
}

/// A mount namespace of the bench's own: what it mounts is gone with it.
fn alone() -> anyhow::Result<()> {
    // SAFETY: there is only this thread yet.
    let left = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    ensure!(left == 0, "unshare: {}", std::io::Error::last_os_error());
    let status = Command::new("mount")
        .args(["--make-rprivate", "/"])
        .status()?;
    ensure!(status.success(), "make mounts private: {status}");
    Ok(())
}

/// What a reader must know to repeat it.
fn machine() -> Value {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_string()
    };
    let first = |program: &str, arg: &str| {
        let output = Command::new(program).arg(arg).output().ok();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        text.and_then(|t| t.lines().next().map(str::to_string))
    };
    let model = read("/proc/cpuinfo");
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH);
    let value = json!({
        "kernel": read("/proc/version"),
        "processor": model.map(|model| model.trim_start_matches([' ', '\t', ':'])),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "load": read("/proc/loadavg"),
        "unix_time": seconds.map_or(0, |since| since.as_secs()),
        "crun": first("crun", "--version"),
        "runc": first("runc", "--version"),
        "bubblewrap": first("bwrap", "--version"),
        "rustc": first("rustc", "--version"),
    });
    println!("```\n{value:#}\n```");
    value
}
