//! `ampoule run`: starts a container and waits for it.

mod container;
mod environment;
mod relay;
mod report;
mod session;
mod signals;
mod values;

use crate::failure::{Failure, Result, say};
use ampoule::Report;
use ampoule::privileges::capabilities::CapabilitySet;
use ampoule::privileges::limits::Rlimit;
use relay::Relay;
use report::Format;
use session::Session;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use values::{Count, Map, Net, SecurityOption};

/// Run a program in a new container
///
/// ROOT is what the container sees as `/`: `host`, a read-only view of this machine's programs, or a directory with a whole
/// file system in it. Everything behind it is the program's own; without one it is a shell, with `-i` and, on a terminal, `-t`.
///
/// The exit code is the program's, 128 and the number of the signal that ended it, 124 after a timeout, 125 if the container
/// did not start, 126 if the program cannot be executed, and 127 if there is none.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    override_usage = "ampoule run [OPTIONS] ROOT [PROGRAM [ARGUMENT...]]"
)]
pub struct Run {
    /// `host` or a directory; then the program and its arguments
    #[arg(value_names = ["ROOT", "PROGRAM"], required = true, num_args = 1.., trailing_var_arg = true)]
    words: Vec<OsString>,

    /// Pass standard input on; without it the program reads nothing
    #[arg(short, long)]
    interactive: bool,
    /// Give the program a terminal of its own
    #[arg(short, long)]
    tty: bool,
    /// Set a variable, or pass on one of ours
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Set the variables that a file names, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// The working directory inside
    #[arg(short, long, value_name = "DIRECTORY")]
    workdir: Option<PathBuf>,
    /// Whom the program runs as, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The container's name; a new one each time without it
    #[arg(long)]
    name: Option<String>,
    /// The host name inside; the container's name without it
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// Kill everything inside after this time, such as 5s
    #[arg(long, value_name = "TIME", value_parser = values::duration, allow_negative_numbers = true)]
    timeout: Option<Duration>,
    /// Run a small process 1 that reaps orphans and passes signals on
    #[arg(long)]
    init: bool,

    /// Show a directory or file of this machine inside
    #[arg(short, long, value_name = "SOURCE:TARGET[:ro]", help_heading = "Files")]
    volume: Vec<String>,
    /// The same in the long form, or type=tmpfs
    #[arg(
        long,
        value_name = "type=bind,source=…,target=…",
        help_heading = "Files"
    )]
    mount: Vec<String>,
    /// An empty directory in memory
    #[arg(long, value_name = "TARGET[:size=64m]", help_heading = "Files")]
    tmpfs: Vec<String>,
    /// The root can only be read
    #[arg(long, help_heading = "Files")]
    read_only: bool,
    /// Show a device of this machine inside
    #[arg(long, value_name = "SOURCE[:TARGET]", help_heading = "Files")]
    device: Vec<String>,
    /// The size of /dev/shm; 64m without it
    #[arg(long, value_name = "BYTES", value_parser = values::bytes, help_heading = "Files")]
    shm_size: Option<u64>,

    /// The most memory, such as 64m; there is no swap beside it
    #[arg(short, long, value_name = "BYTES", value_parser = values::bytes, allow_negative_numbers = true, help_heading = "Limits")]
    memory: Option<u64>,
    /// The most memory and swap together; -1 for no limit on swap
    #[arg(long, value_name = "BYTES", value_parser = values::byte_count, requires = "memory", allow_negative_numbers = true, help_heading = "Limits")]
    memory_swap: Option<Count>,
    /// How many processors' time: 0.5 is half of one
    #[arg(
        long,
        value_name = "NUMBER",
        allow_negative_numbers = true,
        help_heading = "Limits"
    )]
    cpus: Option<f64>,
    /// Its share of the processors where they are busy; 1024 is usual
    #[arg(long, value_name = "SHARES", help_heading = "Limits")]
    cpu_shares: Option<u64>,
    /// Which processors, such as 0-2,7
    #[arg(long, value_name = "LIST", help_heading = "Limits")]
    cpuset_cpus: Option<String>,
    /// The most processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", value_parser = values::count, allow_negative_numbers = true, help_heading = "Limits")]
    pids_limit: Option<Count>,
    /// A limit of each process, such as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]", help_heading = "Limits")]
    ulimit: Vec<Rlimit>,
    /// How likely it is killed when memory runs out: -1000 to 1000
    #[arg(
        long,
        value_name = "NUMBER",
        allow_negative_numbers = true,
        help_heading = "Limits"
    )]
    oom_score_adj: Option<i32>,

    /// Add a capability, or ALL
    #[arg(long, value_name = "NAME", help_heading = "Privileges")]
    cap_add: Vec<CapabilitySet>,
    /// Drop a capability, or ALL
    #[arg(long, value_name = "NAME", help_heading = "Privileges")]
    cap_drop: Vec<CapabilitySet>,
    /// seccomp=unconfined, seccomp=FILE, no-new-privileges=false, apparmor=PROFILE, label=disable
    #[arg(long, value_name = "OPTION", value_parser = values::security, help_heading = "Privileges")]
    security_opt: Vec<SecurityOption>,
    /// A user namespace: host (none where it can be so), auto (from /etc/subuid), or INSIDE:OUTSIDE:COUNT
    #[arg(long, value_name = "MAP", value_parser = values::user_namespace, help_heading = "Privileges")]
    userns: Option<Map>,
    /// none (a loopback interface only) or host
    #[arg(long, alias = "net", value_name = "NETWORK", value_parser = values::network, default_value = "none", help_heading = "Privileges")]
    network: Net,
    /// Refused: it would be no container
    #[arg(long, hide = true)]
    privileged: bool,

    /// Print every step that would start it, and run nothing
    #[arg(long, help_heading = "Insight")]
    explain: bool,
    /// Print on standard error why it ended and what it used; =json for programs
    #[arg(long, value_name = "FORMAT", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "human", help_heading = "Insight")]
    report: Option<Format>,
    /// Accepted because it is always so: nothing stays of a container
    #[arg(long, hide = true)]
    rm: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

impl Run {
    /// Starts it, and waits until it has ended.
    pub fn run(self) -> Result<ExitCode> {
        let container = self.container()?;
        if self.explain {
            say(container.plan()?.to_string().trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        let relay = self.terminal().then(|| Relay::new(self.interactive()));
        let ended = Session::prepare(relay.transpose()?, self.timeout)
            .and_then(|session| session.play(&container));
        if let Some(format) = self.report {
            return format.print(ended);
        }
        Ok(code(&ended?))
    }
}

/// What the shell gets to know.
fn code(report: &Report) -> ExitCode {
    ExitCode::from(u8::try_from(report.code()).unwrap_or(Failure::OURS))
}
