//! Gates: what the host does while the child waits.

use crate::container::{container, draft, sh};
use ampoule_namespaces::{Error, launch};
use ampoule_plan::{Call, OpenFlags, Phase, Undo, path};
use needs::needs;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

needs!(root => a_host_step_sees_the_waiting_child);
fn a_host_step_sees_the_waiting_child() {
    let mut draft = draft(&[&container(), &sh("exit 0")]).unwrap();
    let out = draft.slot("passwd");
    let flags = OpenFlags::empty();
    let open = Call::Openat {
        dir: ampoule_plan::Fd::Cwd,
        path: path("/etc/passwd").unwrap(),
        flags,
        mode: 0,
        out,
    };
    draft.child(Phase::Session, open, "for the host");
    draft.host(
        Phase::Session,
        "fetch what the child opened",
        move |child| {
            let mut text = String::new();
            std::fs::File::from(child.fetch(out)?).read_to_string(&mut text)?;
            assert!(text.starts_with("root:"), "{text}");
            let ns = std::fs::read_link(format!("/proc/{}/ns/pid", child.pid()))?;
            assert_ne!(ns, std::fs::read_link("/proc/self/ns/pid")?);
            Ok(Undo::nothing())
        },
    );
    assert!(
        launch(draft.finish().unwrap())
            .unwrap()
            .wait()
            .unwrap()
            .status
            .success()
    );
}

needs!(root => a_failed_host_step_ends_the_child_and_takes_the_others_back);
fn a_failed_host_step_ends_the_child_and_takes_the_others_back() {
    let undone = Arc::new(AtomicUsize::new(0));
    let mut draft = draft(&[&container(), &sh("exit 0")]).unwrap();
    for number in [1, 2] {
        let undone = undone.clone();
        draft.host(Phase::Limits, "note", move |_| {
            Ok(Undo::by(move || {
                // In reverse: the second is taken back first.
                let before = undone.fetch_add(number, SeqCst);
                assert_eq!(before, if number == 2 { 0 } else { 2 });
            }))
        });
    }
    draft.host(Phase::Session, "find the moon", |_| {
        Err(io::Error::from_raw_os_error(libc_enoent()))
    });
    let error = launch(draft.finish().unwrap()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Host {
                phase: Phase::Session,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("find the moon"), "{error}");
    assert_eq!(undone.load(SeqCst), 3);
}

fn libc_enoent() -> i32 {
    ampoule_plan::Errno::ENOENT as i32
}

needs!(root => a_panic_in_a_host_step_is_an_error);
fn a_panic_in_a_host_step_is_an_error() {
    let mut draft = draft(&[&container(), &sh("exit 0")]).unwrap();
    draft.host(Phase::Session, "stumble", |_| panic!("on purpose"));
    let error = launch(draft.finish().unwrap()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("stumble: the host's step panicked"),
        "{error}"
    );
}

needs!(root => a_child_that_is_killed_at_any_step_is_an_error_that_names_it);
fn a_child_that_is_killed_at_any_step_is_an_error_that_names_it() {
    let plan = draft(&[&container(), &sh("exit 0")])
        .unwrap()
        .finish()
        .unwrap();
    // The program follows at once upon the closing of all descriptors, the gate's among them.
    let last = plan
        .steps()
        .iter()
        .position(|step| step.phase == Phase::Exec)
        .unwrap();
    for index in 0..last {
        let mut plan = draft(&[&container(), &sh("exit 0")])
            .unwrap()
            .finish()
            .unwrap();
        plan.insert_host(index, "kill the child", |child| {
            rustix::process::pidfd_send_signal(child.pidfd()?, rustix::process::Signal::KILL)?;
            Ok(Undo::nothing())
        });
        let error = launch(plan).unwrap_err();
        let Error::Killed {
            number, signal: 9, ..
        } = error
        else {
            panic!("{index}: {error:?}")
        };
        assert_eq!(number as usize, index + 2, "{error}");
    }
}
