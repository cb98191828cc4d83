//! Images taken in from archives and layouts that skopeo wrote, and from sources that fail or lie.

use crate::archive::Archive;
use crate::scratch::{Scratch, run, skopeo, store_image, text};
use crate::tree::describe;
use ampoule_image::{
    Descriptor, Digest, DockerArchive, ErrorKind, Event, LayoutSource, OciArchive, Platform,
    PullOptions, Result, Source, Store,
};
use needs::needs;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

fn layers() -> Vec<Vec<u8>> {
    let noise: Vec<u8> = (0..300_000u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    vec![
        Archive::default()
            .dir("./")
            .dir("etc")
            .file("etc/base", b"base")
            .file("large", &noise)
            .end(),
        Archive::default()
            .file("etc/added", b"in an implied directory")
            .end(),
        Archive::default().file("etc/.wh.base", b"").end(),
    ]
}

/// A layout with an image of three layers, and a store that does not have it.
fn origin_and_store(scratch: &Scratch) -> (Store, Store) {
    let origin = Store::open(scratch.path("origin")).unwrap();
    store_image(&origin, "r.io/app:1", &layers());
    (origin, scratch.store())
}

fn source(origin: &Store) -> LayoutSource {
    LayoutSource::new(origin.path(), Some("r.io/app:1"))
}

/// The bytes that move while an image is pulled.
fn pull_counting(store: &Store, source: &dyn Source) -> (u64, Result<ampoule_image::Image>) {
    let moved = AtomicU64::new(0);
    let progress = |event: Event<'_>| {
        if let Event::Bytes { count, .. } = event {
            moved.fetch_add(count, Ordering::Relaxed);
        }
    };
    let options = PullOptions {
        progress: &progress,
        ..Default::default()
    };
    let image = store.pull(source, &"r.io/app:1".parse().unwrap(), &options);
    (moved.into_inner(), image)
}

needs!(root, skopeo => all_transports_give_the_same_tree);
fn all_transports_give_the_same_tree() {
    let scratch = Scratch::new();
    let (origin, _) = origin_and_store(&scratch);
    let from = format!("oci:{}:r.io/app:1", text(origin.path()));
    let (oci, saved) = (scratch.path("oci.tar"), scratch.path("saved.tar"));
    let copy = |to: &str| drop(run("skopeo", &["--insecure-policy", "copy", &from, to]));
    copy(&format!("oci-archive:{}:r.io/app:1", text(&oci)));
    copy(&format!("docker-archive:{}:r.io/app:1", text(&saved)));
    run("gzip", &["-k", text(&saved)]);
    let packed = DockerArchive::open(scratch.path("saved.tar.gz"), Some("r.io/app:1")).unwrap();
    assert_eq!(packed.tags(), ["r.io/app:1"]);
    let sources: [&dyn Source; 4] = [
        &source(&origin),
        &OciArchive::open(&oci, None).unwrap(),
        &DockerArchive::open(&saved, None).unwrap(),
        &packed,
    ];
    for source in sources {
        let store = Store::open(scratch.path(&source.name().replace(['/', ':'], "-"))).unwrap();
        let (moved, image) = pull_counting(&store, source);
        let image = image.unwrap();
        assert!(moved > 1_000_000, "{}", source.name());
        let rootfs = store.rootfs(&image).unwrap();
        assert_eq!(rootfs.lower.len(), 3);
        let top = describe(&rootfs.lower[0]);
        assert!(
            top["etc/base"].starts_with("c device 0"),
            "{}",
            source.name()
        );
        let middle = describe(&rootfs.lower[1]);
        assert!(
            middle["etc"].contains("40755 0:0 1600000000"),
            "implied as below: {}",
            middle["etc"]
        );
        // Nothing moves twice.
        assert_eq!(pull_counting(&store, source).0, 0, "{}", source.name());
        assert!(store.verify().unwrap().is_empty());
    }
}

needs!(root => a_collection_after_a_pull_takes_nothing_in_use);
fn a_collection_after_a_pull_takes_nothing_in_use() {
    let scratch = Scratch::new();
    let (origin, store) = origin_and_store(&scratch);
    let image = pull_counting(&store, &source(&origin)).1.unwrap();
    assert_eq!(store.collect().unwrap(), Default::default());
    let rootfs = store.rootfs(&image).unwrap();
    store.untag(&"r.io/app:1".parse().unwrap()).unwrap();
    assert_eq!(
        store.collect().unwrap(),
        Default::default(),
        "a root tree is in use"
    );
    assert!(rootfs.lower.iter().all(|path| path.exists()));
    drop(rootfs);
    let collected = store.collect().unwrap();
    assert_eq!((collected.layers.len(), collected.blobs.len()), (3, 5));
    assert_eq!(
        store.rootfs(&image).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let left = std::fs::read_dir(store.path().join("ampoule/layers"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

needs!(root => pulls_of_one_image_at_once_fetch_it_once);
fn pulls_of_one_image_at_once_fetch_it_once() {
    let scratch = Scratch::new();
    let (origin, store) = origin_and_store(&scratch);
    let size: u64 = store_size(&origin);
    let moved = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (count, image) = pull_counting(&store, &source(&origin));
                store.rootfs(&image.unwrap()).unwrap();
                moved.fetch_add(count, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(moved.into_inner(), size, "each layer is fetched once");
    assert!(store.verify().unwrap().is_empty());
    let left = std::fs::read_dir(store.path().join("ampoule/layers"))
        .unwrap()
        .count();
    assert_eq!(left, 3);
}

fn store_size(origin: &Store) -> u64 {
    let image = origin.image("r.io/app:1", &Platform::host()).unwrap();
    image.manifest().layers.iter().map(|layer| layer.size).sum()
}

/// A source that spoils what another gives.
struct Spoiled<'a, F: Fn(u64, Vec<u8>) -> Vec<u8> + Sync> {
    inner: &'a LayoutSource,
    spoil: F,
}

impl<F: Fn(u64, Vec<u8>) -> Vec<u8> + Sync> Source for Spoiled<'_, F> {
    fn resolve(&self) -> Result<(Descriptor, Vec<u8>)> {
        self.inner.resolve()
    }
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.inner.manifest(descriptor)
    }
    fn open(&self, descriptor: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>> {
        let mut content = Vec::new();
        self.inner
            .open(descriptor, offset)?
            .read_to_end(&mut content)
            .unwrap();
        Ok(Box::new(std::io::Cursor::new((self.spoil)(
            offset, content,
        ))))
    }
    fn name(&self) -> String {
        "spoiled".into()
    }
}

needs!(root => a_cut_off_pull_goes_on_where_it_ended);
fn a_cut_off_pull_goes_on_where_it_ended() {
    let scratch = Scratch::new();
    let (origin, store) = origin_and_store(&scratch);
    let size = store_size(&origin);
    let (inner, given) = (source(&origin), AtomicUsize::new(0));
    let cut = Spoiled {
        inner: &inner,
        spoil: |_, mut content: Vec<u8>| {
            // The largest layer comes in pieces.
            content.truncate(content.len().min(400_000));
            given.fetch_add(1, Ordering::Relaxed);
            content
        },
    };
    let mut moved = 0;
    for attempt in 0.. {
        assert!(attempt < 10, "it makes no progress");
        let (count, image) = pull_counting(&store, &cut);
        moved += count;
        match image {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
        }
        assert!(store.verify().unwrap().is_empty());
    }
    assert_eq!(moved, size, "no byte moves twice");
}

needs!(root => lies_about_content_leave_nothing_behind);
fn lies_about_content_leave_nothing_behind() {
    let scratch = Scratch::new();
    let (origin, store) = origin_and_store(&scratch);
    let inner = source(&origin);
    let flipped = Spoiled {
        inner: &inner,
        spoil: |_, mut content: Vec<u8>| {
            let middle = content.len() / 2;
            content[middle] ^= 1;
            content
        },
    };
    let longer = Spoiled {
        inner: &inner,
        spoil: |_, content: Vec<u8>| [content, vec![0; 4096]].concat(),
    };
    let other = Spoiled {
        inner: &inner,
        spoil: |_, content: Vec<u8>| vec![0; content.len()],
    };
    let liars: [&dyn Source; 3] = [&flipped, &longer, &other];
    for liar in liars {
        let error = pull_counting(&store, liar).1.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Layer),
            "{error}"
        );
        assert!(store.tags().unwrap().is_empty());
        assert!(store.verify().unwrap().is_empty());
        let layers: Vec<_> = std::fs::read_dir(store.path().join("ampoule/layers"))
            .unwrap()
            .collect();
        assert!(layers.is_empty(), "{layers:?}");
    }
    pull_counting(&store, &inner).1.unwrap();
}

needs!(root => a_diff_id_that_does_not_match_is_refused);
fn a_diff_id_that_does_not_match_is_refused() {
    let scratch = Scratch::new();
    let (origin, store) = origin_and_store(&scratch);
    let image = origin.image("r.io/app:1", &Platform::host()).unwrap();
    let config = String::from_utf8(origin.read_blob(image.id(), 1 << 20).unwrap()).unwrap();
    let last = image.config().rootfs.diff_ids[2].to_string();
    let other = Digest::of(Default::default(), b"other").to_string();
    let config = origin.write_document(
        "application/vnd.oci.image.config.v1+json",
        config.replace(&last, &other).as_bytes(),
    );
    let mut manifest = image.manifest().clone();
    manifest.config = config.unwrap();
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let descriptor = origin
        .write_document("application/vnd.oci.image.manifest.v1+json", &bytes)
        .unwrap();
    origin
        .tag(&"r.io/app:1".parse().unwrap(), &descriptor)
        .unwrap();
    assert_eq!(
        pull_counting(&store, &source(&origin))
            .1
            .unwrap_err()
            .kind(),
        ErrorKind::Corrupt
    );
}

needs!(root => events_tell_what_happens);
fn events_tell_what_happens() {
    let scratch = Scratch::new();
    let (origin, store) = origin_and_store(&scratch);
    let words = Mutex::new(Vec::new());
    let progress = |event: Event<'_>| {
        let word = match event {
            Event::Resolved(_) => "resolved",
            Event::Present(_) => "present",
            Event::Started { .. } => "started",
            Event::Stored(_) => "stored",
            Event::Unpacked { .. } => "unpacked",
            _ => return,
        };
        words.lock().unwrap().push(word);
    };
    let options = PullOptions {
        progress: &progress,
        ..Default::default()
    };
    let name = "r.io/app:1".parse().unwrap();
    store.pull(&source(&origin), &name, &options).unwrap();
    store.pull(&source(&origin), &name, &options).unwrap();
    let words = words.into_inner().unwrap();
    let count = |word: &str| words.iter().filter(|other| **other == word).count();
    assert_eq!(
        ["resolved", "started", "stored", "unpacked", "present"].map(count),
        [2, 3, 3, 3, 3]
    );
}
