//! How a layer is packed, told by its first bytes: media types are often wrong, and Docker's say nothing of zstd.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, Read};

/// A window above this would take more memory than a pull may: what `zstd` refuses too without `--long=28` or more.
const LARGEST_WINDOW_LOG: u32 = 27;

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// With gzip, in one or many members.
    Gzip,
    /// With Zstandard, in one or many frames.
    Zstd,
}

impl Compression {
    /// Tells by the first bytes; four of them suffice.
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, with which zstd:chunked may begin.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    pub(crate) fn decoder<'a>(self, packed: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::None => Box::new(packed),
            Self::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
                decoder.window_log_max(LARGEST_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}
