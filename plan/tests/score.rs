//! The printed score, word for word: what people read is part of the interface.

use ampoule_plan::{
    Call, Config, Draft, Errno, Fd, MountAttributes, Namespaces, OpenFlags, Phase, Propagation,
    Resolve, Undo, path, words,
};
use std::error::Error;
use std::fs::File;
use std::os::fd::OwnedFd;

fn check(draft: Draft, expect: &str) -> Result<(), Box<dyn Error>> {
    let shown = draft.finish()?.to_string();
    let shown: Vec<&str> = shown.lines().map(str::trim_end).collect();
    let expect: Vec<&str> = expect.trim_matches('\n').lines().collect();
    assert_eq!(shown.join("\n"), expect.join("\n"));
    Ok(())
}

#[test]
fn a_birth_in_namespaces_and_a_cgroup() -> Result<(), Box<dyn Error>> {
    let mut draft = Draft::new();
    let cgroup = draft.hold("cgroup", OwnedFd::from(File::open("/")?));
    draft
        .unshare(Namespaces::CLONE_NEWPID | Namespaces::CLONE_NEWNS)
        .into_cgroup(cgroup);
    check(
        draft,
        "
step  phase     host                        child
   1  birth     clone3({flags=CLONE_NEWNS|CLONE_NEWPID|CLONE_INTO_CGROUP, cgroup=<cgroup>})
                  — the child is born in namespaces of its own
",
    )
}

#[test]
fn phases_sort_and_contributions_keep_their_order() -> Result<(), Box<dyn Error>> {
    let mut draft = Draft::new();
    let exec = Call::Execve {
        path: path("/bin/true")?,
        argv: words(["true", "-v"])?,
        envp: words(["A=secret"])?,
    };
    draft.child(Phase::Exec, exec, "the program");
    draft
        .child(Phase::Session, Call::Setsid, "a session of its own")
        .tolerate(Errno::EPERM);
    draft.host(
        Phase::Identity,
        "write uid_map and gid_map of the child",
        |_| Ok(Undo::nothing()),
    );
    draft.child(Phase::Session, Call::Umask { mask: 0o22 }, "the usual");
    check(
        draft,
        r#"
step  phase     host                        child
   1  birth     clone3({flags=0})
                  — the child is born in namespaces of its own
   2  identity  write uid_map and gid_map   (waits)
                of the child
   3  session                               setsid()
                                              EPERM does not matter
                                              — a session of its own
   4  session                               umask(022)
                                              — the usual
   5  exec                                  execve("/bin/true", ["true", "-v"], [/* 1 variables */])
                                              — the program
"#,
    )
}

#[test]
fn mounts_name_their_file_descriptors() -> Result<(), Box<dyn Error>> {
    let mut draft = Draft::new();
    let (fs, mount, place) = (
        draft.slot("proc fs"),
        draft.slot("proc"),
        draft.slot("place"),
    );
    let mounts = Phase::Mounts;
    draft.child(
        mounts,
        Call::Fsopen {
            kind: path("proc")?,
            out: fs,
        },
        "proc shows its opener's pids",
    );
    let hidepid = Config::String(path("hidepid")?, path("2")?);
    draft.child(
        mounts,
        Call::Fsconfig {
            fs: fs.into(),
            config: hidepid,
        },
        "others' processes are hidden",
    );
    let attributes = MountAttributes::MOUNT_ATTR_NOSUID | MountAttributes::MOUNT_ATTR_NODEV;
    draft.child(
        mounts,
        Call::Fsmount {
            fs: fs.into(),
            attributes,
            out: mount,
        },
        "detached",
    );
    let (flags, resolve) = (OpenFlags::O_PATH, Resolve::RESOLVE_IN_ROOT);
    let open = Call::Openat2 {
        dir: Fd::Cwd,
        path: path("/proc")?,
        flags,
        mode: 0,
        resolve,
        out: place,
    };
    draft.child(mounts, open, "inside the root");
    let attach = Call::MoveMount {
        from: mount.into(),
        dir: place.into(),
        path: path("")?,
    };
    draft
        .child(mounts, attach, "attached")
        .or_else(Call::Close { fd: mount.into() });
    let private = Call::MountSetattr {
        dir: Fd::Cwd,
        path: path("/")?,
        recursive: true,
        set: MountAttributes::MOUNT_ATTR_RDONLY,
        clear: MountAttributes::empty(),
        propagation: Some(Propagation::Private),
    };
    draft.child(mounts, private, "nothing comes in or goes out");
    check(
        draft,
        r#"
step  phase     host                        child
   1  birth     clone3({flags=0})
                  — the child is born in namespaces of its own
   2  mounts                                fsopen("proc", FSOPEN_CLOEXEC) = <proc fs>
                                              — proc shows its opener's pids
   3  mounts                                fsconfig(<proc fs>, FSCONFIG_SET_STRING, "hidepid", "2", 0)
                                              — others' processes are hidden
   4  mounts                                fsmount(<proc fs>, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV) = <proc>
                                              — detached
   5  mounts                                openat2(AT_FDCWD, "/proc", {O_PATH, RESOLVE_IN_ROOT}, 24) = <place>
                                              — inside the root
   6  mounts                                move_mount(<proc>, "", <place>, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)
                                              or close(<proc>)
                                              — attached
   7  mounts                                mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, {set MOUNT_ATTR_RDONLY, MS_PRIVATE}, 32)
                                              — nothing comes in or goes out
"#,
    )
}

#[test]
fn what_can_be_had_once_is_refused_twice() -> Result<(), Box<dyn Error>> {
    let mut draft = Draft::new();
    let cgroup = draft.slot("cgroup");
    draft.into_cgroup(cgroup).into_cgroup(cgroup);
    let error = draft.finish().err().ok_or("two cgroups were taken")?;
    assert_eq!(
        error.to_string(),
        "the cgroup that the child is born in is set twice"
    );
    Ok(())
}

#[test]
fn more_file_descriptors_than_a_plan_has_places_for() {
    let mut draft = Draft::new();
    for _ in 0..=ampoule_plan::Plan::MAX_SLOTS {
        draft.slot("one more");
    }
    assert_eq!(
        draft.finish().map_err(|e| e.to_string()).err().as_deref(),
        Some("more than 512 file descriptors")
    );
}

#[test]
fn a_nul_byte_is_an_error_with_the_text() {
    assert_eq!(
        path("a\0b").map_err(|e| e.to_string()),
        Err(r#""a\0b" has a NUL byte in it"#.into())
    );
}
