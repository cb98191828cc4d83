//! Numbers that look random and follow from a seed.

use jiff::SignedDuration;

/// A stream of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below a bound; zero when the bound is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound.max(1) as u64) as usize
    }

    /// True in so many of a million cases.
    pub fn happens(&mut self, per_million: u64) -> bool {
        self.number() % 1_000_000 < per_million
    }

    /// A duration between half and one and a half of the usual.
    pub fn around(&mut self, usual: SignedDuration) -> SignedDuration {
        let millis = usual.as_millis().clamp(0, i128::from(u32::MAX)) as u64;
        let spread = if millis == 0 {
            0
        } else {
            self.number() % millis
        };
        SignedDuration::from_millis((millis / 2 + spread) as i64)
    }
}
