//! CVE-2019-16884, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881: files of the kernel that act on the machine, reached past
//! their masks.

use super::{python, python3, said, sh};
use crate::elsewhere::Scratch;
use ampoule::{Bind, Container, Root, Tmpfs, Volume};
use needs::needs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Opens, but never writes.
const OPEN: &str = r#"
for name in ["sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/vm/overcommit_memory", "sys/kernel/hostname", "sysrq-trigger"]:
    print(attempt(os.open, "/proc/" + name, os.O_WRONLY))
for name in ["kernel/uevent_helper", "kernel/mm/ksm/run", "power/state", "fs/cgroup/release_agent"]:
    print(attempt(os.open, "/sys/" + name, os.O_WRONLY))
"#;

needs!(user_namespaces, python3 => settings_of_the_machine_do_not_open);
fn settings_of_the_machine_do_not_open() {
    let told = said(&python(OPEN));
    let refused = ["EROFS", "EACCES", "EPERM", "ENOENT"];
    assert_eq!(told.lines().count(), 9, "{told}");
    assert!(told.lines().all(|line| refused.contains(&line)), "{told}");
}

needs!(user_namespaces => masked_files_are_empty);
fn masked_files_are_empty() {
    let script = "for f in kcore keys timer_list interrupts; do head -c 10 /proc/$f 2>/dev/null | wc -c; done; \
                  ls -A /proc/scsi /sys/firmware 2>/dev/null | grep -v : | grep -v '^$' | wc -l";
    let told = said(&sh(script));
    assert!(told.lines().all(|line| line == "0"), "{told}");
    let unmask = "umount /proc/kcore 2>&1; mount -t proc proc /tmp 2>&1; mount -o remount,rw /proc/sys 2>&1; \
                  : > /proc/sys/kernel/core_pattern";
    let told = said(&sh(unmask));
    assert!(told.lines().count() >= 4, "{told}");
    assert!(!told.contains("core_pattern: opened"), "{told}");
}

/// A root of programs, as links into a bind of the host's.
fn root(scratch: &Scratch) -> std::path::PathBuf {
    let root = scratch.dir("root");
    for name in ["usr", "dev", "sys", "mnt", "etc"] {
        std::fs::create_dir(root.join(name)).unwrap();
    }
    for name in ["bin", "lib", "lib64", "sbin"] {
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    root
}

fn with_programs(container: &mut Container, root: &Path) {
    let mut usr = Bind::new("/usr");
    usr.read_only = true;
    container
        .root(Root::dir(root))
        .volume(Volume::bind(usr, "/usr"));
}

needs!(root => a_false_proc_is_refused);
fn a_false_proc_is_refused() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    std::fs::create_dir(root.join("false")).unwrap();
    symlink("false", root.join("proc")).unwrap();
    let mut container = sh("true");
    with_programs(&mut container, &root);
    let error = container.spawn().unwrap_err().to_string();
    assert!(
        error.contains("/proc") && error.contains("symbolic link"),
        "{error}"
    );
}

needs!(root => a_race_for_the_place_of_a_mount);
fn a_race_for_the_place_of_a_mount() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    std::fs::create_dir(root.join("proc")).unwrap();
    std::fs::create_dir(root.join("mnt/place")).unwrap();
    symlink("../proc", root.join("mnt/link")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Another container that shares this root could do the same.
        scope.spawn(|| {
            let mnt =
                rustix::fs::open(root.join("mnt"), rustix::fs::OFlags::PATH, 0.into()).unwrap();
            while !stop.load(Relaxed) {
                let swap = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(&mnt, "place", &mnt, "link", swap);
            }
        });
        for _ in 0..40 {
            let script = "grep -c ' /proc proc ' /proc/mounts; echo x 2>/dev/null > /proc/sys/kernel/domainname || echo refused";
            let mut container = sh(script);
            with_programs(&mut container, &root);
            container.volume(Volume::tmpfs(Tmpfs::default(), "/mnt/place"));
            match container.output() {
                Ok(output) => {
                    let told = String::from_utf8_lossy(&output.stdout).into_owned();
                    assert_eq!(told, "1\nrefused\n", "{}", output.report);
                }
                Err(error) => assert!(error.to_string().contains("mnt/place"), "{error}"),
            }
        }
        stop.store(true, Relaxed);
    });
}

needs!(root => a_cgroup_s_release_agent);
fn a_cgroup_s_release_agent() {
    // CVE-2022-0492: a cgroup v1 hierarchy mounted inside, with a program that the host's kernel starts outside.
    let script = "mkdir /tmp/c; mount -t cgroup -o rdma cgroup /tmp/c 2>&1; \
                  unshare -UrmC sh -c 'mount -t cgroup -o rdma cgroup /tmp/c' 2>&1; \
                  find /sys/fs/cgroup /tmp -name release_agent; ls /tmp/c | wc -l";
    let mut container = sh(script);
    let told = said(container.timeout(Duration::from_secs(20)));
    assert!(
        told.ends_with("\n0\n") && !told.contains("/release_agent"),
        "{told}"
    );
    assert!(
        told.contains("permission denied") || told.contains("not permitted"),
        "{told}"
    );
}
