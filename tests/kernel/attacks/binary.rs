//! CVE-2019-5736: the runtime's own binary, reached through `/proc/self/exe` and overwritten.

use super::{python, python3, ready};
use crate::elsewhere::{Scratch, case, variable};
use ampoule::{Bind, Container, Volume};
use needs::needs;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::Duration;

case!(tell_that_the_host_runs);
fn tell_that_the_host_runs() {
    println!("the host's binary runs");
}

/// A program whose interpreter is whatever executes it.
fn trap(scratch: &Scratch) -> Volume {
    let tools = scratch.dir("tools");
    scratch.program("tools/trap", "#!/proc/self/exe\n");
    Volume::bind(Bind::new(tools), "/tools")
}

needs!(user_namespaces => an_interpreter_that_is_the_host);
fn an_interpreter_that_is_the_host() {
    let scratch = Scratch::new();
    let volume = trap(&scratch);
    let (name, value) = variable("tell_that_the_host_runs");
    // Without protection the host's binary becomes the program, with the host's file behind /proc/self/exe.
    let unprotected = Command::new(scratch.path().join("tools/trap"))
        .env(name, value)
        .output()
        .unwrap();
    assert_eq!(unprotected.stdout, b"the host's binary runs\n");
    for init in [false, true] {
        let mut container = Container::new("/tools/trap");
        container.volume(volume.clone()).env(name, value).init(init);
        container.timeout(Duration::from_secs(20));
        let output = container.output().unwrap();
        assert!(!output.report.success());
        assert_eq!(output.stdout, b"", "{}", output.report);
    }
    let child = Container::new("sleep")
        .arg("60")
        .volume(volume)
        .spawn()
        .unwrap();
    let output = child.exec("/tools/trap").env(name, value).output().unwrap();
    assert!(!output.report.success());
    assert_eq!(output.stdout, b"", "{}", output.report);
}

/// Watches for processes that come, keeps what their `/proc/PID/exe` leads to, tries to write there once they are gone, and
/// keeps it open for writing.
const WATCH: &str = r#"
seen, kept, own = set(), [], os.getpid()
def overwrite(path):
    file = os.open(path, os.O_WRONLY)
    # A sealed file opens; that it can be written to is what must not be.
    return os.pwrite(file, b"x", 0) if "memfd" in os.readlink(path) else "opened"
print("ready", flush=True)
end = time.time() + 3
while time.time() < end:
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) == own: continue
        try:
            exe = f"/proc/{pid}/exe"
            name = os.readlink(exe)
            if name in seen and len(kept) > 20: continue
            kept.append(os.open(exe, os.O_RDONLY))
            seen.add(name)
        except OSError: pass
for fd in kept:
    for _ in range(100):
        outcome = attempt(overwrite, f"/proc/self/fd/{fd}")
        if outcome != "ETXTBSY": break
        time.sleep(0.01)
    attempt(os.fchmod, fd, 0)
    print(os.readlink(f"/proc/self/fd/{fd}"), outcome)
print("end", flush=True)
time.sleep(20)
"#;

needs!(user_namespaces, python3 => the_binary_behind_a_joining_program);
fn the_binary_behind_a_joining_program() {
    let scratch = Scratch::new();
    let mut watcher = python(WATCH);
    let mut child = ready(watcher.volume(trap(&scratch)));
    for _ in 0..40 {
        let status = child.exec("/tools/trap").status().unwrap();
        assert!(!status.success());
        assert!(child.exec("true").status().unwrap().success());
    }
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines
        .map(Result::unwrap)
        .take_while(|line| line != "end")
        .collect();
    for line in &lines {
        let ours = line.contains("memfd:ampoule-init") || line.starts_with("/usr/bin/");
        assert!(ours, "{line}");
        // Sealed, or read-only, or nobody's to write.
        let refused = ["EPERM", "EROFS", "EACCES", "ETXTBSY"];
        assert!(refused.iter().any(|errno| line.ends_with(errno)), "{line}");
    }
    // What it keeps open for writing cannot be executed meanwhile: that must be nobody else's.
    assert!(Container::new("true").status().unwrap().success());
    assert!(child.exec("true").status().unwrap().success());
}
