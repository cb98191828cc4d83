//! What a container does, asked for by docker's flags.

use crate::command::{Scratch, ampoule, prints, ran};
use needs::needs;
use std::io::Write;
use std::process::Stdio;

needs!(user_namespaces => the_first_command_of_the_readme);
fn the_first_command_of_the_readme() {
    let ran = ran(&["run", "host", "sh", "-c", "hostname; id; ps; ls /"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("uid=0(root) gid=0(root)"), "{ran:?}");
    for directory in ["bin", "etc", "proc", "tmp", "usr"] {
        assert!(ran.stdout.lines().any(|line| line == directory), "{ran:?}");
    }
    // Of all processes it sees its own two.
    let processes = ran.stdout.lines().filter(|line| line.contains("00:00:0"));
    assert_eq!(processes.count(), 2, "{ran:?}");
}

needs!(user_namespaces => exit_codes_are_docker_s);
fn exit_codes_are_docker_s() {
    prints(&["run", "host", "true"], 0, "");
    prints(&["run", "host", "sh", "-c", "exit 42"], 42, "");
    prints(&["run", "host", "sh", "-c", "kill -KILL $$"], 0, "");
    prints(
        &["run", "--init", "host", "sh", "-c", "kill -SEGV $$"],
        139,
        "",
    );
    prints(
        &["run", "--timeout", "200ms", "host", "sleep", "30"],
        124,
        "",
    );
}

needs!(user_namespaces => a_program_s_flags_are_its_own);
fn a_program_s_flags_are_its_own() {
    prints(
        &["run", "host", "echo", "-e", "--memory", "-t", "--help"],
        0,
        "--memory -t --help\n",
    );
    prints(&["run", "host", "--", "echo", "hello"], 0, "hello\n");
}

needs!(user_namespaces => standard_input_is_passed_on_where_asked_for);
fn standard_input_is_passed_on_where_asked_for() {
    let cat = |args: &[&str]| {
        let mut child = ampoule(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A program that reads nothing may be gone before it is written to.
        let _ = child.stdin.take().unwrap().write_all(b"typed\n");
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    assert_eq!(cat(&["run", "-i", "host", "cat"]), "typed\n");
    assert_eq!(cat(&["run", "host", "cat"]), "");
    // Nobody who names no program wants a shell that ends at once.
    assert_eq!(cat(&["run", "host"]).len(), 0);
}

needs!(user_namespaces => the_environment_is_what_was_named);
fn the_environment_is_what_was_named() {
    let scratch = Scratch::new("env");
    let file = scratch.file(
        "variables",
        "# a comment\n\nA=from file\nB=from file\nOURS\n",
    );
    let output = ampoule(&[
        "run",
        "--env-file",
        &file,
        "-e",
        "B=b c",
        "-e",
        "NOBODYS",
        "host",
        "env",
    ])
    .env("OURS", "passed on")
    .env("NOT_NAMED", "stays here")
    .output()
    .unwrap();
    let mut lines: Vec<_> = std::str::from_utf8(&output.stdout)
        .unwrap()
        .lines()
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "A=from file",
            "B=b c",
            "HOME=/root",
            "OURS=passed on",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
    );
}

needs!(user_namespaces => volumes_are_seen_and_kept_from_being_written);
fn volumes_are_seen_and_kept_from_being_written() {
    let scratch = Scratch::new("volumes");
    scratch.file("note", "from outside\n");
    let script = "cat /data/note; echo inside > /data/note || echo refused";
    let volume = format!("{}:/data:ro", scratch.path().display());
    prints(
        &["run", "-v", &volume, "host", "sh", "-c", script],
        0,
        "from outside\nrefused\n",
    );
    let mount = format!("type=bind,source={},target=/data", scratch.path().display());
    prints(
        &[
            "run",
            "--mount",
            &mount,
            "host",
            "sh",
            "-c",
            "echo inside > /data/note",
        ],
        0,
        "",
    );
    assert_eq!(
        std::fs::read_to_string(scratch.path().join("note")).unwrap(),
        "inside\n"
    );
    // A source that begins with a dot is relative, as docker has it.
    let output = ampoule(&["run", "-v", "./note:/tmp/note", "host", "cat", "/tmp/note"])
        .current_dir(scratch.path())
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"inside\n", "{output:?}");
    let size = [
        "run",
        "--tmpfs",
        "/scratch:size=1m",
        "host",
        "df",
        "--output=size",
        "/scratch",
    ];
    prints(&size, 0, "1K-blocks\n     1024\n");
}

needs!(user_namespaces => names_directories_and_users);
fn names_directories_and_users() {
    prints(&["run", "-h", "vessel", "host", "hostname"], 0, "vessel\n");
    prints(
        &["run", "--name", "clear-1", "host", "hostname"],
        0,
        "clear-1\n",
    );
    prints(&["run", "-w", "/usr/bin", "host", "pwd"], 0, "/usr/bin\n");
    prints(
        &[
            "run",
            "--read-only",
            "host",
            "sh",
            "-c",
            "echo > /file || echo refused",
        ],
        0,
        "refused\n",
    );
    prints(
        &[
            "run",
            "--shm-size",
            "1m",
            "host",
            "df",
            "--output=size",
            "/dev/shm",
        ],
        0,
        "1K-blocks\n     1024\n",
    );
    prints(&["run", "host", "ls", "/sys/class/net"], 0, "lo\n");
}

needs!(root => users_and_privileges_as_root);
fn users_and_privileges_as_root() {
    prints(&["run", "-u", "nobody", "host", "id", "-u"], 0, "65534\n");
    prints(&["run", "-u", "1:2", "host", "id", "-g"], 0, "2\n");
    let effective = ["grep", "CapEff", "/proc/self/status"];
    let with = |flags: &[&str], expect: &str| {
        prints(
            &[&["run"], flags, &["host"], &effective].concat(),
            0,
            expect,
        );
    };
    with(&[], "CapEff:\t00000000a80425fb\n");
    with(
        &["--cap-drop", "all", "--cap-add", "KILL"],
        "CapEff:\t0000000000000020\n",
    );
    with(&["--cap-drop", "all"], "CapEff:\t0000000000000000\n");
    prints(
        &[
            "run",
            "--ulimit",
            "nofile=77",
            "host",
            "sh",
            "-c",
            "ulimit -n",
        ],
        0,
        "77\n",
    );
    prints(
        &[
            "run",
            "--userns",
            "0:200000:1000",
            "host",
            "cat",
            "/proc/self/uid_map",
        ],
        0,
        "         0     200000       1000\n",
    );
}

needs!(user_namespaces => filters_and_new_privileges);
fn filters_and_new_privileges() {
    let grep = |flag: &str, what: &str| {
        ran(&[
            "run",
            "--security-opt",
            flag,
            "host",
            "grep",
            what,
            "/proc/self/status",
        ])
        .stdout
    };
    assert_eq!(grep("seccomp=builtin", "Seccomp:"), "Seccomp:\t2\n");
    assert_eq!(grep("seccomp=unconfined", "Seccomp:"), "Seccomp:\t0\n");
    assert_eq!(grep("no-new-privileges", "NoNewPrivs"), "NoNewPrivs:\t1\n");
    let scratch = Scratch::new("seccomp");
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let option = format!("seccomp={}", scratch.file("profile.json", profile));
    let ran = ran(&["run", "--security-opt", &option, "host", "mkdir", "/tmp/x"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("Operation not permitted"), "{ran:?}");
}

needs!(root, cgroup_v1 => limits_are_kept);
fn limits_are_kept() {
    let fill = "head -c 200M /dev/zero | tail > /dev/null";
    let killed = ran(&[
        "run",
        "--report",
        "-m",
        "32m",
        "host",
        "sh",
        "-c",
        &format!("exec {fill}"),
    ]);
    assert!(killed.code.is_some_and(|code| code != 0), "{killed:?}");
    let forks = ran(&[
        "run",
        "--pids-limit",
        "3",
        "host",
        "sh",
        "-c",
        "sleep 1 & sleep 1 & sleep 1 & wait",
    ]);
    assert!(forks.stderr.contains("fork"), "{forks:?}");
    prints(
        &[
            "run",
            "-m",
            "64m",
            "--memory-swap",
            "-1",
            "--cpus",
            "0.5",
            "--cpu-shares",
            "512",
            "host",
            "true",
        ],
        0,
        "",
    );
}
