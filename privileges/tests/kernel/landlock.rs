//! A process reaches what its Landlock rule set allows, and nothing else.

use crate::container::{output, try_output};
use ampoule_privileges::Privileges;
use ampoule_privileges::landlock::Landlock;
use needs::needs;
use std::net::TcpListener;
use std::path::PathBuf;

/// A kernel that restricts files by Landlock.
fn landlock() -> Result<(), String> {
    let mut files = Landlock::new();
    match files.restrict_files().status() {
        status if status.is_enforced() => Ok(()),
        status => Err(status.to_string()),
    }
}

/// A kernel that restricts TCP ports by Landlock.
fn landlock_network() -> Result<(), String> {
    let mut network = Landlock::new();
    match network.restrict_network().status() {
        status if status.is_enforced() => Ok(()),
        status => Err(status.to_string()),
    }
}

/// A kernel that does not restrict TCP ports.
fn no_landlock_network() -> Result<(), String> {
    match landlock_network() {
        Ok(()) => Err("this kernel restricts TCP ports".into()),
        Err(_) => Ok(()),
    }
}

/// A directory of its own, gone when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path =
            std::env::temp_dir().join(format!("ampoule-landlock-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a shell needs to run at all.
fn programs() -> Landlock {
    let mut landlock = Landlock::new();
    for path in ["/usr", "/bin", "/lib", "/lib64", "/sbin"] {
        if std::fs::exists(path).unwrap_or(false) {
            landlock.read(path);
        }
    }
    landlock
}

needs!(root, landlock => files_are_reached_as_far_as_allowed);
fn files_are_reached_as_far_as_allowed() {
    let (readable, writable) = (Directory::new("r"), Directory::new("w"));
    std::fs::write(readable.0.join("file"), "content\n").unwrap();
    let mut landlock = programs();
    landlock.read(&readable.0).write(&writable.0).best_effort();
    let mut privileges = Privileges::new();
    privileges.landlock(landlock).no_new_privs();
    let (r, w) = (readable.0.display(), writable.0.display());
    let script = format!(
        "cat {r}/file; echo x > {w}/new && cat {w}/new; echo x > {r}/new; echo x > /tmp/ampoule-never; ls /etc; true"
    );
    let told = output(&privileges, &script);
    assert!(told.starts_with("content\nx\n"), "{told}");
    assert_eq!(told.matches("Permission denied").count(), 3, "{told}");
    assert!(writable.0.join("new").exists() && !readable.0.join("new").exists());
}

needs!(root, landlock_network => ports_are_reached_as_far_as_allowed);
fn ports_are_reached_as_far_as_allowed() {
    let (allowed, denied) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    let [allowed, denied] = [allowed, denied].map(|l| (l.local_addr().unwrap().port(), l));
    let mut landlock = Landlock::new();
    landlock.connect(allowed.0);
    let mut privileges = Privileges::new();
    privileges.landlock(landlock).no_new_privs();
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{} && echo in; exec 4<>/dev/tcp/127.0.0.1/{} || echo out",
        allowed.0, denied.0
    );
    let told = output(&privileges, &script);
    assert!(
        told.starts_with("in\n") && told.contains("Permission denied"),
        "{told}"
    );
}

needs!(root, no_landlock_network => what_cannot_be_enforced_is_an_error);
fn what_cannot_be_enforced_is_an_error() {
    let mut landlock = Landlock::new();
    landlock.connect(443);
    let mut privileges = Privileges::new();
    privileges.landlock(landlock.clone()).no_new_privs();
    let error = try_output(&privileges, "true").unwrap_err().to_string();
    assert!(error.contains("Landlock"), "{error}");
    privileges.landlock(landlock.best_effort().clone());
    assert_eq!(output(&privileges, "echo in"), "in\n");
}

needs!(root => a_place_that_is_not_there_is_an_error);
fn a_place_that_is_not_there_is_an_error() {
    let mut landlock = Landlock::new();
    landlock.read("/ampoule/no/such/place");
    let mut privileges = Privileges::new();
    privileges.landlock(landlock).no_new_privs();
    let error = try_output(&privileges, "true").unwrap_err().to_string();
    assert!(error.contains("Landlock"), "{error}");
}
