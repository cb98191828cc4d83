//! *What is a process, and how does a program begin?*
//!
//! **The kernel's idea.** Two calls: fork(2) (today clone3) makes a copy of the process, execve(2) replaces the program that
//! a process runs. What is not replaced is inherited: environment, working directory, user, open files, namespaces. Nothing
//! of that is isolation: a container is what is changed *between* the two calls.
//!
//! **Run it**: `cargo run --example 01_fork_and_exec`
//!
//! **Check it yourself**: `sh -c 'echo $$; exec sh -c "echo \$\$"'`, `ls -l /proc/self/ns /proc/self/fd`
//!
//! **Try to escape**: there is nothing to escape from. See what a child finds lying around: a secret in a file that was left
//! open for it.

#![allow(clippy::print_stdout, reason = "an example talks")]

mod stage;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use stage::output;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    stage::play(|_| {
        exec_keeps_the_process()?;
        fork_shares_everything()?;
        open_files_are_inherited()
    })
}

/// The program changes, the process stays.
fn exec_keeps_the_process() -> anyhow::Result<()> {
    let script = "echo $$; exec sh -c 'echo $$'";
    let text = output(Command::new("sh").args(["-c", script]))?;
    let pids: Vec<&str> = text.lines().collect();
    println!("before and after execve, the process is {pids:?}");
    assert_eq!(pids[0], pids[1]);
    assert_ne!(pids[0], std::process::id().to_string());
    Ok(())
}

/// `std::process::Command` is fork and exec. The child is a new process in the same world.
fn fork_shares_everything() -> anyhow::Result<()> {
    for kind in ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"] {
        let link = format!("/proc/self/ns/{kind}");
        let ours = std::fs::read_link(&link)?;
        let childs = output(Command::new("readlink").arg(&link))?;
        println!(
            "{kind:>7} namespace: ours {}, the child's {childs}",
            ours.display()
        );
        assert_eq!(ours.as_os_str(), &*childs);
    }
    Ok(())
}

/// Broken: a file that stays open over execve. Fixed: close-on-exec, which Rust sets on every file that it opens.
fn open_files_are_inherited() -> anyhow::Result<()> {
    // Made by a library in C, say: it has never heard of close-on-exec.
    let secret = memfd_create("secret", MemfdFlags::empty())?;
    File::from(secret.try_clone()?).write_all(b"the password is swordfish")?;

    println!("left open, the child finds {:?}", look(secret.as_fd()));
    assert_eq!(
        look(secret.as_fd()).as_deref(),
        Some("the password is swordfish")
    );

    fcntl_setfd(&secret, FdFlags::CLOEXEC)?;
    println!("closed on exec, it finds {:?}", look(secret.as_fd()));
    assert_eq!(look(secret.as_fd()), None);
    println!(
        "a container's child closes all but what it is handed: one forgotten file is a way out"
    );
    Ok(())
}

/// What a child reads from the file descriptor of this number.
fn look(fd: BorrowedFd<'_>) -> Option<String> {
    let file = format!("/proc/self/fd/{}", fd.as_raw_fd());
    output(Command::new("cat").arg(file)).ok()
}
