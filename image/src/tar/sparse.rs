//! Maps of sparse files: where in the file each stretch of stored data belongs.

use super::{BLOCK, LARGEST_EXTENSION, TarError, header::unsigned};

/// A stretch of data; everything between stretches is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub offset: u64,
    pub length: u64,
}

/// No map may have more entries: some 1 MiB of text in the PAX forms.
const MOST_SEGMENTS: usize = LARGEST_EXTENSION as usize / 4;

/// Pairs of numbers become segments that rise, do not overlap, end within the file and hold exactly the stored data.
pub(super) fn segments(
    numbers: &[u64],
    real_size: u64,
    stored: u64,
) -> Result<Vec<Segment>, TarError> {
    let broken = || TarError::invalid("its sparse map is malformed");
    if !numbers.len().is_multiple_of(2) || numbers.len() / 2 > MOST_SEGMENTS {
        return Err(broken());
    }
    let (mut end, mut sum) = (0u64, 0u64);
    let mut segments = Vec::with_capacity(numbers.len() / 2);
    for pair in numbers.chunks(2) {
        let (offset, length) = (pair[0], pair[1]);
        if offset < end {
            return Err(broken());
        }
        end = offset.checked_add(length).ok_or_else(broken)?;
        sum = sum.checked_add(length).ok_or_else(broken)?;
        segments.push(Segment { offset, length });
    }
    match end <= real_size && sum == stored {
        true => Ok(segments),
        false => Err(broken()),
    }
}

/// The part of the old GNU map that stands in a block, as numbers, and whether another block follows.
pub(super) fn old_gnu_map(
    block: &[u8; BLOCK],
    first: bool,
    numbers: &mut Vec<u64>,
) -> Result<bool, TarError> {
    let (start, count, more) = if first { (386, 4, 482) } else { (0, 21, 504) };
    for index in 0..2 * count {
        let field = &block[start + 12 * index..][..12];
        // The first empty pair ends the map.
        if field[0] == 0 && index % 2 == 0 {
            break;
        }
        numbers.push(unsigned(field)?);
    }
    if numbers.len() > 2 * MOST_SEGMENTS {
        return Err(TarError::invalid("its sparse map is too large"));
    }
    Ok(block[more] != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_checked() {
        let good = segments(&[0, 512, 1024, 512, 4096, 0], 4096, 1024).unwrap();
        assert_eq!(
            good[1],
            Segment {
                offset: 1024,
                length: 512
            }
        );
        for (numbers, real_size, stored) in [
            (&[0, 512, 256, 512][..], 4096, 1024),
            (&[0], 1, 0),
            (&[0, 512], 511, 512),
            (&[0, 512], 512, 100),
            (&[u64::MAX, 1], u64::MAX, 1),
            (&[1, u64::MAX], u64::MAX, u64::MAX),
        ] {
            assert!(segments(numbers, real_size, stored).is_err(), "{numbers:?}");
        }
    }
}
