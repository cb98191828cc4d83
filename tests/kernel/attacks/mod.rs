//! Attacks from inside, each of them known by name from another runtime: what they reached there, and do not reach here.

mod binary;
mod descriptors;
mod devices;
mod host_death;
mod joiner;
mod kernel_files;
mod privileges;
mod reach;
mod terminal;

use ampoule::{Child, Container};
use std::time::Duration;

/// An attack in Python, with the calls that it has no names for.
pub fn python(script: &str) -> Container {
    let mut container = Container::new("python3");
    container
        .args(["-c", &format!("{PRELUDE}\n{script}")])
        .timeout(Duration::from_secs(60));
    container
}

/// `attempt(f)` says what became of an attempt: the name of the error, or the value.
const PRELUDE: &str = r#"
import ctypes, errno, fcntl, os, socket, struct, sys, termios, time
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    result = libc.syscall(number, *args)
    if result < 0: raise OSError(ctypes.get_errno(), "")
    return result
def attempt(f, *args):
    try: return str(f(*args))
    except OSError as error: return errno.errorcode.get(error.errno, str(error))
"#;

/// A shell as an attacker.
pub fn sh(script: &str) -> Container {
    let mut container = Container::new("sh");
    container
        .args(["-c", script])
        .timeout(Duration::from_secs(60));
    container
}

/// What it prints until it ends.
pub fn said(container: &Container) -> String {
    let output = container.output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Starts one that first says `ready`.
pub fn ready(container: &mut Container) -> Child {
    use std::io::Read;
    let mut child = container
        .stdout(ampoule::Stdio::Piped)
        .stdin(ampoule::Stdio::Null)
        .spawn()
        .unwrap();
    let mut word = [0; 6];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut word)
        .unwrap();
    assert_eq!(&word, b"ready\n");
    child
}

/// Python on the host, which the host view shows.
pub fn python3() -> Result<(), String> {
    needs::file("/usr/bin/python3")
}
