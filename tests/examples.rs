//! Every example of the curriculum runs, as root and as an ordinary user, and what it claims holds.
//!
//! The examples are built by `cargo test`, unless it is told what to test, and by `cargo build --examples`. One that ends with exit code 77 says what is missing
//! and counts as skipped, unless `AMPOULE_EXPECT` states that the machine has it.

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};

/// Nobody's number: any that is not root would do.
const USER: u32 = 65534;

/// Seconds that an example may take; one boots a virtual machine by emulation.
const DEADLINE: i64 = 300;

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Root,
    User,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Some measure time, so that each has the machine to itself.
    arguments.test_threads.get_or_insert(1);
    let trials = names().into_iter().flat_map(|name| {
        [(Who::Root, "root"), (Who::User, "user")].map(|(who, label)| {
            let name = name.clone();
            Trial::ignorable_test(format!("{label}::{name}"), move || run(&name, who))
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// The examples' names, in the order in which they are learned.
fn names() -> Vec<String> {
    let files = fs::read_dir(folder()).expect("the examples' folder");
    let mut names: Vec<String> = files
        .map(|file| file.expect("an entry of the examples' folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_string()))
        .collect();
    names.sort();
    names
}

fn run(name: &str, who: Who) -> Result<Completion, Failed> {
    let privileged = rustix::process::geteuid().is_root();
    if who == Who::Root && !privileged {
        return skipped("needs root: the tests run as an ordinary user");
    }
    let place = tempfile::tempdir()?;
    let scratch = place.path().join("scratch");
    fs::create_dir(&scratch)?;
    // An example that root runs may become somebody else.
    fs::set_permissions(place.path(), Permissions::from_mode(0o755))?;
    fs::set_permissions(&scratch, Permissions::from_mode(0o1777))?;
    let mut command = Command::new(executable(name)?);
    if who == Who::User && privileged {
        // The folder that it was built in need not be open to others.
        let copy = place.path().join(name);
        fs::copy(executable(name)?, &copy)?;
        command = Command::new(copy);
        command.uid(USER).gid(USER).current_dir("/");
    }
    let log = place.path().join("log");
    let said = File::create(&log)?;
    command
        .env("TMPDIR", &scratch)
        .stdin(std::process::Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said);
    let status = within_deadline(command.spawn()?)?;
    let log = fs::read_to_string(log)?;
    let left = fs::read_dir(&scratch)?.count();
    match status.code() {
        Some(0 | 77) if left > 0 => Err(format!("it left {left} files behind\n{log}").into()),
        Some(0) => Ok(Completion::Completed),
        Some(77) => skipped(log.lines().last().unwrap_or_default()),
        _ => Err(format!("{status}\n{log}").into()),
    }
}

/// Beside this test's folder; the path has the profile in it, and a target that was asked for.
fn executable(name: &str) -> Result<PathBuf, Failed> {
    let test = std::env::current_exe()?;
    let built = test
        .parent()
        .and_then(Path::parent)
        .ok_or("no folder of built files")?;
    let executable = built.join("examples").join(name);
    let source = folder().join(name).with_extension("rs");
    let modified = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    match (modified(&executable), modified(&source)) {
        (Ok(built), Ok(written)) if built >= written => Ok(executable),
        _ => Err(format!("{executable:?} is missing or old: cargo build --examples").into()),
    }
}

/// A skip, or a failure if the machine should have had what is missing.
fn skipped(line: &str) -> Result<Completion, Failed> {
    let reason = line.strip_prefix("skipped, ").unwrap_or(line);
    let need = reason
        .strip_prefix("needs ")
        .and_then(|rest| rest.split(':').next());
    let need = need.ok_or_else(|| format!("exit code 77, but no reason: {line:?}"))?;
    let expected = std::env::var("AMPOULE_EXPECT").unwrap_or_default();
    match expected.split(',').any(|name| name == need) {
        true => Err(format!("AMPOULE_EXPECT states {need}, but the example says: {reason}").into()),
        false => Ok(Completion::ignored_with(reason)),
    }
}

fn within_deadline(mut child: Child) -> Result<ExitStatus, Failed> {
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let deadline = Timespec {
        tv_sec: DEADLINE,
        tv_nsec: 0,
    };
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&deadline))?;
    if ended == 0 {
        child.kill()?;
        child.wait()?;
        return Err(format!("it took more than {DEADLINE} seconds").into());
    }
    Ok(child.wait()?)
}
