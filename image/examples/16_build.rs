//! **The question:** what does a Dockerfile make, and why is the second build so quick?
//!
//! **The idea:** each step is a function of the tree before it, its own text and the content it copies. The hash of these names its
//! layer; if a layer of that name is there, the step is done.
//!
//! **Run it:** `cargo run -p ampoule-image --example 16_build` (as root)
//!
//! **Check it yourself:** change the copied file and see from which step on the build is done again.
#![allow(clippy::print_stdout)]

use ampoule_image::dockerfile::Dockerfile;
use ampoule_image::{BuildOptions, BuildStep, Image, Platform, Reference, Store};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Mutex;

const FILE: &str = "
FROM scratch AS files
WORKDIR /app
COPY greeting.txt hello.txt

FROM scratch
COPY --from=files /app /srv
ENV LANGUAGE=en
CMD [\"/srv/hello\"]
";

fn main() -> Result<(), Box<dyn Error>> {
    let scratch = std::env::temp_dir().join(format!("build-{}", std::process::id()));
    let result = run(&scratch);
    std::fs::remove_dir_all(&scratch)?;
    result
}

fn run(scratch: &Path) -> Result<(), Box<dyn Error>> {
    let (store, context) = (Store::open(scratch.join("store"))?, scratch.join("context"));
    std::fs::create_dir(&context)?;
    std::fs::write(context.join("greeting.txt"), "hello")?;

    let (image, done) = build(&store, &context)?;
    println!(
        "first build: {done} steps done, image {}",
        image.id().short()
    );
    assert_eq!(done, 3);
    let rootfs = store.rootfs(&image)?;
    assert_eq!(
        std::fs::read_to_string(rootfs.lower[0].join("srv/hello.txt"))?,
        "hello"
    );
    assert_eq!(image.config().run.cmd, ["/srv/hello"]);

    let (again, done) = build(&store, &context)?;
    println!("second: {done} steps done");
    assert_eq!((again.id(), done), (image.id(), 0));

    std::fs::write(context.join("greeting.txt"), "changed")?;
    let (changed, done) = build(&store, &context)?;
    println!("changed: {done} steps done");
    assert_eq!(done, 2);
    assert_ne!(changed.id(), image.id());

    let error = Dockerfile::parse("Dockerfile", "FROM scratch\nCOPPY a b")
        .expect_err("no such instruction");
    println!("{error}");
    assert!(error.to_string().ends_with("did you mean COPY?"));
    Ok(())
}

/// Builds, and tells how many steps were not in the cache.
fn build(store: &Store, context: &Path) -> Result<(Image, usize), Box<dyn Error>> {
    let (none, no_files) = (BTreeMap::new(), BTreeMap::new());
    let done = Mutex::new(0);
    let step = |step: BuildStep<'_>| {
        println!(
            "  {:6} {}",
            if step.cached { "cached" } else { "done" },
            step.text
        );
        if let Ok(mut done) = done.lock() {
            *done += usize::from(!step.cached);
        }
    };
    let images = |name: &Reference, platform: &Platform| store.image(&name.to_string(), platform);
    let options = BuildOptions {
        context,
        target: None,
        arguments: &none,
        labels: &none,
        secrets: &no_files,
        images: &images,
        executor: None,
        cache: true,
        latest: Some(0),
        step: &step,
    };
    let name: Reference = "example/greeting:1".parse()?;
    let image = store.build(&Dockerfile::parse("Dockerfile", FILE)?, &[&name], &options)?;
    Ok((image, done.into_inner()?))
}
