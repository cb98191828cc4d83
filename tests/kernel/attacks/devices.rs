//! Devices of the machine: the disks, the memory, the kernel's log.

use super::{python, python3, said};
use crate::elsewhere::Scratch;
use ampoule::rootfs::Mount;
use ampoule::{Bind, Container, Root, Volume};
use needs::needs;
use std::process::Command;

/// Makes nodes of the disk, the memory and the kernel's log, and opens them. Nothing is read or written.
const NODES: &str = r#"
import stat
def node(kind, major, minor):
    os.mknod("node", kind | 0o666, os.makedev(major, minor))
    try: os.close(os.open("node", os.O_RDONLY)); return "open"
    finally: os.unlink("node")
os.chdir(os.environ["PLACE"])
for kind, major, minor in [(stat.S_IFBLK, 8, 0), (stat.S_IFBLK, 7, 0), (stat.S_IFCHR, 1, 1), (stat.S_IFCHR, 1, 11)]:
    print(attempt(node, kind, major, minor))
"#;

needs!(user_namespaces, python3 => nodes_made_inside_do_not_open);
fn nodes_made_inside_do_not_open() {
    for place in ["/tmp", "/dev/shm"] {
        let told = said(python(NODES).env("PLACE", place));
        let refused = told.lines().all(|line| ["EACCES", "EPERM"].contains(&line));
        assert!(refused && told.lines().count() == 4, "{place}: {told}");
    }
}

needs!(root, cgroup_v1, python3 => the_cgroup_refuses_them_where_a_mount_does_not);
fn the_cgroup_refuses_them_where_a_mount_does_not() {
    // A mount of the caller's own making, without nodev, is where the second lock is the only one.
    let scratch = Scratch::new();
    let mount = Mount::new("tmpfs").create().unwrap();
    for (name, number) in [("kmsg", "11"), ("null", "3")] {
        let path = scratch.path().join(name);
        let made = Command::new("mknod")
            .arg(&path)
            .args(["c", "1", number])
            .status();
        assert!(made.unwrap().success());
    }
    drop(mount);
    let script = r#"
for name in ["kmsg", "null"]: print(name, attempt(os.open, "/nodes/" + name, os.O_RDONLY) > "9")
"#;
    let told = said(python(script).volume(Volume::bind(Bind::new(scratch.path()), "/nodes")));
    assert_eq!(told, "kmsg True\nnull True\n", "a volume is nodev");
    let mut child = Container::new("sleep");
    let child = child.arg("60").root(Root::host()).spawn().unwrap();
    let list = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
    let path = list
        .lines()
        .find_map(|line| line.split_once(":devices:"))
        .unwrap()
        .1;
    let rules = std::fs::read_to_string(format!("/sys/fs/cgroup/devices{path}/devices.list"));
    let rules = rules.unwrap();
    assert!(!rules.contains("a *:*"), "{rules}");
    assert!(
        rules.contains("c 1:3 rwm") && !rules.contains("c 1:11"),
        "{rules}"
    );
}
