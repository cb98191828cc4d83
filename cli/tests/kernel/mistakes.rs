//! What a newcomer gets wrong, and reads then.

use crate::command::{Scratch, fails};
use needs::needs;
use std::os::unix::fs::PermissionsExt;

needs!(=> options_are_misspelt);
fn options_are_misspelt() {
    fails(
        &["run", "--memroy", "64m", "host", "true"],
        125,
        &["'--memroy'", "'--memory'"],
    );
    fails(&["docter"], 125, &["'docter'", "'doctor'"]);
    fails(
        &["run", "host", "-m", "64m", "true"],
        125,
        &["options stand before ROOT"],
    );
    fails(&["run"], 125, &["Usage: ampoule run [OPTIONS] ROOT"]);
    fails(
        &["run", "--cap-add", "SYS_ADMNI", "host", "true"],
        125,
        &["did you mean SYS_ADMIN?"],
    );
    fails(
        &["run", "--ulimit", "nofiles=1", "host", "true"],
        125,
        &["did you mean NOFILE?"],
    );
    fails(
        &["run", "--security-opt", "secomp=x", "host", "true"],
        125,
        &["did you mean seccomp?"],
    );
    fails(
        &["run", "--network", "bridge", "host", "true"],
        125,
        &["none or host"],
    );
    fails(
        &["run", "--privileged", "host", "true"],
        125,
        &["--cap-add"],
    );
}

needs!(=> values_make_no_sense);
fn values_make_no_sense() {
    for memory in ["", "64x", "-5", "1.5g", "99999999999999g"] {
        fails(&["run", "-m", memory, "host", "true"], 125, &["--memory"]);
    }
    for time in ["0", "soon", "-1"] {
        fails(
            &["run", "--timeout", time, "host", "true"],
            125,
            &["--timeout"],
        );
    }
    fails(
        &["run", "-m", "64m", "--memory-swap", "1m", "host", "true"],
        125,
        &["memory and swap together"],
    );
    fails(
        &["run", "--memory-swap", "1m", "host", "true"],
        125,
        &["--memory"],
    );
    fails(
        &["run", "--userns", "0:0", "host", "true"],
        125,
        &["INSIDE:OUTSIDE:COUNT"],
    );
    fails(&["run", "-e", "=1", "host", "true"], 125, &["NAME=VALUE"]);
    fails(
        &["run", "--env-file", "/nonexistent", "host", "true"],
        125,
        &["/nonexistent", "No such file"],
    );
    fails(
        &["run", "--oom-score-adj", "5000", "host", "true"],
        125,
        &["-1000..=1000"],
    );
    fails(
        &["run", "-u", "nobdy", "host", "true"],
        125,
        &["nobdy", "/etc/passwd"],
    );
    fails(
        &["run", "-w", "/nowhere", "host", "true"],
        125,
        &["/nowhere"],
    );
    fails(
        &[
            "run",
            "--security-opt",
            "seccomp=/nonexistent",
            "host",
            "true",
        ],
        125,
        &["/nonexistent"],
    );
}

needs!(root, cgroup_v1 => limits_are_absurd);
fn limits_are_absurd() {
    fails(&["run", "-m", "0", "host", "true"], 125, &["memory max 0"]);
    fails(
        &["run", "-m", "1k", "host", "true"],
        125,
        &["nothing can be started in less"],
    );
    for cpus in ["0", "-1", "nan", "1e9"] {
        fails(
            &["run", "--cpus", cpus, "host", "true"],
            125,
            &["cpu quota"],
        );
    }
    fails(
        &["run", "--pids-limit", "0", "host", "true"],
        125,
        &["nothing could run"],
    );
    fails(
        &["run", "--cpu-shares", "1", "host", "true"],
        125,
        &["2 to 262144"],
    );
    fails(
        &["run", "--cpuset-cpus", "first", "host", "true"],
        125,
        &["0-2,7"],
    );
    fails(&["run", "--name", "../up", "host", "true"], 125, &["../up"]);
}

needs!(user_namespaces => roots_that_are_none);
fn roots_that_are_none() {
    let scratch = Scratch::new("roots");
    let file = scratch.file("file", "");
    fails(&["run", "hots", "true"], 125, &["did you mean `host`?"]);
    fails(
        &["run", "alpine", "true"],
        125,
        &["a directory with a file system in it"],
    );
    fails(
        &["run", "/nonexistent", "true"],
        125,
        &["/nonexistent", "No such file"],
    );
    fails(&["run", &file, "true"], 125, &["Not a directory"]);
    let empty = scratch.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    fails(
        &["run", empty.to_str().unwrap(), "true"],
        127,
        &["not in the container's root tree"],
    );
}

needs!(user_namespaces => programs_that_are_none);
fn programs_that_are_none() {
    fails(
        &["run", "host", "nosuch"],
        127,
        &["nosuch", "not in the container's root tree"],
    );
    fails(&["run", "host", "/nosuch"], 127, &["/nosuch"]);
    fails(&["run", "host", "/usr"], 126, &["not an executable file"]);
    fails(
        &["run", "host", "/etc/passwd"],
        126,
        &["not an executable file"],
    );
    let scratch = Scratch::new("programs");
    let mount = |content: &str| {
        let file = scratch.file("program", content);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        format!("{file}:/program")
    };
    fails(
        &[
            "run",
            "-v",
            &mount("neither ELF nor #!"),
            "host",
            "/program",
        ],
        126,
        &["neither an ELF program"],
    );
    fails(
        &["run", "-v", &mount("#!/nosuch\n"), "host", "/program"],
        127,
        &["interpreter"],
    );
}

needs!(user_namespaces => volumes_that_cannot_be);
fn volumes_that_cannot_be() {
    fails(
        &["run", "-v", "/usr", "host", "true"],
        125,
        &["SOURCE:TARGET"],
    );
    fails(
        &["run", "-v", "name:/data", "host", "true"],
        125,
        &["named volume"],
    );
    fails(
        &["run", "-v", "/usr:data", "host", "true"],
        125,
        &["absolute path"],
    );
    fails(
        &["run", "-v", "/nonexistent:/data", "host", "true"],
        125,
        &["/nonexistent"],
    );
    fails(
        &["run", "-v", "/usr:/../data", "host", "true"],
        125,
        &[".."],
    );
    fails(
        &["run", "-v", "/usr:/a", "-v", "/usr:/a", "host", "true"],
        125,
        &["two volumes"],
    );
    fails(
        &["run", "--mount", "type=bind,target=/x", "host", "true"],
        125,
        &["source is missing"],
    );
    fails(
        &["run", "--tmpfs", "/x:size=many", "host", "true"],
        125,
        &["such as 64m"],
    );
    fails(
        &["run", "--device", "/dev/nosuch", "host", "true"],
        125,
        &["/dev/nosuch"],
    );
    fails(
        &["run", "--device", "/dev/null:/dev/x:r", "host", "true"],
        125,
        &["permissions"],
    );
}
