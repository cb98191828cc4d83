//! A container through the facade.

use ampoule::{Container, Ending, ErrorKind, Level, Network, Root};
use needs::needs;
use std::time::Duration;

fn sh(script: &str) -> Container {
    let mut container = Container::new("sh");
    container.args(["-c", script]);
    container
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

needs!(user_namespaces => a_container_says_hello);
fn a_container_says_hello() {
    let output = sh("echo hello from $(hostname); echo oops >&2; exit 3")
        .root(Root::host())
        .hostname("demo")
        .network(Network::none())
        .timeout(Duration::from_secs(20))
        .output()
        .unwrap();
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("hello from demo\n".into(), "oops\n".into())
    );
    assert_eq!(output.report.ending, Ending::Exited(3));
}

needs!(root, cgroup_v1 => limits_are_kept_and_reported);
fn limits_are_kept_and_reported() {
    let report = Container::new("python3")
        .args(["-c", "x = bytearray(200 << 20)"])
        .memory(64 << 20)
        .timeout(Duration::from_secs(20))
        .output()
        .unwrap()
        .report;
    assert_eq!(report.ending, Ending::OutOfMemory, "{report}");
    assert!(report.peak_memory <= 65 << 20, "{report}");
}

needs!(root, cgroup_v1 => out_of_memory_is_told_through_process_1_of_its_own);
fn out_of_memory_is_told_through_process_1_of_its_own() {
    let report = Container::new("python3")
        .args(["-c", "x = bytearray(200 << 20)"])
        .init(true)
        .memory(64 << 20)
        .timeout(Duration::from_secs(20))
        .output()
        .unwrap()
        .report;
    assert_eq!(report.ending, Ending::OutOfMemory, "{report}");
}

needs!(user_namespaces => a_timeout_kills_everything);
fn a_timeout_kills_everything() {
    let report = sh("sleep 100 & sleep 100")
        .timeout(Duration::from_millis(300))
        .status()
        .unwrap();
    assert_eq!(report.ending, Ending::TimedOut);
    assert!(report.wall < Duration::from_secs(5), "{report}");
}

needs!(user_namespaces => a_missing_program_is_an_error_of_its_own_kind);
fn a_missing_program_is_an_error_of_its_own_kind() {
    let error = Container::new("no-such-program").spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProgramNotFound, "{error}");
}

needs!(user_namespaces => a_program_joins);
fn a_program_joins() {
    let child = Container::new("sleep")
        .arg("60")
        .hostname("here")
        .spawn()
        .unwrap();
    let output = child
        .exec("sh")
        .args(["-c", "hostname; cat /proc/1/comm"])
        .output()
        .unwrap();
    assert_eq!(
        text(&output.stdout),
        "here\nsleep\n",
        "{}",
        text(&output.stderr)
    );
}

needs!(root => a_user_is_found_by_name_on_the_host_view);
fn a_user_is_found_by_name_on_the_host_view() {
    let output = Container::new("id").user("nobody").output().unwrap();
    assert_eq!(
        text(&output.stdout),
        "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)\n"
    );
    let error = Container::new("id").user("nobdy").output().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

needs!(user_namespaces => the_doctor_says_how_it_is);
fn the_doctor_says_how_it_is() {
    let findings = ampoule::doctor();
    let topics: Vec<&str> = findings.iter().map(|finding| finding.topic).collect();
    for topic in [
        "kernel",
        "namespaces",
        "seccomp",
        "overlay",
        "user namespaces",
        "cgroups",
        "container",
    ] {
        assert!(topics.contains(&topic), "{topic} is not in {topics:?}");
    }
    for finding in &findings {
        let explained = finding.level == Level::Ok || finding.cause.is_some();
        assert!(explained, "{finding:?}");
        assert_ne!(
            finding.level,
            Level::Missing,
            "containers start in these tests: {finding:?}"
        );
    }
}

needs!(user_namespaces => a_container_ends_though_a_program_that_joined_is_forgotten);
fn a_container_ends_though_a_program_that_joined_is_forgotten() {
    let mut child = Container::new("sleep").arg("60").spawn().unwrap();
    let mut joined = child.exec("sleep").arg("60").spawn().unwrap();
    child.kill().unwrap();
    // The kernel lets process 1 end only when the other has been waited for, which nobody here has done yet.
    assert_eq!(child.wait().unwrap().ending, Ending::Signaled(9));
    assert_eq!(joined.wait().unwrap().ending, Ending::Signaled(9));
}

needs!(root => plans_are_made_by_many_threads_at_once);
fn plans_are_made_by_many_threads_at_once() {
    let plan = || {
        for _ in 0..20 {
            Container::new("true").memory(64 << 20).plan().unwrap();
        }
    };
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(plan))));
}

needs!(root => nobody_joins_a_paused_container);
fn nobody_joins_a_paused_container() {
    let child = Container::new("sleep").arg("60").spawn().unwrap();
    child.pause().unwrap();
    let error = child.exec("true").spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    child.resume().unwrap();
    assert!(child.exec("true").status().unwrap().success());
}
