//! *How do I run programs of strangers, and say why each of them failed?*
//!
//! A judge for programming contests: it compiles submissions in a container and runs each in another one, with limits of
//! memory, time, output and processes and a filter of its own. The verdict is a value: the library says *why* a program ended.
//!
//! **Run it**: `cargo run --example embed_judge` (needs a C compiler; limits need root or a delegated cgroup)

#![allow(clippy::print_stdout, reason = "an example talks")]

mod stage;

use ampoule::cgroups::Error as Cgroup;
use ampoule::privileges::capabilities::CapabilitySet;
use ampoule::privileges::seccomp::{Action, Filter, Host, Rule, Template};
use ampoule::{Bind, Container, Ending, Error, Report, Seccomp, Stdio, Volume};
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What comes of a submission.
#[derive(Debug, Clone, PartialEq)]
enum Verdict {
    Accepted,
    WrongAnswer,
    CompileError,
    TimeLimit,
    MemoryLimit,
    OutputLimit,
    ForbiddenCall,
    RuntimeError(String),
}

/// The most that a submission may print, in bytes.
const OUTPUT: u64 = 64 << 10;

/// Each is the body of a `main` that should add two numbers.
const SUBMISSIONS: [(&str, Verdict); 8] = [
    (
        r#"int a, b; scanf("%d %d", &a, &b); printf("%d\n", a + b);"#,
        Verdict::Accepted,
    ),
    (r#"puts("42");"#, Verdict::WrongAnswer),
    ("int a b;", Verdict::CompileError),
    ("for (;;);", Verdict::TimeLimit),
    (
        "for (;;) memset(malloc(1 << 20), 1, 1 << 20);",
        Verdict::MemoryLimit,
    ),
    (r#"for (;;) puts("spam");"#, Verdict::OutputLimit),
    ("socket(AF_INET, SOCK_STREAM, 0);", Verdict::ForbiddenCall),
    (
        "*(volatile int *)0 = 0;",
        Verdict::RuntimeError(String::new()),
    ),
];

#[tokio::main]
async fn main() -> ExitCode {
    let result = judge_all().await;
    stage::play(|_| result)
}

async fn judge_all() -> anyhow::Result<()> {
    if std::process::Command::new("cc")
        .arg("--version")
        .output()
        .is_err()
    {
        return Err(stage::missing("cc", "there is no C compiler"));
    }
    let filter = filter()?;
    for (body, expected) in SUBMISSIONS {
        let place = tempfile::tempdir()?;
        let verdict = match compile(place.path(), body).await? {
            true => run(place.path(), &filter).await?,
            false => Verdict::CompileError,
        };
        println!("{body:60} {verdict:?}");
        match (&verdict, expected) {
            (Verdict::RuntimeError(why), Verdict::RuntimeError(_)) => assert!(why.contains("SEGV")),
            (_, expected) => assert_eq!(verdict, expected),
        }
    }
    Ok(())
}

/// Docker's profile, with some calls that end a program for good: the first rule decides.
fn filter() -> anyhow::Result<Filter> {
    let mut profile = Template::docker().resolve(&Host::here(CapabilitySet::EMPTY)?);
    let forbidden = ["socket", "ptrace", "fork", "vfork"];
    profile
        .rules
        .insert(0, Rule::new(Action::KillProcess, forbidden));
    Ok(profile.compile()?)
}

/// A compiler is a program that a stranger feeds: it gets a container, too.
async fn compile(place: &Path, body: &str) -> anyhow::Result<bool> {
    let headers =
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <sys/socket.h>\n";
    fs::write(
        place.join("main.c"),
        format!("{headers}int main() {{ {body} }}"),
    )?;
    let mut cc = Container::new("cc");
    cc.args(["-o", "main", "main.c"])
        .current_dir("/job")
        .timeout(Duration::from_secs(60));
    cc.volume(Volume::bind(Bind::new(place), "/job"));
    Ok(cc.output_async().await?.report.success())
}

async fn run(place: &Path, filter: &Filter) -> anyhow::Result<Verdict> {
    let mut container = Container::new("/job/main");
    container
        .volume(Volume::bind(
            Bind {
                read_only: true,
                ..Bind::new(place)
            },
            "/job",
        ))
        .read_only(true)
        .capabilities(CapabilitySet::EMPTY)
        .seccomp(Seccomp::Filter(filter.clone()))
        .memory(64 << 20)
        .pids(4)
        .timeout(Duration::from_secs(2))
        .stdin(Stdio::Piped)
        .stdout(Stdio::Piped)
        .stderr(Stdio::Null);
    let mut child = match container.spawn_async().await {
        Err(Error::Cgroup(error @ Cgroup::NotDelegated { .. })) => {
            return Err(stage::missing("delegated_cgroup", error.to_string()));
        }
        child => child?,
    };
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    // A program need not read its input.
    let _ = stdin.write_all(b"17 4\n").await;
    drop(stdin);
    let mut answer = Vec::new();
    stdout.take(OUTPUT + 1).read_to_end(&mut answer).await?;
    if answer.len() as u64 > OUTPUT {
        child.kill().await?;
        return Ok(Verdict::OutputLimit);
    }
    Ok(verdict(&child.wait().await?, &answer))
}

fn verdict(report: &Report, answer: &[u8]) -> Verdict {
    match report.ending {
        Ending::Exited(0) if answer == b"21\n" => Verdict::Accepted,
        Ending::Exited(0) => Verdict::WrongAnswer,
        Ending::TimedOut => Verdict::TimeLimit,
        Ending::OutOfMemory => Verdict::MemoryLimit,
        Ending::Filtered => Verdict::ForbiddenCall,
        other => Verdict::RuntimeError(other.to_string()),
    }
}
