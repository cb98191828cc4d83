//! Bad descriptions: each is an error of its kind that names the thing, and nothing is left behind.

use crate::elsewhere::{Scratch, ordinary_user};
use ampoule::privileges::limits::Rlimit;
use ampoule::{Bind, Container, ErrorKind, IdMap, Root, Tmpfs, Volume};
use needs::needs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

/// It must not start, and the error must have this kind and say each of these words.
#[track_caller]
fn refused(container: &Container, kind: ErrorKind, words: &[&str]) {
    let error = match container.spawn() {
        Ok(child) => panic!("it started as process {}", child.id()),
        Err(error) => error,
    };
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
}

fn true_with(change: impl FnOnce(&mut Container)) -> Container {
    let mut container = Container::new("true");
    container.timeout(Duration::from_secs(20));
    change(&mut container);
    container
}

fn bind(source: &Path, target: &str) -> Volume {
    Volume::bind(Bind::new(source), target)
}

needs!(user_namespaces => programs_that_cannot_be);
fn programs_that_cannot_be() {
    let scratch = Scratch::new();
    let tools = scratch.dir("tools");
    scratch.program("tools/no-interpreter", "#!/nonexistent\n");
    scratch.program("tools/text", "neither a program nor a script\n");
    scratch.program("tools/closed", "#!/bin/sh\n");
    std::fs::set_permissions(tools.join("closed"), PermissionsExt::from_mode(0o644)).unwrap();
    let check = |program: &str, kind, words: &[&str]| {
        let mut container = Container::new(program);
        container.volume(bind(&tools, "/tools"));
        for init in [false, true] {
            refused(container.init(init), kind, words);
        }
    };
    let missing = ErrorKind::ProgramNotFound;
    check(
        "no-such-program",
        missing,
        &["no-such-program", "root tree"],
    );
    check("/tools/nothing", missing, &["/tools/nothing"]);
    check("/etc/passwd/below", missing, &["/etc/passwd/below"]);
    check("/tools/no-interpreter", missing, &["interpreter"]);
    let useless = ErrorKind::ProgramNotExecutable;
    check(
        "/tools/closed",
        useless,
        &["/tools/closed", "not an executable"],
    );
    check("/tools/text", useless, &["ELF", "#!"]);
    check("/tools", useless, &["/tools"]);
    check("", ErrorKind::Invalid, &["empty"]);
}

needs!(user_namespaces => roots_that_cannot_be);
fn roots_that_cannot_be() {
    let scratch = Scratch::new();
    let file = scratch.program("file", "");
    let check = |root: &Path, kind, words: &[&str]| {
        refused(&true_with(|c| _ = c.root(Root::dir(root))), kind, words);
    };
    let nowhere = scratch.path().join("nowhere");
    check(&nowhere, ErrorKind::NotFound, &["nowhere", "as a root"]);
    check(&file, ErrorKind::Invalid, &["as a root"]);
    check(Path::new(""), ErrorKind::NotFound, &["as a root"]);
    check(Path::new("/a\0b"), ErrorKind::Invalid, &["as a root"]);
}

needs!(ordinary_user, user_namespaces => a_root_that_cannot_be_read);
fn a_root_that_cannot_be_read() {
    let container = true_with(|c| _ = c.root(Root::dir("/root")));
    refused(&container, ErrorKind::Refused, &["/root", "as a root"]);
}

needs!(user_namespaces => texts_with_a_nul_in_them);
fn texts_with_a_nul_in_them() {
    let nul = "a\0b";
    let check = |change: &dyn Fn(&mut Container)| {
        refused(&true_with(change), ErrorKind::Invalid, &[]);
    };
    refused(&Container::new(nul), ErrorKind::Invalid, &[]);
    check(&|c| _ = c.arg(nul));
    check(&|c| _ = c.env("NAME", nul));
    check(&|c| _ = c.env(nul, "value"));
    check(&|c| _ = c.current_dir(nul));
    check(&|c| _ = c.hostname(nul));
    check(&|c| _ = c.user(nul));
    check(&|c| _ = c.volume(Volume::tmpfs(Tmpfs::default(), "/mnt/a\0b")));
    check(&|c| _ = c.volume(bind(Path::new("/a\0b"), "/mnt/a")));
}

needs!(user_namespaces => names_that_cannot_be);
fn names_that_cannot_be() {
    let check = |change: &dyn Fn(&mut Container), words: &[&str]| {
        refused(&true_with(change), ErrorKind::Invalid, words);
    };
    check(&|c| _ = c.hostname("h".repeat(65)), &["65 bytes", "64"]);
    check(&|c| _ = c.env("", "value"), &["no name of a variable"]);
    check(&|c| _ = c.env("A=B", "value"), &["no name of a variable"]);
    check(
        &|c| _ = c.user("nobody-of-this-name"),
        &["no user", "/etc/passwd"],
    );
    check(&|c| _ = c.user("0:nothing"), &["no group", "/etc/group"]);
    check(&|c| _ = c.user("-1"), &["no user"]);
    // To the kernel this id means "as before", which would be root.
    check(&|c| _ = c.user("4294967295"), &["no user"]);
}

needs!(root => names_of_cgroups_that_cannot_be);
fn names_of_cgroups_that_cannot_be() {
    for name in ["", ".", "..", "../../escape", "a/b", "a\0b", "a\nb"] {
        refused(
            &true_with(|c| _ = c.name(name)),
            ErrorKind::Invalid,
            &["cgroup name"],
        );
    }
    let first = Container::new("sleep")
        .arg("60")
        .name("taken")
        .spawn()
        .unwrap();
    let second = true_with(|c| _ = c.name("taken")).spawn().unwrap_err();
    assert!(second.to_string().contains("exists already"), "{second}");
    drop(first);
}

needs!(user_namespaces => directories_that_cannot_be_worked_in);
fn directories_that_cannot_be_worked_in() {
    for (directory, kind, errno) in [
        ("/nowhere", ErrorKind::NotFound, "ENOENT"),
        ("/etc/passwd", ErrorKind::Invalid, "ENOTDIR"),
        ("/proc/self/fd/3", ErrorKind::Invalid, "ELOOP"),
        ("/proc/self/root", ErrorKind::Invalid, "ELOOP"),
        ("/proc/1/cwd", ErrorKind::Invalid, "ELOOP"),
    ] {
        let container = true_with(|c| _ = c.current_dir(directory));
        refused(&container, kind, &[directory, errno, "working directory"]);
    }
}

needs!(user_namespaces => targets_that_cannot_be);
fn targets_that_cannot_be() {
    let scratch = Scratch::new();
    let (root, source) = (scratch.dir("root"), scratch.dir("source"));
    let file = scratch.program("file", "");
    for name in ["proc", "sys", "dev", "mnt"] {
        std::fs::create_dir(root.join(name)).unwrap();
    }
    let secret = scratch.dir("secret");
    symlink(&secret, root.join("mnt/out")).unwrap();
    symlink("../../../../../../..", root.join("mnt/up")).unwrap();
    let check = |volume: Volume, kind, words: &[&str]| {
        let container = true_with(|c| _ = c.root(Root::dir(&root)).volume(volume));
        refused(&container, kind, words);
    };
    check(
        bind(&source, "relative"),
        ErrorKind::Invalid,
        &["relative", "absolute"],
    );
    check(bind(&source, "/mnt/../../etc"), ErrorKind::Invalid, &[".."]);
    check(bind(&source, "/"), ErrorKind::Invalid, &[]);
    check(
        bind(&scratch.path().join("none"), "/mnt"),
        ErrorKind::NotFound,
        &["none"],
    );
    check(bind(&file, "/mnt"), ErrorKind::Invalid, &["/mnt"]);
    // Links are followed, but never out: what they name is made inside, or is what is there inside.
    for out in ["/mnt/out", "/mnt/up/etc/deep"] {
        let container = true_with(|c| _ = c.root(Root::dir(&root)).volume(bind(&source, out)));
        // An ordinary user's links to nothing end there; root's target is made, and the program is missing.
        let error = container.spawn().unwrap_err();
        let expected = [ErrorKind::ProgramNotFound, ErrorKind::NotFound];
        assert!(expected.contains(&error.kind()), "{error}");
    }
    assert_eq!(std::fs::read_dir(&secret).unwrap().count(), 0);
    assert!(!Path::new("/etc/deep").exists());
    let twice = true_with(|c| {
        c.volume(bind(&source, "/mnt/a"))
            .volume(bind(&source, "/mnt/a"));
    });
    refused(&twice, ErrorKind::Invalid, &["/mnt/a"]);
    let a_file_there = true_with(|c| _ = c.volume(bind(&source, "/etc/passwd")));
    refused(&a_file_there, ErrorKind::Invalid, &["/etc/passwd"]);
}

needs!(root => limits_that_cannot_be);
fn limits_that_cannot_be() {
    let check = |change: &dyn Fn(&mut Container), word: &str| {
        refused(&true_with(change), ErrorKind::Invalid, &[word]);
    };
    check(&|c| _ = c.memory(0), "memory");
    check(&|c| _ = c.pids(0), "pids");
    for cpus in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        check(&|c| _ = c.cpus(cpus), "cpu");
    }
    let at_once = true_with(|c| _ = c.memory(0).pids(0).cpus(0.0));
    refused(&at_once, ErrorKind::Invalid, &["memory", "pids", "cpu"]);
}

needs!(root => limits_beyond_the_machine);
fn limits_beyond_the_machine() {
    let check = |change: &dyn Fn(&mut Container), words: &[&str]| {
        refused(&true_with(change), ErrorKind::Invalid, words);
    };
    check(&|c| _ = c.memory(u64::MAX), &["memory", "Unlimited"]);
    check(&|c| _ = c.pids(u64::MAX), &["pids", "Unlimited"]);
    check(&|c| _ = c.memory(4096), &["4096", "nothing can be started"]);
}

needs!(user_namespaces => a_program_with_tiny_limits);
fn a_program_with_tiny_limits() {
    let limit = |text: &str| text.parse::<Rlimit>().unwrap();
    // The limit is the program's: what its start needs besides is no business of it.
    let mut none = true_with(|_| ());
    none.privileges().rlimit(limit("nofile=3"));
    refused(&none, ErrorKind::Other, &["nofile", "EBADF"]);
    let mut container = Container::new("sh");
    container.args(["-c", "ulimit -n; true | true || echo no"]);
    container.privileges().rlimit(limit("nofile=4"));
    let output = container.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("4\n"), "{said} {}", output.report);
}

needs!(user_namespaces => descriptors_that_cannot_be_passed);
fn descriptors_that_cannot_be_passed() {
    let null = || std::os::fd::OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let container = true_with(|c| _ = c.pass(2, null()));
    refused(&container, ErrorKind::Invalid, &["standard streams"]);
    let container = true_with(|c| _ = c.pass(-1, null()));
    refused(&container, ErrorKind::Invalid, &["-1", "standard streams"]);
    let container = true_with(|c| _ = c.pass(3, null()).pass(3, null()));
    refused(&container, ErrorKind::Invalid, &["3 is passed twice"]);
    let container = true_with(|c| _ = c.pass(i32::MAX, null()));
    refused(&container, ErrorKind::Invalid, &[]);
}

/// A user to whom `/etc/subuid` grants nothing.
fn nothing_granted() -> Result<(), String> {
    let name = std::process::Command::new("id")
        .arg("-un")
        .output()
        .map_err(|e| e.to_string())?;
    let name = String::from_utf8_lossy(&name.stdout).trim().to_string();
    let grants = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    match grants
        .lines()
        .any(|line| line.split(':').next() == Some(&name))
    {
        true => Err(format!("/etc/subuid grants ids to {name}")),
        false => Ok(()),
    }
}

needs!(ordinary_user, user_namespaces, nothing_granted => ids_that_were_not_granted);
fn ids_that_were_not_granted() {
    let error = IdMap::subordinate().unwrap_err();
    assert!(
        error.to_string().contains("usermod --add-subuids"),
        "{error}"
    );
    let map = IdMap::ranges(100_000, 10).unwrap();
    let container = true_with(|c| _ = c.id_map(map));
    let error = container.spawn().unwrap_err();
    assert!(error.to_string().contains("uid_map"), "{error}");
}

needs!(ordinary_user, user_namespaces => limits_without_delegation);
fn limits_without_delegation() {
    let container = true_with(|c| _ = c.memory(64 << 20));
    refused(&container, ErrorKind::Refused, &["delegate"]);
}

needs!(user_namespaces => a_full_root);
fn a_full_root() {
    let mut container = Container::new("sh");
    container
        .args(["-c", "head -c 1000000 /dev/zero > /tmp/file || exit 42"])
        .root(Root::host().size(64 << 10))
        .timeout(Duration::from_secs(20));
    let output = container.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.report.code(), 42, "{said}");
    assert!(said.contains("No space left"), "{said}");
}

needs!( => words_that_nobody_knows);
fn words_that_nobody_knows() {
    use ampoule::privileges::capabilities::Capability;
    let error = "CAP_SYS_ADMIM"
        .parse::<Capability>()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("CAP_SYS_ADMIM") && error.contains("SYS_ADMIN"),
        "{error}"
    );
    let error = "nofiles=3".parse::<Rlimit>().unwrap_err().to_string();
    assert!(error.contains("nofile"), "{error}");
    assert!(Volume::parse_volume("/a:/b:rx").is_err());
}
