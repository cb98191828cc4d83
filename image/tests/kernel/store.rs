//! The content store under concurrency, interruption and damage.

use crate::scratch::{Scratch, run, skopeo, store_image, text, umoci};
use ampoule_image::{Algorithm, Descriptor, Digest, ErrorKind, Ingest, Ingestion, Platform, Store};
use needs::needs;
use std::io::Read;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

fn descriptor(content: &[u8]) -> Descriptor {
    let digest = Digest::of(Algorithm::Sha256, content);
    Descriptor::new("application/octet-stream", digest, content.len() as u64)
}

fn wanted(store: &Store, descriptor: &Descriptor) -> Box<Ingest> {
    match store.ingest(descriptor).unwrap() {
        Ingestion::Wanted(ingest) => ingest,
        Ingestion::Present => panic!("the blob is there already"),
    }
}

needs!(=> an_interrupted_ingest_goes_on);
fn an_interrupted_ingest_goes_on() {
    let scratch = Scratch::new();
    let (store, content) = (scratch.store(), b"0123456789");
    let descriptor = descriptor(content);
    wanted(&store, &descriptor).write(&content[..4]).unwrap();
    let mut ingest = wanted(&store, &descriptor);
    assert_eq!(ingest.length(), 4);
    let mut there = Vec::new();
    ingest.reopen().unwrap().read_to_end(&mut there).unwrap();
    assert_eq!(there, &content[..4]);
    ingest.write(&content[4..]).unwrap();
    ingest.commit().unwrap();
    assert_eq!(store.read_blob(&descriptor.digest, 100).unwrap(), content);
    assert!(matches!(
        store.ingest(&descriptor).unwrap(),
        Ingestion::Present
    ));
}

needs!(=> lies_about_length_and_digest_are_refused);
fn lies_about_length_and_digest_are_refused() {
    let scratch = Scratch::new();
    let (store, descriptor) = (scratch.store(), descriptor(b"0123456789"));
    let mut ingest = wanted(&store, &descriptor);
    assert_eq!(
        ingest.write(b"0123456789x").unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    drop(ingest);

    let mut ingest = wanted(&store, &descriptor);
    assert_eq!(ingest.length(), 0);
    ingest.write(b"01234").unwrap();
    assert_eq!(ingest.commit().unwrap_err().kind(), ErrorKind::Corrupt);

    let mut ingest = wanted(&store, &descriptor);
    assert_eq!(
        ingest.length(),
        5,
        "what was there is not lost by an early end"
    );
    ingest.write(b"xxxxx").unwrap();
    assert_eq!(ingest.commit().unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(
        wanted(&store, &descriptor).length(),
        0,
        "wrong content is not kept"
    );
    assert!(!store.has_blob(&descriptor.digest));
}

needs!(=> of_many_writers_one_fetches);
fn of_many_writers_one_fetches() {
    let scratch = Scratch::new();
    let (store, content) = (scratch.store(), vec![7; 100_000]);
    let descriptor = descriptor(&content);
    let (fetched, barrier) = (AtomicUsize::new(0), Barrier::new(8));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                if let Ingestion::Wanted(mut ingest) = store.ingest(&descriptor).unwrap() {
                    ingest.write(&content).unwrap();
                    ingest.commit().unwrap();
                    fetched.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(fetched.load(Ordering::Relaxed), 1);
    assert_eq!(
        store.read_blob(&descriptor.digest, 1 << 20).unwrap(),
        content
    );
    let left = std::fs::read_dir(store.path().join("ampoule/ingest"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

needs!(=> concurrent_tags_are_all_kept);
fn concurrent_tags_are_all_kept() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let descriptor = store_image(&store, "first", &[]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, descriptor) = (&store, &descriptor);
            scope.spawn(move || {
                for number in 0..10 {
                    let name = format!("r.io/a:t{thread}-{number}").parse().unwrap();
                    store.tag(&name, descriptor).unwrap();
                }
            });
        }
    });
    assert_eq!(store.tags().unwrap().len(), 41);
    store.untag(&"first".parse().unwrap()).unwrap();
    assert_eq!(
        store.untag(&"first".parse().unwrap()).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

needs!(=> names_digests_and_ids_resolve);
fn names_digests_and_ids_resolve() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let one = store_image(&store, "one:1", &[b"layer".to_vec()]);
    let id = *store.image("one:1", &Platform::host()).unwrap().id();
    for name in [
        "one:1",
        "docker.io/library/one:1",
        &format!("one@{}", one.digest),
        &one.digest.to_string(),
        &one.digest.short(),
        &id.short(),
    ] {
        assert_eq!(store.resolve(name).unwrap().digest, one.digest, "{name}");
    }
    for name in ["one", "two", "abc", "", "../.."] {
        assert_eq!(
            store.resolve(name).unwrap_err().kind(),
            ErrorKind::NotFound,
            "{name}"
        );
    }
}

needs!(=> the_collector_takes_what_nothing_reaches);
fn the_collector_takes_what_nothing_reaches() {
    let scratch = Scratch::new();
    let store = scratch.store();
    store_image(&store, "kept", &[b"shared".to_vec(), b"kept".to_vec()]);
    store_image(&store, "gone", &[b"shared".to_vec(), b"gone".to_vec()]);
    assert!(store.collect().unwrap().blobs.is_empty());
    store.untag(&"gone".parse().unwrap()).unwrap();
    let collected = store.collect().unwrap();
    // Its manifest, its configuration and the layer that was its alone.
    assert_eq!(collected.blobs.len(), 3);
    assert!(
        collected
            .blobs
            .contains(&Digest::of(Algorithm::Sha256, b"gone"))
    );
    assert!(store.image("kept", &Platform::host()).is_ok());
    assert!(store.verify().unwrap().is_empty());
}

needs!(=> the_collector_spares_what_is_leased_or_being_written);
fn the_collector_spares_what_is_leased_or_being_written() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let descriptor = store_image(&store, "used", &[b"layer".to_vec()]);
    store.untag(&"used".parse().unwrap()).unwrap();
    let mut lease = store.lease().unwrap();
    lease.add(&descriptor.digest).unwrap();
    let partial = self::descriptor(b"partial");
    let mut ingest = wanted(&store, &partial);
    ingest.write(b"par").unwrap();
    let mut writer = store.blob_writer(Algorithm::Sha256).unwrap();
    std::io::Write::write_all(&mut writer, b"unnamed").unwrap();
    let pending = store.new_layer().unwrap();

    assert_eq!(store.collect().unwrap(), Default::default());
    assert!(pending.path().exists());
    assert!(store.image_at(&descriptor, &Platform::host()).is_ok());

    drop((lease, ingest, pending));
    let collected = store.collect().unwrap();
    assert_eq!((collected.blobs.len(), collected.partial), (3, 1));
    writer.commit().unwrap();
    assert!(store.has_blob(&Digest::of(Algorithm::Sha256, b"unnamed")));
}

needs!(=> damage_is_found);
fn damage_is_found() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let digest = store.write_blob(Algorithm::Sha512, b"content").unwrap();
    store.write_blob(Algorithm::Sha256, b"other").unwrap();
    std::fs::write(store.blob_path(&digest), b"c0ntent").unwrap();
    let damaged = store.verify().unwrap();
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].expected, digest);
    assert_eq!(
        store.read_blob(&digest, 100).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    store.remove_blob(&digest).unwrap();
    assert!(store.verify().unwrap().is_empty());
}

needs!(skopeo, umoci => other_tools_read_the_layout);
fn other_tools_read_the_layout() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let layer = std::fs::read("/dev/null").unwrap();
    let empty = [layer, vec![0; 1024]].concat();
    let descriptor = store_image(&store, "r.io/team/app:1.0", &[empty]);
    let source = format!("oci:{}:r.io/team/app:1.0", text(store.path()));
    let manifest = run("skopeo", &["inspect", "--raw", &source]);
    assert_eq!(
        Digest::of(Algorithm::Sha256, manifest.as_bytes()),
        descriptor.digest
    );
    let list = run("umoci", &["ls", "--layout", text(store.path())]);
    assert!(list.contains("r.io/team/app:1.0"), "{list}");
    // What skopeo adds, we read.
    let copy = format!("oci:{}:r.io/team/app:2.0", text(store.path()));
    run("skopeo", &["--insecure-policy", "copy", &source, &copy]);
    assert_eq!(
        store.resolve("r.io/team/app:2.0").unwrap().digest,
        descriptor.digest
    );
}
