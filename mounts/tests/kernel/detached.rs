//! What the host makes: seen by its descriptor alone, and gone with it.

use ampoule_mounts::{ErrorKind, Mount, MountAttributes, Overlay, Tree};
use needs::needs;
use rustix::fs::{Mode, OFlags, StatVfsMountFlags, fstatvfs, mkdirat, openat, readlinkat, statat};
use std::fs::File;
use std::io::Read;

fn mountinfo() -> String {
    std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap()
}

needs!(root => a_detached_mount_is_seen_by_nobody_else);
fn a_detached_mount_is_seen_by_nobody_else() {
    let mount = Mount::tmpfs().option("source", "ampoule-detached");
    let mount = mount.create().unwrap();
    mkdirat(&mount, "place", Mode::from(0o700)).unwrap();
    let flags = fstatvfs(&mount).unwrap().f_flag;
    assert!(flags.contains(StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV));
    assert!(!flags.contains(StatVfsMountFlags::RDONLY));
    assert!(!mountinfo().contains("ampoule-detached"));
}

needs!(root => a_copy_is_restricted_and_its_original_is_not);
fn a_copy_is_restricted_and_its_original_is_not() {
    let copy = Mount::copy("/tmp").read_only().create().unwrap();
    let error = mkdirat(&copy, "ampoule-x", Mode::from(0o700)).unwrap_err();
    assert_eq!(error, rustix::io::Errno::ROFS);
    let original = File::open("/tmp").unwrap();
    let flags = fstatvfs(&original).unwrap().f_flag;
    assert!(!flags.contains(StatVfsMountFlags::RDONLY));
}

needs!(root => a_tree_holds_what_was_put_in_it);
fn a_tree_holds_what_was_put_in_it() {
    let mut tree = Tree::new(Mount::new("tmpfs").option("mode", "0711"));
    tree.directories("a/b", 0o1777)
        .file("a/b/file", 0o640, "content")
        .link("a/link", "b/file")
        .device("null", 0o666, (1, 3))
        .seal();
    let planted = tree.plant().unwrap();
    let root = planted.root();
    let mode = |at: &str| {
        statat(root, at, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            .unwrap()
            .st_mode
    };
    assert_eq!(mode(".") & 0o7777, 0o711);
    assert_eq!(mode("a/b") & 0o7777, 0o1777, "whatever the umask");
    assert_eq!(mode("a/b/file") & 0o7777, 0o640);
    assert_eq!(mode("null"), 0o020666);
    assert_eq!(
        readlinkat(root, "a/link", vec![]).unwrap().as_c_str(),
        c"b/file"
    );
    let mut content = String::new();
    let file = openat(root, "a/link", OFlags::RDONLY, Mode::empty()).unwrap();
    File::from(file).read_to_string(&mut content).unwrap();
    assert_eq!(content, "content");
    let error = mkdirat(root, "more", Mode::from(0o700)).unwrap_err();
    assert_eq!(error, rustix::io::Errno::ROFS);
}

/// Copies of detached mounts.
fn kernel_6_15() -> Result<(), String> {
    needs::kernel((6, 15))
}

needs!(root, kernel_6_15 => a_template_is_copied_with_its_mounts);
fn a_template_is_copied_with_its_mounts() {
    let mut tree = Tree::new(Mount::tmpfs());
    let inner = Mount::tmpfs().attributes(MountAttributes::MOUNT_ATTR_NOEXEC);
    tree.directory("inner", 0o755).mount("inner", inner);
    let template = tree.plant().unwrap();
    let copy = template.copy().unwrap();
    drop(template);
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let inner = openat(copy.root(), "inner", flags, Mode::empty()).unwrap();
    let flags = fstatvfs(&inner).unwrap().f_flag;
    assert!(flags.contains(StatVfsMountFlags::NOEXEC));
}

needs!(root => what_the_kernel_refuses_is_said_in_its_words);
fn what_the_kernel_refuses_is_said_in_its_words() {
    let check = |mount: Mount, kind, start: &str| {
        let error = mount.create().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with(start), "{error}");
    };
    check(
        Mount::new("nonesuch"),
        ErrorKind::Unsupported,
        "open the file system nonesuch: No such device",
    );
    check(
        Mount::tmpfs().option("size", "many"),
        ErrorKind::Kernel,
        "set size of tmpfs: Invalid argument",
    );
    check(
        Mount::copy("/nonesuch"),
        ErrorKind::Missing,
        r#"copy the mount at "/nonesuch": No such file or directory"#,
    );
    check(
        Mount::overlay(Overlay::new(["/usr", "/nonesuch"])),
        ErrorKind::Missing,
        r#"open the directory "/nonesuch": No such file or directory"#,
    );
    let namespace = File::open("/proc/self/ns/user").unwrap();
    check(
        Mount::copy("/tmp").idmap(std::os::fd::OwnedFd::from(namespace)),
        ErrorKind::Denied,
        r#"set attributes of a copy of "/tmp""#,
    );
}

needs!(root => nothing_is_left);
fn nothing_is_left() {
    const TIMES: usize = 200;
    let open = || std::fs::read_dir("/proc/thread-self/fd").unwrap().count();
    let before = open();
    for _ in 0..TIMES {
        let mut tree = Tree::new(Mount::tmpfs().option("source", "ampoule-left"));
        tree.directory("usr", 0o755)
            .mount("usr", Mount::copy_all("/usr"));
        tree.plant().unwrap();
    }
    // Other tests of this process open files meanwhile, but not as many.
    assert!(open() < before + TIMES / 2);
    assert!(!mountinfo().contains("ampoule-left"));
}
