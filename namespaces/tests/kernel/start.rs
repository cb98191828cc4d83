//! A start: the order of things, and what it leaves.

use ampoule_namespaces::{Status, launch};
use ampoule_plan::{Call, Draft, Namespaces, Phase, path, words};
use needs::needs;

type Outcome = Result<(), Box<dyn std::error::Error>>;

needs!(root => a_program_runs_and_its_status_comes_back);
fn a_program_runs_and_its_status_comes_back() {
    inner().unwrap();
    fn inner() -> Outcome {
        let mut draft = Draft::new();
        draft.unshare(Namespaces::CLONE_NEWPID);
        host_root(&mut draft)?;
        let exec = Call::Execve {
            path: path("/bin/sh")?,
            argv: words(["sh", "-c", "exit 7"])?,
            envp: vec![],
        };
        draft.child(Phase::Exec, exec, "the program");
        let mut process = launch(draft.finish()?)?;
        assert_eq!(process.wait()?.status, Status::Exited(7));
        Ok(())
    }
}

fn host_root(draft: &mut Draft) -> Outcome {
    let root = rustix::mount::open_tree(
        rustix::fs::CWD,
        "/",
        rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE
            | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC
            | rustix::mount::OpenTreeFlags::AT_RECURSIVE,
    )?;
    let root = draft.hold("root", root);
    draft.unshare(Namespaces::CLONE_NEWNS);
    draft.child(
        Phase::Mounts,
        Call::MoveMount {
            from: root.into(),
            dir: ampoule_plan::Fd::Cwd,
            path: path("/root")?,
        },
        "attach",
    );
    draft.child(
        Phase::Root,
        Call::Chdir {
            path: path("/root")?,
        },
        "go there",
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
    Ok(())
}
