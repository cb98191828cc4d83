//! Finds a program as `execvp` does, and becomes it.

use crate::Texts;
use crate::kernel::{bytes, call, exit, number};

const ENOENT: isize = 2;
const EACCES: isize = 13;
const ENOTDIR: isize = 20;
const ENAMETOOLONG: isize = 36;
const F_SETFD: usize = 2;
const FD_CLOEXEC: usize = 1;

/// The longest path that the kernel takes.
const PATH_MAX: usize = 4096;

/// Becomes the program. If that fails, the error number is written to `fd`; else `fd` closes by itself.
///
/// # Safety
/// Both lists must be those of a new program's stack, the first with at least one text.
pub unsafe fn execute(program: Texts, envp: Texts, fd: i32) -> ! {
    call(number::FCNTL, [fd as usize, F_SETFD, FD_CLOEXEC, 0, 0, 0]);
    // SAFETY: the caller's promise.
    let errno = unsafe { search(program, envp) } as i32;
    call(number::WRITE, [fd as usize, &raw const errno as usize, 4, 0, 0, 0]);
    exit(127)
}

/// Returns the error number that tells most: that of a file which is there, but could not be executed.
///
/// # Safety
/// As for [`execute`].
unsafe fn search(program: Texts, envp: Texts) -> isize {
    // SAFETY: the caller's promise.
    let name = unsafe { bytes(*program) };
    if name.contains(&b'/') {
        // SAFETY: as above.
        return unsafe { become_file(*program, program, envp) };
    }
    let mut errno = ENOENT;
    // SAFETY: as above.
    for dir in unsafe { search_path(envp) }.split(|byte| *byte == b':') {
        let mut path = [0; PATH_MAX];
        let tried = match join(&mut path, dir, name) {
            // SAFETY: as above; the path ends with a NUL.
            true => unsafe { become_file(path.as_ptr(), program, envp) },
            false => ENAMETOOLONG,
        };
        match tried {
            ENOENT | ENOTDIR => {}
            EACCES => errno = EACCES,
            other => return other,
        }
    }
    errno
}

/// # Safety
/// As for [`execute`]; the path must end with a NUL.
unsafe fn become_file(path: *const u8, argv: Texts, envp: Texts) -> isize {
    -call(number::EXECVE, [path as usize, argv as usize, envp as usize, 0, 0, 0])
}

/// The value of `PATH`.
///
/// # Safety
/// The list must be that of a new program's stack.
unsafe fn search_path<'a>(mut envp: Texts) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe {
        while !(*envp).is_null() {
            if let Some(value) = bytes(*envp).strip_prefix(b"PATH=") {
                return value;
            }
            envp = envp.add(1);
        }
    }
    b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

/// `dir/name` and a NUL. False if that is too long.
fn join(path: &mut [u8; PATH_MAX], dir: &[u8], name: &[u8]) -> bool {
    let dir = if dir.is_empty() { b"." } else { dir };
    if dir.len() + name.len() + 2 > PATH_MAX {
        return false;
    }
    let parts = dir.iter().chain(b"/").chain(name);
    for (place, byte) in path.iter_mut().zip(parts) {
        *place = *byte;
    }
    true
}
