//! What a tree looks like, entry by entry, so that two of them can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// A line an entry: everything that an unpacked layer promises.
pub fn describe(root: &Path) -> BTreeMap<String, String> {
    let mut tree = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    visit(root, root, &mut tree, &mut inodes);
    tree
}

fn visit(
    root: &Path,
    path: &Path,
    tree: &mut BTreeMap<String, String>,
    inodes: &mut BTreeMap<u64, String>,
) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let name = path
        .strip_prefix(root)
        .unwrap()
        .as_os_str()
        .as_bytes()
        .escape_ascii()
        .to_string();
    let kind = metadata.file_type();
    let content = if kind.is_symlink() {
        format!(
            "-> {}",
            fs::read_link(path)
                .unwrap()
                .as_os_str()
                .as_bytes()
                .escape_ascii()
        )
    } else if kind.is_char_device() || kind.is_block_device() {
        format!(
            "{} device {}",
            if kind.is_char_device() { "c" } else { "b" },
            metadata.rdev()
        )
    } else if kind.is_fifo() {
        "fifo".into()
    } else if kind.is_dir() {
        "directory".into()
    } else {
        let bytes = fs::read(path).unwrap();
        let first = inodes.entry(metadata.ino()).or_insert_with(|| name.clone());
        let digest = ampoule_image::Digest::of(Default::default(), &bytes);
        format!(
            "file {} {} as {first:?} links {}",
            bytes.len(),
            digest.short(),
            metadata.nlink()
        )
    };
    let times = format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec());
    let line = format!(
        "{content} {:o} {}:{} {times} {}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        xattrs(path)
    );
    tree.insert(name, line);
    if kind.is_dir() {
        let mut children: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        children.sort();
        for child in children {
            visit(root, &child, tree, inodes);
        }
    }
}

fn xattrs(path: &Path) -> String {
    let mut buffer = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut buffer).unwrap();
    let mut found: Vec<String> = Vec::new();
    for name in buffer[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0; 65536];
        let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        let name = name.escape_ascii();
        // umoci keeps its own bookkeeping there.
        if !name.to_string().starts_with("user.umoci") && !name.to_string().contains(".overlay.") {
            found.push(format!("{name}={}", value[..length].escape_ascii()));
        }
    }
    found.sort();
    found.join(",")
}

/// Panics with the lines that differ.
pub fn assert_same(what: &str, ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) {
    let names: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let differing: Vec<String> = names
        .into_iter()
        .filter(|name| ours.get(*name) != theirs.get(*name))
        .map(|name| {
            format!(
                "{name:?}\n  ours   {:?}\n  theirs {:?}",
                ours.get(name),
                theirs.get(name)
            )
        })
        .collect();
    assert!(differing.is_empty(), "{what}:\n{}", differing.join("\n"));
}
