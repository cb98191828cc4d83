//! Starts a program inside a root tree, and hands back what it said.

use ampoule_namespaces::launch;
use ampoule_plan::{Call, Draft, Fd, Namespaces, OpenFlags, Part, Phase, path, words};
use ampoule_rootfs::Maker;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Whoever can make mounts here.
pub fn maker() -> Maker {
    match rustix::process::geteuid().is_root() {
        true => Maker::Host,
        false => Maker::Child,
    }
}

pub fn run(parts: &[&dyn Part], maker: Maker, script: &str) -> Outcome<String> {
    match maker {
        Maker::Host => run_as(|_| Ok(()), parts, script),
        Maker::Child => run_as(identity, parts, script),
    }
}

pub fn run_as(
    identity: impl FnOnce(&mut Draft) -> Outcome,
    parts: &[&dyn Part],
    script: &str,
) -> Outcome<String> {
    let mut draft = Draft::new();
    draft.unshare(
        Namespaces::CLONE_NEWPID
            | Namespaces::CLONE_NEWNS
            | Namespaces::CLONE_NEWIPC
            | Namespaces::CLONE_NEWUTS
            | Namespaces::CLONE_NEWCGROUP
            | Namespaces::CLONE_NEWNET,
    );
    identity(&mut draft)?;
    for part in parts {
        part.contribute(&mut draft)?;
    }
    let (mut said, end) = pipe()?;
    let end = draft.hold("output", end);
    for to in [1, 2] {
        let from = end.into();
        draft.child(Phase::Session, Call::Dup3 { from, to }, "what it says");
    }
    let exec = Call::Execve {
        path: path("/bin/sh")?,
        argv: words(["sh", "-c", script])?,
        envp: words(["PATH=/usr/bin:/bin:/usr/sbin:/sbin"])?,
    };
    draft.child(Phase::Exec, exec, "the program");
    let mut process = launch(draft.finish()?)?;
    let mut text = String::new();
    said.read_to_string(&mut text)?;
    let ended = process.wait()?;
    match ended.status.success() {
        true => Ok(text),
        false => Err(format!("{:?}: {text}", ended.status).into()),
    }
}

fn pipe() -> Outcome<(File, OwnedFd)> {
    let (reader, writer) = std::io::pipe()?;
    Ok((OwnedFd::from(reader).into(), writer.into()))
}

/// The one user that an ordinary user may be inside: root.
fn identity(draft: &mut Draft) -> Outcome {
    draft.unshare(Namespaces::CLONE_NEWUSER);
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    for (file, text) in [
        ("setgroups", "deny".to_string()),
        ("uid_map", format!("0 {} 1", uid.as_raw())),
        ("gid_map", format!("0 {} 1", gid.as_raw())),
    ] {
        let out = draft.slot(file);
        let open = Call::Openat {
            dir: Fd::Cwd,
            path: path(format!("/proc/self/{file}"))?,
            flags: OpenFlags::O_WRONLY,
            mode: 0,
            out,
        };
        draft.child(Phase::Identity, open, "its own map");
        let bytes = text.into_bytes();
        draft.child(
            Phase::Identity,
            Call::Write {
                fd: out.into(),
                bytes,
            },
            "one user",
        );
    }
    Ok(())
}
