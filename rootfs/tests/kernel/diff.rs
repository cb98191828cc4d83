//! What a container has changed, as a list.

use crate::inside::maker;
use crate::scratch::{Scratch, busybox};
use crate::shell;
use ampoule_rootfs::{ChangeKind, Maker, Notes, Overlay, Root, Rootfs, Templates, Upper, diff};
use needs::needs;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;

fn changes(upper: &Path, lower: &Path, notes: Notes) -> Vec<String> {
    let (upper, lower) = (File::open(upper).unwrap(), File::open(lower).unwrap());
    let changes = diff(upper.as_fd(), lower.as_fd(), notes).unwrap();
    let letter = |kind| match kind {
        ChangeKind::Added => 'A',
        ChangeKind::Modified => 'M',
        ChangeKind::Deleted => 'D',
        ChangeKind::Opaque => 'O',
    };
    changes
        .iter()
        .map(|change| format!("{} {}", letter(change.kind), change.path.display()))
        .collect()
}

needs!(overlay, busybox => changes_of_a_container_come_in_order);
fn changes_of_a_container_come_in_order() {
    let scratch = Scratch::new();
    let lower = scratch.root("lower");
    for file in [
        "etc/a",
        "etc/b",
        "srv/old/x",
        "srv/old/y",
        "var/d/x",
        "file",
    ] {
        scratch.file(&format!("lower/{file}"), "before\n");
    }
    for name in ["dev", "proc", "sys"] {
        scratch.dir(&format!("lower/{name}"));
    }
    let (upper, work) = (scratch.dir("upper"), scratch.dir("work"));
    let overlay = Overlay::new([&lower]).upper(Upper::Directory {
        upper: upper.clone(),
        work,
    });
    let mut rootfs = Rootfs::new(Root::overlay(overlay));
    rootfs.maker(maker());
    let script = "echo after > /etc/a; rm /etc/b; mkdir /new; echo x > /new/file; rm -r /srv/old; \
                  mkdir /srv/old; echo z > /srv/old/z; rm -r /var/d; rm /file; mkdir /file; echo y > /file/y";
    shell(&rootfs, &Templates::new(), script).unwrap();
    let notes = match maker() {
        Maker::Host => Notes::Trusted,
        Maker::Child => Notes::User,
    };
    let expect = [
        "M etc",
        "M etc/a",
        "D etc/b",
        "M file",
        "A file/y",
        "A new",
        "A new/file",
        "M srv",
        "O srv/old",
        "A srv/old/z",
        "M var",
        "D var/d",
    ];
    assert_eq!(changes(&upper, &lower, notes), expect);
}

needs!(root => both_forms_of_whiteouts_are_read);
fn both_forms_of_whiteouts_are_read() {
    let scratch = Scratch::new();
    for file in ["a", "b", "c", "d/x"] {
        scratch.file(&format!("lower/{file}"), "");
        scratch.file(&format!("upper/{file}"), "");
    }
    let (upper, lower) = (scratch.path().join("upper"), scratch.path().join("lower"));
    let note = |path: &str, name: &str, value: &[u8]| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(upper.join(path), name, value, flags).unwrap();
    };
    note("b", "trusted.overlay.whiteout", b"y");
    // Anybody can write this one: it is no note of an overlay that keeps the other kind.
    note("c", "user.overlay.whiteout", b"y");
    note("d", "trusted.overlay.opaque", b"y");
    std::fs::remove_file(upper.join("a")).unwrap();
    let device = rustix::fs::FileType::CharacterDevice;
    let cwd = rustix::fs::CWD;
    rustix::fs::mknodat(cwd, upper.join("a"), device, 0.into(), 0).unwrap();
    rustix::fs::mknodat(cwd, upper.join("covers-nothing"), device, 0.into(), 0).unwrap();
    assert_eq!(
        changes(&upper, &lower, Notes::Trusted),
        ["D a", "D b", "M c", "O d", "A d/x"]
    );
    assert_eq!(
        changes(&upper, &lower, Notes::User),
        ["D a", "M b", "D c", "M d", "M d/x"]
    );
    note("d", "trusted.overlay.redirect", b"/elsewhere");
    let open = |path| File::open(path).unwrap();
    let error = diff(open(&upper).as_fd(), open(&lower).as_fd(), Notes::Trusted).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"read "d" of an overlay that had redirect_dir (mount overlays with redirect_dir=off)"#
    );
}

needs!( => links_are_changes_and_not_ways);
fn links_are_changes_and_not_ways() {
    let scratch = Scratch::new();
    let (upper, lower) = (scratch.dir("upper"), scratch.dir("lower"));
    scratch.file("outside/secret", "");
    symlink("../outside", upper.join("way")).unwrap();
    symlink("/etc", lower.join("etc")).unwrap();
    scratch.file("upper/etc/passwd", "");
    let expect = ["M etc", "A etc/passwd", "A way"];
    assert_eq!(changes(&upper, &lower, Notes::User), expect);
}

needs!( => depth_costs_no_stack_and_no_descriptors);
fn depth_costs_no_stack_and_no_descriptors() {
    let scratch = Scratch::new();
    let (upper, lower) = (scratch.dir("upper"), scratch.dir("lower"));
    let deep = vec!["d"; 1000].join("/");
    std::fs::create_dir_all(upper.join(deep)).unwrap();
    assert_eq!(changes(&upper, &lower, Notes::User).len(), 1000);
}
