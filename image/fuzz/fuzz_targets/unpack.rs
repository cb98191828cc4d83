//! Whatever an archive holds, nothing appears beside the directory into which it is unpacked.
#![no_main]

use ampoule_image::{Ownership, UnpackLimits, UnpackOptions, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|archive: &[u8]| {
    let scratch = std::env::temp_dir().join(format!("ampoule-fuzz-{}", std::process::id()));
    let layer = scratch.join("layer");
    std::fs::create_dir_all(&layer).unwrap();
    let options = UnpackOptions {
        ownership: Ownership::Caller,
        limits: UnpackLimits { bytes: 1 << 20, entries: 1000 },
    };
    if let Ok(unpacked) = unpack(archive, &layer, &options) {
        let _ = unpacked.settle(&layer, &[]);
    }
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 1);
    let _ = std::process::Command::new("chmod").arg("-R").arg("u+rwx").arg(&scratch).status();
    std::fs::remove_dir_all(&scratch).unwrap();
});
