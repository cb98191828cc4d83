//! Hosts in strange states: containers work in them, or are refused with the reason, and the host's state is as before.

use crate::elsewhere::{self, Scratch, case, ordinary_user};
use ampoule::{Container, ErrorKind};
use needs::needs;
use nix::sys::wait::{WaitStatus, waitpid};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

fn says(script: &str) -> Result<String, ampoule::Error> {
    let mut container = Container::new("sh");
    container
        .args(["-c", script])
        .timeout(Duration::from_secs(30));
    let output = container.output()?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// This process's containers' directories, in whatever hierarchy.
fn cgroups() -> Vec<PathBuf> {
    let ours = format!("{}-", std::process::id());
    let below = |path: PathBuf| {
        std::fs::read_dir(path.join("ampoule"))
            .into_iter()
            .flatten()
            .flatten()
    };
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten();
    let all = hierarchies
        .flat_map(|entry| below(entry.path()))
        .chain(below("/sys/fs/cgroup".into()));
    all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&ours))
        .map(|entry| entry.path())
        .collect()
}

needs!(user_namespaces => few_descriptors);
fn few_descriptors() {
    elsewhere::run("with_few_descriptors", &[]);
}

case!(with_few_descriptors);
/// At each limit it works or says why not; nothing leaks; and afterwards it works again.
fn with_few_descriptors() {
    // What is kept for all containers is opened once.
    assert_eq!(says("echo hello").unwrap(), "hello\n");
    let (before, all) = (descriptors(), rustix::process::getrlimit(Resource::Nofile));
    let mut worked = 0;
    for least in before as u64..before as u64 + 60 {
        let current = Some(least);
        setrlimit(Resource::Nofile, Rlimit { current, ..all }).unwrap();
        let outcome = says("echo hello");
        setrlimit(Resource::Nofile, all).unwrap();
        match outcome {
            Ok(said) => {
                assert_eq!(said, "hello\n", "limit {least}");
                worked += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Exhausted, "limit {least}: {error}");
            }
        }
        assert_eq!(descriptors(), before, "limit {least}");
        assert_eq!(cgroups(), Vec::<PathBuf>::new(), "limit {least}");
    }
    assert!(worked > 0, "60 descriptors are enough");
    assert_eq!(says("echo hello").unwrap(), "hello\n");
}

needs!(user_namespaces => closed_streams);
fn closed_streams() {
    let script = "exec \"$0\" <&- >&- 2>&-";
    elsewhere::run("with_closed_streams", &["sh", "-c", script]);
}

case!(with_closed_streams);
/// std opens `/dev/null` in their place before `main`; so they are closed once more.
fn with_closed_streams() {
    for number in 0..3 {
        nix::unistd::close(number).unwrap();
    }
    assert_eq!(says("cat; echo hello").unwrap(), "hello\n");
    let status = Container::new("true")
        .timeout(Duration::from_secs(30))
        .status();
    match status {
        Ok(report) => assert!(report.success()),
        Err(error) => assert!(error.to_string().contains("stdin"), "{error}"),
    }
}

needs!(user_namespaces => an_ignored_sigchld);
fn an_ignored_sigchld() {
    elsewhere::run(
        "with_sigchld_ignored",
        &["sh", "-c", "trap '' CHLD; exec \"$0\""],
    );
}

case!(with_sigchld_ignored);
/// The kernel then keeps no status: that is said, not guessed.
fn with_sigchld_ignored() {
    let mut container = Container::new("sh");
    container.args(["-c", "trap | grep -c CHLD; exit 3"]);
    let output = container.timeout(Duration::from_secs(30)).output().unwrap();
    assert!(
        matches!(
            output.report.ending,
            ampoule::Ending::Unknown | ampoule::Ending::Exited(3)
        ),
        "{}",
        output.report
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "0\n",
        "ignored inside as well"
    );
    let error = Container::new("no-such-program").spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProgramNotFound, "{error}");
}

needs!(user_namespaces => a_host_that_waits_for_anybody);
fn a_host_that_waits_for_anybody() {
    elsewhere::run("with_a_thread_that_waits", &[]);
}

case!(with_a_thread_that_waits);
fn with_a_thread_that_waits() {
    std::thread::spawn(|| {
        loop {
            if let Ok(WaitStatus::StillAlive) | Err(_) = waitpid(None, None) {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    });
    for _ in 0..30 {
        let mut container = Container::new("true");
        let report = container.timeout(Duration::from_secs(30)).status().unwrap();
        assert!(
            matches!(
                report.ending,
                ampoule::Ending::Unknown | ampoule::Ending::Exited(0)
            ),
            "{report}"
        );
        let error = Container::new("no-such-program").spawn().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProgramNotFound, "{error}");
    }
}

needs!(ordinary_user, user_namespaces => no_more_processes);
fn no_more_processes() {
    elsewhere::run("with_no_more_processes", &[]);
}

case!(with_no_more_processes);
fn with_no_more_processes() {
    let all = rustix::process::getrlimit(Resource::Nproc);
    let current = Some(1);
    setrlimit(Resource::Nproc, Rlimit { current, ..all }).unwrap();
    let error = Container::new("true").spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    setrlimit(Resource::Nproc, all).unwrap();
    assert_eq!(says("echo hello").unwrap(), "hello\n");
}

needs!(root, user_namespaces => no_user_namespaces);
fn no_user_namespaces() {
    // The limit is that of a user namespace made for it: unshare(1)'s, which ends with it.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\"";
    elsewhere::run(
        "without_user_namespaces",
        &["unshare", "--user", "--map-root-user", "sh", "-c", script],
    );
}

case!(without_user_namespaces);
fn without_user_namespaces() {
    let map = ampoule::IdMap::single(0, 0);
    let error = Container::new("true").id_map(map).spawn().unwrap_err();
    assert!(
        error.to_string().contains("user.max_user_namespaces"),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
}

needs!(root => threads_with_a_state_of_their_own);
fn threads_with_a_state_of_their_own() {
    elsewhere::run("with_a_strange_thread", &[]);
}

case!(with_a_strange_thread);
/// A thread with a root, directory and umask of its own starts containers like any other, and keeps them.
fn with_a_strange_thread() {
    assert_eq!(says("echo first").unwrap(), "first\n");
    let scratch = Scratch::new();
    let strange = scratch.path().to_owned();
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
        std::env::set_current_dir(&strange).unwrap();
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o777));
        let said = says("umask; pwd; : > /tmp/file && stat -c %a /tmp/file").unwrap();
        assert_eq!(said, "0022\n/\n644\n");
        assert_eq!(std::env::current_dir().unwrap(), strange);
        let mask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
        assert_eq!(mask.bits(), 0o777);
        nix::unistd::chroot(&strange).unwrap();
        std::env::set_current_dir("/").unwrap();
        // Nothing of the machine is there: that is said, or it works all the same.
        match says("echo inside") {
            Ok(said) => assert_eq!(said, "inside\n"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
    thread.join().unwrap();
    assert_eq!(says("echo last").unwrap(), "last\n");
}

needs!(user_namespaces => a_stdin_that_is_closed);
fn a_stdin_that_is_closed() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(writer);
    let mut container = Container::new("cat");
    container
        .stdin(OwnedFd::from(reader))
        .timeout(Duration::from_secs(30));
    assert!(container.output().unwrap().report.success());
}
