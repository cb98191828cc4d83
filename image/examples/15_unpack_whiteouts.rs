//! **The question:** a layer can only add files; how does an image *remove* one?
//!
//! **The idea:** by a file whose name says so. `.wh.NAME` in an archive hides NAME of the layers below, `.wh..wh..opq` all that they
//! have in a directory. On disk overlay has its own words for that: a character device 0:0, and an attribute.
//!
//! **Run it:** `cargo run -p ampoule-image --example 15_unpack_whiteouts` (as root)
//!
//! **Try to escape:** give the layer a name with `..` in it; the last lines do, and are refused.
#![allow(clippy::print_stdout)]

use ampoule_image::{DiffOptions, ErrorKind, UnpackOptions, archive_directory, unpack};
use std::error::Error;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let scratch = std::env::temp_dir().join(format!("whiteouts-{}", std::process::id()));
    fs::create_dir(&scratch)?;
    let result = run(&scratch);
    fs::remove_dir_all(&scratch)?;
    result
}

fn run(scratch: &Path) -> Result<(), Box<dyn Error>> {
    // What an archive of a layer holds that removes `secret`.
    let tree = scratch.join("tree");
    fs::create_dir_all(tree.join("etc"))?;
    fs::write(tree.join("etc/.wh.secret"), "")?;
    fs::write(tree.join("etc/new"), "new")?;
    let mut archive = Vec::new();
    archive_directory(&tree, &mut archive, &DiffOptions::default())?;

    let layer = scratch.join("layer");
    fs::create_dir(&layer)?;
    let unpacked = unpack(&archive[..], &layer, &UnpackOptions::default())?;
    println!("{} entries, diff id {}", unpacked.entries, unpacked.diff_id);

    // The name is gone; overlay's mark is there in its place.
    assert!(!layer.join("etc/.wh.secret").exists());
    let mark = fs::symlink_metadata(layer.join("etc/secret"))?;
    println!(
        "etc/secret is a character device: {}, number {}",
        mark.file_type().is_char_device(),
        mark.rdev()
    );
    assert!(mark.file_type().is_char_device() && mark.rdev() == 0);

    // And back: from what overlay has on disk to what travels.
    let mut again = Vec::new();
    archive_directory(
        &layer,
        &mut again,
        &DiffOptions {
            whiteouts: true,
            ..Default::default()
        },
    )?;
    let holds = |text: &[u8]| again.windows(text.len()).any(|window| window == text);
    assert!(holds(b"etc/.wh.secret") && holds(b"etc/new"));

    // The same archive, with a name of the same length that leads out.
    let at = archive
        .windows(7)
        .position(|window| window == b"etc/new")
        .ok_or("the name is there")?;
    archive[at..at + 7].copy_from_slice(b"../evil");
    fix_checksum(&mut archive[at..at + 512]);
    let elsewhere = scratch.join("elsewhere");
    fs::create_dir(&elsewhere)?;
    let refused =
        unpack(&archive[..], &elsewhere, &UnpackOptions::default()).expect_err("it leads out");
    println!("{refused}");
    assert_eq!(refused.kind(), ErrorKind::Layer);
    assert!(!scratch.join("evil").exists());
    Ok(())
}

/// A header holds the sum of its bytes, its own field counted as spaces.
fn fix_checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
