//! Which ids of the host the ids of a user namespace stand for: user_namespaces(7).

use crate::error::Error;
use std::fmt::Write;
use std::fs;
use std::io;
use std::process::Command;

/// A run of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// The first id inside.
    pub inside: u32,
    /// The id of the host that it stands for.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The map of a user namespace, for user and group ids.
///
/// ```
/// use ampoule_namespaces::IdMap;
///
/// // Root inside is user 100000 outside, and so on for 65536 ids.
/// let map = IdMap::ranges(100_000, 65_536)?;
/// assert_eq!(map.outside_uid(0), Some(100_000));
/// assert_eq!(map.outside_uid(65_536), None);
/// # Ok::<(), ampoule_namespaces::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    uids: Vec<Extent>,
    gids: Vec<Extent>,
}

/// The kernel's limit on the lines of a map.
const MOST_EXTENTS: usize = 340;

impl IdMap {
    /// One user and one group: the caller's own, under these ids inside. Any user may have this.
    pub fn single(uid: u32, gid: u32) -> IdMap {
        let (euid, egid) = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        IdMap {
            uids: vec![Extent {
                inside: uid,
                outside: euid,
                count: 1,
            }],
            gids: vec![Extent {
                inside: gid,
                outside: egid,
                count: 1,
            }],
        }
    }

    /// The ids from 0 on stand for `count` ids of the host from `first` on, users and groups alike.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for an empty range, or one past the last id.
    pub fn ranges(first: u32, count: u32) -> Result<IdMap, Error> {
        let extent = Extent {
            inside: 0,
            outside: first,
            count,
        };
        IdMap::new(vec![extent], vec![extent])
    }

    /// A map of any extents.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for extents that are empty, overlap, pass the last id, or are more
    /// than the kernel takes (340).
    pub fn new(uids: Vec<Extent>, gids: Vec<Extent>) -> Result<IdMap, Error> {
        check("user", &uids)?;
        check("group", &gids)?;
        Ok(IdMap { uids, gids })
    }

    /// Root inside is the caller, and the ids from 1 on are those that `/etc/subuid` and `/etc/subgid` grant the caller.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) if nothing is granted: the message names the remedy.
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if what is granted overlaps, or passes the last id.
    pub fn subordinate() -> Result<IdMap, Error> {
        let own = IdMap::single(0, 0);
        IdMap::new(
            with_granted(own.uids[0], &granted("/etc/subuid")?),
            with_granted(own.gids[0], &granted("/etc/subgid")?),
        )
    }

    /// The host's user id that an id inside stands for.
    pub fn outside_uid(&self, inside: u32) -> Option<u32> {
        outside(&self.uids, inside)
    }

    /// The host's group id that an id inside stands for.
    pub fn outside_gid(&self, inside: u32) -> Option<u32> {
        outside(&self.gids, inside)
    }

    /// User extents.
    pub fn uids(&self) -> &[Extent] {
        &self.uids
    }

    /// Group extents.
    pub fn gids(&self) -> &[Extent] {
        &self.gids
    }

    /// Whether it maps just one user and one group, which the child may write itself.
    pub(crate) fn is_single(&self) -> bool {
        matches!((&self.uids[..], &self.gids[..]), ([uid], [gid]) if uid.count == 1 && gid.count == 1)
    }

    /// The text for `/proc/PID/uid_map`.
    pub(crate) fn uid_lines(&self) -> String {
        lines(&self.uids)
    }

    /// The text for `/proc/PID/gid_map`.
    pub(crate) fn gid_lines(&self) -> String {
        lines(&self.gids)
    }

    /// Writes the maps of a process, by ourselves or by the programs that are privileged to.
    pub(crate) fn write(&self, pid: i32, privileged: bool) -> io::Result<()> {
        if privileged {
            fs::write(format!("/proc/{pid}/gid_map"), self.gid_lines())?;
            return fs::write(format!("/proc/{pid}/uid_map"), self.uid_lines());
        }
        run("newgidmap", pid, &self.gids)?;
        run("newuidmap", pid, &self.uids)
    }
}

fn outside(extents: &[Extent], inside: u32) -> Option<u32> {
    let extent = extents.iter().find(|extent| {
        inside
            .checked_sub(extent.inside)
            .is_some_and(|n| n < extent.count)
    })?;
    Some(extent.outside + (inside - extent.inside))
}

fn check(kind: &str, extents: &[Extent]) -> Result<(), Error> {
    let invalid = |problem: String| Err(ampoule_plan::Error::Invalid(problem).into());
    if extents.is_empty() || extents.len() > MOST_EXTENTS {
        return invalid(format!(
            "a {kind} id map has {} extents: 1 to {MOST_EXTENTS} are possible",
            extents.len()
        ));
    }
    for (index, extent) in extents.iter().enumerate() {
        let Extent {
            inside,
            outside,
            count,
        } = *extent;
        // The last id, 2^32-1, means "no id" in system calls.
        let past = |first: u32| u64::from(first) + u64::from(count) > u64::from(u32::MAX);
        if count == 0 || past(inside) || past(outside) {
            return invalid(format!(
                "{kind} ids {inside}, {outside}, {count}: not a range of ids"
            ));
        }
        if let Some(other) = extents[..index].iter().find(|other| overlap(other, extent)) {
            return invalid(format!("{kind} ids {extent:?} overlap {other:?}"));
        }
    }
    Ok(())
}

fn overlap(a: &Extent, b: &Extent) -> bool {
    let meet = |a0: u32, b0: u32| {
        u64::from(a0) < u64::from(b0) + u64::from(b.count)
            && u64::from(b0) < u64::from(a0) + u64::from(a.count)
    };
    meet(a.inside, b.inside) || meet(a.outside, b.outside)
}

fn lines(extents: &[Extent]) -> String {
    extents.iter().fold(
        String::new(),
        |mut text,
         Extent {
             inside,
             outside,
             count,
         }| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{inside} {outside} {count}");
            text
        },
    )
}

/// The ranges that a file of subuid(5) grants to the caller, by name or by number.
fn granted(file: &str) -> Result<Vec<(u32, u32)>, Error> {
    let uid = rustix::process::geteuid().as_raw();
    let name = user_name(uid);
    let text = fs::read_to_string(file).map_err(|e| Error::os(format!("read {file}"), e))?;
    let ranges: Vec<(u32, u32)> = text
        .lines()
        .filter_map(|line| grant(line, uid, name.as_deref()))
        .collect();
    if ranges.is_empty() {
        let who = name.unwrap_or_else(|| uid.to_string());
        return Err(Error::Os {
            what: format!("find subordinate ids of {who} in {file}"),
            source: io::ErrorKind::PermissionDenied.into(),
            hint: Some(
                "root grants them: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER",
            ),
        });
    }
    Ok(ranges)
}

fn grant(line: &str, uid: u32, name: Option<&str>) -> Option<(u32, u32)> {
    let mut fields = line.trim().split(':');
    let (who, first, count) = (
        fields.next()?,
        fields.next()?.parse().ok()?,
        fields.next()?.parse().ok()?,
    );
    let mine = Some(who) == name || who.parse() == Ok(uid);
    (mine && count > 0).then_some((first, count))
}

fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_string())
    })
}

fn with_granted(own: Extent, ranges: &[(u32, u32)]) -> Vec<Extent> {
    let mut extents = vec![own];
    let mut inside = 1;
    for &(outside, count) in ranges {
        extents.push(Extent {
            inside,
            outside,
            count,
        });
        // Past the last id, which the map is checked for.
        inside = inside.saturating_add(count);
    }
    extents
}

/// newuidmap(1) and newgidmap(1) check the grant and have the privilege to write the map.
fn run(program: &str, pid: i32, extents: &[Extent]) -> io::Result<()> {
    let numbers = extents
        .iter()
        .flat_map(|extent| [extent.inside, extent.outside, extent.count]);
    let output = Command::new(program)
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .output()
        .map_err(|e| {
            io::Error::new(
                e.kind(),
                format!("{program}: {e} (Debian: apt install uidmap)"),
            )
        })?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).trim().to_string(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{Extent, IdMap, grant, with_granted};
    use proptest::prelude::*;

    fn extent(inside: u32, outside: u32, count: u32) -> Extent {
        Extent {
            inside,
            outside,
            count,
        }
    }

    #[test]
    fn maps_that_the_kernel_would_refuse_are_refused_with_the_reason() {
        let check = |extents: Vec<Extent>, expect: &str| {
            let error = IdMap::new(extents, vec![extent(0, 0, 1)]).map_err(|e| e.to_string());
            assert!(
                error.as_ref().is_err_and(|e| e.contains(expect)),
                "{error:?} should say {expect:?}"
            );
        };
        check(vec![], "has 0 extents");
        check(vec![extent(0, 1000, 0)], "not a range");
        check(vec![extent(0, u32::MAX - 5, 10)], "not a range");
        check(vec![extent(0, 1000, 10), extent(9, 5000, 1)], "overlap");
        check(vec![extent(0, 1000, 10), extent(20, 1005, 1)], "overlap");
        check(
            (0..341).map(|n| extent(n, n, 1)).collect(),
            "has 341 extents",
        );
    }

    #[test]
    fn grants_are_read_by_name_and_by_number() {
        assert_eq!(
            grant("ann:100000:65536", 1000, Some("ann")),
            Some((100_000, 65_536))
        );
        assert_eq!(grant("1000:5:6", 1000, Some("ann")), Some((5, 6)));
        for line in ["bob:100000:65536", "ann:x:1", "ann:1", "", "ann:1:0"] {
            assert_eq!(grant(line, 1000, Some("ann")), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_of_a_subuid_file_is_read_or_passed_over(line in "(ann|1000|.{0,5})?:?[0-9]{0,11}:?.{0,11}") {
            if let Some((first, count)) = grant(&line, 1000, Some("ann")) {
                prop_assert!(count > 0 && line.contains(&first.to_string()), "{line:?}");
            }
        }

        #[test]
        fn a_map_of_any_grants_is_refused_or_means_each_id_once(ranges in prop::collection::vec(any::<(u32, u32)>(), 0..4)) {
            let extents = with_granted(extent(0, 1000, 1), &ranges);
            if let Ok(map) = IdMap::new(extents.clone(), vec![extent(0, 1000, 1)]) {
                for Extent { inside, outside, count } in extents {
                    prop_assert_eq!(map.outside_uid(inside), Some(outside));
                    prop_assert_eq!(map.outside_uid(inside + (count - 1)), Some(outside + (count - 1)));
                }
                prop_assert_eq!(map.outside_uid(u32::MAX), None);
            }
        }
    }

    #[test]
    fn inside_and_outside() -> Result<(), crate::Error> {
        let map = IdMap::new(
            vec![extent(0, 1000, 1), extent(1, 100_000, 10)],
            vec![extent(5, 7, 1)],
        )?;
        let outside: Vec<Option<u32>> = [0, 1, 10, 11].map(|id| map.outside_uid(id)).to_vec();
        assert_eq!(outside, [Some(1000), Some(100_000), Some(100_009), None]);
        assert_eq!((map.outside_gid(5), map.outside_gid(0)), (Some(7), None));
        assert_eq!(map.uid_lines(), "0 1000 1\n1 100000 10\n");
        Ok(())
    }
}
