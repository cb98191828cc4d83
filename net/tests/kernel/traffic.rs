//! Real traffic inside of the tests' namespaces.

use ampoule_net::Namespace;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

/// Whether an echo of so many bytes comes back within three seconds; it is asked for each second, for a busy machine may lose one.
pub fn ping(from: &Namespace, to: IpAddr, bytes: usize) -> bool {
    let status = from.run(|| {
        let mut ping = Command::new("ping");
        ping.args([
            "-q",
            "-n",
            "-c1",
            "-w3",
            "-s",
            &bytes.to_string(),
            &to.to_string(),
        ]);
        ping.stdout(std::process::Stdio::null()).status()
    });
    status.unwrap().expect("ping is installed").success()
}

/// What a program prints inside of a namespace.
pub fn output(namespace: &Namespace, program: &str, arguments: &[&str]) -> String {
    let output = namespace
        .run(|| Command::new(program).args(arguments).output())
        .unwrap()
        .unwrap();
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The names of a namespace's interfaces.
pub fn interfaces(namespace: &Namespace) -> Vec<String> {
    let table = namespace
        .run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))
        .unwrap()
        .unwrap();
    let names = table.lines().filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_string()).collect()
}

/// Whether a TCP connection is made within a second.
pub fn can_connect(from: &Namespace, to: &str) -> bool {
    let to: SocketAddr = to.parse().unwrap();
    from.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(1)))
        .unwrap()
        .is_ok()
}

/// Sends a text by TCP to a server that sends it back.
pub fn echo(from: &Namespace, to: &Namespace, address: IpAddr, text: &[u8]) -> Vec<u8> {
    let server = to.run(|| TcpListener::bind((address, 0))).unwrap().unwrap();
    let target = server.local_addr().unwrap();
    let serve = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        stream.write_all(&heard).unwrap();
    });
    let mut client = from
        .run(|| TcpStream::connect_timeout(&target, Duration::from_secs(5)))
        .unwrap()
        .unwrap();
    client.write_all(text).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    serve.join().unwrap();
    back
}

/// Waits until the kernel has joined the group in which an IPv6 address is asked for; it does so in the background.
pub fn wait_until_asked_for(namespace: &Namespace, address: IpAddr) {
    let IpAddr::V6(v6) = address else { return };
    let [.., a, b, c] = v6.octets();
    let group = format!("ff0200000000000000000001ff{a:02x}{b:02x}{c:02x}");
    for _ in 0..1000 {
        let groups = namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/igmp6"));
        if groups.unwrap().unwrap().contains(&group) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{address} never joined {group}");
}
