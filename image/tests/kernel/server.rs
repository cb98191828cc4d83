//! A real registry on loopback, and a proxy in front of it that fails as networks do.

use crate::scratch::{Scratch, run, text};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// `htpasswd -nbB user secret`, with the cheapest rounds.
const HTPASSWD: &str = "user:$2y$05$ZZ0LYRf508azr0fV7Qssbepfiz0sRGkNLe7adp1n79UCk4pVNCqh6\n";

/// Debian's `docker-registry`; ends when it is dropped.
pub struct Server {
    process: Child,
    pub address: String,
    pub certificate: PathBuf,
}

pub fn registry() -> Result<(), String> {
    needs::program("docker-registry")
}

pub fn openssl() -> Result<(), String> {
    needs::program("openssl")
}

/// What the registry is asked to do.
#[derive(Default, Clone, Copy)]
pub struct Config {
    pub auth: bool,
    pub tls: bool,
}

impl Server {
    pub fn start(scratch: &Scratch, config: Config) -> Self {
        // The port is free now; that it stays so until the registry binds it is likely, and seen otherwise.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("127.0.0.1:{port}");
        let (file, data) = (scratch.path("registry.yml"), scratch.path("registry-data"));
        let certificate = scratch.path("certificate.pem");
        let mut yaml = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp:\n  addr: {address}\n",
            text(&data)
        );
        if config.tls {
            let key = scratch.path("key.pem");
            let subject = [
                "-subj",
                "/CN=registry",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                // What signs itself would be an authority, which is refused as a server.
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ];
            let mut arguments = vec![
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ];
            arguments.extend(["-keyout", text(&key), "-out", text(&certificate)]);
            arguments.extend(subject);
            run("openssl", &arguments);
            yaml += &format!(
                "  tls: {{certificate: {}, key: {}}}\n",
                text(&certificate),
                text(&key)
            );
        }
        if config.auth {
            let passwords = scratch.path("htpasswd");
            std::fs::write(&passwords, HTPASSWD).unwrap();
            yaml += &format!(
                "auth:\n  htpasswd: {{realm: test, path: {}}}\n",
                text(&passwords)
            );
        }
        std::fs::write(&file, yaml).unwrap();
        let mut command = Command::new("docker-registry");
        command
            .args(["serve", text(&file)])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let server = Self {
            process,
            address,
            certificate,
        };
        server.wait_until_it_answers();
        server
    }

    fn wait_until_it_answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&self.address).is_err() {
            assert!(Instant::now() < deadline, "docker-registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn name(&self, repository: &str) -> ampoule_image::Reference {
        format!("{}/{repository}", self.address).parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a proxy does to the connections that pass it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Ends each connection once this many bytes of an answer have passed.
    Cut(usize),
    /// Says nothing more after this many bytes, and keeps the connection open.
    Stall(usize),
    /// Answers the first so many requests with this status.
    Status(u16, usize),
    /// Flips a bit after this many bytes of an answer.
    Flip(usize),
}

/// Between a client and a registry; ends when it is dropped.
pub struct Proxy {
    pub address: String,
    pub connections: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(upstream: &str, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (connections, stopped) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (upstream, count, stop) = (upstream.to_string(), connections.clone(), stopped.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let number = count.fetch_add(1, Ordering::Relaxed);
                let upstream = upstream.clone();
                std::thread::spawn(move || drop(pass(client, &upstream, fault, number)));
            }
        });
        Self {
            address,
            connections,
            stopped,
        }
    }

    pub fn name(&self, repository: &str) -> ampoule_image::Reference {
        format!("{}/{repository}", self.address).parse().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the listener, so that it sees that it is to end.
        let _ = TcpStream::connect(&self.address);
    }
}

fn pass(mut client: TcpStream, upstream: &str, fault: Fault, number: usize) -> std::io::Result<()> {
    if let Fault::Status(status, times) = fault
        && number < times
    {
        // A request without a body ends with an empty line.
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && client.read(&mut byte)? == 1 {
            request.push(byte[0]);
        }
        let answer = format!(
            "HTTP/1.1 {status} Fault\r\ncontent-length: 0\r\nretry-after: 0\r\nconnection: close\r\n\r\n"
        );
        return client.write_all(answer.as_bytes());
    }
    let mut server = TcpStream::connect(upstream)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut passed, mut buffer) = (0, [0; 16 << 10]);
    loop {
        let count = server.read(&mut buffer)?;
        if count == 0 {
            return client.shutdown(Shutdown::Both);
        }
        let end = passed + count;
        match fault {
            Fault::Cut(limit) if end > limit => {
                client.write_all(&buffer[..limit.saturating_sub(passed)])?;
                return client.shutdown(Shutdown::Both);
            }
            Fault::Stall(limit) if end > limit => {
                client.write_all(&buffer[..limit.saturating_sub(passed)])?;
                std::thread::sleep(Duration::from_secs(20));
                return client.shutdown(Shutdown::Both);
            }
            Fault::Flip(limit) if end > limit && passed <= limit => buffer[limit - passed] ^= 1,
            _ => {}
        }
        client.write_all(&buffer[..count])?;
        passed = end;
    }
}
