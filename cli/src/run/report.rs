//! `--report`: why a container ended, and what it used.

use super::code;
use crate::failure::{Failure, Result};
use ampoule::namespaces::signal;
use ampoule::{Ending, Report};
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// For programs: one line.
    Json,
}

impl Format {
    /// Prints it on standard error, where the program's own output does not go. For programs a container that did not start
    /// has a report as well, in place of the message.
    pub fn print(self, ended: Result<Report>) -> Result<ExitCode> {
        match (self, ended) {
            (Format::Human, Ok(report)) => {
                eprintln!("{report}");
                Ok(code(&report))
            }
            (Format::Json, Ok(report)) => {
                eprintln!("{}", json(&report));
                Ok(code(&report))
            }
            (Format::Human, Err(failure)) => Err(failure),
            (Format::Json, Err(failure)) => {
                eprintln!("{}", not_started(&failure));
                Ok(ExitCode::from(failure.code))
            }
        }
    }
}

/// Times are in microseconds, memory in bytes; what was not counted is null.
fn json(report: &Report) -> Value {
    let phases: Map<String, Value> = report
        .phases
        .iter()
        .map(|(phase, time)| (phase.to_string(), micros(*time).into()))
        .collect();
    json!({
        "ending": ending(report.ending),
        "code": report.code(),
        "wall_us": micros(report.wall),
        "user_us": micros(report.user),
        "system_us": micros(report.system),
        "throttled_us": report.throttled.map(micros),
        "peak_memory_bytes": report.peak_memory,
        "peak_pids": report.peak_pids,
        "start_us": phases,
    })
}

fn not_started(failure: &Failure) -> Value {
    json!({
        "ending": { "kind": "not-started", "message": failure.message },
        "code": failure.code,
    })
}

fn ending(ending: Ending) -> Value {
    let by = |kind: &str, number| json!({ "kind": kind, "signal": signal::name(number) });
    match ending {
        Ending::Exited(code) => json!({ "kind": "exited", "code": code }),
        Ending::Signaled(number) => by("signaled", number),
        Ending::NeverBegan(number) => by("never-began", number),
        Ending::TimedOut => json!({ "kind": "timed-out" }),
        Ending::OutOfMemory => json!({ "kind": "out-of-memory" }),
        Ending::Filtered => json!({ "kind": "filtered" }),
        _ => json!({ "kind": "unknown" }),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
