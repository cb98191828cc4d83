//! The host view, from inside.

use crate::inside::maker;
use crate::shell;
use ampoule_rootfs::{Root, Rootfs, Templates};
use needs::needs;

fn host_view() -> Rootfs {
    let mut rootfs = Rootfs::new(Root::host());
    rootfs.maker(maker());
    rootfs
}

needs!( => programs_of_the_machine_run);
fn programs_of_the_machine_run() {
    let templates = Templates::new();
    // The second and third use copies of what the first one made.
    for _ in 0..3 {
        let said = shell(
            &host_view(),
            &templates,
            "id -un; ls -d /usr/bin/env /tmp /etc/passwd; echo x > /tmp/x && cat /tmp/x",
        );
        assert_eq!(said.unwrap(), "root\n/etc/passwd\n/tmp\n/usr/bin/env\nx\n");
    }
}

needs!( => it_shows_no_other_directories_of_the_machine);
fn it_shows_no_other_directories_of_the_machine() {
    let script =
        "ls -A /home /root /run /tmp /srv /mnt; ls -d /var/lib /etc/shadow /boot /work; true";
    let said = shell(&host_view(), &Templates::new(), script).unwrap();
    let missing = said.lines().filter(|line| line.contains("cannot access"));
    assert_eq!(missing.count(), 4, "{said}");
    let empty = said.lines().filter(|line| line.ends_with(':'));
    assert_eq!(empty.count(), 6, "{said}");
}

needs!( => only_its_own_mounts_are_there);
fn only_its_own_mounts_are_there() {
    let said = shell(&host_view(), &Templates::new(), "cat /proc/self/mountinfo").unwrap();
    let mut points: Vec<&str> = said
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .collect();
    points.sort_unstable();
    let expected = [
        "/",
        "/dev",
        "/dev/mqueue",
        "/dev/pts",
        "/dev/shm",
        "/etc",
        "/proc",
        "/sys",
    ];
    for point in expected {
        assert_eq!(
            points.iter().filter(|p| **p == point).count(),
            1,
            "{point}: {said}"
        );
    }
    let known = [
        "/usr", "/opt", "/bin", "/sbin", "/lib", "/etc/", "/dev/", "/proc/", "/sys/",
    ];
    for point in points {
        let ours = expected.contains(&point) || known.iter().any(|k| point.starts_with(k));
        assert!(ours, "{point}: {said}");
    }
}

needs!( => programs_cannot_be_changed);
fn programs_cannot_be_changed() {
    let script = "for f in /usr/x /opt/x /etc/x /dev/x /sys/x /proc/sys/kernel/core_pattern; do \
                  (echo x > $f) 2>&1; done; true";
    let said = shell(&host_view(), &Templates::new(), script).unwrap();
    let refused = said.lines().filter(|line| {
        line.contains("Read-only file system") || line.contains("Permission denied")
    });
    assert_eq!(refused.count(), 6, "{said}");
}

needs!( => a_compiler_and_an_interpreter_find_what_they_need);
fn a_compiler_and_an_interpreter_find_what_they_need() {
    let script = "cd /tmp && echo 'int main(void){return 0;}' > a.c && cc -o a a.c && ./a && \
                  /usr/bin/perl -e 'print \"perl\\n\"' && getent hosts localhost | grep -c localhost";
    let said = shell(&host_view(), &Templates::new(), script).unwrap();
    assert_eq!(said, "perl\n1\n");
}

needs!( => small_files_of_its_own_are_there);
fn small_files_of_its_own_are_there() {
    let mut rootfs = host_view();
    rootfs
        .file("/etc/hostname", "demo\n")
        .file("/etc/hosts", "127.0.0.1 demo\n")
        .file("/run/deep/er/note", "");
    let script = "cat /etc/hostname; getent hosts demo; echo more > /etc/hostname; cat /etc/hostname; \
                  ls -d /run/deep/er/note; grep -c 'size=16' /proc/self/mountinfo";
    let said = shell(&rootfs, &Templates::new(), script).unwrap();
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "demo",
            "127.0.0.1",
            "demo",
            "more",
            "/run/deep/er/note",
            "3"
        ]
    );
}

needs!( => what_is_written_ends_where_its_size_says);
fn what_is_written_ends_where_its_size_says() {
    let mut rootfs = Rootfs::new(Root::host().size(64 << 10));
    rootfs.maker(maker());
    let script = "(dd if=/dev/zero of=/tmp/x bs=1k count=128) 2>&1; true";
    let said = shell(&rootfs, &Templates::new(), script).unwrap();
    assert!(said.contains("No space left on device"), "{said}");
}
