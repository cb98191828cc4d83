//! What is near, and not for the inside: the host's processes, sockets and environment; and as many processes as it likes.

use super::{python, python3, said, sh};
use ampoule::{Ending, Network};
use needs::needs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

needs!(user_namespaces, python3 => abstract_sockets_belong_to_the_network);
fn abstract_sockets_belong_to_the_network() {
    let name = format!("ampoule-attack-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let script = r#"
s = socket.socket(socket.AF_UNIX)
print(attempt(s.connect, "\0" + os.environ["NAME"]))
"#;
    let mut container = python(script);
    container.env("NAME", &name);
    // Shared with the host's network, as documented; and the only way there.
    assert_eq!(said(container.network(Network::host())), "None\n");
    assert_eq!(said(container.network(Network::none())), "ECONNREFUSED\n");
    drop(listener);
}

needs!(user_namespaces, python3 => processes_of_the_host_get_no_signals);
fn processes_of_the_host_get_no_signals() {
    let victim = std::process::Command::new("sleep").arg("60").spawn();
    let mut victim = victim.unwrap();
    let script = format!(
        "import signal\nprint(attempt(os.kill, {}, 9), attempt(os.kill, -1, 9), attempt(os.kill, 0, 0))",
        victim.id()
    );
    assert_eq!(said(&python(&script)), "ESRCH ESRCH None\n");
    assert!(victim.try_wait().unwrap().is_none());
    victim.kill().unwrap();
    victim.wait().unwrap();
}

needs!(user_namespaces => the_environment_of_the_host_stays_there);
fn the_environment_of_the_host_stays_there() {
    let script = "tr '\\0' '\\n' < /proc/1/environ | cut -d= -f1 | sort | tr '\\n' ' '; env | cut -d= -f1 | sort | tr '\\n' ' '";
    assert!(std::env::vars().count() > 2, "there is something to leak");
    assert_eq!(said(&sh(script)), "HOME PATH HOME PATH PWD ");
}

needs!(root, cgroup_v1, python3 => a_fork_bomb_is_bounded);
fn a_fork_bomb_is_bounded() {
    let script = r#"
count = 0
while True:
    try: pid = os.fork()
    except OSError: break
    if pid == 0:
        time.sleep(60); os._exit(0)
    count += 1
print(count, "refused")
"#;
    let mut container = python(script);
    let output = container.pids(20).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "19 refused\n");
    assert_eq!(output.report.ending, Ending::Exited(0), "{}", output.report);
    assert!(
        output.report.peak_pids.is_some_and(|peak| peak <= 20),
        "{}",
        output.report
    );
}
