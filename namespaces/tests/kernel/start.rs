//! A start: what comes back, whoever starts the program.

use crate::container::{container, draft, linux_6_3, output, sh, start};
use ampoule_namespaces::{Command, ErrorKind, Namespaces, Starter, Status, launch};
use needs::needs;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

const STARTERS: [Starter; 3] = [Starter::Direct, Starter::Sealed, Starter::Reaper];

needs!(root => a_status_comes_back);
fn a_status_comes_back() {
    for starter in STARTERS {
        let mut process = start(&container(), sh("exit 7").starter(starter)).unwrap();
        assert_eq!(
            process.wait().unwrap().status,
            Status::Exited(7),
            "{starter:?}"
        );
    }
}

needs!(root => process_1_cannot_be_killed_from_inside);
fn process_1_cannot_be_killed_from_inside() {
    let mut process = start(&container(), &sh("kill -9 $$; exit 3")).unwrap();
    assert_eq!(process.wait().unwrap().status, Status::Exited(3));
}

needs!(root, linux_6_3 => every_namespace_is_new);
fn every_namespace_is_new() {
    let mut isolation = container();
    isolation.unshare(Namespaces::all() - Namespaces::CLONE_NEWUSER);
    let inside = output(
        &isolation,
        &sh("cd /proc/self/ns; for n in *; do readlink $n; done"),
    )
    .unwrap();
    let outside = std::fs::read_dir("/proc/self/ns").unwrap();
    let links = outside.map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap());
    for link in links
        .map(|link| link.to_string_lossy().into_owned())
        .filter(|link| !link.starts_with("user"))
    {
        assert!(
            !inside.lines().any(|line| line == link),
            "{link} is shared: {inside}"
        );
    }
}

needs!(root => a_program_that_cannot_start_is_an_error_with_its_kind);
fn a_program_that_cannot_start_is_an_error_with_its_kind() {
    let cases = [
        ("/no/such/program", ErrorKind::ProgramNotFound, "ENOENT"),
        ("no-such-program", ErrorKind::ProgramNotFound, "ENOENT"),
        ("/etc/passwd", ErrorKind::ProgramNotExecutable, "EACCES"),
        ("/etc", ErrorKind::ProgramNotExecutable, "EACCES"),
        ("/etc/passwd/x", ErrorKind::ProgramNotFound, "ENOTDIR"),
    ];
    for starter in STARTERS {
        for (program, kind, text) in cases {
            let error = start(&container(), Command::new(program).starter(starter)).unwrap_err();
            assert_eq!(error.kind(), kind, "{program} by {starter:?}: {error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}

needs!(root => a_program_is_found_on_the_path_inside);
fn a_program_is_found_on_the_path_inside() {
    for starter in STARTERS {
        let mut command = Command::new("true");
        command
            .env("PATH", "/nonexistent:/etc/passwd:/usr/bin")
            .starter(starter);
        assert!(
            start(&container(), &command)
                .unwrap()
                .wait()
                .unwrap()
                .status
                .success(),
            "{starter:?}"
        );
    }
}

needs!(root => the_program_finds_its_descriptors_and_no_others);
fn the_program_finds_its_descriptors_and_no_others() {
    let leaked = File::open("/etc").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    for starter in STARTERS {
        let mut command = sh("echo /proc/self/fd/*; cat <&5");
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"through 5").unwrap();
        drop(writer);
        command.pass(5, OwnedFd::from(reader)).starter(starter);
        let text = output(&container(), &command).unwrap();
        // The shell's own glob opens the directory itself as 3.
        assert_eq!(
            text.trim(),
            "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3 /proc/self/fd/5\nthrough 5"
        );
    }
}

needs!(root => a_working_directory_cannot_be_reached_by_way_of_our_files);
fn a_working_directory_cannot_be_reached_by_way_of_our_files() {
    for number in 3..40 {
        let mut command = sh("pwd");
        command.current_dir(format!("/proc/self/fd/{number}"));
        let error = start(&container(), &command).unwrap_err();
        assert!(error.to_string().contains("openat2"), "{error}");
    }
}

needs!(root => signals_are_the_programs_again);
fn signals_are_the_programs_again() {
    let status = output(&container(), &sh("cat /proc/self/status")).unwrap();
    for line in status
        .lines()
        .filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn"))
    {
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
}

needs!(root => the_reaper_takes_orphans_and_passes_signals_on);
fn the_reaper_takes_orphans_and_passes_signals_on() {
    let mut command =
        sh("(sleep 0.1 &) ; trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done");
    let (reader, writer) = std::io::pipe().unwrap();
    command
        .starter(Starter::Reaper)
        .stdout(OwnedFd::from(writer));
    let mut process = start(&container(), &command).unwrap();
    let mut ready = [0; 6];
    File::from(OwnedFd::from(reader))
        .read_exact(&mut ready)
        .unwrap();
    process.signal(15).unwrap();
    assert_eq!(process.wait().unwrap().status, Status::Exited(9));
}

needs!(root => phases_are_timed_in_order);
fn phases_are_timed_in_order() {
    let plan = draft(&[&container(), &sh("true")])
        .unwrap()
        .finish()
        .unwrap();
    let process = launch(plan).unwrap();
    let phases: Vec<String> = process
        .times()
        .iter()
        .map(|(phase, _)| phase.to_string())
        .collect();
    assert_eq!(
        phases,
        [
            "birth", "mounts", "root", "mask", "session", "filter", "exec"
        ]
    );
}
