//! A seccomp profile in JSON: read, resolved and compiled, then asked. `cargo +nightly fuzz run profile`.

#![no_main]

use ampoule_privileges::capabilities::CapabilitySet;
use ampoule_privileges::seccomp::{Arch, Host, KernelVersion, Template};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(template) = Template::from_json(text) else {
        return;
    };
    let host = Host {
        arch: Arch::X86_64,
        capabilities: CapabilitySet::DOCKER,
        kernel: KernelVersion { major: 6, minor: 1 },
    };
    let Ok(filter) = template.resolve(&host).compile() else {
        return;
    };
    for number in (0..600).chain([0x4000_0000, u32::MAX]) {
        filter.decide(Arch::X86_64, number, [0; 6]);
    }
});
