//! A start: the order of things, and what comes back.

use crate::container::{container, output, sh, start};
use ampoule_namespaces::{Namespaces, Status};
use needs::needs;

needs!(root => a_status_comes_back);
fn a_status_comes_back() {
    let ended = start(&container(), &sh("exit 7"))
        .and_then(|mut process| process.wait())
        .unwrap();
    assert_eq!(ended.status, Status::Exited(7));
    let ended = start(&container(), &sh("kill -9 $$; sleep 1; exit 3"))
        .and_then(|mut process| process.wait())
        .unwrap();
    assert_eq!(
        ended.status,
        Status::Exited(3),
        "process 1 cannot be killed from inside"
    );
}

needs!(root => every_namespace_is_new);
fn every_namespace_is_new() {
    let mut isolation = container();
    isolation.unshare(Namespaces::all() - Namespaces::CLONE_NEWUSER);
    let inside = output(
        &isolation,
        &sh("cd /proc/self/ns; for n in *; do readlink $n; done"),
    )
    .unwrap();
    let outside = std::fs::read_dir("/proc/self/ns").unwrap();
    let links = outside.map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap());
    for link in links
        .map(|link| link.to_string_lossy().into_owned())
        .filter(|link| !link.starts_with("user"))
    {
        assert!(
            !inside.lines().any(|line| line == link),
            "{link} is shared: {inside}"
        );
    }
}
