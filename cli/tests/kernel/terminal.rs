//! `-t`: a terminal of the test's own is ours, and the container gets another.

use crate::command::{ampoule, fails};
use needs::needs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::{Duration, Instant};

/// A terminal in front of which the command sits.
struct Terminal {
    master: OwnedFd,
    slave: File,
    seen: String,
}

impl Terminal {
    fn new(columns: u16, rows: u16) -> Terminal {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(
            &*name,
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        );
        let terminal = Terminal {
            master,
            slave: File::from(slave.unwrap()),
            seen: String::new(),
        };
        terminal.resize(columns, rows);
        terminal
    }

    fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize {
            ws_col: columns,
            ws_row: rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.master, size).unwrap();
    }

    fn run(&self, args: &[&str]) -> Child {
        let slave = || self.slave.try_clone().unwrap();
        ampoule(args)
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap()
    }

    fn type_in(&self, keys: &str) {
        rustix::io::write(&self.master, keys.as_bytes()).unwrap();
    }

    /// Reads until these words appear.
    #[track_caller]
    fn expect(&mut self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.seen.contains(words) {
            assert!(Instant::now() < deadline, "no {words:?} in {:?}", self.seen);
            let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
            let wait = Timespec {
                tv_sec: 0,
                tv_nsec: 50_000_000,
            };
            if poll(&mut fds, Some(&wait)).unwrap() > 0 {
                let mut text = [0; 4096];
                let count = rustix::io::read(&self.master, &mut text).unwrap();
                self.seen.push_str(&String::from_utf8_lossy(&text[..count]));
            }
        }
        let at = self.seen.find(words).unwrap() + words.len();
        self.seen.drain(..at);
    }

    /// Whether keys are shown and lines are edited, as a shell leaves a terminal.
    fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.slave).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }
}

needs!(user_namespaces => a_shell_on_a_terminal);
fn a_shell_on_a_terminal() {
    let mut terminal = Terminal::new(99, 33);
    assert!(terminal.is_cooked());
    let mut child = terminal.run(&["run", "-it", "host", "sh"]);
    terminal.type_in("tty; stty size; echo $TERM; echo prompt-$((40+2))\r");
    // The container of an ordinary user cannot have a name for a terminal of the machine's.
    let name = match needs::root() {
        Ok(()) => "/dev/pts/",
        Err(_) => "not a tty",
    };
    terminal.expect(name);
    terminal.expect("33 99");
    terminal.expect("xterm");
    terminal.expect("prompt-42");
    assert!(
        !terminal.is_cooked(),
        "keys must reach the container one by one"
    );
    // Ctrl-C is a key like any other here: it ends what runs inside, and not the shell.
    terminal.type_in("sleep 60\r");
    std::thread::sleep(Duration::from_millis(300));
    terminal.type_in("\x03");
    terminal.type_in("echo alive-$((1+1))\r");
    terminal.expect("alive-2");
    terminal.type_in("exit 5\r");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert!(terminal.is_cooked(), "the terminal is as it was");
}

needs!(user_namespaces => no_program_means_a_shell);
fn no_program_means_a_shell() {
    let mut terminal = Terminal::new(80, 24);
    let mut child = terminal.run(&["run", "host"]);
    terminal.type_in("echo shell-$((1+1)); exit\r");
    terminal.expect("shell-2");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

needs!(user_namespaces => a_new_size_is_passed_on);
fn a_new_size_is_passed_on() {
    let mut terminal = Terminal::new(80, 24);
    let script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut child = terminal.run(&["run", "-it", "host", "sh", "-c", script]);
    terminal.expect("ready");
    terminal.resize(120, 50);
    // The kernel tells a terminal's own session; this command is not of it, so the test tells it.
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::WINCH).unwrap();
    terminal.expect("50 120");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

needs!(user_namespaces => the_terminal_is_restored_when_a_start_fails_or_time_is_over);
fn the_terminal_is_restored_when_a_start_fails_or_time_is_over() {
    let mut terminal = Terminal::new(80, 24);
    let mut child = terminal.run(&["run", "-it", "host", "nosuch"]);
    terminal.expect("not in the container's root tree");
    assert_eq!(child.wait().unwrap().code(), Some(127));
    assert!(terminal.is_cooked());
    let mut child = terminal.run(&["run", "-it", "--timeout", "300ms", "host", "sleep", "60"]);
    assert_eq!(child.wait().unwrap().code(), Some(124));
    assert!(terminal.is_cooked());
}

needs!(user_namespaces => much_output_comes_through_whole);
fn much_output_comes_through_whole() {
    let output = ampoule(&["run", "-t", "host", "sh", "-c", "seq 1 50000"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 50_000);
    assert!(text.ends_with("50000\r\n"));
}

needs!(=> keys_need_a_terminal);
fn keys_need_a_terminal() {
    fails(
        &["run", "-it", "host", "sh"],
        125,
        &["standard input is no terminal"],
    );
}
