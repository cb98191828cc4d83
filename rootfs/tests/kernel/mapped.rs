//! Containers whose root user is another than the machine's.

use crate::inside::{Outcome, run_as};
use crate::scratch::{Scratch, busybox};
use ampoule_plan::{Call, Draft, Namespaces, Phase, Undo};
use ampoule_rootfs::{Overlay, Root, Rootfs, Templates, Upper};
use needs::needs;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};

const FIRST: u32 = 100_000;

/// The container's ids 0 to 65535 are the machine's from 100000 on.
fn map_of(pid: i32) -> std::io::Result<()> {
    for file in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{pid}/{file}"), format!("0 {FIRST} 65536"))?;
    }
    Ok(())
}

fn identity(draft: &mut Draft) -> Outcome {
    draft.unshare(Namespaces::CLONE_NEWUSER);
    let why = "write the maps";
    draft.host(Phase::Identity, why, |child| {
        map_of(child.pid())?;
        Ok(Undo::nothing())
    });
    draft.child(
        Phase::Identity,
        Call::Setresgid { gid: 0 },
        "its own group 0",
    );
    draft.child(
        Phase::Identity,
        Call::Setresuid { uid: 0 },
        "its own user 0",
    );
    Ok(())
}

fn say(rootfs: &mut Rootfs, script: &str) -> Outcome<String> {
    rootfs.owner(FIRST, FIRST);
    let ready = rootfs.prepare(&Templates::new())?;
    run_as(identity, &[&ready], script)
}

/// A user namespace with the same map, held by a process that does nothing.
struct Holder(Child);

impl Holder {
    fn spawn() -> Holder {
        let mut command = Command::new("unshare");
        command.args(["--user", "sh", "-c", "echo; exec sleep 60"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut byte = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
        map_of(child.id() as i32).unwrap();
        Holder(child)
    }

    fn namespace(&self) -> OwnedFd {
        let path = format!("/proc/{}/ns/user", self.0.id());
        File::open(path).unwrap().into()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const LOOK: &str =
    "id -u; stat -c %u / /bin/sh; echo x > /x; stat -c %u /x /dev/shm; ls -d /proc/1 /sys/class";

needs!(root, user_namespaces => the_host_view_belongs_to_its_root_user);
fn the_host_view_belongs_to_its_root_user() {
    let script = "stat -c %u /root /tmp /dev/shm; touch /root/x /run/x; ls -d /proc/1 /sys/class";
    let said = say(&mut Rootfs::new(Root::host()), script).unwrap();
    assert_eq!(said, "0\n0\n0\n/proc/1\n/sys/class\n");
}

needs!(root, user_namespaces, busybox => owners_are_shown_through_a_map);
fn owners_are_shown_through_a_map() {
    let scratch = Scratch::new();
    let root = scratch.root("root");
    for name in ["dev", "proc", "sys"] {
        scratch.dir(&format!("root/{name}"));
    }
    // Without a map they are nobody's.
    let said = say(
        &mut Rootfs::new(Root::dir(&root)),
        "stat -c %u /bin/sh; (touch /x) 2>&1; true",
    );
    assert!(said.as_ref().unwrap().starts_with("65534\n"), "{said:?}");
    assert!(
        said.as_ref().unwrap().contains("Permission denied"),
        "{said:?}"
    );

    let holder = Holder::spawn();
    let mapped = Root::dir(&root).idmap(holder.namespace());
    let said = say(&mut Rootfs::new(mapped), LOOK).unwrap();
    assert_eq!(said, "0\n0\n0\n0\n0\n/proc/1\n/sys/class\n");
    assert_eq!(std::fs::metadata(root.join("x")).unwrap().uid(), 0);
}

/// Mapped layers of an overlay.
fn kernel_6_15() -> Result<(), String> {
    needs::kernel((6, 15))
}

needs!(root, user_namespaces, overlay, busybox, kernel_6_15 => layers_are_shown_through_a_map);
fn layers_are_shown_through_a_map() {
    let scratch = Scratch::new();
    let holder = Holder::spawn();
    let layers = [scratch.dir("top"), scratch.root("base")];
    let overlay = Overlay::new(layers).upper(Upper::Memory { size: 1 << 20 });
    let root = Root::overlay(overlay).idmap(holder.namespace());
    let said = say(&mut Rootfs::new(root), LOOK).unwrap();
    assert_eq!(said, "0\n0\n0\n0\n0\n/proc/1\n/sys/class\n");
}
