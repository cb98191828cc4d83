//! What the running kernel can do, where trying it is dearer than looking.

use std::sync::OnceLock;

/// Whether an overlay takes its layers one by one, in the option `lowerdir+` (kernel 6.5).
pub(crate) fn appends_layers() -> bool {
    release() >= (6, 5)
}

/// Whether detached mounts can be copied, and be put together to trees (kernel 6.15).
pub(crate) fn composes_detached() -> bool {
    release() >= (6, 15)
}

fn release() -> (u32, u32) {
    static RELEASE: OnceLock<(u32, u32)> = OnceLock::new();
    *RELEASE.get_or_init(|| {
        let release = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        let mut numbers = release.split(['.', '-']).map_while(|n| n.parse().ok());
        (
            numbers.next().unwrap_or_default(),
            numbers.next().unwrap_or_default(),
        )
    })
}
