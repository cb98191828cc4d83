//! Ways to more privileges: set-user-ID programs, namespaces of one's own, keys of the caller.

use super::{python, python3, said, sh};
use crate::elsewhere::Scratch;
use ampoule::{Bind, Seccomp, Volume};
use needs::needs;
use std::os::unix::fs::PermissionsExt;

needs!(root => set_user_id_programs_give_nothing);
fn set_user_id_programs_give_nothing() {
    let scratch = Scratch::new();
    let tools = scratch.dir("tools");
    let id = tools.join("id");
    std::fs::copy("/usr/bin/id", &id).unwrap();
    std::fs::set_permissions(&id, PermissionsExt::from_mode(0o4755)).unwrap();
    let mut container = sh("/tools/id -u; grep -h NoNewPrivs /proc/self/status; umask");
    let volume = Volume::bind(Bind::new(tools), "/tools");
    let told = said(container.user("1000:1000").volume(volume));
    assert!(told.starts_with("1000\nNoNewPrivs:\t1\n"), "{told}");
}

/// New namespaces by three calls, joining others, and their parents by ioctl.
const NAMESPACES: &str = r#"
NEWUSER, NEWNS, NS_GET_USERNS, NS_GET_PARENT = 0x10000000, 0x20000, 0xb701, 0xb702
print(attempt(call, 272, NEWUSER))
print(attempt(call, 272, NEWNS))
print(attempt(call, 56, NEWUSER | 17, 0, 0, 0, 0))
args = struct.pack("8Q", NEWUSER, 0, 0, 0, 17, 0, 0, 0)
print(attempt(call, 435, args, len(args)))
print(attempt(call, 308, os.open("/proc/self/ns/mnt", 0), 0))
for kind in ["pid", "user"]:
    print(attempt(fcntl.ioctl, os.open("/proc/self/ns/" + kind, 0), NS_GET_PARENT))
print(attempt(call, 304, -100, b"x" * 8, 0))
print(attempt(call, 321, 0, 0, 0), attempt(call, 425, 1, 0), attempt(call, 323, 0))
"#;

needs!(user_namespaces, python3 => namespaces_of_ones_own_are_refused);
fn namespaces_of_ones_own_are_refused() {
    let told = said(&python(NAMESPACES));
    let refused = "EPERM\nEPERM\nEPERM\nENOSYS\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM EPERM EPERM\n";
    assert_eq!(told, refused);
}

/// The session keyring, and a key that the caller keeps there.
const KEYS: &str = r#"
print(attempt(call, 250, 0, -3, 0))
print(attempt(call, 250, 10, -3, b"user", b"ampoule-attack", 0))
"#;

needs!(user_namespaces, python3 => keys_of_the_caller_are_out_of_reach);
fn keys_of_the_caller_are_out_of_reach() {
    assert_eq!(said(&python(KEYS)), "EPERM\nEPERM\n", "Docker's filter");
    let mut open = python(KEYS);
    let first = said(open.seccomp(Seccomp::Unconfined));
    let second = said(open.seccomp(Seccomp::Unconfined));
    let (ring, key) = first.split_once('\n').unwrap();
    assert!(ring.parse::<u32>().is_ok(), "{first}");
    assert_eq!(key, "ENOKEY\n");
    assert!(
        !second.starts_with(ring),
        "each has a keyring of its own: {first} {second}"
    );
}
