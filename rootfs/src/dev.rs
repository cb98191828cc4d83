//! `/dev`: the few devices that programs expect.

use crate::{Error, ErrorKind, Maker, Mount, Result, Templates};
use ampoule_mounts::{MountAttributes, Ready, Tree};
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, PathBuf};

/// `/dev`: the few devices that programs expect, terminals, shared memory, message queues.
#[derive(Debug, Clone)]
pub struct Dev {
    devices: Vec<Device>,
    shm: u64,
    terminals: Terminals,
    mqueue: bool,
}

/// Whose group terminals have.
#[derive(Debug, Clone, Copy)]
enum Terminals {
    /// That of `tty` in most systems, where the maker can give files to it: a user namespace has it only by chance.
    Usual,
    Group(Option<u32>),
}

/// A device of the machine that the container may open, if its cgroup lets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its path below the container's `/dev`, such as `fuse` or `net/tun`.
    pub name: PathBuf,
    /// Its path on the machine.
    pub source: PathBuf,
}

/// Name, major and minor number: devices(4), all of which the kernel makes harmless to share.
const STANDARD: [(&str, (u32, u32)); 6] = [
    ("null", (1, 3)),
    ("zero", (1, 5)),
    ("full", (1, 7)),
    ("random", (1, 8)),
    ("urandom", (1, 9)),
    ("tty", (5, 0)),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

impl Default for Dev {
    /// The standard devices, 64 MiB of shared memory, terminals of group 5, message queues.
    fn default() -> Dev {
        Dev {
            devices: Vec::new(),
            shm: 64 << 20,
            terminals: Terminals::Usual,
            mqueue: true,
        }
    }
}

impl Dev {
    /// Adds a device of the machine.
    pub fn device(&mut self, device: Device) -> &mut Dev {
        self.devices.push(device);
        self
    }

    /// The devices that were added.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// The size of `/dev/shm` in bytes.
    pub fn shm(&mut self, bytes: u64) -> &mut Dev {
        self.shm = bytes;
        self
    }

    /// The group of terminals, as the maker counts groups; none where the container has no such group.
    ///
    /// By default it is 5, that of `tty` in most systems; and none when the child makes its own mounts, because its user
    /// namespace may have no such group.
    pub fn tty_group(&mut self, gid: Option<u32>) -> &mut Dev {
        self.terminals = Terminals::Group(gid);
        self
    }

    /// Whether there is `/dev/mqueue`. Without an IPC namespace of its own a container would see the machine's queues there.
    pub fn mqueue(&mut self, mqueue: bool) -> &mut Dev {
        self.mqueue = mqueue;
        self
    }

    pub(crate) fn has_mqueue(&self) -> bool {
        self.mqueue
    }

    /// The devices. They are the same for all containers that want no more than the standard ones.
    pub(crate) fn prepare(&self, maker: Maker, templates: &Templates) -> Result<Ready> {
        self.devices.iter().try_for_each(Device::check)?;
        match (maker, self.devices.is_empty()) {
            (Maker::Host, true) => Ok(Ready::Planted(
                templates.dev.copy(|| self.tree(maker).plant())?,
            )),
            _ => self.tree(maker).prepare(maker),
        }
    }

    fn tree(&self, maker: Maker) -> Tree {
        let attributes = MountAttributes::MOUNT_ATTR_NOSUID | MountAttributes::MOUNT_ATTR_NOEXEC;
        let base = Mount::new("tmpfs")
            .option("size", "64k")
            .option("mode", "0755")
            .attributes(attributes);
        let mut tree = Tree::new(base);
        for name in ["pts", "shm", "mqueue"] {
            tree.directory(name, 0o755);
        }
        for (name, to) in LINKS {
            tree.link(name, to);
        }
        // A terminal of the container is mounted on it.
        tree.file("console", 0o600, "");
        for (name, number) in STANDARD {
            match maker {
                Maker::Host => tree.device(name, 0o666, number),
                // In a user namespace nobody makes devices: those of the machine are shown.
                Maker::Child => tree.file(name, 0o666, "").mount(
                    name,
                    Mount::copy(format!("/dev/{name}")).attributes(attributes),
                ),
            };
        }
        for device in &self.devices {
            if let Some(parent) = device.name.parent() {
                tree.directories(parent, 0o755);
            }
            tree.file(&device.name, 0o666, "").mount(
                &device.name,
                Mount::copy(&device.source).attributes(attributes),
            );
        }
        tree.seal();
        tree
    }

    /// Terminals of its own.
    pub(crate) fn pts(&self, maker: Maker) -> Mount {
        let attributes = MountAttributes::MOUNT_ATTR_NOSUID | MountAttributes::MOUNT_ATTR_NOEXEC;
        let mount = Mount::new("devpts")
            .flag("newinstance")
            .option("ptmxmode", "0666")
            .option("mode", "0620")
            .attributes(attributes);
        let group = match (self.terminals, maker) {
            (Terminals::Group(group), _) => group,
            (Terminals::Usual, Maker::Host) => Some(5),
            (Terminals::Usual, Maker::Child) => None,
        };
        match group {
            Some(gid) => mount.option("gid", gid.to_string()),
            None => mount,
        }
    }

    /// Shared memory of its own.
    pub(crate) fn shared_memory(&self) -> Mount {
        Mount::tmpfs()
            .option("size", self.shm.to_string())
            .option("mode", "1777")
            .attributes(MountAttributes::MOUNT_ATTR_NOEXEC)
    }
}

impl Device {
    fn check(&self) -> Result<()> {
        let Device { name, source } = self;
        let normal = |component| matches!(component, Component::Normal(_));
        if name.as_os_str().is_empty() || !name.components().all(normal) {
            let what = format!("show a device as {name:?} in /dev");
            let hint = "the name is relative to /dev, and has no `..`";
            return Err(Error::refused(ErrorKind::Invalid, what).hint(hint));
        }
        let found = std::fs::metadata(source)
            .map_err(|e| Error::kernel(format!("show the device {source:?}"), e))?;
        match found.file_type() {
            kind if kind.is_char_device() || kind.is_block_device() => Ok(()),
            _ => {
                let what = format!("show the device {source:?}: it is none");
                Err(Error::refused(ErrorKind::WrongType, what))
            }
        }
    }
}

/// Message queues: those of the child's IPC namespace.
pub(crate) fn message_queues() -> Mount {
    let attributes = MountAttributes::MOUNT_ATTR_NOSUID
        | MountAttributes::MOUNT_ATTR_NODEV
        | MountAttributes::MOUNT_ATTR_NOEXEC;
    Mount::new("mqueue").attributes(attributes)
}
