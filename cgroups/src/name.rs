//! Names that may be a cgroup's.

use crate::{Controller, Error, Result};

/// The most bytes of a name: with the lock's suffix it must still be a file name.
const LONGEST: usize = 200;

/// Refuses what is no directory name, and what could be one of the kernel's files there (`memory.max`, `tasks`).
pub(crate) fn check(name: &str) -> Result<()> {
    let prefix = name.split_once('.').map(|(prefix, _)| prefix);
    let of_kernel = |prefix| {
        prefix == "cgroup"
            || Controller::ALL
                .iter()
                .any(|c| prefix == c.v1_name() || Some(prefix) == c.v2_name())
    };
    let reason = match name {
        "" => "it is empty",
        "." | ".." => "it is a directory's own or its parent's",
        "tasks" | "notify_on_release" | "release_agent" => "it is a file of the kernel's",
        _ if name.len() > LONGEST => "it is longer than 200 bytes",
        _ if name.contains('/') => "it contains a slash",
        _ if name.contains(|c: char| c.is_control()) => "it contains a control character",
        _ if prefix.is_some_and(of_kernel) => "it could be a file of the kernel's",
        _ => return Ok(()),
    };
    Err(Error::InvalidName {
        name: name.into(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn names() {
        for good in ["a", "job-1", "x.scope", "über", ".hidden", "memory"] {
            assert!(check(good).is_ok(), "{good}");
        }
        let long = "x".repeat(201);
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\0b",
            "a\n",
            "tasks",
            "memory.max",
            "blkio.x",
            "cgroup.procs",
            &long,
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
