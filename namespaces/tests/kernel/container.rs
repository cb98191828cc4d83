//! The container of these tests: the host's own tree, in namespaces.

use ampoule_namespaces::{Command, Error, Isolation, Namespaces, Process, launch};
use ampoule_plan::{Call, Config, Draft, Fd, MountAttributes, Part, Phase, path};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// New namespaces of the usual kinds.
pub fn container() -> Isolation {
    let mut isolation = Isolation::new();
    isolation
        .unshare(Namespaces::CLONE_NEWNS | Namespaces::CLONE_NEWPID | Namespaces::CLONE_NEWIPC);
    isolation
}

/// A kernel on which a program enters a new time namespace when it is executed; before, only a fork does that.
pub fn linux_6_3() -> Result<(), String> {
    needs::kernel((6, 3))
}

/// A shell's script.
pub fn sh(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).env("PATH", "/usr/bin:/bin");
    command
}

/// The plan of a container.
pub fn draft(parts: &[&dyn Part]) -> Result<Draft, Error> {
    let mut draft = Draft::new();
    root(&mut draft)?;
    parts
        .iter()
        .try_for_each(|part| part.contribute(&mut draft))?;
    Ok(draft)
}

/// Starts a container.
pub fn start(isolation: &Isolation, command: &Command) -> Result<Process, Error> {
    launch(draft(&[isolation, command])?.finish()?)
}

/// Starts a container, and returns what it prints; panics unless it succeeds.
pub fn output(isolation: &Isolation, command: &Command) -> Outcome<String> {
    let (reader, writer) = std::io::pipe()?;
    let mut command = command.clone();
    command.stdout(OwnedFd::from(writer));
    let mut process = start(isolation, &command)?;
    drop(command);
    let mut text = String::new();
    File::from(OwnedFd::from(reader)).read_to_string(&mut text)?;
    let status = process.wait()?.status;
    assert!(status.success(), "{status}: {text}");
    Ok(text)
}

/// The host's tree as the container's root, with a proc of its own.
fn root(draft: &mut Draft) -> Result<(), ampoule_plan::Error> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree =
        open_tree(CWD, "/", flags).map_err(|e| ampoule_plan::Error::prepare("open_tree /", e))?;
    let tree: Arc<OwnedFd> = Arc::new(tree);
    let tree = draft.hold("root", tree);
    let attach = Call::MoveMount {
        from: tree.into(),
        dir: Fd::Cwd,
        path: path("/root")?,
    };
    draft.child(Phase::Mounts, attach, "the root tree");
    draft.child(
        Phase::Root,
        Call::Chdir {
            path: path("/root")?,
        },
        "into it",
    );
    draft.child(
        Phase::Root,
        Call::PivotRoot {
            new: path(".")?,
            old: path(".")?,
        },
        "it becomes the root",
    );
    draft.child(
        Phase::Root,
        Call::Umount2 { path: path(".")? },
        "the old one goes",
    );
    let (fs, proc) = (draft.slot("proc fs"), draft.slot("proc"));
    draft.child(
        Phase::Mask,
        Call::Fsopen {
            kind: path("proc")?,
            out: fs,
        },
        "its own processes",
    );
    draft.child(
        Phase::Mask,
        Call::Fsconfig {
            fs: fs.into(),
            config: Config::Create,
        },
        "made",
    );
    let make = Call::Fsmount {
        fs: fs.into(),
        attributes: MountAttributes::empty(),
        out: proc,
    };
    draft.child(Phase::Mask, make, "mounted");
    let attach = Call::MoveMount {
        from: proc.into(),
        dir: Fd::Cwd,
        path: path("/proc")?,
    };
    draft.child(Phase::Mask, attach, "attached");
    Ok(())
}
