//! *How can a thousand containers share one image and each change it?*
//!
//! **The kernel's idea.** overlayfs shows several directories as one. Reads fall through to the lower ones; the first write to
//! a file copies it up into the upper directory; a deletion leaves a *whiteout* there, a device file 0:0. So the upper holds
//! the difference, and a difference is exactly what a layer of an image is.
//!
//! **Run it**: `cargo run --example 10_overlay`
//!
//! **Check it yourself**: `docker diff`, or `ls -l` in an upper directory; `Documentation/filesystems/overlayfs.rst`
//!
//! **Try to escape**: whoever can write the *upper* directory from outside writes behind the container's back, attributes
//! included; the kernel believes `trusted.overlay.*` there. An ordinary user's overlay therefore notes in `user.overlay.*`.

#![allow(clippy::print_stdout, reason = "an example talks")]

mod stage;

use ampoule::rootfs::{ChangeKind, Notes, diff};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use stage::{missing, mount_new, names};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    stage::play(|_| {
        let notes = match nix::unistd::geteuid().is_root() {
            true => Notes::Trusted,
            false => Notes::User,
        };
        stage::may_make_namespaces()?;
        stage::own_mounts()?;
        let place = tempfile::tempdir()?;
        let base = place.path();
        mount_new("tmpfs", base)?;
        shared(&image(&base.join("shared"))?)?;
        let result = overlaid(base, &image(&base.join("image"))?, notes);
        umount2(base, MntFlags::MNT_DETACH)?;
        result
    })
}

/// Broken: two containers on one directory. What one changes, the other has.
fn shared(both: &Path) -> anyhow::Result<()> {
    change(both)?;
    println!("on one directory, the other reads {:?}", read(both));
    assert_eq!(read(both), "changed");
    Ok(())
}

/// Fixed: each has an upper directory of its own over the same lower one.
fn overlaid(base: &Path, image: &Path, notes: Notes) -> anyhow::Result<()> {
    let one = overlay(base, image, "one", notes)?;
    let two = overlay(base, image, "two", notes)?;
    change(&one)?;
    let (ones, twos) = (read(&one), read(&two));
    println!("as overlays, one reads {ones:?}, the other {twos:?}");
    assert_eq!(
        (&*ones, &*twos, &*read(image)),
        ("changed", "hello", "hello")
    );
    assert_eq!(names(&one)?, ["big", "motd", "new"]);

    let upper = base.join("one/upper");
    let whiteout = fs::symlink_metadata(upper.join("tool"))?;
    assert_eq!(names(&upper)?, ["motd", "new", "tool"]);
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);

    // Read as a list, it is what `docker diff` prints and what a commit packs.
    let (upper, lower) = (File::open(&upper)?, File::open(image)?);
    let changes = diff(upper.as_fd(), lower.as_fd(), notes)?;
    let changes: Vec<_> = changes.iter().map(|it| (it.kind, &*it.path)).collect();
    println!("as a list: {changes:?}");
    assert!(changes.contains(&(ChangeKind::Deleted, Path::new("tool"))));

    // Copy-on-write is of whole files: one byte of the big one costs all of it.
    let mut big = File::options().append(true).open(two.join("big"))?;
    big.write_all(b"!")?;
    let copied = fs::metadata(base.join("two/upper/big"))?.len();
    println!("one byte appended to the big file: {copied} bytes copied up");
    assert_eq!(copied, (8 << 20) + 1);
    Ok(())
}

fn read(root: &Path) -> String {
    fs::read_to_string(root.join("motd")).unwrap_or_default()
}

fn image(at: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir(at)?;
    fs::write(at.join("motd"), "hello")?;
    fs::write(at.join("tool"), "#!/bin/sh")?;
    fs::write(at.join("big"), vec![0; 8 << 20])?;
    Ok(at.to_owned())
}

fn overlay(base: &Path, image: &Path, name: &str, notes: Notes) -> anyhow::Result<PathBuf> {
    let [upper, work, merged] = ["upper", "work", "merged"].map(|part| base.join(name).join(part));
    for directory in [&upper, &work, &merged] {
        fs::create_dir_all(directory)?;
    }
    let [lower, up, work] = [image, &upper, &work].map(Path::display);
    let mut options = format!("lowerdir={lower},upperdir={up},workdir={work}");
    if notes == Notes::User {
        options += ",userxattr";
    }
    let (kind, flags) = (Some("overlay"), MsFlags::empty());
    mount(kind, &merged, kind, flags, Some(&*options))
        .map_err(|errno| missing("overlay", errno.to_string()))?;
    Ok(merged)
}

fn change(root: &Path) -> anyhow::Result<()> {
    fs::write(root.join("motd"), "changed")?;
    fs::write(root.join("new"), "new")?;
    Ok(fs::remove_file(root.join("tool"))?)
}
