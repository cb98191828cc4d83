//! The same as an ordinary user, from a place where that user can read the command.

use crate::command::{Ran, Scratch};
use needs::needs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

fn as_nobody(scratch: &Scratch, args: &[&str]) -> Ran {
    let command = scratch.path().join("ampoule");
    if !command.exists() {
        let open =
            |path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_ampoule"), &command).unwrap();
        open(&command);
        open(&scratch.path().to_path_buf());
    }
    let mut setpriv = Command::new("setpriv");
    setpriv
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(command)
        .args(args)
        .current_dir("/")
        .stdin(std::process::Stdio::null());
    setpriv.output().unwrap().into()
}

needs!(root, user_namespaces => an_ordinary_user_runs_containers);
fn an_ordinary_user_runs_containers() {
    let scratch = Scratch::new("nobody");
    let ran = as_nobody(
        &scratch,
        &[
            "run",
            "host",
            "sh",
            "-c",
            "id -u; ps | wc -l; ls /sys/class/net",
        ],
    );
    assert_eq!(
        (ran.code, &ran.stdout[..]),
        (Some(0), "0\n4\nlo\n"),
        "{ran:?}"
    );
    let ran = as_nobody(
        &scratch,
        &[
            "run",
            "--read-only",
            "--tmpfs",
            "/x",
            "-v",
            "/usr:/mnt:ro",
            "host",
            "ls",
            "/mnt/bin/env",
        ],
    );
    assert_eq!(
        (ran.code, &ran.stdout[..]),
        (Some(0), "/mnt/bin/env\n"),
        "{ran:?}"
    );
    let ran = as_nobody(&scratch, &["run", "host", "nosuch"]);
    assert_eq!(ran.code, Some(127), "{ran:?}");
    assert_eq!(as_nobody(&scratch, &["doctor"]).code, Some(0));
}

needs!(root, user_namespaces => what_an_ordinary_user_may_not_names_the_remedy);
fn what_an_ordinary_user_may_not_names_the_remedy() {
    let scratch = Scratch::new("nobody-may-not");
    for (args, remedy) in [
        (["run", "-m", "64m", "host", "true"], "Delegate=yes"),
        (["run", "-u", "nobody", "host", "true"], "--userns auto"),
        (["run", "--userns", "auto", "host", "true"], "--add-subuids"),
    ] {
        let ran = as_nobody(&scratch, &args);
        assert_eq!(ran.code, Some(125), "{ran:?}");
        assert!(ran.stderr.contains(remedy), "{ran:?}");
    }
}
