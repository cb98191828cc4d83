//! Processes that are born before they are needed.

use crate::container::{container, draft, sh};
use ampoule_namespaces::{Command, ErrorKind, Parked, Status};
use ampoule_plan::{Draft, Part, Phase, Undo};
use needs::needs;

fn parked() -> Parked {
    Parked::park(draft(&[&container()]).unwrap()).unwrap()
}

needs!(root => a_parked_process_plays_the_rest);
fn a_parked_process_plays_the_rest() {
    let mut second = Draft::new();
    sh("exit $(cat /proc/1/comm | grep -c sh)5")
        .contribute(&mut second)
        .unwrap();
    second.host(Phase::Session, "a gate", |child| {
        assert!(std::path::Path::new(&format!("/proc/{}", child.pid())).exists());
        Ok(Undo::nothing())
    });
    let mut process = parked().resume(second.finish().unwrap()).unwrap();
    assert_eq!(process.wait().unwrap().status, Status::Exited(15));
}

needs!(root => an_error_of_the_rest_names_its_step);
fn an_error_of_the_rest_names_its_step() {
    let mut second = Draft::new();
    Command::new("/no/such/program")
        .contribute(&mut second)
        .unwrap();
    let plan = second.finish().unwrap();
    let last = plan.steps().len() + 1;
    let error = parked().resume(plan).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProgramNotFound);
    assert!(
        error
            .to_string()
            .starts_with(&format!("step {last} (exec): execve")),
        "{error}"
    );
}

needs!(root => a_parked_process_that_is_let_go_ends);
fn a_parked_process_that_is_let_go_ends() {
    let parked = parked();
    let pid = parked.process().id();
    drop(parked);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}
