//! How long to wait before trying again.

use crate::clock::after;
use jiff::{SignedDuration, Timestamp};

/// A pause that doubles with every failure and is forgotten after a long success.
///
/// The first failure is tried again at once, then after 10, 20, 40 … seconds, at most five minutes; ten minutes without a
/// failure begin anew (<https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

const FIRST: i64 = 10;
const LONGEST: i64 = 300;
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(10);

impl Backoff {
    /// Notes a failure at `now` after something ran for `ran`; returns when it may be tried again.
    pub fn fail(&mut self, now: Timestamp, ran: SignedDuration) -> Timestamp {
        if ran >= FORGOTTEN_AFTER {
            self.failures = 0;
        }
        self.failures += 1;
        after(now, self.pause())
    }

    /// Notes a failure of something that is tried again after ten seconds even the first time, such as fetching an image.
    pub fn fail_slowly(&mut self, now: Timestamp) -> Timestamp {
        self.failures = self.failures.max(1) + 1;
        after(now, self.pause())
    }

    /// The present pause, in seconds.
    pub fn pause(self) -> i64 {
        match self.failures {
            0 | 1 => 0,
            n => (FIRST << (n - 2).min(5)).min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_five_minutes_and_is_forgotten() {
        let mut backoff = Backoff::default();
        let moment = SignedDuration::from_secs(1);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            backoff.fail(Timestamp::UNIX_EPOCH, moment);
            pauses.push(backoff.pause());
        }
        assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 300, 300]);
        backoff.fail(Timestamp::UNIX_EPOCH, SignedDuration::from_mins(10));
        assert_eq!(backoff.pause(), 0);
    }
}
