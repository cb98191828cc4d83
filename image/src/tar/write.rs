//! Writes archives, the same bytes for the same tree: ustar headers, and PAX headers where ustar has no room.

use super::{BLOCK, Entry, Kind, Time};
use std::io::{self, Read, Write};

/// What fits into a header's fields.
const LARGEST_OCTAL_7: u64 = 0o7777777;
const LARGEST_OCTAL_11: u64 = 0o77777777777;

/// Writes entries one after another.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    stream: W,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(stream: W) -> Self {
        Self { stream }
    }

    /// Writes an entry with its data, which must be `entry.size` bytes.
    pub(crate) fn entry(&mut self, entry: &Entry, data: &mut dyn Read) -> io::Result<()> {
        let records = records(entry);
        if !records.is_empty() {
            let extension = Entry {
                name: b"PaxHeaders".to_vec(),
                size: records.len() as u64,
                ..Entry::plain(Kind::File)
            };
            self.stream.write_all(&block(&extension, b'x'))?;
            self.stream.write_all(&records)?;
            self.pad(extension.size)?;
        }
        self.stream.write_all(&block(entry, flag(entry.kind)))?;
        if entry.kind == Kind::File {
            let copied = io::copy(&mut data.take(entry.size), &mut self.stream)?;
            // A file that shrinks while it is read still fills what its header has promised.
            io::copy(
                &mut io::repeat(0).take(entry.size - copied),
                &mut self.stream,
            )?;
            self.pad(entry.size)?;
        }
        Ok(())
    }

    /// Writes the two empty blocks that end an archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.stream.write_all(&[0; 2 * BLOCK])?;
        Ok(self.stream)
    }

    fn pad(&mut self, length: u64) -> io::Result<()> {
        let rest = (length % BLOCK as u64) as usize;
        match rest {
            0 => Ok(()),
            rest => self.stream.write_all(&[0; BLOCK][rest..]),
        }
    }
}

impl Entry {
    /// An entry of root's, without a name.
    pub(crate) fn plain(kind: Kind) -> Self {
        Self {
            name: Vec::new(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            size: 0,
            link: Vec::new(),
            major: 0,
            minor: 0,
            xattrs: Vec::new(),
            sparse: None,
        }
    }
}

fn flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Character => b'3',
        Kind::Block => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

fn block(entry: &Entry, flag: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block[..100], &entry.name);
    octal(&mut block[100..108], entry.mode.into());
    octal(&mut block[108..116], entry.uid);
    octal(&mut block[116..124], entry.gid);
    octal(
        &mut block[124..136],
        if entry.kind == Kind::File {
            entry.size
        } else {
            0
        },
    );
    octal(
        &mut block[136..148],
        u64::try_from(entry.mtime.seconds).unwrap_or(0),
    );
    block[156] = flag;
    put(&mut block[157..257], &entry.link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut block[329..337], entry.major.into());
    octal(&mut block[337..345], entry.minor.into());
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// What does not fit is cut, and stands in the PAX header whole.
fn put(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let limit = 1 << (3 * digits);
    let value = if value < limit { value } else { 0 };
    field[..digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
}

/// In a fixed order, so that the same entry gives the same bytes.
fn records(entry: &Entry) -> Vec<u8> {
    let mut all = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| record(&mut all, key, value);
    if entry.gid > LARGEST_OCTAL_7 {
        add(b"gid", entry.gid.to_string().as_bytes());
    }
    if entry.link.len() > 100 {
        add(b"linkpath", &entry.link);
    }
    let Time {
        seconds,
        nanoseconds,
    } = entry.mtime;
    if nanoseconds > 0 || seconds < 0 || seconds as u64 > LARGEST_OCTAL_11 {
        add(b"mtime", time(entry.mtime).as_bytes());
    }
    if entry.name.len() > 100 {
        add(b"path", &entry.name);
    }
    if entry.size > LARGEST_OCTAL_11 {
        add(b"size", entry.size.to_string().as_bytes());
    }
    if entry.uid > LARGEST_OCTAL_7 {
        add(b"uid", entry.uid.to_string().as_bytes());
    }
    for (name, value) in &entry.xattrs {
        add(&[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    all
}

/// Seconds count forwards from a whole number, which may be negative; the text counts from zero.
fn time(time: Time) -> String {
    let (seconds, nanoseconds) = (time.seconds, time.nanoseconds);
    let text = match (seconds, nanoseconds) {
        (seconds, 0) => return seconds.to_string(),
        (0.., _) => format!("{seconds}.{nanoseconds:09}"),
        _ => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
    };
    text.trim_end_matches('0').to_string()
}

fn record(all: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    // The length counts its own digits.
    while length != rest + length.to_string().len() {
        length += 1;
    }
    all.extend_from_slice(format!("{length} ").as_bytes());
    all.extend_from_slice(key);
    all.push(b'=');
    all.extend_from_slice(value);
    all.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;
    use proptest::prelude::*;

    fn round_trip(entry: &Entry, data: &[u8]) -> (Entry, Vec<u8>) {
        let mut writer = Writer::new(Vec::new());
        writer.entry(entry, &mut &data[..]).unwrap();
        let archive = writer.finish().unwrap();
        let mut reader = Reader::new(&archive[..]);
        let read = reader.entry().unwrap().unwrap();
        let mut content = Vec::new();
        loop {
            let part = reader.data().unwrap().to_vec();
            if part.is_empty() {
                break;
            }
            reader.consume(part.len());
            content.extend(part);
        }
        assert!(reader.entry().unwrap().is_none());
        (read, content)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in "[a-z/é\n= ]{1,200}[a-z]", link in "[a-z/.]{0,200}", mode in 0u32..0o10000, uid: u32, gid: u32,
            seconds in -1i64 << 40..1i64 << 40, nanoseconds in 0u32..1_000_000_000, data: Vec<u8>,
            xattrs in proptest::collection::btree_map("user\\.[a-z]{1,9}", any::<Vec<u8>>(), 0..3),
        ) {
            let mut entry = Entry {
                name: name.into_bytes(), mode, uid: uid.into(), gid: gid.into(), mtime: Time { seconds, nanoseconds },
                size: data.len() as u64, link: Vec::new(), ..Entry::plain(Kind::File)
            };
            entry.xattrs = xattrs.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
            prop_assert_eq!(round_trip(&entry, &data), (entry.clone(), data));
            let symlink = Entry { kind: Kind::Symlink, size: 0, link: link.into_bytes(), ..entry };
            prop_assert_eq!(round_trip(&symlink, b"").0, symlink);
        }
    }
}
