//! Device rules: on v1 a list, on v2 (and on the hybrid machine's v2 side) an eBPF program.

use super::harness::{Scene, controllers, on_every_layout, shell};
use ampoule_cgroups::{Cgroup, DeviceRule, Layout, Mode, Resources, Version};
use needs::needs;

needs!(root, controllers => only_allowed_devices_open);
fn only_allowed_devices_open() {
    on_every_layout("devices", check);
}

needs!(root, controllers, a_hybrid_machine => a_program_filters_beside_v1);
fn a_program_filters_beside_v1() {
    let layout = Layout::discover().unwrap().without(Version::V1);
    check(&Scene::new("device-program", layout));
}

fn check(scene: &Scene) {
    let cgroup = scene
        .parent
        .create("one", Resources::new().devices(DeviceRule::standard()))
        .unwrap();
    assert_eq!(attempt(&cgroup, "echo x >/dev/null"), "yes");
    assert_eq!(attempt(&cgroup, "head -c 1 /dev/zero"), "yes");
    // Terminals of the whole machine and its memory, which root can open anywhere else.
    assert_eq!(attempt(&cgroup, "exec 3</dev/kmsg"), "no");
    assert_eq!(attempt(&cgroup, "head -c 1 /dev/kmsg"), "no");
    // A node may be made of any device, but not opened.
    assert_eq!(
        attempt(&cgroup, "mknod $DIR/kmsg c 1 11 && rm $DIR/kmsg"),
        "yes"
    );
    assert_eq!(
        attempt(
            &cgroup,
            "mknod $DIR/mem c 1 1; head -c 1 $DIR/mem; s=$?; rm $DIR/mem; exit $s"
        ),
        "no"
    );

    // Stricter, and in the place of the earlier rules.
    let reading = DeviceRule::parse("c 1:* r").unwrap();
    cgroup.apply(Resources::new().devices([reading])).unwrap();
    assert_eq!(attempt(&cgroup, "head -c 1 /dev/zero"), "yes");
    assert_eq!(attempt(&cgroup, "exec 3>/dev/zero"), "no");
    assert_eq!(attempt(&cgroup, "mknod $DIR/null c 1 3"), "no");

    cgroup
        .apply(Resources::new().devices([DeviceRule::parse("a").unwrap()]))
        .unwrap();
    assert_eq!(attempt(&cgroup, "exec 3</dev/kmsg"), "yes");
}

/// Whether a shell inside the cgroup can do that.
fn attempt(cgroup: &Cgroup, script: &str) -> String {
    let dir = std::env::temp_dir().join(format!(
        "ampoule-devices-{}-{}",
        std::process::id(),
        cgroup.paths().count()
    ));
    std::fs::create_dir_all(&dir).unwrap();
    let script = format!(
        "DIR={}; if ({script}) >$DIR/out; then echo yes; else echo no; fi",
        dir.display()
    );
    let answer = shell(cgroup, &script).line();
    let _ = std::fs::remove_dir_all(&dir);
    answer
}

fn a_hybrid_machine() -> Result<(), String> {
    match Layout::discover().map(|layout| layout.mode()) {
        Ok(Mode::Hybrid) => Ok(()),
        other => Err(format!("cgroups are {other:?} here")),
    }
}
