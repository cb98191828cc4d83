//! Resource limits: what a process may use up, whatever its cgroup.
//!
//! Source: getrlimit(2).

use crate::{Error, similar};
use std::fmt;
use std::str::FromStr;

macro_rules! resources {
    ($($variant:ident = $number:literal $name:literal: $doc:literal,)*) => {
        /// What can be limited, named as in getrlimit(2).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Resource {
            $(#[doc = $doc] #[doc(alias = $name)] $variant = $number,)*
        }

        impl Resource {
            /// All of them, by number.
            pub const ALL: &[Resource] = &[$(Resource::$variant,)*];

            /// The kernel's name, such as `RLIMIT_NOFILE`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Resource::$variant => $name,)*
                }
            }
        }
    };
}

// The numbers are those of every architecture that the suite is built for (asm-generic/resource.h).
resources! {
    Cpu = 0 "RLIMIT_CPU": "Processor time, in seconds.",
    Fsize = 1 "RLIMIT_FSIZE": "The size of a file that is written, in bytes.",
    Data = 2 "RLIMIT_DATA": "Initialised data, heap and private mappings, in bytes.",
    Stack = 3 "RLIMIT_STACK": "The first thread's stack, in bytes.",
    Core = 4 "RLIMIT_CORE": "A core dump, in bytes.",
    Rss = 5 "RLIMIT_RSS": "Resident pages, in bytes; without effect.",
    Nproc = 6 "RLIMIT_NPROC": "Processes and threads of the user.",
    Nofile = 7 "RLIMIT_NOFILE": "One more than the highest file descriptor.",
    Memlock = 8 "RLIMIT_MEMLOCK": "Locked memory, in bytes.",
    As = 9 "RLIMIT_AS": "Address space, in bytes.",
    Locks = 10 "RLIMIT_LOCKS": "File locks; without effect.",
    Sigpending = 11 "RLIMIT_SIGPENDING": "Queued signals of the user.",
    Msgqueue = 12 "RLIMIT_MSGQUEUE": "POSIX message queues of the user, in bytes.",
    Nice = 13 "RLIMIT_NICE": "How far the nice value may be lowered: 20 minus it.",
    Rtprio = 14 "RLIMIT_RTPRIO": "The highest real-time priority.",
    Rttime = 15 "RLIMIT_RTTIME": "Real-time processor time without a blocking call, in microseconds.",
}

/// Reads `nofile`, `NOFILE` or `RLIMIT_NOFILE`.
impl FromStr for Resource {
    type Err = Error;

    fn from_str(name: &str) -> Result<Resource, Error> {
        let upper = name.to_ascii_uppercase();
        let wanted = upper.strip_prefix("RLIMIT_").unwrap_or(&upper);
        let bare = |resource: &Resource| &resource.name()["RLIMIT_".len()..];
        let mut all = Resource::ALL.iter();
        all.find(|resource| bare(resource) == wanted)
            .copied()
            .ok_or_else(|| Error::UnknownResource {
                name: name.into(),
                similar: similar::nearest(wanted, Resource::ALL.iter().map(bare)),
            })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A limit on one resource.
///
/// ```
/// use ampoule_privileges::limits::{Resource, Rlimit};
///
/// let limit: Rlimit = "nofile=1024:2048".parse()?;
/// assert_eq!(limit, Rlimit { resource: Resource::Nofile, soft: 1024, hard: 2048 });
/// assert_eq!("core=unlimited".parse::<Rlimit>()?.hard, Rlimit::UNLIMITED);
/// # Ok::<(), ampoule_privileges::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rlimit {
    /// What is limited.
    pub resource: Resource,
    /// What counts; the process may raise it up to the hard limit.
    pub soft: u64,
    /// What only CAP_SYS_RESOURCE may raise.
    pub hard: u64,
}

impl Rlimit {
    /// No limit.
    #[doc(alias = "RLIM_INFINITY")]
    pub const UNLIMITED: u64 = u64::MAX;

    /// Finds a limit that the kernel refuses.
    ///
    /// # Errors
    /// [`Error::LimitOrder`] if the soft limit is above the hard one.
    pub fn check(&self) -> Result<(), Error> {
        match self.soft > self.hard {
            true => Err(Error::LimitOrder {
                resource: self.resource,
                soft: self.soft,
                hard: self.hard,
            }),
            false => Ok(()),
        }
    }
}

/// Reads `NAME=SOFT[:HARD]` as `docker run --ulimit` does; `unlimited` and `-1` are no limit, a missing hard limit is the
/// soft one.
impl FromStr for Rlimit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Rlimit, Error> {
        let syntax = || Error::LimitSyntax(text.into());
        let (name, values) = text.split_once('=').ok_or_else(syntax)?;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let value = |text: &str| match text {
            "unlimited" | "-1" => Ok(Rlimit::UNLIMITED),
            number => number.parse().map_err(|_| syntax()),
        };
        let limit = Rlimit {
            resource: name.parse()?,
            soft: value(soft)?,
            hard: value(hard)?,
        };
        limit.check()?;
        Ok(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_meaning_is_refused() {
        fn check(text: &str, expected: &str) {
            assert_eq!(text.parse::<Rlimit>().unwrap_err().to_string(), expected);
        }
        check(
            "nofile=2:1",
            "the soft limit 2 of RLIMIT_NOFILE is above its hard limit 1",
        );
        check(
            "nofiles=1",
            r#"unknown resource "nofiles"; did you mean NOFILE?"#,
        );
        for text in ["nofile", "nofile=", "nofile=x", "nofile=1:2:3", "nofile=-2"] {
            check(
                text,
                &format!(
                    "{text:?} is no limit: write NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024:2048"
                ),
            );
        }
    }
}
