//! What happened, to be read, compared and drawn.

use crate::control::Record;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::fmt;

/// How many pods were in which state at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub time: Timestamp,
    /// By state: `Pending`, `Starting`, `Ready`, `Unready`, `Ending`, `Succeeded`, `Failed`.
    pub pods: BTreeMap<&'static str, usize>,
}

/// What happened in a simulation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    records: Vec<Record>,
    samples: Vec<Sample>,
}

/// How far samples lie apart at most while nothing is recorded.
const PERIOD: SignedDuration = SignedDuration::from_secs(5);

impl Timeline {
    /// What the controllers told, in order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The numbers of pods, each time they had changed.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// All of it as JSON: `{"records": […], "samples": […]}`.
    pub fn to_json(&self) -> serde_json::Value {
        let records = self.records.iter().map(|record| {
            serde_json::json!({
                "time": record.time.to_string(), "source": record.source, "about": record.about.to_string(),
                "reason": record.reason, "message": record.message,
            })
        });
        let samples = self.samples.iter().map(
            |sample| serde_json::json!({"time": sample.time.to_string(), "pods": sample.pods}),
        );
        serde_json::json!({
            "records": records.collect::<Vec<_>>(),
            "samples": samples.collect::<Vec<_>>(),
        })
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.samples
            .last()
            .is_none_or(|last| now.duration_since(last.time) >= PERIOD)
    }

    pub(super) fn add(&mut self, records: Vec<Record>, sample: Sample) {
        self.records.extend(records);
        match self.samples.last_mut() {
            Some(last) if last.pods == sample.pods => {}
            Some(last) if last.time == sample.time => *last = sample,
            _ => self.samples.push(sample),
        }
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(start) = self.records.first().map(|record| record.time) else {
            return f.write_str("nothing happened\n");
        };
        for record in &self.records {
            let passed = record.time.duration_since(start).as_secs_f64();
            writeln!(
                f,
                "{passed:>10.3}s  {:<20} {}: {}",
                record.reason, record.about, record.message
            )?;
        }
        Ok(())
    }
}

/// The state that a person would name.
pub(super) fn state_of(pod: &Pod) -> &'static str {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    match phase {
        Some("Succeeded") => "Succeeded",
        Some("Failed") => "Failed",
        _ if pod.metadata.deletion_timestamp.is_some() => "Ending",
        Some("Running") if crate::controllers::is_ready(pod) => "Ready",
        Some("Running") => "Unready",
        _ if crate::control::node_of(pod).is_none() => "Pending",
        _ => "Starting",
    }
}
