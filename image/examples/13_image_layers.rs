//! **The question:** two images share a base; what travels when the second is pulled?
//!
//! **The idea:** an image is a list of layers, each named by the hash of its content. What is present under that name is the same,
//! so it need not be fetched again.
//!
//! **Run it:** `cargo run -p ampoule-image --example 13_image_layers` (as root: files keep their owners)
//!
//! **Check it yourself:** change the base's content between the two images, and see both layers travel.
#![allow(clippy::print_stdout)]

use ampoule_image::{
    ConfigEdit, DiffOptions, Event, LayoutSource, Platform, PullOptions, Reference, Store,
};
use std::error::Error;
use std::path::Path;
use std::sync::Mutex;

fn main() -> Result<(), Box<dyn Error>> {
    let scratch = std::env::temp_dir().join(format!("layers-{}", std::process::id()));
    let result = run(&scratch);
    std::fs::remove_dir_all(&scratch)?;
    result
}

fn run(scratch: &Path) -> Result<(), Box<dyn Error>> {
    let (origin, here) = (
        Store::open(scratch.join("origin"))?,
        Store::open(scratch.join("here"))?,
    );
    make_image(&origin, scratch, "first", &["base", "first"])?;
    make_image(&origin, scratch, "second", &["base", "second"])?;

    let first = pull(&origin, &here, "first")?;
    println!("first:  {} layers travel", first.len());
    assert_eq!(first.len(), 2);

    let second = pull(&origin, &here, "second")?;
    println!("second: {} layer travels, the base is here", second.len());
    assert_eq!(second.len(), 1);
    assert!(!first.contains(&second[0]));

    let third = pull(&origin, &here, "second")?;
    println!("again:  {} travel", third.len());
    assert!(third.is_empty());

    // The two root trees share the directory of the base.
    let lower = |name: &str| -> Result<_, Box<dyn Error>> {
        let image = here.image(name, &Platform::host())?;
        Ok(here.rootfs(&image)?.lower)
    };
    assert_eq!(lower("first")?.last(), lower("second")?.last());
    Ok(())
}

/// An image with one layer for each word.
fn make_image(
    store: &Store,
    scratch: &Path,
    name: &str,
    words: &[&str],
) -> Result<(), Box<dyn Error>> {
    let mut lease = store.lease()?;
    let (mut config, mut layers) = (ConfigEdit::scratch(&Platform::host()), Vec::new());
    for word in words {
        let tree = scratch.join(format!("{name}-{word}"));
        std::fs::create_dir(&tree)?;
        std::fs::write(tree.join(word), word.repeat(1000))?;
        // Times are part of a layer: cut them, or the same files would be another layer each time.
        let options = DiffOptions {
            latest: Some(0),
            ..Default::default()
        };
        let layer = store.layer_from(&tree, &options, &mut lease)?;
        config.step(Default::default(), Some(&layer));
        layers.push(layer.descriptor);
    }
    store.write_image(&config, layers, Some(&name.parse()?))?;
    Ok(())
}

/// Pulls, and tells which blobs moved.
fn pull(from: &Store, to: &Store, name: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let moved = Mutex::new(Vec::new());
    let progress = |event: Event<'_>| {
        if let (Event::Stored(blob), Ok(mut moved)) = (event, moved.lock()) {
            moved.push(blob.digest.short());
        }
    };
    let reference: Reference = name.parse()?;
    let options = PullOptions {
        progress: &progress,
        ..Default::default()
    };
    to.pull(
        &LayoutSource::new(from.path(), Some(name)),
        &reference,
        &options,
    )?;
    Ok(moved.into_inner()?)
}
