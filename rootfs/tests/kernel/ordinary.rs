//! The same as an ordinary user, who has no privilege but in a user namespace of his own.
//!
//! One test starts this binary again as an ordinary user, who runs all that does not need root.

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
        .arg("--color=never")
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

needs!(ordinary_user => nobody_is_root_here);
fn nobody_is_root_here() {
    assert_eq!(crate::inside::maker(), ampoule_rootfs::Maker::Child);
}
