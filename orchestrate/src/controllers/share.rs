//! A number of pods, given as such or as a share of them.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Where a fraction of a pod goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the whole pod above: what may be there too much, or must be there.
    Up,
    /// To the whole pod below: what may be missing.
    Down,
}

/// The number that `share` of `total` is: `25%` of 10 is 3 rounded up, 2 rounded down. What is no number is none.
pub fn share_of(share: Option<&IntOrString>, total: i32, rounding: Rounding) -> i32 {
    match share {
        None => 0,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            let percent: i64 = text
                .strip_suffix('%')
                .and_then(|n| n.parse().ok())
                .unwrap_or(0);
            let product = i64::from(total).saturating_mul(percent);
            let number = match rounding {
                Rounding::Up => product.saturating_add(99) / 100,
                Rounding::Down => product / 100,
            };
            i32::try_from(number).unwrap_or(i32::MAX)
        }
    }
}
