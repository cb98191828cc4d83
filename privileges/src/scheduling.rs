//! Scheduling: when a process runs, on which processors, and when its I/O is done.

mod cpus;

pub use cpus::CpuSet;

use crate::Error;
use crate::error::within;
use std::fmt;

/// How the kernel schedules a process: sched(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Time sharing, the default.
    #[doc(alias("SCHED_OTHER", "SCHED_NORMAL"))]
    Other,
    /// Time sharing for work that nobody waits for: it wakes up a little later.
    #[doc(alias = "SCHED_BATCH")]
    Batch,
    /// Only when nothing else wants to run.
    #[doc(alias = "SCHED_IDLE")]
    Idle,
    /// Real time, until it blocks: priority 1 to 99.
    #[doc(alias = "SCHED_FIFO")]
    Fifo {
        /// 1 (lowest) to 99.
        priority: u32,
    },
    /// Real time, in turns: priority 1 to 99.
    #[doc(alias = "SCHED_RR")]
    RoundRobin {
        /// 1 (lowest) to 99.
        priority: u32,
    },
    /// Real time with a guarantee: `runtime` in every `period`, before `deadline` has passed. All in nanoseconds.
    #[doc(alias = "SCHED_DEADLINE")]
    Deadline {
        /// Processor time that is granted, at least 1,024 ns.
        runtime: u64,
        /// How long after the period's beginning it must have been granted.
        deadline: u64,
        /// The period; 0 means the deadline.
        period: u64,
    },
    /// The policy of a scheduler that is loaded as a BPF program (Linux 6.12).
    #[doc(alias = "SCHED_EXT")]
    Ext,
}

/// A scheduling policy with what belongs to it: sched_setattr(2).
///
/// ```
/// use ampoule_privileges::scheduling::{Policy, Scheduler};
///
/// let batch = Scheduler { nice: 5, ..Scheduler::new(Policy::Batch) };
/// assert_eq!(batch.to_string(), "SCHED_BATCH, nice 5");
/// # Ok::<(), ampoule_privileges::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scheduler {
    /// The policy.
    pub policy: Policy,
    /// For the time-sharing policies, -20 (most) to 19.
    pub nice: i32,
    /// Children begin with the default policy.
    #[doc(alias = "SCHED_FLAG_RESET_ON_FORK")]
    pub reset_on_fork: bool,
    /// Runtime that other deadline tasks do not use may be used.
    #[doc(alias = "SCHED_FLAG_RECLAIM")]
    pub reclaim: bool,
    /// SIGXCPU tells of an overrun.
    #[doc(alias = "SCHED_FLAG_DL_OVERRUN")]
    pub deadline_overrun: bool,
}

impl Scheduler {
    /// This policy, with nice value 0 and no flags.
    pub fn new(policy: Policy) -> Scheduler {
        Scheduler {
            policy,
            nice: 0,
            reset_on_fork: false,
            reclaim: false,
            deadline_overrun: false,
        }
    }

    /// Finds what the kernel refuses with EINVAL.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Deadline`].
    pub fn check(&self) -> Result<(), Error> {
        within("nice value", self.nice.into(), -20, 19)?;
        match self.policy {
            Policy::Fifo { priority } | Policy::RoundRobin { priority } => {
                within("real-time priority", priority.into(), 1, 99)
            }
            Policy::Deadline {
                runtime,
                deadline,
                period,
            } => {
                let period = if period == 0 { deadline } else { period };
                match 1024 <= runtime
                    && runtime <= deadline
                    && deadline <= period
                    && period < 1 << 63
                {
                    true => Ok(()),
                    false => Err(Error::Deadline {
                        runtime,
                        deadline,
                        period,
                    }),
                }
            }
            _ => Ok(()),
        }
    }

    /// The kernel's `struct sched_attr`, in its first version of 48 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (priority, [runtime, deadline, period]) = match self.policy {
            Policy::Fifo { priority } | Policy::RoundRobin { priority } => (priority, [0; 3]),
            Policy::Deadline {
                runtime,
                deadline,
                period,
            } => (0, [runtime, deadline, period]),
            _ => (0, [0; 3]),
        };
        let mut bytes = Vec::with_capacity(48);
        bytes.extend(48_u32.to_ne_bytes());
        bytes.extend(self.policy.number().to_ne_bytes());
        bytes.extend(self.flags().to_ne_bytes());
        bytes.extend(self.nice.to_ne_bytes());
        bytes.extend(priority.to_ne_bytes());
        for time in [runtime, deadline, period] {
            bytes.extend(time.to_ne_bytes());
        }
        bytes
    }

    fn flags(&self) -> u64 {
        u64::from(self.reset_on_fork)
            | u64::from(self.reclaim) << 1
            | u64::from(self.deadline_overrun) << 2
    }
}

impl Policy {
    fn number(self) -> u32 {
        match self {
            Policy::Other => 0,
            Policy::Fifo { .. } => 1,
            Policy::RoundRobin { .. } => 2,
            Policy::Batch => 3,
            Policy::Idle => 5,
            Policy::Deadline { .. } => 6,
            Policy::Ext => 7,
        }
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.policy {
            Policy::Other => write!(f, "SCHED_OTHER, nice {}", self.nice),
            Policy::Batch => write!(f, "SCHED_BATCH, nice {}", self.nice),
            Policy::Idle => f.write_str("SCHED_IDLE"),
            Policy::Fifo { priority } => write!(f, "SCHED_FIFO, priority {priority}"),
            Policy::RoundRobin { priority } => write!(f, "SCHED_RR, priority {priority}"),
            Policy::Deadline {
                runtime,
                deadline,
                period,
            } => {
                write!(
                    f,
                    "SCHED_DEADLINE, {runtime} ns of {period} ns within {deadline} ns"
                )
            }
            Policy::Ext => write!(f, "SCHED_EXT, nice {}", self.nice),
        }
    }
}

/// When a process's I/O is done: ioprio_set(2). Levels go from 0 (first) to 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IoPriority {
    /// Before all others.
    #[doc(alias = "IOPRIO_CLASS_RT")]
    RealTime(u32),
    /// As usual.
    #[doc(alias = "IOPRIO_CLASS_BE")]
    BestEffort(u32),
    /// Only when nobody else wants the disk.
    #[doc(alias = "IOPRIO_CLASS_IDLE")]
    Idle,
}

impl IoPriority {
    /// Finds a level that the kernel refuses.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] above 7.
    pub fn check(&self) -> Result<(), Error> {
        match *self {
            IoPriority::RealTime(level) | IoPriority::BestEffort(level) => {
                within("I/O priority level", level.into(), 0, 7)
            }
            IoPriority::Idle => Ok(()),
        }
    }

    /// The kernel's value: the class from bit 13 on, and the level.
    pub fn value(self) -> u32 {
        match self {
            IoPriority::RealTime(level) => 1 << 13 | level,
            IoPriority::BestEffort(level) => 2 << 13 | level,
            IoPriority::Idle => 3 << 13,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_laid_out_as_the_kernel_reads_it() {
        let mut scheduler = Scheduler::new(Policy::Deadline {
            runtime: 2048,
            deadline: 4096,
            period: 8192,
        });
        scheduler.reset_on_fork = true;
        scheduler.check().unwrap();
        let bytes = scheduler.to_bytes();
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(
            [word(0), word(4), word(8), word(24), word(32), word(40)],
            [48, 6, 1, 2048, 4096, 8192]
        );
    }

    #[test]
    fn what_the_kernel_would_refuse_is_found() {
        let bad = [
            Scheduler::new(Policy::Fifo { priority: 0 }),
            Scheduler::new(Policy::RoundRobin { priority: 100 }),
            Scheduler::new(Policy::Deadline {
                runtime: 5000,
                deadline: 4096,
                period: 0,
            }),
            Scheduler {
                nice: 20,
                ..Scheduler::new(Policy::Batch)
            },
        ];
        for scheduler in bad {
            assert!(scheduler.check().is_err(), "{scheduler}");
        }
        assert!(IoPriority::BestEffort(8).check().is_err());
    }
}
