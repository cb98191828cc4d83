//! Where volumes land, and where they never do.

use crate::inside::maker;
use crate::scratch::{Scratch, shell, shell_in};
use ampoule_rootfs::{Root, Rootfs};
use ampoule_volumes::{Bind, Error, ErrorKind, Maker, Volume, Volumes};
use needs::needs;
use std::os::unix::fs::symlink;
use std::path::Path;

fn bind(source: &Path, target: &str) -> Volume {
    Volume::bind(Bind::new(source), target)
}

fn refused(volumes: impl IntoIterator<Item = Volume>) -> Error {
    Volumes::new(volumes)
        .prepare(Maker::Child, None)
        .unwrap_err()
}

/// A root tree with programs, for links to lead out of.
fn root(scratch: &Scratch) -> Rootfs {
    let root = scratch.dir("root");
    for name in ["usr", "proc", "sys", "dev", "etc"] {
        scratch.dir(&format!("root/{name}"));
    }
    for name in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    Rootfs::new(Root::dir(root))
}

needs!( => a_link_out_of_the_root_leads_into_it);
fn a_link_out_of_the_root_leads_into_it() {
    let scratch = Scratch::new();
    let outside = scratch.dir("outside");
    let rootfs = root(&scratch);
    // As an image might have them: one absolute, one climbing.
    symlink(&outside, scratch.path().join("root/absolute")).unwrap();
    symlink("../outside", scratch.path().join("root/climbing")).unwrap();
    let inside = scratch.dir("root").join(outside.strip_prefix("/").unwrap());
    std::fs::create_dir_all(&inside).unwrap();
    scratch.dir("root/outside");
    let data = scratch.dir("data");
    scratch.file("data/mark", "");
    let volumes = [
        Volume::bind(Bind::new("/usr"), "/usr"),
        bind(&data, "/absolute"),
        bind(&data, "/climbing/deeper"),
    ];
    let script = format!("ls {} /outside/deeper", outside.display());
    let said = shell_in(rootfs, volumes, &script).unwrap();
    assert_eq!(said.matches("mark").count(), 2, "{said}");
    let left: Vec<_> = std::fs::read_dir(&outside).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

needs!( => a_link_to_proc_does_not_replace_it);
fn a_link_to_proc_does_not_replace_it() {
    // CVE-2019-16884: a false /proc hears what is meant for the kernel.
    let scratch = Scratch::new();
    let rootfs = root(&scratch);
    symlink("/proc", scratch.path().join("root/data")).unwrap();
    let data = scratch.dir("false-proc");
    let volumes = [
        Volume::bind(Bind::new("/usr"), "/usr"),
        bind(&data, "/data"),
    ];
    let said = shell_in(
        rootfs,
        volumes,
        "stat -f -c %T /proc; ls -d /proc/self/attr",
    )
    .unwrap();
    assert_eq!(said, "proc\n/proc/self/attr\n");
    let error = refused([bind(&data, "/proc/sys")]);
    assert_eq!(
        error.to_string(),
        r#"mount at "/proc/sys" (/proc is the kernel's)"#
    );
}

needs!( => one_in_another_comes_after_it);
fn one_in_another_comes_after_it() {
    let scratch = Scratch::new();
    let (outer, inner) = (scratch.dir("outer"), scratch.dir("inner"));
    scratch.file("inner/mark", "");
    let volumes = [bind(&inner, "/a/b/c"), bind(&outer, "/a")];
    assert_eq!(shell(volumes, "ls /a/b/c").unwrap(), "mark\n");
}

needs!( => what_is_in_the_way_is_named);
fn what_is_in_the_way_is_named() {
    let scratch = Scratch::new();
    let (dir, file) = (scratch.dir("dir"), scratch.file("file", ""));
    let mut rootfs = root(&scratch);
    rootfs.read_only(true);
    scratch.file("root/file", "");
    scratch.dir("root/dir");
    let error = shell_in(rootfs.clone(), [bind(&file, "/dir")], "true");
    assert_eq!(
        error.unwrap_err().to_string(),
        r#"mount a file at "/dir", which is a directory"#
    );
    let usr = || Volume::bind(Bind::new("/usr"), "/usr");
    let error = shell_in(rootfs.clone(), [usr(), bind(&dir, "/file")], "true");
    assert_eq!(
        error.unwrap_err().to_string(),
        r#"mount a directory at "/file", which is a file"#
    );
    let error = shell_in(rootfs, [usr(), bind(&dir, "/nowhere")], "true");
    let error = error.unwrap_err().to_string();
    match maker() {
        Maker::Host => assert_eq!(
            error,
            r#"mount at "/nowhere": the root has no such place, and can be read only (make it there)"#
        ),
        // That the root is to be read only is not seen in its directory: the child finds out.
        Maker::Child => assert!(
            error.contains(r#"mkdirat(AT_FDCWD, "nowhere", 0755): EROFS"#),
            "{error}"
        ),
    }
}

needs!( => what_can_never_be_is_refused_early);
fn what_can_never_be_is_refused_early() {
    let scratch = Scratch::new();
    let check = |volumes: Vec<Volume>, kind, expect: &str| {
        let error = refused(volumes);
        assert_eq!(
            (error.kind(), error.to_string()),
            (kind, expect.to_string())
        );
    };
    let path = scratch.path();
    check(
        vec![bind(path, "/a/../../b")],
        ErrorKind::Invalid,
        r#"mount at "/a/../../b" (`..` in a target is refused)"#,
    );
    check(
        vec![bind(path, "/")],
        ErrorKind::Invalid,
        r#"mount at "/" (the root itself is mounted by other means)"#,
    );
    check(
        vec![bind(path, "/a"), bind(path, "/a/")],
        ErrorKind::Invalid,
        r#"mount two volumes at "/a""#,
    );
    check(
        vec![bind(Path::new("/nonesuch"), "/a")],
        ErrorKind::Missing,
        r#"bind "/nonesuch": No such file or directory (os error 2) (a source is not made: make it first)"#,
    );
}
