//! What is left when a pull dies, and what a full disk does to it.

use crate::archive::Archive;
use crate::scratch::{Scratch, store_image, text};
use ampoule_image::{ErrorKind, LayoutSource, Platform, PullOptions, Store};
use needs::needs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const NAME: &str = "r.io/app:1";
/// A run of the test program with this variable is not a test but a pull: `ORIGIN:STORE`.
const PULL: &str = "AMPOULE_IMAGE_TEST_PULL";

/// Answers whether this process was started to pull and to be killed.
pub fn is_victim() -> bool {
    let Ok(paths) = std::env::var(PULL) else {
        return false;
    };
    let (origin, store) = paths.split_once(':').unwrap();
    pull(Path::new(origin), Path::new(store)).unwrap();
    true
}

fn pull(origin: &Path, store: &Path) -> ampoule_image::Result<()> {
    let store = Store::open(store)?;
    let source = LayoutSource::new(origin, Some(NAME));
    let image = store.pull(&source, &NAME.parse()?, &PullOptions::default())?;
    store.rootfs(&image).map(drop)
}

fn origin(scratch: &Scratch, files: u32) -> Store {
    let origin = Store::open(scratch.path("origin")).unwrap();
    let layer = |seed: u32| {
        let mut archive = Archive::default().dir("./").dir("d");
        for number in 0..files {
            let content = number
                .wrapping_mul(2_654_435_761)
                .wrapping_add(seed)
                .to_le_bytes()
                .repeat(1000);
            archive = archive.file(&format!("d/{seed}-{number}"), &content);
        }
        archive.end()
    };
    store_image(&origin, NAME, &[layer(1), layer(2), layer(3)]);
    origin
}

/// Everything that is under its final name is whole.
fn assert_whole(store: &Store, round: usize) {
    assert!(store.verify().unwrap().is_empty(), "round {round}");
    for entry in std::fs::read_dir(store.path().join("ampoule/layers")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with("sha256-") {
            let count = std::fs::read_dir(entry.path().join("fs/d"))
                .unwrap()
                .count();
            assert_eq!(count, 300, "round {round}: a layer under its name is whole");
            assert!(entry.path().join("layer.json").exists(), "round {round}");
        }
    }
    if let Ok(image) = store.image(NAME, &Platform::host()) {
        assert_eq!(
            store.rootfs(&image).unwrap().lower.len(),
            3,
            "round {round}: a tag says that all is there"
        );
    }
}

needs!(root => a_killed_pull_leaves_nothing_broken);
fn a_killed_pull_leaves_nothing_broken() {
    let rounds = std::env::var("AMPOULE_KILLS").map_or(40, |count| count.parse().unwrap());
    let scratch = Scratch::new();
    let origin = origin(&scratch, 300);
    let whole = std::time::Instant::now();
    pull(origin.path(), &scratch.path("timed")).unwrap();
    let whole = whole.elapsed();
    let mut finished = 0;
    for round in 0..rounds {
        // A new store now and then, so that each part of a pull is met.
        let path = scratch.path(&format!("store{}", round / 4));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(PULL, format!("{}:{}", text(origin.path()), text(&path)))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Spread over the time that a pull takes, without a pattern that the scheduler could share.
        let part = (round as u32 * 7919 + 13) % 101;
        std::thread::sleep(whole * part / 100 + Duration::from_micros(part.into()));
        child.kill().unwrap();
        finished += usize::from(child.wait().unwrap().success());
        if path.join("oci-layout").exists() {
            assert_whole(&Store::open(&path).unwrap(), round);
        }
    }
    assert!(finished < rounds, "no pull was killed before its end");
    for number in 0..rounds.div_ceil(4) {
        let path = scratch.path(&format!("store{number}"));
        pull(origin.path(), &path).unwrap();
        let store = Store::open(&path).unwrap();
        std::fs::write(
            path.join(".tmp-1-2-3"),
            "what a killed writer of index.json leaves",
        )
        .unwrap();
        store.collect().unwrap();
        assert!(!path.join(".tmp-1-2-3").exists());
        for (directory, expected) in [("layers", 3), ("ingest", 0), ("leases", 0)] {
            let left = std::fs::read_dir(path.join("ampoule").join(directory))
                .unwrap()
                .count();
            assert_eq!(left, expected, "{directory} of store {number}");
        }
        assert_whole(&store, rounds);
    }
}

needs!(root => a_full_disk_is_named_and_survived);
fn a_full_disk_is_named_and_survived() {
    let scratch = Scratch::new();
    let origin = origin(&scratch, 300);
    let small = scratch.path("small");
    std::fs::create_dir(&small).unwrap();
    let pull_on_small_disks = move || {
        use nix::mount::{MsFlags, mount};
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS | nix::sched::CloneFlags::CLONE_NEWNS)
            .unwrap();
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .unwrap();
        // Threads that a pull starts share this thread's mount namespace.
        let resize = |flags, size: &str| {
            mount(Some("tmpfs"), &small, Some("tmpfs"), flags, Some(size)).unwrap()
        };
        resize(MsFlags::empty(), "size=64k");
        let path = small.join("store");
        for megabytes in [1, 2, 3, 4, 5, 6, 7] {
            resize(MsFlags::MS_REMOUNT, &format!("size={megabytes}m"));
            let error = pull(origin.path(), &path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{megabytes} MiB: {error}");
            assert!(error.to_string().contains("free space"), "{error}");
            let store = Store::open(&path).unwrap();
            assert!(store.verify().unwrap().is_empty(), "{megabytes} MiB");
            assert!(store.tags().unwrap().is_empty(), "{megabytes} MiB");
        }
        resize(MsFlags::MS_REMOUNT, "size=64m");
        pull(origin.path(), &path).unwrap();
        assert_whole(&Store::open(&path).unwrap(), 0);
    };
    std::thread::spawn(pull_on_small_disks).join().unwrap();
}
