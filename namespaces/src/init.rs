//! The program that lives inside of containers (`init/`), as a sealed file in memory.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::io::{self, Write};
use std::os::fd::OwnedFd;

/// Compiled by `build.rs`.
static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ampoule-init"));

/// What is done when it is made, for errors.
pub(crate) const MAKING: &str = "make the program for the inside of containers";

/// What the program calls itself in `/proc`.
pub(crate) const NAME: &str = "ampoule-init";

/// The file, a new one for each process that begins with it.
///
/// It is sealed: nobody who gets hold of it, by `/proc/PID/exe` for instance, can change what is executed. But who merely
/// opens it for writing, or takes its mode away, keeps everybody from executing it: so it is not shared with any other
/// container.
pub(crate) fn program() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // MFD_EXEC says that it is meant to be executed (kernel 6.3); an older kernel does not know the flag.
    let file =
        memfd_create(NAME, flags | MemfdFlags::EXEC).or_else(|_| memfd_create(NAME, flags))?;
    let mut file = std::fs::File::from(file);
    file.write_all(PROGRAM)?;
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    Ok(file.into())
}
