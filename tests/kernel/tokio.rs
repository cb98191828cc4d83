//! Containers in asynchronous programs.

use ampoule::{Bind, Container, Ending, ErrorKind, Stdio, Volume};
use needs::needs;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn sh(script: &str) -> Container {
    let mut container = Container::new("sh");
    container
        .args(["-c", script])
        .timeout(Duration::from_secs(60));
    container
}

/// Waits until a process is gone, but not for ever.
async fn is_gone(id: u32) -> bool {
    let begun = Instant::now();
    while Path::new(&format!("/proc/{id}")).exists() {
        if begun.elapsed() > Duration::from_secs(20) {
            return false;
        }
        sleep(Duration::from_millis(5)).await;
    }
    true
}

needs!(user_namespaces => output_is_gathered);
fn output_is_gathered() {
    let output = runtime()
        .block_on(sh("yes | head -c 300000; yes no | head -c 300000 >&2; exit 3").output_async())
        .unwrap();
    assert_eq!(output.report.ending, Ending::Exited(3));
    assert_eq!(
        (output.stdout.len(), output.stderr.len()),
        (300_000, 300_000)
    );
}

needs!(user_namespaces => pipes_are_asynchronous);
fn pipes_are_asynchronous() {
    runtime().block_on(async {
        let mut container = sh("cat");
        container.stdin(Stdio::Piped).stdout(Stdio::Piped);
        let mut child = container.spawn_async().await.unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut answer = [0; 5];
        for word in [b"hello", b"world"] {
            stdin.write_all(word).await.unwrap();
            stdout.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, word);
        }
        drop(stdin);
        assert!(child.wait().await.unwrap().success());
        assert_eq!((child.id(), child.pidfd().is_none()), (None, true));
    });
}

needs!(user_namespaces => a_missing_program_is_an_error_of_its_own_kind);
fn a_missing_program_is_an_error_of_its_own_kind() {
    let error = runtime()
        .block_on(Container::new("no-such-program").spawn_async())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProgramNotFound, "{error}");
}

needs!(user_namespaces => a_timeout_needs_nobody_who_waits);
fn a_timeout_needs_nobody_who_waits() {
    runtime().block_on(async {
        let mut container = sh("sleep 100");
        container
            .stdout(Stdio::Piped)
            .timeout(Duration::from_millis(300));
        let mut child = container.spawn_async().await.unwrap();
        let mut stdout = child.stdout.take().unwrap();
        // Ends only when all of its writers are dead.
        let mut nothing = Vec::new();
        let end = stdout.read_to_end(&mut nothing);
        timeout(Duration::from_secs(20), end)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(child.wait().await.unwrap().ending, Ending::TimedOut);
    });
}

needs!(user_namespaces => waiting_may_be_given_up_and_begun_again);
fn waiting_may_be_given_up_and_begun_again() {
    runtime().block_on(async {
        let mut child = sh("sleep 0.3; exit 7").spawn_async().await.unwrap();
        let mut given_up = 0;
        let report = loop {
            match timeout(Duration::from_millis(1), child.wait()).await {
                Ok(report) => break report.unwrap(),
                Err(_) => given_up += 1,
            }
        };
        assert!(given_up > 10, "{given_up}");
        assert_eq!(report.ending, Ending::Exited(7));
        // And once more, after the end.
        assert_eq!(child.wait().await.unwrap(), report);
    });
}

needs!(user_namespaces => a_start_that_nobody_waits_for_is_taken_back);
fn a_start_that_nobody_waits_for_is_taken_back() {
    let mark = format!("{}.125", std::process::id());
    let runtime = runtime();
    runtime.block_on(async {
        for micros in (0..20_000).step_by(500) {
            let mut container = Container::new("sleep");
            container.arg(&mark);
            let start = container.spawn_async();
            let _ = timeout(Duration::from_micros(micros), start).await;
        }
    });
    // It waits for the work that has begun.
    drop(runtime);
    assert_eq!(sleepers(&mark), 0);
}

/// The processes that sleep for so many seconds.
fn sleepers(seconds: &str) -> usize {
    let command = format!("sleep\0{seconds}\0");
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines =
        entries.map(|entry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default());
    lines.filter(|line| line == command.as_bytes()).count()
}

needs!(user_namespaces => dropping_kills);
fn dropping_kills() {
    runtime().block_on(async {
        let child = sh("sleep 100 & sleep 100").spawn_async().await.unwrap();
        let id = child.id().unwrap();
        drop(child);
        assert!(is_gone(id).await);
    });
}

needs!(user_namespaces => dropping_outside_of_a_runtime_kills_at_once);
fn dropping_outside_of_a_runtime_kills_at_once() {
    let runtime = runtime();
    let child = runtime.block_on(sh("sleep 100").spawn_async()).unwrap();
    let id = child.id().unwrap();
    drop(child);
    assert!(!Path::new(&format!("/proc/{id}")).exists());
}

needs!(user_namespaces => what_is_not_killed_on_drop_goes_on_and_leaves_nothing);
fn what_is_not_killed_on_drop_goes_on_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let mut container = sh("sleep 0.3; echo done > /place/note");
        container.volume(Volume::bind(Bind::new(place.path()), "/place"));
        let mut child = container.spawn_async().await.unwrap();
        let id = child.kill_on_drop(false).id().unwrap();
        drop(child);
        assert!(is_gone(id).await);
    });
    let note = std::fs::read_to_string(place.path().join("note"));
    assert_eq!(note.unwrap(), "done\n");
}

needs!(user_namespaces => other_work_does_not_hold_up_the_end);
fn other_work_does_not_hold_up_the_end() {
    runtime().block_on(async {
        let mut child = sh("sleep 100").spawn_async().await.unwrap();
        let look = child.blocking(|child| child.exec("cat").arg("/proc/1/comm").output());
        assert_eq!(look.await.unwrap().stdout, b"sh\n");
        // A program that would go on: it ends with the container.
        let held = child.blocking(|child| child.exec("sleep").arg("100").status());
        assert!(timeout(Duration::from_millis(200), held).await.is_err());
        let report = timeout(Duration::from_secs(20), child.kill()).await;
        assert_eq!(report.unwrap().unwrap().ending, Ending::Signaled(9));
        let over = child.blocking(|child| child.stats()).await.unwrap_err();
        assert!(over.to_string().contains("it has ended"), "{over}");
    });
}

needs!(user_namespaces => a_hundred_at_once_with_two_workers);
fn a_hundred_at_once_with_two_workers() {
    let runtime = runtime();
    let starts: Vec<_> = (0..100)
        .map(|number| {
            runtime.spawn(async move { sh(&format!("exit {number}")).status_async().await })
        })
        .collect();
    for (number, start) in (0..).zip(starts) {
        let report = runtime.block_on(start).unwrap().unwrap();
        assert_eq!(report.ending, Ending::Exited(number));
    }
}
