//! The same as an ordinary user, who has no privilege but in a user namespace of his own.
//!
//! The tests of this module are skipped for root; one test starts this binary again as an ordinary user, who runs them.

use crate::shell;
use ampoule_rootfs::{Root, Rootfs, Templates};
use needs::needs;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// No privilege.
fn ordinary_user() -> Result<(), String> {
    match rustix::process::geteuid().is_root() {
        true => Err("run by `ordinary::without_privilege` as another user".into()),
        false => Ok(()),
    }
}

needs!(root, user_namespaces => without_privilege);
fn without_privilege() {
    // A copy, because the directory of this one may be closed to others.
    let copy = std::env::temp_dir().join(format!("ampoule-kernel-{}", std::process::id()));
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let output = Command::new(&copy)
        .args(["ordinary::", "--color=never"])
        .env("AMPOULE_EXPECT", "ordinary_user")
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .output();
    std::fs::remove_file(&copy).unwrap();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("test result: ok."), "{said}");
    assert!(!said.contains(" 0 passed"), "{said}");
}

fn host_view() -> Rootfs {
    let mut rootfs = Rootfs::new(Root::host());
    rootfs.maker(crate::inside::maker());
    rootfs
}

needs!(ordinary_user => programs_of_the_machine_run);
fn programs_of_the_machine_run() {
    let said = shell(
        &host_view(),
        &Templates::new(),
        "id -u; ls -d /tmp; cat /proc/self/mountinfo",
    );
    let said = said.unwrap();
    assert!(said.starts_with("0\n/tmp\n"), "{said}");
    for line in said.lines().skip(2) {
        let point = line.split(' ').nth(4).unwrap();
        let known = [
            "/", "/dev", "/etc", "/proc", "/sys", "/usr", "/opt", "/bin", "/sbin", "/lib",
        ];
        let below = [
            "/dev/", "/etc/", "/proc/", "/sys/", "/usr/", "/opt/", "/lib",
        ];
        let ours = known.contains(&point) || below.iter().any(|b| point.starts_with(b));
        assert!(ours, "{line}");
    }
}
