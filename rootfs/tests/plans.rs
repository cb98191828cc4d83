//! The printed plans of root trees, word for word. They are those of a child that makes its own mounts: these need no privilege.

use ampoule_plan::{Draft, Part};
use ampoule_rootfs::{Maker, Masks, Root, Rootfs, Sys, Templates};

fn check(rootfs: &mut Rootfs, expect: &str) {
    let mut draft = Draft::new();
    let ready = rootfs
        .maker(Maker::Child)
        .prepare(&Templates::new())
        .unwrap();
    ready.contribute(&mut draft).unwrap();
    let shown = draft.finish().unwrap().to_string();
    // Without the numbers, the birth, and the host's column, which is empty.
    let shown: Vec<String> = shown
        .lines()
        .skip(3)
        .map(|line| {
            line.get(5..)
                .unwrap_or_default()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let expect: Vec<&str> = expect.trim_matches('\n').lines().map(str::trim).collect();
    assert_eq!(shown.join("\n"), expect.join("\n"));
}

fn bare(root: Root) -> Rootfs {
    let mut rootfs = Rootfs::new(root);
    rootfs
        .dev(None)
        .proc(None)
        .sys(Sys::Absent)
        .masks(Masks::none());
    rootfs
}

#[test]
fn a_directory_and_nothing_else() {
    check(
        &mut bare(Root::dir("/")),
        r#"
        mounts umask(0)
        — modes are meant as they are given
        mounts open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE|AT_RECURSIVE|OPEN_TREE_CLOEXEC) = <root>
        — the container's root tree
        mounts mount_setattr(<root>, "", AT_RECURSIVE|AT_EMPTY_PATH, {set MOUNT_ATTR_NODEV, MS_PRIVATE}, 32)
        — it allows no more than it should, and mounts do not spread
        mounts move_mount(<root>, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH)
        — in its place
        mounts fchdir(<root>)
        — places are relative to it
        root fchdir(<root>)
        — from inside the new root
        root pivot_root(".", ".")
        — the tree becomes /, with the old root on top of it
        root umount2(".", MNT_DETACH)
        — the old root goes, and with it every mount of the host
        root chdir("/")
        — the working directory is inside
        root umask(022)
        — the usual
"#,
    );
}

#[test]
fn a_read_only_directory_with_proc_sys_and_masks() {
    let mut rootfs = Rootfs::new(Root::dir("/"));
    rootfs.dev(None).read_only(true).masks(Masks {
        masked: ["/proc/keys", "/proc/timer_list", "/secret"]
            .map(Into::into)
            .into(),
        read_only: vec!["/proc/sys".into()],
    });
    check(
        &mut rootfs,
        r#"
        mounts umask(0)
        — modes are meant as they are given
        mounts open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE|AT_RECURSIVE|OPEN_TREE_CLOEXEC) = <root>
        — the container's root tree
        mounts mount_setattr(<root>, "", AT_RECURSIVE|AT_EMPTY_PATH, {set MOUNT_ATTR_RDONLY|MOUNT_ATTR_NODEV, MS_PRIVATE}, 32)
        — it can be read only, and mounts do not spread
        mounts move_mount(<root>, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH)
        — in its place
        mounts fchdir(<root>)
        — places are relative to it
        mounts fsopen("proc", FSOPEN_CLOEXEC) = <proc fs>
        — the processes of the child's pid namespace
        mounts fsconfig(<proc fs>, FSCONFIG_CMD_CREATE, NULL, NULL, 0)
        — the file system is made
        mounts fsmount(<proc fs>, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC) = <proc>
        — a mount of it, nowhere yet
        mounts fsopen("sysfs", FSOPEN_CLOEXEC) = <sysfs fs>
        — the devices of the child's network namespace
        mounts fsconfig(<sysfs fs>, FSCONFIG_CMD_CREATE, NULL, NULL, 0)
        — the file system is made
        mounts fsmount(<sysfs fs>, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC) = <sys>
        — a mount of it, nowhere yet
        mounts move_mount(<sys>, "", AT_FDCWD, "sys", MOVE_MOUNT_F_EMPTY_PATH)
        — the kernel's devices, to be read only
        mounts open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = <cover>
        — covers what is not to be seen
        mounts mount_setattr(<cover>, "", AT_EMPTY_PATH, {set MOUNT_ATTR_NOSUID|MOUNT_ATTR_NOEXEC, MS_PRIVATE}, 32)
        — it allows no more than it should, and mounts do not spread
        mounts fsopen("tmpfs", FSOPEN_CLOEXEC) = <tmpfs fs>
        — covers a directory
        mounts fsconfig(<tmpfs fs>, FSCONFIG_SET_STRING, "size", "4k", 0)
        — as it was asked for
        mounts fsconfig(<tmpfs fs>, FSCONFIG_SET_STRING, "mode", "0755", 0)
        — as it was asked for
        mounts fsconfig(<tmpfs fs>, FSCONFIG_CMD_CREATE, NULL, NULL, 0)
        — the file system is made
        mounts fsmount(<tmpfs fs>, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC) = <empty>
        — a mount of it, nowhere yet
        mounts open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = <null>
        — covers a file
        mounts mount_setattr(<null>, "", AT_EMPTY_PATH, {set MOUNT_ATTR_NOSUID|MOUNT_ATTR_NOEXEC, MS_PRIVATE}, 32)
        — it allows no more than it should, and mounts do not spread
        root move_mount(<proc>, "", AT_FDCWD, "proc", MOVE_MOUNT_F_EMPTY_PATH)
        — its own processes, and no others
        root fchdir(<root>)
        — from inside the new root
        root pivot_root(".", ".")
        — the tree becomes /, with the old root on top of it
        root umount2(".", MNT_DETACH)
        — the old root goes, and with it every mount of the host
        root chdir("/")
        — the working directory is inside
        root umask(022)
        — the usual
        mask move_mount(<cover>, "", <proc>, "keys", MOVE_MOUNT_F_EMPTY_PATH)
        — says too much of the machine
        mask open_tree(<cover>, "", OPEN_TREE_CLONE|AT_EMPTY_PATH|OPEN_TREE_CLOEXEC) = <cover>
        — the same cover again
        mask move_mount(<cover>, "", <proc>, "timer_list", MOVE_MOUNT_F_EMPTY_PATH)
        — says too much of the machine
        mask move_mount(<empty>, "", AT_FDCWD, "/secret", MOVE_MOUNT_F_EMPTY_PATH)
        or move_mount(<null>, "", AT_FDCWD, "/secret", MOVE_MOUNT_F_EMPTY_PATH)
        ENOENT does not matter
        — is hidden, if it is there
        mask open_tree(<proc>, "sys", OPEN_TREE_CLONE|AT_RECURSIVE|AT_SYMLINK_NOFOLLOW|OPEN_TREE_CLOEXEC) = <sys>
        — changes the machine's settings
        mask mount_setattr(<sys>, "", AT_RECURSIVE|AT_EMPTY_PATH, {set MOUNT_ATTR_RDONLY}, 32)
        — so it can be read only
        mask move_mount(<sys>, "", <proc>, "sys", MOVE_MOUNT_F_EMPTY_PATH)
        — in its place
        mask mount_setattr(<root>, "", AT_EMPTY_PATH, {set MOUNT_ATTR_RDONLY}, 32)
        — every place in it is made: now it can be read only
"#,
    );
}
