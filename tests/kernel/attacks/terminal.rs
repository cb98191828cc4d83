//! The caller's terminal: what is pushed into it is typed by the caller (TIOCSTI, TIOCLINUX).

use super::{python, python3, said};
use ampoule::Stdio;
use needs::needs;
use std::sync::Arc;

/// Pushes a letter into standard input, and looks for a controlling terminal.
const PUSH: &str = r#"
print(attempt(fcntl.ioctl, 0, termios.TIOCSTI, b"x"))
print(attempt(os.open, "/dev/tty", os.O_RDWR))
print(attempt(fcntl.ioctl, 0, 0x541c, b"\x02"))
"#;

needs!(user_namespaces, python3 => nothing_is_typed_into_the_callers_terminal);
fn nothing_is_typed_into_the_callers_terminal() {
    let terminal = ampoule::namespaces::Terminal::open(None).unwrap();
    let slave = Arc::new(terminal.slave);
    let mut container = python(PUSH);
    let told = said(container.stdin(Stdio::Fd(slave.clone())));
    let refused = |line: &str| ["EPERM", "EIO", "ENXIO", "ENOTTY", "EINVAL"].contains(&line);
    assert!(
        told.lines().all(refused) && told.lines().count() == 3,
        "{told}"
    );
    // Nothing waits to be read.
    let waiting = rustix::io::ioctl_fionread(&slave).unwrap();
    assert_eq!(waiting, 0);
}
