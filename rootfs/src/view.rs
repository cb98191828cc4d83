//! The host view: this machine's programs, and nothing else of it.

use crate::root::Made;
use crate::{Error, Maker, Mount, Result, Templates};
use ampoule_mounts::{MountAttributes, Tree};
use std::fs;
use std::path::{Path, PathBuf};

/// What the host view holds.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// The most that may be written into it, in bytes.
    pub size: u64,
}

impl Default for View {
    fn default() -> View {
        View { size: 1 << 30 }
    }
}

/// Directories of programs and libraries; on most machines all but the first two are links into the first.
const PROGRAMS: [&str; 8] = [
    "usr", "opt", "bin", "sbin", "lib", "lib32", "lib64", "libx32",
];

/// What programs look up in `/etc` and what says nothing of the machine's users and secrets.
const SETTINGS: [&str; 9] = [
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "localtime",
    "pki/tls/certs",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
];

pub(crate) fn make(
    view: &View,
    maker: Maker,
    owner: Option<(u32, u32)>,
    templates: &Templates,
) -> Result<Made> {
    let etc = match maker {
        Maker::Host => ampoule_mounts::Ready::Planted(templates.etc.copy(|| etc(maker)?.plant())?),
        Maker::Child => etc(maker)?.prepare(maker)?,
    };
    let tree = skeleton(view, owner)?.prepare(maker)?;
    let parts = vec![("etc", etc, "users, certificates and the linker's cache")];
    Ok(Made {
        tree,
        parts,
        seen: None,
        written: &[("etc/passwd", PASSWD), ("etc/group", GROUP)],
    })
}

/// The root directory: private, in memory, with the machine's programs in it.
fn skeleton(view: &View, owner: Option<(u32, u32)>) -> Result<Tree> {
    let base = Mount::tmpfs()
        .option("size", view.size.to_string())
        .option("mode", "0755");
    let mut tree = Tree::new(base);
    if let Some((uid, gid)) = owner {
        tree.owner(uid, gid);
    }
    for name in [
        "dev", "etc", "home", "mnt", "proc", "run", "srv", "sys", "var",
    ] {
        tree.directory(name, 0o755);
    }
    tree.directory("root", 0o700)
        .directory("tmp", 0o1777)
        .directory("var/tmp", 0o1777)
        .link("var/run", "../run");
    for name in PROGRAMS {
        programs(&mut tree, name)?;
    }
    Ok(tree)
}

/// A directory of programs as the machine has it: a link, a directory, or nothing.
fn programs(tree: &mut Tree, name: &str) -> Result<()> {
    let path = Path::new("/").join(name);
    let Ok(metadata) = fs::symlink_metadata(&path) else {
        return Ok(());
    };
    if metadata.is_symlink() {
        tree.link(name, target(&path)?);
    } else if metadata.is_dir() {
        let attributes = MountAttributes::MOUNT_ATTR_NODEV | MountAttributes::MOUNT_ATTR_NOSUID;
        tree.directory(name, 0o755).mount(
            name,
            Mount::copy_all(&path).read_only().attributes(attributes),
        );
    }
    Ok(())
}

/// A minimal `/etc`, the same for all containers.
fn etc(maker: Maker) -> Result<Tree> {
    let base = Mount::tmpfs()
        .option("size", "1m")
        .option("mode", "0755")
        .attributes(MountAttributes::MOUNT_ATTR_NOEXEC);
    let mut tree = Tree::new(base);
    tree.file("passwd", 0o644, PASSWD)
        .file("group", 0o644, GROUP)
        .file("hosts", 0o644, HOSTS)
        .file("hostname", 0o644, "")
        .file("resolv.conf", 0o644, "")
        .file("nsswitch.conf", 0o644, NSSWITCH)
        .link("mtab", "/proc/self/mounts");
    for name in SETTINGS {
        setting(&mut tree, maker, name)?;
    }
    tree.seal();
    Ok(tree)
}

fn setting(tree: &mut Tree, maker: Maker, name: &str) -> Result<()> {
    let path = Path::new("/etc").join(name);
    // Followed, because `/etc/ssl` and its like may be links into directories that the container has not.
    let Ok(metadata) = fs::metadata(&path) else {
        return Ok(());
    };
    if let Some(parent) = Path::new(name).parent() {
        tree.directories(parent, 0o755);
    }
    if metadata.is_dir() {
        tree.directory(name, 0o755);
    } else if maker == Maker::Host {
        // Made once for all containers: a copy costs them less than a mount each.
        let content = fs::read(&path).map_err(|e| Error::kernel(format!("read {path:?}"), e))?;
        tree.file(name, 0o644, content);
        return Ok(());
    } else {
        tree.file(name, 0o644, "");
    }
    let attributes = MountAttributes::MOUNT_ATTR_NODEV
        | MountAttributes::MOUNT_ATTR_NOSUID
        | MountAttributes::MOUNT_ATTR_NOEXEC;
    let mount = Mount::copy_all(&path).read_only().attributes(attributes);
    tree.mount(name, mount);
    Ok(())
}

fn target(link: &Path) -> Result<PathBuf> {
    fs::read_link(link).map_err(|e| Error::kernel(format!("read the link {link:?}"), e))
}

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
";

const GROUP: &str = "\
root:x:0:
tty:x:5:
nogroup:x:65534:
";

const HOSTS: &str = "\
127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
";

const NSSWITCH: &str = "\
passwd: files
group: files
shadow: files
hosts: files dns
services: files
protocols: files
";
