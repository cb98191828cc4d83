//! *Is chroot a prison?*
//!
//! **The kernel's idea.** Every process has a root directory, at which absolute paths begin and above which `..` does not
//! lead. chroot(2) changes that one pointer. It does not change the working directory, open files, or the mounts: whoever
//! stands *outside* of his root never meets it on the way up.
//!
//! **Run it**: `cargo run --example 03_chroot_escape`
//!
//! **Check it yourself**: as root, `mkdir -p /tmp/jail/x`, then the calls of `escape` below in
//! `chroot /tmp/jail busybox` or a python with `os.chroot`.
//!
//! **Try to escape**: it takes six lines, and the capability `CAP_SYS_CHROOT`, which root in a bare chroot has. The next
//! example makes them fail.

#![allow(clippy::print_stdout, reason = "an example talks")]

mod stage;

use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, mkdir};
use stage::{again, names};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    stage::play(|role| match *role {
        [] => host(),
        ["prisoner", jail, secret] => prisoner(Path::new(jail), Path::new(secret)),
        _ => anyhow::bail!("this example takes no arguments"),
    })
}

/// A directory with a jail in it, and a secret beside the jail.
fn host() -> anyhow::Result<()> {
    stage::may_make_namespaces()?;
    let place = tempfile::tempdir()?;
    let (jail, secret) = (place.path().join("jail"), place.path().join("secret"));
    fs::create_dir(&jail)?;
    fs::write(jail.join("bread"), "hard")?;
    fs::write(&secret, "the key is under the mat")?;
    let escaped = again("prisoner").arg(&jail).arg(&secret).status()?;
    assert!(escaped.success(), "the escape should have worked");
    println!("chroot is a convenience, not a prison: on to 04_pivot_root");
    Ok(())
}

fn prisoner(jail: &Path, secret: &Path) -> anyhow::Result<()> {
    chroot(jail)?;
    chdir("/")?;
    println!("in the jail, / holds {:?}", names("/")?);
    assert_eq!(names("/")?, ["bread"]);
    assert!(fs::read(secret).is_err());

    escape()?;
    let found = fs::read_to_string(secret)?;
    println!(
        "after six lines, / holds {} names, and {secret:?} says {found:?}",
        names("/")?.len()
    );
    assert_eq!(found, "the key is under the mat");
    Ok(())
}

/// A second chroot, deeper, while the working directory stays: then it is outside of the root, and `..` is free.
fn escape() -> nix::Result<()> {
    mkdir("tunnel", Mode::S_IRWXU)?;
    chroot("tunnel")?;
    for _ in 0..64 {
        chdir("..")?;
    }
    chroot(".")
}
