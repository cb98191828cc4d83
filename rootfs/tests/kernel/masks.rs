//! What is hidden and what can be read only, as it is seen from inside.

use crate::inside::maker;
use crate::scratch::{Scratch, busybox};
use crate::shell;
use ampoule_rootfs::{Cgroups, HidePid, Masks, Proc, Root, Rootfs, Sys, Templates};
use needs::needs;
use std::os::unix::fs::symlink;

fn host_view() -> Rootfs {
    let mut rootfs = Rootfs::new(Root::host());
    rootfs.maker(maker());
    rootfs
}

fn say(rootfs: &Rootfs, script: &str) -> String {
    shell(rootfs, &Templates::new(), script).unwrap()
}

needs!( => what_docker_masks_is_hidden);
fn what_docker_masks_is_hidden() {
    let masks = Masks::default();
    let there = |path: &&std::path::PathBuf| path.exists();
    let (dirs, files): (Vec<_>, Vec<_>) =
        masks.masked.iter().filter(there).partition(|p| p.is_dir());
    assert!(
        !files.is_empty() && !dirs.is_empty(),
        "nothing to hide on this machine"
    );
    let mut script = String::new();
    for file in &files {
        script += &format!("test -c {0} && wc -c < {0};", file.display());
    }
    for dir in &dirs {
        script += &format!("ls -A {0} | wc -l; (mkdir {0}/x) 2>&1;", dir.display());
    }
    let said = say(&host_view(), &(script + "true"));
    let zeros = said.lines().filter(|line| *line == "0").count();
    let refused = said
        .lines()
        .filter(|line| line.contains("Read-only file system"))
        .count();
    assert_eq!(
        (zeros, refused),
        (files.len() + dirs.len(), dirs.len()),
        "{said}"
    );
}

needs!( => settings_of_the_machine_can_only_be_read);
fn settings_of_the_machine_can_only_be_read() {
    let masks = Masks::default();
    for path in masks.read_only.iter().filter(|path| path.exists()) {
        let flags = say(&host_view(), "cat /proc/self/mountinfo");
        let line = flags
            .lines()
            .find(|line| line.split(' ').nth(4) == path.to_str());
        let flags = line
            .and_then(|line| line.split(' ').nth(5))
            .unwrap_or_default();
        assert!(
            flags.split(',').any(|flag| flag == "ro"),
            "{path:?}: {flags:?}"
        );
    }
    let said = say(
        &host_view(),
        "(echo x > /proc/sys/kernel/core_pattern) 2>&1; (echo b > /proc/sysrq-trigger) 2>&1; true",
    );
    assert_eq!(said.lines().count(), 2, "{said}");
}

needs!( => masks_of_ones_own);
fn masks_of_ones_own() {
    let mut rootfs = host_view();
    rootfs.masks(Masks {
        masked: ["/etc/passwd", "/usr/share", "/nonesuch"]
            .map(Into::into)
            .into(),
        read_only: ["/tmp", "/nonesuch/either"].map(Into::into).into(),
    });
    let script = "cat /etc/passwd; ls /usr/share; (touch /tmp/x) 2>&1; touch /var/tmp/x; echo end";
    let said = say(&rootfs, script);
    assert!(said.contains("Read-only file system"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

needs!( => no_masks_and_no_proc);
fn no_masks_and_no_proc() {
    let mut rootfs = host_view();
    rootfs.masks(Masks::none()).proc(None).sys(Sys::Absent);
    assert_eq!(say(&rootfs, "ls /proc /sys"), "/proc:\n\n/sys:\n");
}

needs!( => processes_of_others_can_be_hidden);
fn processes_of_others_can_be_hidden() {
    let mut rootfs = host_view();
    rootfs.proc(Some(Proc {
        hidepid: HidePid::Invisible,
    }));
    let said = say(&rootfs, "cat /proc/self/mountinfo");
    assert!(said.contains("hidepid=invisible"), "{said}");
}

needs!( => sys_of_the_host_can_only_be_read);
fn sys_of_the_host_can_only_be_read() {
    let mut rootfs = host_view();
    rootfs.sys(Sys::Host);
    let script = "ls -d /sys/class; (mkdir /sys/fs/cgroup/x) 2>&1; ls -A /sys/fs/cgroup";
    let said = say(&rootfs, script);
    assert!(said.starts_with("/sys/class\n"), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
    assert_eq!(
        said.lines().count(),
        2,
        "the machine's cgroups are seen: {said}"
    );
}

needs!(root => its_own_part_of_the_cgroups_is_seen);
fn its_own_part_of_the_cgroups_is_seen() {
    let mut rootfs = host_view();
    let cgroups = Cgroups::of_host().unwrap();
    rootfs.cgroups(cgroups.clone());
    let said = say(
        &rootfs,
        "ls /sys/fs/cgroup; (mkdir /sys/fs/cgroup/x) 2>&1; cat /proc/self/mountinfo",
    );
    match cgroups {
        Cgroups::Absent => panic!("no cgroups are mounted here"),
        Cgroups::Unified => assert!(said.contains("- cgroup2"), "{said}"),
        Cgroups::Hierarchies(list) => {
            for hierarchy in list {
                let place = format!(" /sys/fs/cgroup/{} ro,", hierarchy.directory);
                assert!(said.contains(&place), "{place}: {said}");
            }
        }
    }
    assert!(said.contains("Read-only file system"), "{said}");
}

needs!(busybox => a_false_null_device_is_no_mask);
fn a_false_null_device_is_no_mask() {
    // CVE-2025-31133: what lies at the root's /dev/null is mounted over what is to be hidden, and shows it.
    let scratch = Scratch::new();
    let root = scratch.root("root");
    scratch.dir("root/dev");
    symlink("/proc/sys/kernel/core_pattern", root.join("dev/null")).unwrap();
    let mut rootfs = Rootfs::new(Root::dir(root));
    rootfs.maker(maker()).dev(None);
    let said = say(
        &rootfs,
        "stat -c %t:%T /proc/timer_list; cat /proc/timer_list; ls -d /dev/*",
    );
    assert_eq!(said, "1:3\n/dev/null\n");
}

needs!(busybox => names_of_proc_in_the_root_lead_nowhere);
fn names_of_proc_in_the_root_lead_nowhere() {
    // CVE-2025-52881: what lies below the root's own /proc is under the kernel's, and is never gone through.
    let scratch = Scratch::new();
    let root = scratch.root("root");
    scratch.dir("root/elsewhere");
    std::fs::create_dir_all(root.join("proc")).unwrap();
    for name in ["sys", "timer_list", "keys", "acpi"] {
        symlink("/elsewhere", root.join("proc").join(name)).unwrap();
    }
    let mut rootfs = Rootfs::new(Root::dir(root));
    rootfs.maker(maker());
    let said = say(
        &rootfs,
        "cat /proc/self/mountinfo; stat -c %t:%T /proc/timer_list",
    );
    assert!(!said.contains("elsewhere"), "{said}");
    assert!(said.ends_with("1:3\n"), "{said}");
}
