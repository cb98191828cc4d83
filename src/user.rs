//! Whom a program runs as.

use crate::error::{Error, Result};
use ampoule_privileges::User;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A user, with the home directory that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) user: User,
    pub(crate) home: String,
}

/// Finds a user in docker's form: `USER[:GROUP]`, each a name or a number. Names are looked up in the root tree's own files,
/// which `read` gives.
pub(crate) fn find(text: Option<&str>, read: impl Fn(&str) -> String) -> Result<Person> {
    let Some(text) = text else {
        return Ok(Person {
            user: number(0, 0),
            home: "/root".into(),
        });
    };
    let (user, group) = text
        .split_once(':')
        .map_or((text, None), |(user, group)| (user, Some(group)));
    person(user, group, &read("etc/passwd"), &read("etc/group"))
}

fn person(user: &str, group: Option<&str>, passwd: &str, groups: &str) -> Result<Person> {
    // name:password:uid:gid:comment:home:shell
    let entry = passwd
        .lines()
        .map(fields)
        .find(|entry| entry.first() == Some(&user) || entry.get(2) == Some(&user));
    let field = |entry: &[&str], index: usize| entry.get(index).and_then(|text| id(text));
    let (uid, gid) = match &entry {
        Some(entry) => (field(entry, 2), field(entry, 3)),
        None => (id(user), Some(0)),
    };
    let uid = uid.ok_or_else(|| unknown("user", user, "passwd"))?;
    let gid = match group {
        Some(group) => group_id(group, groups).ok_or_else(|| unknown("group", group, "group"))?,
        None => gid.unwrap_or(0),
    };
    // Supplementary groups belong to a user by name, unless the group was chosen.
    let name = entry
        .as_ref()
        .and_then(|entry| entry.first())
        .filter(|_| group.is_none());
    let supplementary = name.map(|name| member_of(name, groups)).unwrap_or_default();
    let home = entry
        .as_ref()
        .and_then(|entry| entry.get(5))
        .filter(|home| !home.is_empty())
        .unwrap_or(&"/");
    Ok(Person {
        user: User {
            groups: supplementary,
            ..number(uid, gid)
        },
        home: home.to_string(),
    })
}

fn number(uid: u32, gid: u32) -> User {
    User {
        uid,
        gid,
        groups: Vec::new(),
    }
}

/// The last number is none: to the kernel it means "as before", which would be root.
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

fn fields(line: &str) -> Vec<&str> {
    line.split(':').collect()
}

fn group_id(group: &str, groups: &str) -> Option<u32> {
    // name:password:gid:members
    let entry = groups
        .lines()
        .map(fields)
        .find(|entry| entry.first() == Some(&group));
    entry
        .and_then(|entry| id(entry.get(2)?))
        .or_else(|| id(group))
}

fn member_of(name: &str, groups: &str) -> Vec<u32> {
    let member = |entry: &Vec<&str>| {
        entry
            .get(3)
            .is_some_and(|members| members.split(',').any(|m| m == name))
    };
    groups
        .lines()
        .map(fields)
        .filter(member)
        .filter_map(|entry| id(entry.get(2)?))
        .collect()
}

fn unknown(what: &str, name: &str, file: &str) -> Error {
    Error::Invalid(format!(
        "no {what} {name:?} in the container's /etc/{file}; a number works without an entry"
    ))
}

/// A file of the root tree, resolved inside of it; empty if it is missing, or cannot be seen from here.
///
/// It is looked at before it is opened: merely to open a device that a running container made in its place could do harm.
pub(crate) fn read(root: Option<BorrowedFd<'_>>, file: &str) -> String {
    let Some(root) = root else {
        return String::new();
    };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let place = openat2(
        root,
        file,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    );
    let mut text = String::new();
    if let Ok(place) = place
        && fstat(&place).is_ok_and(|found| FileType::from_raw_mode(found.st_mode).is_file())
        && let Ok(file) = File::open(format!("/proc/self/fd/{}", place.as_raw_fd()))
    {
        // A hostile image's file may be endless.
        let _ = file.take(1 << 20).read_to_string(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::person;
    use proptest::prelude::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100::/home/ann:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\nwheel:x:10:ann,bob\ndisk:x:6:bob\n";

    #[test]
    fn names_and_numbers_as_docker_reads_them() {
        let check = |user: &str, group: Option<&str>, expect: (u32, u32, &[u32], &str)| {
            let person = person(user, group, PASSWD, GROUP).unwrap();
            let user = person.user;
            assert_eq!(
                (user.uid, user.gid, &user.groups[..], &person.home[..]),
                expect
            );
        };
        check("root", None, (0, 0, &[], "/root"));
        check("ann", None, (1000, 100, &[10], "/home/ann"));
        check("1000", None, (1000, 100, &[10], "/home/ann"));
        check("ann", Some("disk"), (1000, 6, &[], "/home/ann"));
        check("4711", Some("4712"), (4711, 4712, &[], "/"));
        check("4711", None, (4711, 0, &[], "/"));
    }

    proptest! {
        #[test]
        fn whatever_an_image_says_nobody_becomes_the_last_id(
            user in "(ann|[0-9]{1,10}|.{0,6})", passwd in "((ann|.{0,4}):x:[0-9]{0,10}:(4294967295|.{0,4})(:.{0,9}){0,4}\n?){0,3}",
            groups in "(.{0,4}:x:[0-9]{0,10}:(ann,?|.{0,3})\n?){0,3}"
        ) {
            if let Ok(person) = person(&user, None, &passwd, &groups) {
                let ids = [person.user.uid, person.user.gid];
                prop_assert!(!ids.iter().chain(&person.user.groups).any(|id| *id == u32::MAX));
            }
        }
    }

    #[test]
    fn unknown_names_are_refused() {
        let hostile = person("evil", None, "evil:x:4294967295:0::/:/bin/sh\n", GROUP);
        assert!(hostile.is_err(), "{hostile:?}");
        for (user, group) in [
            ("bob", None),
            ("4294967295", None),
            ("ann", Some("4294967295")),
            ("-1", None),
            ("", None),
            ("ann", Some("nobody")),
            ("4294967296", None),
        ] {
            assert!(
                person(user, group, PASSWD, GROUP).is_err(),
                "{user:?}:{group:?}"
            );
        }
    }
}
