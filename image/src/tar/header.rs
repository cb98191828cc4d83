//! The 512 bytes in front of each entry.

use super::{BLOCK, TarError, Time};

/// A header block whose checksum is right.
pub(super) struct Header<'a>(pub(super) &'a [u8; BLOCK]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl<'a> Header<'a> {
    /// Checks the sum of the bytes, in both ways in which it was ever computed.
    pub(super) fn parse(block: &'a [u8; BLOCK]) -> Result<Self, TarError> {
        let expected = octal(&block[148..156])?;
        let counted = block[..148].iter().chain(&block[156..]);
        let unsigned: u64 = counted.clone().map(|byte| u64::from(*byte)).sum::<u64>() + 8 * 0x20;
        let signed: i64 = counted.map(|byte| i64::from(*byte as i8)).sum::<i64>() + 8 * 0x20;
        if expected != unsigned && i64::try_from(expected) != Ok(signed) {
            return Err(TarError::invalid("the checksum of its header is wrong"));
        }
        Ok(Self(block))
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn name(&self) -> Vec<u8> {
        let prefix: &[u8] = match self.dialect() {
            Dialect::Ustar => &self.0[345..500],
            Dialect::Star => &self.0[345..476],
            // There GNU keeps times and the sparse map.
            Dialect::Gnu | Dialect::V7 => &[],
        };
        let (prefix, name) = (until_nul(prefix), until_nul(&self.0[..100]));
        match prefix {
            [] => name.to_vec(),
            _ => [prefix, b"/", name].concat(),
        }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        until_nul(&self.0[157..257]).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u32, TarError> {
        Ok((unsigned(&self.0[100..108])? & 0o7777) as u32)
    }

    pub(super) fn uid(&self) -> Result<u64, TarError> {
        unsigned(&self.0[108..116])
    }

    pub(super) fn gid(&self) -> Result<u64, TarError> {
        unsigned(&self.0[116..124])
    }

    pub(super) fn size(&self) -> Result<u64, TarError> {
        unsigned(&self.0[124..136])
    }

    pub(super) fn mtime(&self) -> Result<Time, TarError> {
        let seconds = number(&self.0[136..148])?;
        Ok(Time {
            seconds,
            nanoseconds: 0,
        })
    }

    pub(super) fn device(&self) -> Result<(u32, u32), TarError> {
        if self.dialect() == Dialect::V7 {
            return Ok((0, 0));
        }
        let part = |field: &[u8]| {
            u32::try_from(unsigned(field)?)
                .map_err(|_| TarError::invalid("its device number is too large"))
        };
        Ok((part(&self.0[329..337])?, part(&self.0[337..345])?))
    }

    fn dialect(&self) -> Dialect {
        match (&self.0[257..263], &self.0[263..265], &self.0[508..512]) {
            (b"ustar\0", b"00", b"tar\0") => Dialect::Star,
            (b"ustar\0", _, _) => Dialect::Ustar,
            (b"ustar ", b" \0", _) => Dialect::Gnu,
            _ => Dialect::V7,
        }
    }
}

pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

pub(super) fn unsigned(field: &[u8]) -> Result<u64, TarError> {
    u64::try_from(number(field)?)
        .map_err(|_| TarError::invalid("a number in its header is negative"))
}

/// Octal digits, or with the highest bit set a binary number (GNU, star) in two's complement.
fn number(field: &[u8]) -> Result<i64, TarError> {
    let Some(first) = field.first().filter(|byte| **byte & 0x80 != 0) else {
        let value = octal(field)?;
        return i64::try_from(value).map_err(|_| too_large());
    };
    let negative = first & 0x40 != 0;
    let fill: u8 = if negative { 0xff } else { 0 };
    let mut value = i64::from(fill as i8);
    for (index, byte) in field.iter().enumerate() {
        // The first byte carries the mark and the sign.
        let byte = if index == 0 {
            (byte & 0x7f) | (fill & 0x80)
        } else {
            *byte
        };
        let shifted = value.checked_mul(256).ok_or_else(too_large)?;
        value = shifted | i64::from(byte);
    }
    Ok(value)
}

fn too_large() -> TarError {
    TarError::invalid("a number in its header is too large")
}

/// Digits between spaces, ended by a space or NUL; an empty field is 0.
fn octal(field: &[u8]) -> Result<u64, TarError> {
    let text = until_nul(field).trim_ascii();
    text.iter().try_fold(0u64, |value, byte| match byte {
        b'0'..=b'7' => Ok(value << 3 | u64::from(byte - b'0')),
        _ => Err(TarError::invalid("a number in its header is not octal")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_all_spellings() {
        for (field, expect) in [
            (&b"0000644\0"[..], 0o644),
            (b" 644 \0\0\0", 0o644),
            (b"\0\0\0\0", 0),
            (b"777777777777", 0o777777777777),
            (b"\x80\0\0\0\0\0\0\x01\0\0\0\0", 1 << 32),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        ] {
            assert_eq!(number(field).unwrap(), expect, "{field:?}");
        }
        assert!(number(b"12x").is_err());
        assert!(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
    }
}
