//! What the API server fills in.

pub(super) mod batch;
pub(super) mod pod;
pub(super) mod service;
pub(super) mod storage;
pub(super) mod workload;

/// Fills a field that is absent or empty.
fn text(field: &mut Option<String>, default: &str) {
    if field.as_deref().is_none_or(str::is_empty) {
        *field = Some(default.to_owned());
    }
}
