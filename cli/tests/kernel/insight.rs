//! `--explain`, `--report`, `doctor` and `gc`.

use crate::command::{ampoule, ran};
use needs::needs;
use serde_json::Value;

needs!(user_namespaces => a_plan_is_printed_and_nothing_runs);
fn a_plan_is_printed_and_nothing_runs() {
    let ran = ran(&["run", "--explain", "-h", "vessel", "host", "echo", "it ran"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout.starts_with(
            "step  phase     host                        child\n   1  birth     clone3("
        )
    );
    assert!(!ran.stdout.contains("it ran\n"), "{ran:?}");
    // The steps that every start has, in their order.
    let mut rest = &ran.stdout[..];
    for step in [
        "pivot_root(\".\", \".\")",
        "umount2(\".\"",
        "sethostname(\"vessel\"",
        "setsid()",
        "PR_SET_NO_NEW_PRIVS",
        "seccomp(SECCOMP_SET_MODE_FILTER",
        "\"echo\", \"it ran\"",
    ] {
        let at = rest
            .find(step)
            .unwrap_or_else(|| panic!("{step} is not where it belongs:\n{}", ran.stdout));
        rest = &rest[at..];
    }
}

needs!(=> a_reader_may_stop_reading);
fn a_reader_may_stop_reading() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = ampoule(&["run", "--help"]).stdout(writer).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}

fn report(args: &[&str]) -> Value {
    let ran = ran(&[&["run", "--report=json"], args].concat());
    let line = ran.stderr.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

needs!(user_namespaces => reports_are_json);
fn reports_are_json() {
    let exited = report(&["host", "sh", "-c", "exit 7"]);
    assert_eq!(
        exited["ending"],
        serde_json::json!({ "kind": "exited", "code": 7 })
    );
    assert_eq!(exited["code"], 7);
    assert!(exited["wall_us"].as_u64().unwrap() > 0);
    assert!(exited["start_us"]["exec"].is_u64(), "{exited}");
    let timed_out = report(&["--timeout", "100ms", "host", "sleep", "9"]);
    assert_eq!(timed_out["ending"]["kind"], "timed-out");
    let not_started = report(&["host", "nosuch"]);
    assert_eq!(not_started["ending"]["kind"], "not-started");
    assert_eq!(not_started["code"], 127);
}

needs!(user_namespaces => reports_are_for_people);
fn reports_are_for_people() {
    let ran = ran(&["run", "--report", "host", "echo", "hello"]);
    assert_eq!(ran.stdout, "hello\n");
    for word in ["exited with 0 after ", "cpu ", "memory ", "start "] {
        assert!(ran.stderr.contains(word), "{ran:?}");
    }
}

needs!(user_namespaces => the_doctor_can_be_read_by_people_and_programs);
fn the_doctor_can_be_read_by_people_and_programs() {
    let (people, programs) = (ran(&["doctor"]), ran(&["doctor", "--json"]));
    assert_eq!(
        (people.code, programs.code),
        (Some(0), Some(0)),
        "{people:?}"
    );
    let findings: Vec<Value> = serde_json::from_str(&programs.stdout).unwrap();
    for finding in &findings {
        let (topic, level) = (
            finding["topic"].as_str().unwrap(),
            finding["level"].as_str().unwrap(),
        );
        let line = format!("{level:<9} {topic:<16} ");
        assert!(
            people.stdout.contains(&line),
            "{line} is not in\n{}",
            people.stdout
        );
    }
}

needs!(root, cgroup_v1 => gc_takes_what_a_killed_owner_left);
fn gc_takes_what_a_killed_owner_left() {
    let mut owner = ampoule(&["run", "--name", "orphan-of-a-test", "host", "sleep", "60"])
        .spawn()
        .unwrap();
    let directory = std::path::Path::new("/sys/fs/cgroup/memory/ampoule/orphan-of-a-test");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !directory.exists() && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(directory.exists(), "no cgroup after ten seconds");
    owner.kill().unwrap();
    owner.wait().unwrap();
    // Another start may sweep it as well, so who names it is left open.
    assert_eq!(ran(&["gc"]).code, Some(0));
    assert!(!directory.exists());
}
