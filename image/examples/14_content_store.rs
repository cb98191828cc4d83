//! **The question:** how can a store of gigabytes stay correct when anything may die at any moment?
//!
//! **The idea:** a blob is written under another name, hashed on the way, and renamed when the hash is right. So whatever has its
//! final name is whole, and the name says what it must contain. What is in use is said by locks, which the kernel ends with their
//! owner.
//!
//! **Run it:** `cargo run -p ampoule-image --example 14_content_store`
//!
//! **Try to break it:** change a byte of a blob by hand, and let `verify` find it, as this program does.
#![allow(clippy::print_stdout)]

use ampoule_image::{Algorithm, Descriptor, Digest, ErrorKind, Ingestion, Store};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let scratch = std::env::temp_dir().join(format!("content-{}", std::process::id()));
    let result = run(&scratch);
    std::fs::remove_dir_all(&scratch)?;
    result
}

fn run(scratch: &Path) -> Result<(), Box<dyn Error>> {
    let store = Store::open(scratch)?;
    let content = b"the content is the name";
    let wanted = Descriptor::new(
        "text/plain",
        Digest::of(Algorithm::Sha256, content),
        content.len() as u64,
    );

    // A download that is cut off: what has arrived stays, under a name that nobody reads.
    if let Ingestion::Wanted(mut blob) = store.ingest(&wanted)? {
        blob.write(&content[..10])?;
    }
    assert!(!store.has_blob(&wanted.digest));

    // The next attempt goes on where that one ended.
    if let Ingestion::Wanted(mut blob) = store.ingest(&wanted)? {
        println!("{} of {} bytes are there", blob.length(), wanted.size);
        assert_eq!(blob.length(), 10);
        blob.write(&content[10..])?;
        blob.commit()?;
    }
    assert!(store.has_blob(&wanted.digest));

    // Content that is something else never gets the name.
    let other = Descriptor::new("text/plain", Digest::of(Algorithm::Sha256, b"expected"), 8);
    if let Ingestion::Wanted(mut blob) = store.ingest(&other)? {
        blob.write(b"received")?;
        let refused = blob.commit().expect_err("it is not what was expected");
        println!("{refused}");
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
    }

    // A lease keeps what no tag names; without one, the collector takes it.
    let mut lease = store.lease()?;
    lease.add(&wanted.digest)?;
    assert!(store.collect()?.blobs.is_empty());
    drop(lease);

    std::fs::write(store.blob_path(&wanted.digest), "the content was changed")?;
    let damaged = store.verify()?;
    println!(
        "verify: {} is now {}",
        damaged[0].expected.short(),
        damaged[0].found.short()
    );
    assert_eq!(damaged.len(), 1);
    assert_eq!(store.collect()?.blobs, [wanted.digest]);
    Ok(())
}
