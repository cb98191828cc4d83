//! `/dev`, as it is seen from inside.

use crate::inside::maker;
use crate::shell;
use ampoule_rootfs::{Dev, Device, ErrorKind, Root, Rootfs, Templates};
use needs::needs;

fn with(dev: Dev) -> Rootfs {
    let mut rootfs = Rootfs::new(Root::host());
    rootfs.maker(maker()).dev(Some(dev));
    rootfs
}

fn say(dev: Dev, script: &str) -> String {
    shell(&with(dev), &Templates::new(), script).unwrap()
}

needs!( => the_standard_devices_work);
fn the_standard_devices_work() {
    let script = "head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; head -c 4 /dev/random | wc -c; \
                  wc -c < /dev/null; (dd if=/dev/zero of=/dev/full bs=1 count=1) 2>&1; \
                  stat -c %t:%T /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty";
    let said = say(Dev::default(), script);
    assert!(said.starts_with("4\n4\n4\n0\n"), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.ends_with("1:3\n1:5\n1:7\n1:8\n1:9\n5:0\n"), "{said}");
}

needs!( => terminals_are_its_own);
fn terminals_are_its_own() {
    let script = "ls /dev/pts; stat -L -c '%t:%T %a' /dev/ptmx";
    assert_eq!(say(Dev::default(), script), "ptmx\n5:2 666\n");
}

needs!( => nothing_can_be_added);
fn nothing_can_be_added() {
    let script = "for f in /dev/x /dev/null/x /dev/pts/x; do (touch $f) 2>&1; done; (mknod /tmp/mem c 1 1 && cat /tmp/mem) 2>&1; true";
    let said = say(Dev::default(), script);
    assert_eq!(said.lines().count(), 4, "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
}

needs!( => shared_memory_ends_where_its_size_says);
fn shared_memory_ends_where_its_size_says() {
    let mut dev = Dev::default();
    dev.shm(64 << 10);
    let said = say(
        dev,
        "(dd if=/dev/zero of=/dev/shm/x bs=1k count=128) 2>&1; true",
    );
    assert!(said.contains("No space left on device"), "{said}");
}

needs!( => devices_of_the_machine_can_be_added);
fn devices_of_the_machine_can_be_added() {
    let mut dev = Dev::default();
    for name in ["net/one", "net/two"] {
        dev.device(Device {
            name: name.into(),
            source: "/dev/zero".into(),
        });
    }
    let said = say(
        dev,
        "head -c 2 /dev/net/one | wc -c; stat -c %t:%T /dev/net/two",
    );
    assert_eq!(said, "2\n1:5\n");
}

needs!( => what_is_no_device_is_refused);
fn what_is_no_device_is_refused() {
    let check = |name: &str, source: &str, kind, expect: &str| {
        let mut dev = Dev::default();
        dev.device(Device {
            name: name.into(),
            source: source.into(),
        });
        let error = with(dev).prepare(&Templates::new()).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (kind, expect.to_string())
        );
    };
    for name in ["../x", "/dev/x", "", "a/../../x"] {
        let expect = format!(
            "show a device as {name:?} in /dev (the name is relative to /dev, and has no `..`)"
        );
        check(name, "/dev/zero", ErrorKind::Invalid, &expect);
    }
    check(
        "x",
        "/dev/nonesuch",
        ErrorKind::Missing,
        r#"show the device "/dev/nonesuch": No such file or directory (os error 2)"#,
    );
    let expect = r#"show the device "/etc/passwd": it is none"#;
    check("x", "/etc/passwd", ErrorKind::WrongType, expect);
}

needs!(root => what_containers_share_stays_as_it_is);
fn what_containers_share_stays_as_it_is() {
    // These have all capabilities: enough to change the mount, which must not be enough to change what others see.
    let templates = Templates::new();
    let script = "for d in /dev /etc; do mount -o remount,bind,rw $d; (touch $d/x) 2>&1; (chmod 777 $d/passwd $d/null) 2>&1; done; true";
    let said = shell(&with(Dev::default()), &templates, script).unwrap();
    let refused = said
        .lines()
        .filter(|line| line.contains("Read-only file system"));
    assert_eq!(refused.count(), 4, "{said}");
    let said = shell(
        &with(Dev::default()),
        &templates,
        "ls -d /dev/x /etc/x 2>&1; stat -c %a /dev/null /etc/passwd",
    );
    assert!(said.unwrap().ends_with("666\n644\n"));
}
