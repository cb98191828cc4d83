//! Time, as a thing that is handed in.
//!
//! Nothing in this crate asks the operating system for the time. A [`SystemClock`] makes a program wait a minute for a
//! minute; a [`VirtualClock`] jumps to the next moment at which something is due, so that a back-off of ten minutes is
//! tested in microseconds.

use jiff::{SignedDuration, Timestamp};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Wake, Waker};
use std::thread::Thread;

/// Where the time comes from.
///
/// # Contract
/// - [`now`](Clock::now) never goes back.
/// - [`park_until`](Clock::park_until) returns no earlier than the deadline, *unless* the thread was unparked
///   ([`thread_waker`] does that); like [`std::thread::park`] it may also return early for no reason. Without a deadline it
///   returns when the thread is unparked, or at once if nothing could ever unpark it.
///
/// A program under an async runtime needs no `park_until`: it awaits its own timer until the deadline that the control loop
/// reports.
pub trait Clock: Send + Sync + Debug {
    /// The time now.
    fn now(&self) -> Timestamp;
    /// Lets the calling thread rest until `deadline`, or until it is unparked.
    fn park_until(&self, deadline: Option<Timestamp>);
}

/// The time of the machine, kept from going back when somebody sets it.
#[derive(Debug)]
pub struct SystemClock {
    started: std::time::Instant,
    origin: Timestamp,
}

impl SystemClock {
    /// A clock that agrees with the machine's now.
    pub fn new() -> SystemClock {
        SystemClock {
            started: std::time::Instant::now(),
            origin: Timestamp::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let elapsed =
            SignedDuration::try_from(self.started.elapsed()).unwrap_or(SignedDuration::MAX);
        self.origin
            .saturating_add(elapsed)
            .unwrap_or(Timestamp::MAX)
    }

    fn park_until(&self, deadline: Option<Timestamp>) {
        match deadline {
            None => std::thread::park(),
            Some(deadline) => {
                let rest = deadline.duration_since(self.now());
                std::thread::park_timeout(rest.try_into().unwrap_or_default());
            }
        }
    }
}

/// A time that moves only when it is told to.
///
/// ```
/// use ampoule_orchestrate::clock::{Clock, VirtualClock};
/// use jiff::ToSpan;
///
/// let clock = VirtualClock::new();
/// let later = clock.now() + 10.minutes();
/// clock.park_until(Some(later)); // returns at once
/// assert_eq!(clock.now(), later);
/// ```
#[derive(Debug)]
pub struct VirtualClock {
    nanoseconds: AtomicI64,
}

/// Where a virtual time begins unless told otherwise: a Thursday, 2026-01-01T00:00:00Z.
const EPOCH_SECONDS: i64 = 1_767_225_600;

impl VirtualClock {
    /// A clock at 2026-01-01T00:00:00Z.
    pub fn new() -> VirtualClock {
        VirtualClock {
            nanoseconds: AtomicI64::new(EPOCH_SECONDS * 1_000_000_000),
        }
    }

    /// A clock at a moment of one's own, between the years 1677 and 2262.
    pub fn at(start: Timestamp) -> VirtualClock {
        let clock = VirtualClock::new();
        clock
            .nanoseconds
            .store(nanoseconds(start), Ordering::Relaxed);
        clock
    }

    /// Moves the time forward to `moment`; a moment in the past changes nothing.
    pub fn advance_to(&self, moment: Timestamp) {
        self.nanoseconds
            .fetch_max(nanoseconds(moment), Ordering::Relaxed);
    }
}

impl Default for VirtualClock {
    fn default() -> VirtualClock {
        VirtualClock::new()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let nanoseconds = self.nanoseconds.load(Ordering::Relaxed);
        Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or(Timestamp::MAX)
    }

    fn park_until(&self, deadline: Option<Timestamp>) {
        if let Some(deadline) = deadline {
            self.advance_to(deadline);
        }
    }
}

fn nanoseconds(moment: Timestamp) -> i64 {
    moment
        .as_nanosecond()
        .clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// A waker that unparks the calling thread, which ends its [`Clock::park_until`].
pub fn thread_waker() -> Waker {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    Arc::new(Unpark(std::thread::current())).into()
}

/// A moment as objects carry it: whole seconds, as Kubernetes writes them.
pub(crate) fn whole_seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

/// `moment` later by this many seconds, at most the end of time.
pub(crate) fn after(moment: Timestamp, seconds: i64) -> Timestamp {
    let span = SignedDuration::from_secs(seconds);
    moment.saturating_add(span).unwrap_or(Timestamp::MAX)
}
