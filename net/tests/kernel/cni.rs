//! CNI chains: Debian's own plugins, and plugins that misbehave.

use crate::lab::Lab;
use crate::scratch;
use crate::traffic::{can_connect, interfaces, ping};
use ampoule_net::{Chain, ConfList, ErrorKind, Namespace};
use needs::needs;
use serde_json::json;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn plugins() -> Result<(), String> {
    needs::file("/usr/lib/cni/bridge")
}

fn iptables() -> Result<(), String> {
    needs::program("iptables")
}

needs!(root, plugins, iptables => debians_plugins_make_a_network);
fn debians_plugins_make_a_network() {
    let lab = Lab::new();
    let data = scratch();
    let list = json!({
        "cniVersion": "1.0.0", "name": "debian",
        "plugins": [
            { "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
              "ipam": { "type": "host-local", "dataDir": data, "ranges": [[{ "subnet": "10.88.0.0/24" }]],
                        "routes": [{ "dst": "0.0.0.0/0" }] } },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ]
    });
    let mut chain = Chain::new(ConfList::parse(&list.to_string()).unwrap());
    chain.host(lab.host.clone());
    chain.capability(
        "portMappings",
        json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }]),
    );
    let (one, two) = (Namespace::create().unwrap(), Namespace::create().unwrap());
    let first = chain.add("one", &one, "eth0").unwrap();
    chain.capability("portMappings", json!([]));
    let second = chain.add("two", &two, "eth0").unwrap();
    let (a, b) = (first.addresses()[0], second.addresses()[0]);
    assert!((0..5).any(|_| ping(&one, b, 56)) && (0..5).any(|_| ping(&two, a, 1400)));
    assert!(
        (0..5).any(|_| ping(&one, "203.0.113.1".parse().unwrap(), 56)),
        "the world"
    );
    let _server = one
        .run(|| TcpListener::bind("0.0.0.0:80"))
        .unwrap()
        .unwrap();
    assert!(can_connect(&lab.world, "203.0.113.2:8080"));
    // Not the first: with a port, Debian's portmap looks for a chain of IPv6 that it has not made.
    second.check().unwrap();
    first.del().unwrap();
    second.del().unwrap();
    assert_eq!(interfaces(&one), ["lo"]);
    assert!(!can_connect(&lab.world, "203.0.113.2:8080"));
}

/// A directory with plugins that are shell scripts.
fn scripts(plugins: &[(&str, &str)]) -> PathBuf {
    let directory = scratch();
    std::fs::create_dir_all(&directory).unwrap();
    for (name, script) in plugins {
        let path = directory.join(name);
        std::fs::write(
            &path,
            format!("#!/bin/sh\nLOG={}/log\n{script}\n", directory.display()),
        )
        .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    directory
}

fn chain(directory: &PathBuf, plugins: &[&str]) -> Chain {
    let plugins: Vec<_> = plugins.iter().map(|name| json!({ "type": name })).collect();
    let list = json!({ "cniVersion": "1.1.0", "name": "test", "plugins": plugins });
    let mut chain = Chain::new(ConfList::parse(&list.to_string()).unwrap());
    chain.path([directory]).patience(Duration::from_millis(500));
    chain
}

const GOOD: &str = r#"cat >/dev/null; echo "$CNI_COMMAND good $CNI_IFNAME" >>$LOG; [ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}]}'; exit 0"#;

needs!(root => what_failed_is_undone_and_named);
fn what_failed_is_undone_and_named() {
    let bad = r#"echo "$CNI_COMMAND bad" >>$LOG; [ $CNI_COMMAND = ADD ] || exit 0; echo '{"code":7,"msg":"no luck","details":"today"}'; exit 1"#;
    let directory = scripts(&[("good", GOOD), ("bad", bad)]);
    let namespace = Namespace::create().unwrap();
    let error = chain(&directory, &["good", "bad"])
        .add("c", &namespace, "eth0")
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Plugin);
    assert_eq!(
        error.to_string(),
        "ADD by the CNI plugin bad: no luck (today), code 7"
    );
    let log = std::fs::read_to_string(directory.join("log")).unwrap();
    assert_eq!(log, "ADD good eth0\nADD bad\nDEL bad\nDEL good eth0\n");
}

needs!(root => plugins_that_misbehave_are_told_apart);
fn plugins_that_misbehave_are_told_apart() {
    let directory = scripts(&[
        (
            "garbage",
            "[ $CNI_COMMAND = ADD ] && echo 'hello {'; exit 0",
        ),
        ("hangs", "sleep 300 & sleep 300"),
        ("dies", "echo 'Segmentation fault' >&2; exit 139"),
        ("flood", "[ $CNI_COMMAND = ADD ] && yes; exit 0"),
        (
            "stubborn",
            r#"[ $CNI_COMMAND = DEL ] && { echo '{"code":9,"msg":"stays"}'; exit 1; }; echo '{}'"#,
        ),
        ("good", GOOD),
    ]);
    let namespace = Namespace::create().unwrap();
    let error = |plugin: &str| {
        chain(&directory, &[plugin])
            .add("c", &namespace, "eth0")
            .unwrap_err()
            .to_string()
    };
    assert!(error("garbage").starts_with("ADD by the CNI plugin garbage: its result is not JSON"));
    let start = Instant::now();
    assert_eq!(
        error("hangs"),
        "ADD by the CNI plugin hangs: it took longer than 500ms and was killed"
    );
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(
        error("dies"),
        "ADD by the CNI plugin dies: it failed and said \"Segmentation fault\""
    );
    assert!(error("flood").contains("the CNI plugin flood"));
    assert!(error("absent").starts_with("the CNI plugin absent is in none of"));
    let joined = chain(&directory, &["good", "stubborn"])
        .add("c", &namespace, "eth0")
        .unwrap();
    let failed = joined.del().unwrap_err();
    assert_eq!(
        failed.to_string(),
        "DEL by the CNI plugin stubborn: stays, code 9"
    );
    let log = std::fs::read_to_string(directory.join("log")).unwrap();
    assert!(
        log.ends_with("DEL good eth0\n"),
        "the others had their turn: {log}"
    );
}

needs!(root => status_and_gc_reach_every_plugin);
fn status_and_gc_reach_every_plugin() {
    let directory = scripts(&[("one", r#"echo "$CNI_COMMAND $(cat)" >>$LOG"#)]);
    let chain = chain(&directory, &["one", "one"]);
    chain.status().unwrap();
    chain.gc(&[("web-1", "eth0")]).unwrap();
    let log = std::fs::read_to_string(directory.join("log")).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert!(
        lines.len() == 4 && lines[0].starts_with("STATUS {") && lines[3].starts_with("GC {"),
        "{log}"
    );
    assert!(
        lines[3]
            .contains(r#""cni.dev/valid-attachments":[{"containerID":"web-1","ifname":"eth0"}]"#),
        "{log}"
    );
}
