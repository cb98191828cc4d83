//! Directories and overlays as roots, from inside.

use crate::inside::maker;
use crate::scratch::{Scratch, busybox};
use crate::shell;
use ampoule_rootfs::{Error, ErrorKind, Overlay, Root, Rootfs, Templates, Upper};
use needs::needs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

fn rootfs(root: Root) -> Rootfs {
    let mut rootfs = Rootfs::new(root);
    rootfs.maker(maker());
    rootfs
}

fn say(rootfs: &Rootfs, script: &str) -> String {
    shell(rootfs, &Templates::new(), script).unwrap()
}

fn refusal(rootfs: &Rootfs) -> Error {
    rootfs.prepare(&Templates::new()).unwrap_err()
}

needs!(busybox => a_directory_is_a_root);
fn a_directory_is_a_root() {
    let scratch = Scratch::new();
    let root = scratch.root("root");
    let said = say(
        &rootfs(Root::dir(&root)),
        "echo x > /x; ls -d /proc/1 /sys/class /dev/null; pwd",
    );
    assert_eq!(said, "/dev/null\n/proc/1\n/sys/class\n/\n");
    assert_eq!(std::fs::read_to_string(root.join("x")).unwrap(), "x\n");
}

needs!(busybox => a_read_only_one_stays_as_it_is);
fn a_read_only_one_stays_as_it_is() {
    let scratch = Scratch::new();
    let root = scratch.root("root");
    let mut described = rootfs(Root::dir(&root));
    described.read_only(true);
    let error = refusal(&described);
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert_eq!(
        error.to_string(),
        "the root has no directory /dev, and can be read only (make it there)"
    );
    for name in ["dev", "proc", "sys"] {
        scratch.dir(&format!("root/{name}"));
    }
    let said = say(
        &described,
        "(echo x > /x) 2>&1; echo y > /dev/shm/y && cat /dev/shm/y",
    );
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(said.ends_with("y\n"), "{said}");
    assert!(!root.join("x").exists());
}

needs!( => a_root_that_cannot_be_one_is_refused);
fn a_root_that_cannot_be_one_is_refused() {
    let scratch = Scratch::new();
    let check = |path: PathBuf, kind, expect: &str| {
        let error = refusal(&rootfs(Root::dir(&path)));
        assert_eq!(error.kind(), kind);
        let expect = format!("use {path:?} as a root: {expect}");
        assert_eq!(error.to_string(), expect);
    };
    check(
        scratch.path().join("nonesuch"),
        ErrorKind::Missing,
        "No such file or directory (os error 2)",
    );
    check(
        scratch.file("file", ""),
        ErrorKind::WrongType,
        "Not a directory (os error 20)",
    );
    let error = refusal(&rootfs(Root::overlay(Overlay::new([scratch.path()]))));
    assert_eq!(
        error.to_string(),
        "an overlay of 1 layers: the kernel wants 2 without an upper one"
    );
}

needs!( => links_in_the_place_of_proc_sys_and_dev_are_refused);
fn links_in_the_place_of_proc_sys_and_dev_are_refused() {
    for name in ["proc", "sys", "dev"] {
        let scratch = Scratch::new();
        let root = scratch.dir("root");
        scratch.dir("root/elsewhere");
        symlink("elsewhere", root.join(name)).unwrap();
        let error = refusal(&rootfs(Root::dir(&root)));
        assert_eq!(error.kind(), ErrorKind::WrongType);
        let start = format!("mount on /{name} in the root: ");
        assert!(error.to_string().starts_with(&start), "{error}");
        std::fs::remove_file(root.join(name)).unwrap();
        std::fs::write(root.join(name), "").unwrap();
        let error = refusal(&rootfs(Root::dir(&root)));
        assert_eq!(error.kind(), ErrorKind::WrongType, "{error}");
    }
}

/// Five layers, each with a file of its own and one that all have; the first is on top.
fn layers(scratch: &Scratch) -> Vec<PathBuf> {
    let mut layers: Vec<PathBuf> = (0..4).map(|n| scratch.dir(&format!("layer-{n}"))).collect();
    layers.push(scratch.root("layer-4"));
    for n in 0..5 {
        scratch.file(&format!("layer-{n}/file-{n}"), "");
        scratch.file(&format!("layer-{n}/all"), &format!("layer {n}\n"));
    }
    layers
}

needs!(overlay, busybox => layers_lie_over_one_another);
fn layers_lie_over_one_another() {
    let scratch = Scratch::new();
    for name in ["dev", "proc", "sys"] {
        scratch.dir(&format!("layer-0/{name}"));
    }
    let root = Root::overlay(Overlay::new(layers(&scratch)));
    let said = say(
        &rootfs(root),
        "ls -d /file-*; cat /all; (echo x > /x) 2>&1; true",
    );
    assert!(
        said.starts_with("/file-0\n/file-1\n/file-2\n/file-3\n/file-4\nlayer 0\n"),
        "{said}"
    );
    assert!(said.contains("Read-only file system"), "{said}");
}

needs!(overlay, busybox => what_is_written_stays_in_the_upper_directory);
fn what_is_written_stays_in_the_upper_directory() {
    let scratch = Scratch::new();
    let (upper, work) = (scratch.dir("upper"), scratch.dir("work"));
    let upper_directory = Upper::Directory {
        upper: upper.clone(),
        work,
    };
    let layers = layers(&scratch);
    let overlay = Overlay::new(&layers).upper(upper_directory).volatile(true);
    let said = say(
        &rootfs(Root::overlay(overlay)),
        "echo new > /all; rm /file-3; cat /all",
    );
    assert_eq!(said, "new\n");
    assert_eq!(std::fs::read_to_string(upper.join("all")).unwrap(), "new\n");
    assert_eq!(
        std::fs::read_to_string(layers[0].join("all")).unwrap(),
        "layer 0\n"
    );
    assert!(layers[3].join("file-3").exists());
}

needs!(overlay, busybox => what_is_written_in_memory_ends_with_it);
fn what_is_written_in_memory_ends_with_it() {
    let scratch = Scratch::new();
    let overlay = Overlay::new(layers(&scratch)).upper(Upper::Memory { size: 1 << 20 });
    let described = rootfs(Root::overlay(overlay));
    let script = "ls /x 2>/dev/null; echo x > /x; cat /x; (dd if=/dev/zero of=/big bs=64k count=32) 2>&1; true";
    for _ in 0..2 {
        let said = say(&described, script);
        assert!(said.starts_with("x\n"), "{said}");
        assert!(said.contains("No space left on device"), "{said}");
    }
}

needs!(overlay, busybox => a_written_overlay_can_be_made_read_only);
fn a_written_overlay_can_be_made_read_only() {
    let scratch = Scratch::new();
    let overlay = Overlay::new(layers(&scratch)).upper(Upper::Memory { size: 1 << 20 });
    let mut described = rootfs(Root::overlay(overlay));
    described.read_only(true);
    let said = say(&described, "(echo x > /x) 2>&1; true");
    assert!(said.contains("Read-only file system"), "{said}");
}

needs!(overlay, busybox => many_layers_with_long_names);
fn many_layers_with_long_names() {
    let scratch = Scratch::new();
    let mut layers: Vec<PathBuf> = (0..40)
        .map(|n| scratch.dir(&format!("{n:0>120}/{n:0>120}")))
        .collect();
    layers.push(scratch.root("base"));
    let overlay = Overlay::new(layers).upper(Upper::Memory { size: 1 << 20 });
    assert_eq!(say(&rootfs(Root::overlay(overlay)), "echo here"), "here\n");
}

needs!(overlay, busybox => paths_of_layers_are_not_shown);
fn paths_of_layers_are_not_shown() {
    let scratch = Scratch::new();
    let overlay = Overlay::new(layers(&scratch)).upper(Upper::Memory { size: 1 << 20 });
    let said = say(&rootfs(Root::overlay(overlay)), "cat /proc/self/mountinfo");
    let secret = scratch.path().file_name().unwrap().to_str().unwrap();
    assert!(!said.contains(secret), "{said}");
}

needs!(overlay, busybox => nothing_of_the_old_root_stays_on_the_new_one);
fn nothing_of_the_old_root_stays_on_the_new_one() {
    let scratch = Scratch::new();
    let overlay = Overlay::new(layers(&scratch)).upper(Upper::Memory { size: 1 << 20 });
    let mut described = rootfs(Root::overlay(overlay));
    described.file("/hosts", "127.0.0.1 localhost\n");
    // Whoever joins the mount namespace begins at the topmost of these.
    let said = say(&described, "cat /proc/self/mountinfo");
    let roots = said
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some("/"));
    assert_eq!(roots.count(), 1, "{said}");
}
