//! What the kernel shows of itself: `/proc`, `/sys`, `/sys/fs/cgroup`.

use crate::{Error, Maker, Mount, Result};
use ampoule_mounts::{MountAttributes, Tree};
use std::fs;

/// `/proc`: the processes of the container's own pid namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Proc {
    /// What processes see of those of other users.
    pub hidepid: HidePid,
}

/// What processes see of those of other users in `/proc`: proc(5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HidePid {
    /// Everything that file modes allow.
    #[default]
    Off,
    /// That they exist.
    NoAccess,
    /// Nothing.
    Invisible,
    /// Nothing, unless they may be traced (kernel 5.8).
    Ptraceable,
}

/// `/sys`: the kernel's devices and settings, read-only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sys {
    /// That of the container's own network namespace. Without one of its own the kernel refuses it in a user namespace.
    #[default]
    Own,
    /// The host's.
    Host,
    /// None.
    Absent,
}

/// `/sys/fs/cgroup`, read-only: what a container sees of its limits. It wants a cgroup namespace of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cgroups {
    /// None.
    #[default]
    Absent,
    /// The one hierarchy of cgroup v2.
    Unified,
    /// A directory for each hierarchy.
    Hierarchies(Vec<Hierarchy>),
}

/// One hierarchy of cgroups on a machine that has several.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hierarchy {
    /// The name of its directory.
    pub directory: String,
    /// cgroup v1: the controllers, or `name=` and a name. Empty for cgroup v2.
    pub options: Vec<String>,
}

const RESTRICTED: MountAttributes = MountAttributes::MOUNT_ATTR_NOSUID
    .union(MountAttributes::MOUNT_ATTR_NODEV)
    .union(MountAttributes::MOUNT_ATTR_NOEXEC);

impl Proc {
    pub(crate) fn mount(self) -> Mount {
        let proc = Mount::new("proc").attributes(RESTRICTED);
        match self.hidepid {
            HidePid::Off => proc,
            HidePid::NoAccess => proc.option("hidepid", "1"),
            HidePid::Invisible => proc.option("hidepid", "2"),
            HidePid::Ptraceable => proc.option("hidepid", "4"),
        }
    }
}

impl Sys {
    /// Who makes it, and what.
    pub(crate) fn mount(self, maker: Maker) -> Option<(Maker, Mount)> {
        let (maker, mount) = match (self, maker) {
            (Sys::Absent, _) => return None,
            (Sys::Own, _) => (Maker::Child, Mount::new("sysfs")),
            (Sys::Host, Maker::Host) => (maker, Mount::copy("/sys")),
            // In a user namespace what is mounted below comes along: it hides what it lies on, and the kernel keeps it so.
            (Sys::Host, Maker::Child) => (maker, Mount::copy_all("/sys")),
        };
        Some((maker, mount.attributes(RESTRICTED).read_only()))
    }
}

impl Cgroups {
    /// What the machine has.
    ///
    /// # Errors
    /// When `/proc/self/mountinfo` cannot be read.
    pub fn of_host() -> Result<Cgroups> {
        let path = "/proc/self/mountinfo";
        let table =
            fs::read_to_string(path).map_err(|e| Error::kernel(format!("read {path}"), e))?;
        Ok(Cgroups::parse(&table))
    }

    fn parse(mountinfo: &str) -> Cgroups {
        let mut found: Vec<Hierarchy> = Vec::new();
        for line in mountinfo.lines() {
            let Some((place, kind)) = line.split_once(" - ") else {
                continue;
            };
            let Some(point) = place.split(' ').nth(4) else {
                continue;
            };
            let mut words = kind.split(' ');
            let (kind, options) = (words.next(), words.nth(1).unwrap_or_default());
            match (kind, point.strip_prefix("/sys/fs/cgroup")) {
                (Some("cgroup2"), Some("")) => return Cgroups::Unified,
                (Some("cgroup2"), Some(name)) => found.push(Hierarchy::new(name, [])),
                (Some("cgroup"), Some(name)) => {
                    found.push(Hierarchy::new(name, options.split(',')));
                }
                _ => {}
            }
        }
        match found.is_empty() {
            true => Cgroups::Absent,
            false => Cgroups::Hierarchies(found),
        }
    }
}

impl Hierarchy {
    fn new<'a>(directory: &str, options: impl IntoIterator<Item = &'a str>) -> Hierarchy {
        let options = options
            .into_iter()
            .filter(|word| !matches!(*word, "rw" | "ro"));
        Hierarchy {
            directory: directory.trim_matches('/').to_string(),
            options: options.map(str::to_string).collect(),
        }
    }

    pub(crate) fn mount(&self) -> Mount {
        if self.options.is_empty() {
            return unified();
        }
        let mount = Mount::new("cgroup").attributes(RESTRICTED).read_only();
        self.options
            .iter()
            .fold(mount, |mount, word| match word.split_once('=') {
                Some(("name", name)) => mount.flag("none").option("name", name),
                Some((key, value)) => mount.option(key, value),
                None => mount.flag(word),
            })
    }
}

pub(crate) fn unified() -> Mount {
    Mount::new("cgroup2").attributes(RESTRICTED).read_only()
}

/// The directories that hierarchies are mounted on.
pub(crate) fn directories(hierarchies: &[Hierarchy]) -> Tree {
    let base = Mount::tmpfs()
        .option("size", "64k")
        .option("mode", "0755")
        .attributes(RESTRICTED);
    let mut tree = Tree::new(base);
    for hierarchy in hierarchies {
        tree.directory(&hierarchy.directory, 0o755);
    }
    tree.seal();
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mountinfo: &str, expect: Cgroups) {
        assert_eq!(Cgroups::parse(mountinfo), expect);
    }

    proptest::proptest! {
        #[test]
        fn any_table_is_read(table in "(([0-9/:a-z ]{0,9} ){0,6}/sys/fs/cgroup(/[a-z,=]{0,9})? rw - cgroup2? .{0,4} .{0,9}\n?){0,3}") {
            if let Cgroups::Hierarchies(list) = Cgroups::parse(&table) {
                assert!(!list.is_empty());
            }
        }
    }

    #[test]
    fn one_hierarchy() {
        check(
            "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
            Cgroups::Unified,
        );
    }

    #[test]
    fn several() {
        check(
            "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            Cgroups::Hierarchies(vec![
                Hierarchy::new("cpu,cpuacct", ["cpu", "cpuacct"]),
                Hierarchy::new("systemd", ["name=systemd"]),
                Hierarchy::new("unified", []),
            ]),
        );
    }

    #[test]
    fn none() {
        check("22 27 0:21 / /proc rw - proc proc rw\n", Cgroups::Absent);
    }
}
