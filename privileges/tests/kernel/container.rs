//! The container of these tests: the host's own tree, with nothing isolated but mounts and processes.

use ampoule_namespaces::{Command, Isolation, Namespaces, Starter, launch};
use ampoule_plan::{Call, Config, Draft, Error, Fd, MountAttributes, Part, Phase, path};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

/// What a shell prints that was started with these privileges, standard error included; panics if it cannot be started.
pub fn output(privileges: &dyn Part, script: &str) -> String {
    try_output(privileges, script).unwrap_or_else(|error| panic!("{error}"))
}

/// The same, or why it cannot be started.
pub fn try_output(
    privileges: &dyn Part,
    script: &str,
) -> Result<String, Box<dyn std::error::Error>> {
    let (reader, writer) = std::io::pipe()?;
    let mut isolation = Isolation::new();
    isolation
        .unshare(Namespaces::CLONE_NEWNS | Namespaces::CLONE_NEWPID | Namespaces::CLONE_NEWUTS);
    let mut command = Command::new("/bin/bash");
    command
        .args(["-c", script])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
        .stdout(OwnedFd::from(writer.try_clone()?))
        .stderr(OwnedFd::from(writer));

    // The direct starter closes what a gate after the filter needs.
    command.starter(Starter::Sealed);

    let mut draft = Draft::new();
    let parts: [&dyn Part; 4] = [&HostTree, &isolation, privileges, &command];
    parts
        .iter()
        .try_for_each(|part| part.contribute(&mut draft))?;
    let mut process = launch(draft.finish()?)?;
    drop(command);
    let mut text = String::new();
    File::from(OwnedFd::from(reader)).read_to_string(&mut text)?;
    process.wait()?;
    Ok(text)
}

struct HostTree;

impl Part for HostTree {
    fn contribute(&self, draft: &mut Draft) -> Result<(), Error> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE;
        let tree = open_tree(CWD, "/", flags).map_err(|e| Error::prepare("open_tree /", e))?;
        let from = draft.hold("root", tree).into();
        let attach = Call::MoveMount {
            from,
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
        let pivot = Call::PivotRoot {
            new: path(".")?,
            old: path(".")?,
        };
        draft.child(Phase::Root, pivot, "it becomes the root");
        draft.child(
            Phase::Root,
            Call::Umount2 { path: path(".")? },
            "the old one goes",
        );

        let (fs, out) = (draft.slot("proc fs"), draft.slot("proc"));
        let open = Call::Fsopen {
            kind: path("proc")?,
            out: fs,
        };
        draft.child(Phase::Mask, open, "its own processes");
        let create = Call::Fsconfig {
            fs: fs.into(),
            config: Config::Create,
        };
        draft.child(Phase::Mask, create, "made");
        let mount = Call::Fsmount {
            fs: fs.into(),
            attributes: MountAttributes::empty(),
            out,
        };
        draft.child(Phase::Mask, mount, "mounted");
        let attach = Call::MoveMount {
            from: out.into(),
            dir: Fd::Cwd,
            path: path("/proc")?,
        };
        draft.child(Phase::Mask, attach, "attached");
        Ok(())
    }
}
