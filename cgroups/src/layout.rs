//! Where this machine keeps its cgroups: read once from `/proc/self/mountinfo` and `/proc/self/cgroup`.

use crate::{Controller, Controllers, Error, Result};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The version of a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// One of several hierarchies, each with some controllers.
    V1,
    /// The unified hierarchy.
    V2,
}

/// How a machine is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// v1 hierarchies only.
    V1,
    /// The unified hierarchy only.
    V2,
    /// Controllers on v1, and a v2 hierarchy beside them.
    Hybrid,
}

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its version.
    pub version: Version,
    /// The controllers that are bound to it; of a v2 hierarchy, only those that its root offers.
    pub controllers: Controllers,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The cgroup of this process in it, as a path below `mount`; `None` where the mount does not show it.
    pub own: Option<PathBuf>,
}

/// The hierarchies of this machine, as this process sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// One entry for each hierarchy with a controller of this crate's, v2 first.
    pub hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Looks at this machine.
    ///
    /// # Errors
    /// [`Error::NotMounted`] where there is no cgroup file system; [`Error::Kernel`] without `/proc`.
    pub fn discover() -> Result<Layout> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|error| Error::kernel("read", Path::new(path), error))
        };
        let mut layout = Layout::parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?);
        for hierarchy in &mut layout.hierarchies {
            if hierarchy.version == Version::V2 {
                let offered = fs::read_to_string(hierarchy.mount.join("cgroup.controllers"));
                hierarchy.controllers = Controllers::parse_v2(&offered.unwrap_or_default());
            }
        }
        match layout.hierarchies.is_empty() {
            true => Err(Error::NotMounted),
            false => Ok(layout),
        }
    }

    /// The layout that the two files describe; the controllers of a v2 hierarchy are in neither and stay empty.
    pub fn parse(mountinfo: &str, self_cgroup: &str) -> Layout {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for hierarchy in mountinfo
            .lines()
            .filter_map(|line| parse_mount(line, self_cgroup))
        {
            // A later mount on the same directory hides the earlier one; of two mounts of one hierarchy, one is enough.
            hierarchies.retain(|earlier| earlier.mount != hierarchy.mount);
            let known = |earlier: &Hierarchy| {
                (earlier.version, earlier.controllers) == (hierarchy.version, hierarchy.controllers)
            };
            if !hierarchies.iter().any(known) {
                hierarchies.push(hierarchy);
            }
        }
        hierarchies.sort_by_key(|hierarchy| hierarchy.version == Version::V1);
        Layout { hierarchies }
    }

    /// How the machine is set up.
    pub fn mode(&self) -> Mode {
        let has = |version| self.hierarchies.iter().any(|h| h.version == version);
        match (has(Version::V1), has(Version::V2)) {
            (true, true) => Mode::Hybrid,
            (true, false) => Mode::V1,
            (false, _) => Mode::V2,
        }
    }

    /// The same machine without its hierarchies of that version: to keep off a v2 hierarchy that others use, for instance.
    pub fn without(mut self, version: Version) -> Layout {
        self.hierarchies.retain(|h| h.version != version);
        self
    }
}

/// Reads one line of mountinfo (proc_pid_mountinfo(5)):
/// `36 35 0:30 /root /mount options optional... - type source super-options`.
fn parse_mount(line: &str, self_cgroup: &str) -> Option<Hierarchy> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, mount) = (unescape(fields.next()?), unescape(fields.next()?));
    let mut fields = filesystem.split(' ');
    let version = match fields.next()? {
        "cgroup" => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    let options = fields.nth(1)?;
    let controllers: Controllers = Controller::ALL
        .into_iter()
        .filter(|c| version == Version::V1 && options.split(',').any(|o| o == c.v1_name()))
        .collect();
    // A v1 hierarchy without a controller (name=systemd) belongs to whoever named it.
    if version == Version::V1 && controllers.is_empty() {
        return None;
    }
    let own = own_cgroup(self_cgroup, version, controllers)?;
    let own = Path::new(own).strip_prefix(&root).ok();
    Some(Hierarchy {
        version,
        controllers,
        mount,
        own: own.map(Path::to_owned),
    })
}

/// The path in the line `ID:CONTROLLERS:PATH` of that hierarchy.
fn own_cgroup(text: &str, version: Version, controllers: Controllers) -> Option<&str> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (names, path) = rest.split_once(':')?;
        let matches = match version {
            Version::V2 => names.is_empty(),
            Version::V1 => controllers
                .iter()
                .any(|c| names.split(',').any(|name| name == c.v1_name())),
        };
        matches.then_some(path)
    })
}

/// Undoes the kernel's octal escapes of space, tab, newline and backslash.
fn unescape(field: &str) -> PathBuf {
    let bytes = field.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'\\')
            .then(|| field.get(at + 1..at + 4))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(escape.unwrap_or(bytes[at]));
        at += if escape.is_some() { 4 } else { 1 };
    }
    PathBuf::from(OsString::from_vec(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
25 20 0:22 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:3 - cgroup cgroup rw,cpu,cpuacct
27 25 0:24 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
28 25 0:25 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
29 25 0:26 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw
";
    const HYBRID_SELF: &str = "3:memory:/user/me\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/a:b\n";

    #[test]
    fn a_hybrid_machine() {
        let layout = Layout::parse(HYBRID, HYBRID_SELF);
        assert_eq!(layout.mode(), Mode::Hybrid);
        let seen: Vec<_> = layout
            .hierarchies
            .iter()
            .map(|h| {
                let own = h.own.as_ref().and_then(|p| p.to_str());
                (h.version, h.mount.to_str().unwrap(), own)
            })
            .collect();
        assert_eq!(
            seen,
            [
                (Version::V2, "/sys/fs/cgroup/uni fied", Some("a:b")),
                (Version::V1, "/sys/fs/cgroup/cpu,cpuacct", Some("")),
                (Version::V1, "/sys/fs/cgroup/memory", Some("user/me")),
            ]
        );
        assert_eq!(layout.without(Version::V2).mode(), Mode::V1);
    }

    #[test]
    fn a_mount_that_shows_a_subtree_only() {
        let mountinfo =
            "27 25 0:24 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let inside = Layout::parse(mountinfo, "3:memory:/docker/abc/x\n");
        assert_eq!(inside.hierarchies[0].own.as_deref(), Some(Path::new("x")));
        let outside = Layout::parse(mountinfo, "3:memory:/elsewhere\n");
        assert_eq!(outside.hierarchies[0].own, None);
    }

    #[test]
    fn the_later_mount_hides_the_earlier() {
        let mountinfo = "\
27 25 0:24 / /sys/fs/cgroup rw - cgroup cgroup rw,memory
28 25 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate
29 25 0:25 / /elsewhere rw - cgroup2 cgroup2 rw,nsdelegate
";
        let layout = Layout::parse(mountinfo, "3:memory:/\n0::/\n");
        assert_eq!(layout.mode(), Mode::V2);
        assert_eq!(layout.hierarchies.len(), 1);
        assert_eq!(layout.hierarchies[0].mount, Path::new("/sys/fs/cgroup"));
    }

    proptest::proptest! {
        #[test]
        fn damaged_tables_are_read_or_passed_over(cut in 0..HYBRID.len(), put in ".{0,4}", own in ".{0,30}") {
            let mut table = HYBRID.to_string();
            table.replace_range(cut..(cut + 2).min(HYBRID.len()), &put);
            for hierarchy in Layout::parse(&table, &own).hierarchies {
                assert_ne!(hierarchy.mount, Path::new(""));
            }
        }

        #[test]
        fn escapes_are_undone(name in "[a-z \\t\n\\\\]{0,12}") {
            let escaped: String = name.bytes().map(|byte| format!("\\{byte:03o}")).collect();
            assert_eq!(unescape(&escaped), Path::new(&name));
        }
    }

    #[test]
    fn nonsense_is_passed_over() {
        assert!(
            Layout::parse("\nx - y\n1 2 3 / / - cgroup\n", "::::\n0:\n")
                .hierarchies
                .is_empty()
        );
    }
}
