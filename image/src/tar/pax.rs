//! PAX extended headers: records that override what the header block says.

use super::{TarError, Time};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The records that this reader understands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<Time>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: SparseRecords,
}

/// GNU's three ways to say that a file has holes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SparseRecords {
    pub version: Option<(u64, u64)>,
    pub name: Option<Vec<u8>>,
    pub real_size: Option<u64>,
    /// Offsets and lengths in turn.
    pub map: Option<Vec<u64>>,
}

impl Pax {
    /// Takes in the records of one header; a later one overrides an earlier one.
    pub(super) fn read(&mut self, mut text: &[u8]) -> Result<(), TarError> {
        while !text.is_empty() {
            let (record, rest) = split_record(text)
                .ok_or_else(|| TarError::invalid("a record of its PAX header is malformed"))?;
            text = rest;
            let equals = record.iter().position(|byte| *byte == b'=');
            let (key, value) = record
                .split_at(equals.ok_or_else(|| TarError::invalid("a PAX record has no '='"))?);
            self.take(key, &value[1..])?;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let has_nul = value.contains(&0);
        if has_nul && matches!(key, b"path" | b"linkpath" | b"GNU.sparse.name") {
            return Err(TarError::invalid("its name holds a NUL"));
        }
        match key {
            b"path" => self.path = Some(value.to_vec()).filter(|path| !path.is_empty()),
            b"linkpath" => self.link = Some(value.to_vec()).filter(|link| !link.is_empty()),
            b"size" => self.size = optional(value)?,
            b"uid" => self.uid = optional(value)?,
            b"gid" => self.gid = optional(value)?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => {
                self.mtime =
                    Some(time(value).ok_or_else(|| TarError::invalid("its PAX mtime is no time"))?)
            }
            _ => return self.take_extension(key, value),
        }
        Ok(())
    }

    fn take_extension(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.set_xattr(name, value.to_vec());
        } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let decoded = base64_engine()
                .decode(value)
                .map_err(|_| TarError::invalid("its LIBARCHIVE.xattr is not base64"))?;
            self.set_xattr(name, decoded);
        } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
            self.sparse.take(name, value)?;
        }
        // All others (atime, uname, comment, …) change nothing that a layer is made of.
        Ok(())
    }

    fn set_xattr(&mut self, name: &[u8], value: Vec<u8>) {
        self.xattrs.retain(|(other, _)| other != name);
        self.xattrs.push((name.to_vec(), value));
    }
}

impl SparseRecords {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), TarError> {
        let (major, minor) = self.version.unwrap_or((0, 0));
        match name {
            b"major" => self.version = Some((decimal(value)?, minor)),
            b"minor" => self.version = Some((major, decimal(value)?)),
            b"name" => self.name = Some(value.to_vec()),
            b"realsize" | b"size" => self.real_size = Some(decimal(value)?),
            b"offset" | b"numbytes" => self.map.get_or_insert_default().push(decimal(value)?),
            b"map" if value.is_empty() => self.map = Some(Vec::new()),
            b"map" => {
                self.map = Some(
                    value
                        .split(|byte| *byte == b',')
                        .map(decimal)
                        .collect::<Result<_, _>>()?,
                )
            }
            // numblocks: the map's own length says it.
            _ => {}
        }
        Ok(())
    }
}

/// libarchive writes no padding; others do.
fn base64_engine() -> GeneralPurpose {
    let config = GeneralPurposeConfig::new();
    let config = config.with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&STANDARD, config)
}

/// `LENGTH KEY=VALUE\n`, where the length counts all of it.
fn split_record(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = text.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&text[..space]).ok()?).ok()?;
    if length > text.len() || length < space + 3 || text[length - 1] != b'\n' {
        return None;
    }
    Some((&text[space + 1..length - 1], &text[length..]))
}

pub(super) fn decimal(text: &[u8]) -> Result<u64, TarError> {
    let digits = std::str::from_utf8(text)
        .ok()
        .filter(|digits| !digits.starts_with('+'));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| TarError::invalid("a number in its PAX header is malformed"))
}

/// An empty value takes back what a global header said.
fn optional(value: &[u8]) -> Result<Option<u64>, TarError> {
    match value {
        b"" => Ok(None),
        _ => decimal(value).map(Some),
    }
}

/// `-?SECONDS[.FRACTION]`; a fraction finer than nanoseconds is cut.
fn time(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    match (negative, nanoseconds) {
        (true, 1..) => Some(Time {
            seconds: seconds.checked_sub(1)?,
            nanoseconds: 1_000_000_000 - nanoseconds,
        }),
        _ => Some(Time {
            seconds,
            nanoseconds,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &str) -> String {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while format!("{length}{rest}").len() != length {
            length += 1;
        }
        format!("{length}{rest}")
    }

    #[test]
    fn records_override_in_order() {
        let mut pax = Pax::default();
        let text = [
            record("path", "first"),
            record("path", "a=b\nc"),
            record("size", "8589934592"),
            record("mtime", "-1.5"),
            record("SCHILY.xattr.user.a", "1"),
            record("LIBARCHIVE.xattr.user.a", "Mg"),
            record("comment", "ignored"),
        ];
        pax.read(text.concat().as_bytes()).unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a=b\nc"[..]));
        assert_eq!(pax.size, Some(1 << 33));
        let half_before = Time {
            seconds: -2,
            nanoseconds: 500_000_000,
        };
        assert_eq!(pax.mtime, Some(half_before));
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"2".to_vec())]);
    }

    #[test]
    fn malformed_records_are_refused() {
        for text in [
            "5 a=\n\n",
            "x",
            "3 a",
            "9999999 a=b\n",
            "6 a=b\n6 a=b",
            "+6 a=b\n",
            "4 a\n",
            "11 size=-1\n",
            "11 uid=1x2\n",
        ] {
            assert!(Pax::default().read(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(
            Pax::default()
                .read(record("path", "a\0b").as_bytes())
                .is_err()
        );
    }
}
