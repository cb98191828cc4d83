//! Manifests, indexes and configurations from anywhere are answered.
#![no_main]

use ampoule_image::{Config, Document};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Document::parse(bytes, None);
    if let Ok(config) = Config::parse(bytes) {
        assert_eq!(config.chain_ids().len(), config.rootfs.diff_ids.len());
    }
});
