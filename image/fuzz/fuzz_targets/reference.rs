//! A reference that is read is written and read as the same.
#![no_main]

use ampoule_image::{Digest, Platform, Reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        assert_eq!(reference.familiar().parse::<Reference>().unwrap(), reference);
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    let _ = text.parse::<Platform>();
});
