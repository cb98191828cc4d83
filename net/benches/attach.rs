//! What attaching and detaching cost, and how that grows with the network. Root; all of it in namespaces of its own.
//!
//! Not criterion: each sample changes the kernel's state for the next one, so the sizes are interleaved by hand.

#![allow(
    clippy::print_stdout,
    reason = "a bench reports to the person who runs it"
)]

use ampoule_net::{Bridge, Chain, ConfList, Driver, Endpoint, Namespace, Network, Pool, Subnet};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SAMPLES: usize = 200;

fn main() {
    let directory =
        std::path::PathBuf::from(format!("/run/ampoule-net-bench-{}", std::process::id()));
    let network = |name: &str| -> Network {
        let mut bridge = Bridge::new(name);
        bridge
            .directory(&directory)
            .subnet(Subnet::new("10.5.0.0/16".parse().unwrap()));
        bridge.create().unwrap()
    };
    let (empty, full) = (network("empty"), network("full"));
    let crowd: Vec<_> = (0..1000).map(|_| attach(&full).1).collect();

    let ready = Arc::new(network("ready"));
    let members = ready.pool(1).unwrap();
    let namespaces = Pool::namespaces(1).unwrap();
    let plugin = Plugin::new(&directory);
    let netavark = Netavark::new(&directory);

    let mut table: Vec<(&str, Vec<Duration>)> = Vec::new();
    let mut add = |name, duration| match table.iter_mut().find(|(known, _)| *known == name) {
        Some((_, samples)) => samples.push(duration),
        None => table.push((name, vec![duration])),
    };
    for sample in 0..SAMPLES {
        let (duration, member) = attach(&empty);
        add("attach inline, alone", duration);
        add("detach, as its caller sees it", time(|| drop(member.1)));
        let (duration, member) = attach(&full);
        add("attach inline, beside 1,000", duration);
        drop(member);
        add("make a namespace", time(|| Namespace::create().unwrap()));
        namespaces.wait_full(Duration::from_secs(5));
        add(
            "take a namespace from the pool",
            time(|| namespaces.take().unwrap()),
        );
        members.wait_full(Duration::from_secs(5));
        let mut member = None;
        add(
            "take an attached member from the pool",
            time(|| member = Some(members.take().unwrap())),
        );
        if let Some(mut member) = member {
            let mut endpoint = Endpoint::new("bench");
            endpoint.name("bench");
            add(
                "give it a name",
                time(|| ready.assign(&mut member.attachment, &endpoint).unwrap()),
            );
        }
        // The peers take their time, and are sampled less often.
        if sample % 5 == 0 {
            if let Some(plugin) = &plugin {
                add("CNI bridge plugin, ADD", plugin.add());
            }
            if let Some(netavark) = &netavark {
                add("netavark setup", netavark.setup());
            }
        }
        // Teardown is asynchronous and holds the lock that the next attachment needs.
        std::thread::sleep(Duration::from_millis(30));
    }
    drop(crowd);
    for (name, samples) in &mut table {
        samples.sort();
        let at = |q: f64| samples[(samples.len() as f64 * q) as usize].as_secs_f64() * 1e6;
        println!(
            "{name:38} min {:9.1}  median {:9.1}  p90 {:9.1} µs",
            at(0.0),
            at(0.5),
            at(0.9)
        );
    }
    drop((empty, full));
    let _ = std::fs::remove_dir_all(&directory);
}

/// What the work takes, without what becomes of its result.
fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    drop(result);
    took
}

/// Debian's bridge plugin, on a host of its own.
struct Plugin(Chain);

impl Plugin {
    fn new(directory: &Path) -> Option<Plugin> {
        let list = serde_json::json!({ "cniVersion": "1.0.0", "name": "peer", "plugins": [
            { "type": "bridge", "bridge": "cni0", "isGateway": true,
              "ipam": { "type": "host-local", "dataDir": directory.join("cni"), "ranges": [[{ "subnet": "10.88.0.0/16" }]] } },
        ] });
        let mut chain = Chain::new(ConfList::parse(&list.to_string()).unwrap());
        chain.host(Arc::new(Namespace::create().unwrap()));
        Path::new("/usr/lib/cni/bridge")
            .exists()
            .then_some(Plugin(chain))
    }

    fn add(&self) -> Duration {
        let namespace = Namespace::create().unwrap();
        let mut joined = None;
        let took = time(|| joined = Some(self.0.add("bench", &namespace, "eth0").unwrap()));
        if let Some(joined) = joined {
            joined.del().unwrap();
        }
        took
    }
}

/// Podman's netavark, on a host of its own.
struct Netavark {
    host: Namespace,
    options: String,
    runs: PathBuf,
}

const NETAVARK: &str = "/usr/lib/podman/netavark";

impl Netavark {
    fn new(directory: &Path) -> Option<Netavark> {
        let options = serde_json::json!({
            "container_id": "bench", "container_name": "bench",
            "networks": { "peer": { "static_ips": ["10.89.0.9"], "interface_name": "eth0" } },
            "network_info": { "peer": {
                "name": "peer", "id": "0".repeat(64), "driver": "bridge", "network_interface": "podman1",
                "subnets": [{ "subnet": "10.89.0.0/16", "gateway": "10.89.0.1" }],
                "ipv6_enabled": false, "internal": true, "dns_enabled": false, "ipam_options": { "driver": "host-local" },
            } },
        });
        let there = Path::new(NETAVARK).exists();
        there.then(|| Netavark {
            host: Namespace::create().unwrap(),
            options: options.to_string(),
            runs: directory.join("netavark"),
        })
    }

    fn setup(&self) -> Duration {
        let namespace = Namespace::create().unwrap();
        let took = time(|| self.run("setup", &namespace));
        self.run("teardown", &namespace);
        took
    }

    fn run(&self, verb: &str, namespace: &Namespace) {
        let there = format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            namespace.as_fd().as_raw_fd()
        );
        let mut command = Command::new(NETAVARK);
        command.arg("--config").arg(&self.runs).arg(verb).arg(there);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = self.host.run(|| command.spawn()).unwrap().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(self.options.as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success(), "netavark {verb}");
    }
}

fn attach(network: &Network) -> (Duration, (Namespace, ampoule_net::Attachment)) {
    let namespace = Namespace::create().unwrap();
    let start = Instant::now();
    let attachment = network
        .plan(&Endpoint::new("bench"))
        .unwrap()
        .attach(&namespace)
        .unwrap();
    (start.elapsed(), (namespace, attachment))
}
