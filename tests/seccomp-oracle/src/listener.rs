//! A supervisor of one call: seccomp_unotify(2).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Waits for one notified call, fails it with this errno, and returns its number.
///
/// # Errors
/// What the listener answers: ENOENT if the process has ended meanwhile.
pub fn answer(listener: &OwnedFd, errno: i32) -> io::Result<u32> {
    // SAFETY: all-zero bytes are a valid request; the kernel wants it zeroed.
    let mut request: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // `_IOWR('!', number, type)`: both ways, the size, the letter, the number.
    let code =
        |number: u64, size: usize| 3 << 30 | (size as u64) << 16 | u64::from(b'!') << 8 | number;
    let receive = code(0, size_of::<libc::seccomp_notif>());
    let send = code(1, size_of::<libc::seccomp_notif_resp>());
    // SAFETY: the request is a valid place of the size that the code names.
    if unsafe { libc::ioctl(listener.as_raw_fd(), receive as _, &raw mut request) } == -1 {
        return Err(io::Error::last_os_error());
    }
    let mut response = libc::seccomp_notif_resp {
        id: request.id,
        val: 0,
        error: -errno,
        flags: 0,
    };
    // SAFETY: the response is a valid place of the size that the code names.
    if unsafe { libc::ioctl(listener.as_raw_fd(), send as _, &raw mut response) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(request.data.nr as u32)
}
