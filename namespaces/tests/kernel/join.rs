//! Joining a running container.

use crate::container::{Outcome, container, linux_6_3, sh, start};
use ampoule_namespaces::{Clock, Command, Isolation, Namespaces, Process, Status, launch};
use ampoule_plan::{Draft, Part};
use needs::needs;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

fn exec(container: &Process, kinds: Namespaces, command: &Command) -> Outcome<(String, Status)> {
    let (reader, writer) = std::io::pipe()?;
    let mut command = command.clone();
    command.stdout(OwnedFd::from(writer));
    let mut isolation = Isolation::new();
    isolation.join(kinds, container.pidfd().try_clone_to_owned()?);
    let mut draft = Draft::new();
    isolation.contribute(&mut draft)?;
    command.contribute(&mut draft)?;
    let mut process = launch(draft.finish()?)?;
    drop(command);
    let mut text = String::new();
    File::from(OwnedFd::from(reader)).read_to_string(&mut text)?;
    Ok((text, process.wait()?.status))
}

/// A container that waits, with the time and host name shifted.
fn waiting() -> Process {
    let mut isolation = container();
    isolation
        .unshare(Namespaces::CLONE_NEWUTS | Namespaces::CLONE_NEWTIME | Namespaces::CLONE_NEWNET);
    isolation
        .hostname("inside")
        .loopback()
        .clock_offset(Clock::Boottime, 1_000_000, 0);
    start(&isolation, &sh("exec sleep 60")).unwrap()
}

needs!(root, linux_6_3 => a_program_joins_a_running_container);
fn a_program_joins_a_running_container() {
    let mut container = waiting();
    let kinds = Namespaces::all() - Namespaces::CLONE_NEWUSER;
    let script = "cat /proc/sys/kernel/hostname /proc/1/comm; cut -d. -f1 /proc/uptime; exit 4";
    let (text, status) = exec(&container, kinds, &sh(script)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["inside", "sleep"], "{text}");
    assert!(
        lines[2].parse::<u64>().unwrap() >= 1_000_000,
        "the clock is shifted: {text}"
    );
    assert_eq!(status, Status::Exited(4));
    container.kill().unwrap();
    assert_eq!(container.wait().unwrap().status, Status::Signaled(9));
}

needs!(root, linux_6_3 => a_new_time_namespace_is_entered_with_the_program);
fn a_new_time_namespace_is_entered_with_the_program() {
    let mut isolation = container();
    isolation
        .unshare(Namespaces::CLONE_NEWTIME)
        .clock_offset(Clock::Boottime, 5_000_000, 0);
    let text = crate::container::output(&isolation, &sh("cut -d. -f1 /proc/uptime")).unwrap();
    assert!(text.trim().parse::<u64>().unwrap() >= 5_000_000, "{text}");
}

needs!(root => loopback_is_up);
fn loopback_is_up() {
    let mut isolation = container();
    isolation.unshare(Namespaces::CLONE_NEWNET).loopback();
    let flags = crate::container::output(&isolation, &sh("cat /proc/net/fib_trie")).unwrap();
    assert!(flags.contains("127.0.0.1"), "{flags}");
}

needs!(root => killing_process_1_ends_everything_inside);
fn killing_process_1_ends_everything_inside() {
    let mut running = start(&container(), &sh("exec sleep 60")).unwrap();
    let kinds = Namespaces::CLONE_NEWPID | Namespaces::CLONE_NEWNS;
    let mut isolation = Isolation::new();
    isolation.join(kinds, running.pidfd().try_clone_to_owned().unwrap());
    let mut draft = Draft::new();
    isolation.contribute(&mut draft).unwrap();
    sh("sleep 60").contribute(&mut draft).unwrap();
    let mut joined = launch(draft.finish().unwrap()).unwrap();
    running.kill().unwrap();
    // The kernel keeps process 1 until all in its namespace are waited for: the library does that for who joined.
    running.wait().unwrap();
    assert_eq!(joined.wait().unwrap().status, Status::Signaled(9));
}
