//! `ampoule doctor`: what this machine allows, and what to do where it does not.

use crate::failure::{Result, say};
use ampoule::{Finding, Level, doctor};
use std::process::ExitCode;

/// Show what this machine allows containers, and the remedy where it does not
///
/// Ends with 1 if something is missing without which no container starts.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Looks, and prints.
    pub fn run(self) -> Result<ExitCode> {
        let findings = doctor();
        match self.json {
            true => say(format_args!("{:#}", json(&findings)))?,
            false => findings.iter().try_for_each(show)?,
        }
        let missing = findings
            .iter()
            .any(|finding| finding.level == Level::Missing);
        Ok(ExitCode::from(u8::from(missing)))
    }
}

fn show(finding: &Finding) -> Result<()> {
    let Finding { topic, what, .. } = finding;
    say(format_args!(
        "{:<9} {topic:<16} {what}",
        word(finding.level)
    ))?;
    let more = [("cause", &finding.cause), ("remedy", &finding.remedy)];
    for (name, text) in more {
        if let Some(text) = text {
            say(format_args!("{:26} {name}: {text}", ""))?;
        }
    }
    Ok(())
}

fn json(findings: &[Finding]) -> serde_json::Value {
    let object = |finding: &Finding| {
        serde_json::json!({
            "topic": finding.topic,
            "level": word(finding.level),
            "what": finding.what,
            "cause": finding.cause,
            "remedy": finding.remedy,
        })
    };
    findings.iter().map(object).collect()
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Degraded => "degraded",
        Level::Missing => "missing",
    }
}
