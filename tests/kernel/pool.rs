//! Containers that are made before they are needed.

use ampoule::{Container, Ending, ErrorKind, GenericPool, IdMap, Network, Pool};
use needs::needs;
use std::collections::BTreeSet;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

needs!(user_namespaces => a_ready_container_runs_a_program);
fn a_ready_container_runs_a_program() {
    let pool = Pool::new(Container::new("sh").hostname("ready"), 2).unwrap();
    assert!(pool.wait_full(PATIENCE));
    for round in 0..6 {
        let output = pool
            .exec("sh")
            .args(["-c", "hostname; echo $1; exit $1", "sh", &round.to_string()])
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("ready\n{round}\n")
        );
        assert_eq!(output.report.ending, Ending::Exited(round));
    }
    assert!(pool.stats().hits > 0, "{:?}", pool.stats());
}

needs!(user_namespaces => nothing_passes_from_one_tenant_to_the_next);
fn nothing_passes_from_one_tenant_to_the_next() {
    let pool = Pool::new(&Container::new("sh"), 2).unwrap();
    let script = "ls -A /tmp /dev/shm /dev/mqueue; echo secret > /tmp/left; echo secret > /dev/shm/left; ls -d /proc/[0-9]*";
    for _ in 0..5 {
        let output = pool.exec("sh").args(["-c", script]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            !text.contains("left") && text.contains("/proc/1\n"),
            "{text}"
        );
        assert!(
            text.lines()
                .filter(|line| line.starts_with("/proc/"))
                .count()
                <= 2,
            "{text}"
        );
    }
}

needs!(user_namespaces => tenants_share_no_namespace);
fn tenants_share_no_namespace() {
    let pool = Pool::new(&Container::new("sh"), 2).unwrap();
    let tenants: Vec<_> = (0..3)
        .map(|_| pool.exec("sleep").arg("60").spawn().unwrap())
        .collect();
    let mut seen = BTreeSet::new();
    for tenant in &tenants {
        for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
            let namespace = std::fs::read_link(format!("/proc/{}/ns/{kind}", tenant.id())).unwrap();
            assert!(
                seen.insert(namespace.clone()),
                "{namespace:?} is another tenant's as well"
            );
        }
    }
}

needs!(user_namespaces => a_generic_pool_starts_any_container);
fn a_generic_pool_starts_any_container() {
    let pool = GenericPool::new(2).unwrap();
    assert!(pool.wait_full(PATIENCE));
    for name in ["one", "two", "three"] {
        let mut container = Container::new("sh");
        container
            .args(["-c", "hostname; id -u; ls /"])
            .hostname(name)
            .stdout(ampoule::Stdio::Piped);
        let output = pool.spawn(&container).unwrap().wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.starts_with(&format!("{name}\n0\n")) && text.contains("usr"),
            "{text}"
        );
    }
}

needs!(root, cgroup_v1 => a_generic_pool_keeps_limits);
fn a_generic_pool_keeps_limits() {
    let pool = GenericPool::new(1).unwrap();
    let mut container = Container::new("python3");
    container
        .args(["-c", "x = bytearray(200 << 20)"])
        .memory(64 << 20)
        .timeout(PATIENCE);
    let report = pool.spawn(&container).unwrap().wait().unwrap();
    assert_eq!(report.ending, Ending::OutOfMemory, "{report}");
}

needs!(user_namespaces => what_a_generic_pool_cannot_give_is_refused);
fn what_a_generic_pool_cannot_give_is_refused() {
    let pool = GenericPool::new(0).unwrap();
    let mut container = Container::new("true");
    let error = pool.spawn(container.network(Network::host())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let mut container = Container::new("true");
    let error = pool
        .spawn(container.id_map(IdMap::single(0, 0)))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

needs!(user_namespaces => an_error_in_a_ready_container_names_its_step);
fn an_error_in_a_ready_container_names_its_step() {
    let pool = Pool::new(&Container::new("sh"), 1).unwrap();
    let error = pool.exec("/no/such/program").spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProgramNotFound, "{error}");
}
