//! Dockerfiles from anywhere are answered, and words too.
#![no_main]

use ampoule_image::dockerfile::{Dockerfile, expand};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(file) = Dockerfile::parse("Dockerfile", text) {
        let _ = file.needed(file.stages.len() - 1);
    }
    let _ = expand(text, '\\', &|name| Some(name.to_string()));
});
