//! The program that lives inside of containers (`init/`), as a sealed file in memory.

use crate::error::Error;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

/// Compiled by `build.rs`.
static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ampoule-init"));

/// What the program calls itself in `/proc`.
pub(crate) const NAME: &str = "ampoule-init";

/// The file, made once per process.
///
/// It is sealed: nobody who gets hold of it, by `/proc/PID/exe` for instance, can change what others execute.
pub(crate) fn program() -> Result<Arc<OwnedFd>, Error> {
    static FILE: OnceLock<Arc<OwnedFd>> = OnceLock::new();
    if let Some(file) = FILE.get() {
        return Ok(file.clone());
    }
    let file =
        sealed().map_err(|e| Error::os("make the program for the inside of containers", e))?;
    Ok(FILE.get_or_init(|| Arc::new(file)).clone())
}

fn sealed() -> io::Result<OwnedFd> {
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
