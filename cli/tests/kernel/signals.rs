//! Signals that reach the command, and belong to the container.

use crate::command::ampoule;
use needs::needs;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::{ChildStdout, Stdio};

/// Runs a script until it says that it is ready, sends a signal to the command, and reads on.
fn after(script: &[&str], signal: Signal) -> (Option<i32>, String) {
    let mut child = ampoule(&[&["run", "host"], script].concat())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(line(&mut lines), "ready");
    kill_process(Pid::from_child(&child), signal).unwrap();
    let said = line(&mut lines);
    (child.wait().unwrap().code(), said)
}

fn line(lines: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    line.trim_end().to_string()
}

needs!(user_namespaces => a_program_that_cares_gets_the_signal);
fn a_program_that_cares_gets_the_signal() {
    for (name, signal) in [
        ("INT", Signal::INT),
        ("TERM", Signal::TERM),
        ("USR1", Signal::USR1),
        ("HUP", Signal::HUP),
    ] {
        let script = format!(
            "trap 'echo got {name}; exit 3' {name}; echo ready; while :; do sleep 0.05; done"
        );
        let (code, said) = after(&["sh", "-c", &script], signal);
        assert_eq!((code, said), (Some(3), format!("got {name}")));
    }
}

needs!(user_namespaces => a_program_that_does_not_care_ends_as_it_would_outside);
fn a_program_that_does_not_care_ends_as_it_would_outside() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::USR2, 140)] {
        let (ended, said) = after(&["yes", "ready"], signal);
        assert_eq!((ended, &said[..]), (Some(code), "ready"));
    }
}

needs!(user_namespaces => a_program_that_ignores_a_signal_goes_on);
fn a_program_that_ignores_a_signal_goes_on() {
    let script = "trap '' INT; echo ready; sleep 0.5; echo still here";
    let (code, said) = after(&["sh", "-c", script], Signal::INT);
    assert_eq!((code, said), (Some(0), "still here".to_string()));
}

needs!(user_namespaces => nothing_lives_on_when_the_command_is_killed);
fn nothing_lives_on_when_the_command_is_killed() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child = ampoule(&["run", "host", "sh", "-c", "echo ready; exec sleep 60"])
        .stdout(writer)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(reader);
    let mut ready = String::new();
    lines.read_line(&mut ready).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // The pipe ends when the last process inside has it no more.
    assert_eq!(lines.read_line(&mut ready).unwrap(), 0);
}
