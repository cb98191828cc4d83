//! When a CronJob is due.
//!
//! ```
//! use ampoule_orchestrate::schedule::Schedule;
//! use jiff::{Timestamp, tz::TimeZone};
//!
//! let nightly: Schedule = "30 2 * * *".parse()?;
//! let now: Timestamp = "2026-03-28T12:00:00Z".parse()?;
//! // On March 29th, Berlin has no half past two: as in Kubernetes, that night is left out.
//! let zone = TimeZone::get("Europe/Berlin")?;
//! assert_eq!(nightly.next(now, &zone), Some("2026-03-30T00:30:00Z".parse()?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::str::FromStr;

/// A cron expression of five fields, or `@hourly` and its like.
///
/// When both the day of the month and the day of the week are given, either is enough, as in cron.
#[derive(Clone, Debug)]
pub struct Schedule(Cron);

/// A text that is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSchedule(String);

/// How many moments that do not exist in a time zone are passed over, one after the other.
const GAPS: usize = 64;

impl Schedule {
    /// The first moment after `after` at which it is due; none when there is none within reach (`0 0 30 2 *`).
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut from = after.to_zoned(zone.clone());
        for _ in 0..GAPS {
            let next = self.0.find_next_occurrence(&from, false).ok()?;
            // A moment that a change of the clocks leaves out comes back moved: it is not due on that day.
            if self.0.is_time_matching(&next).ok()? && next.timestamp() > after {
                return Some(next.timestamp());
            }
            from = next;
        }
        None
    }
}

impl FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Schedule, BadSchedule> {
        // Croner's extensions are not Kubernetes': what is accepted here must be accepted there.
        let extended = |part: &str| {
            let name = part.len() == 3 && part.bytes().all(|b| b.is_ascii_alphabetic());
            !name && part.contains(|c: char| !c.is_ascii_digit() && !"*?".contains(c))
        };
        let mut parts = text.split(|c: char| c.is_whitespace() || ",-/".contains(c));
        if !text.starts_with('@') && parts.any(extended) {
            let why = "only numbers, names of days and months, and * ? , - / are known";
            return Err(BadSchedule(why.to_owned()));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(text).map_err(|e| BadSchedule(e.to_string()))?;
        Ok(Schedule(cron))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str, zone: &str, after: &str, expect: &[&str]) {
        let schedule: Schedule = expression.parse().unwrap_or_else(|e| panic!("{e}"));
        let zone = TimeZone::get(zone).unwrap_or_else(|e| panic!("{e}"));
        let mut now: Timestamp = after.parse().unwrap_or_else(|e| panic!("{e}"));
        for expect in expect {
            let next = schedule
                .next(now, &zone)
                .unwrap_or_else(|| panic!("{expression} ends"));
            assert_eq!(next.to_string(), *expect, "{expression} after {now}");
            now = next;
        }
    }

    #[test]
    fn due() {
        check(
            "*/5 * * * *",
            "UTC",
            "2026-01-01T00:02:10Z",
            &["2026-01-01T00:05:00Z", "2026-01-01T00:10:00Z"],
        );
        check(
            "0 22 * * 1-5",
            "UTC",
            "2026-01-02T22:00:00Z",
            &["2026-01-05T22:00:00Z"],
        );
        check(
            "@daily",
            "America/New_York",
            "2026-01-01T12:00:00Z",
            &["2026-01-02T05:00:00Z"],
        );
        // Friday the 13th *or* any Friday *or* any 13th: cron's rule for two day fields.
        check(
            "0 0 13 * 5",
            "UTC",
            "2026-01-01T00:00:00Z",
            &[
                "2026-01-02T00:00:00Z",
                "2026-01-09T00:00:00Z",
                "2026-01-13T00:00:00Z",
            ],
        );
        check(
            "0 12 29 2 *",
            "UTC",
            "2026-01-01T00:00:00Z",
            &["2028-02-29T12:00:00Z"],
        );
    }

    #[test]
    fn never() {
        let schedule: Schedule = "0 0 30 2 *".parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(schedule.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC), None);
    }

    #[test]
    fn refusals() {
        for text in [
            "",
            "* * * *",
            "61 * * * *",
            "* * * * * *",
            "0 0 L * *",
            "@every 5m",
            "a b c d e",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text:?} is no schedule");
        }
    }
}
