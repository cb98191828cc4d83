//! Reads an archive entry by entry from a stream.

use super::header::{Header, until_nul};
use super::pax::{Pax, decimal};
use super::sparse::{old_gnu_map, segments};
use super::{BLOCK, Entry, Kind, LARGEST_EXTENSION, Segment, TarError};
use std::io::{BufRead, ErrorKind};

/// Reads entries; between two of them, the data of the first.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    stream: R,
    /// Data of the current entry that was not taken yet.
    data: u64,
    /// What fills its last block.
    padding: u64,
    /// What a global PAX header said for all that follow.
    global: Pax,
    block: [u8; BLOCK],
}

/// What stood in front of an entry.
#[derive(Default)]
struct Extensions {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self {
            stream,
            data: 0,
            padding: 0,
            global: Pax::default(),
            block: [0; BLOCK],
        }
    }

    /// What it reads from; right after [`entry`](Self::entry), at the entry's data.
    pub(crate) fn stream(&self) -> &R {
        &self.stream
    }

    /// The next entry, or none at the end of the archive. What was not taken of the last one's data is passed over.
    pub(crate) fn entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            if !self.next_header()? {
                return Ok(None);
            }
            let block = self.block;
            let header = Header::parse(&block)?;
            match header.type_flag() {
                b'x' | b'X' => {
                    let mut pax = self.global.clone();
                    pax.read(&self.extension(&header)?)?;
                    extensions.pax = Some(pax);
                }
                b'g' => {
                    let text = self.extension(&header)?;
                    self.global.read(&text)?;
                }
                b'L' => extensions.name = Some(until_nul(&self.extension(&header)?).to_vec()),
                b'K' => extensions.link = Some(until_nul(&self.extension(&header)?).to_vec()),
                // A volume's label.
                b'V' => self.expect_data(header.size()?),
                _ => return self.finish(&header, extensions).map(Some),
            }
        }
    }

    /// The next bytes of the current entry's data as they lie in the stream; empty at its end.
    pub(crate) fn data(&mut self) -> Result<&[u8], TarError> {
        if self.data == 0 {
            return Ok(&[]);
        }
        let buffer = fill(&mut self.stream)?;
        if buffer.is_empty() {
            return Err(truncated());
        }
        let length = buffer
            .len()
            .min(usize::try_from(self.data).unwrap_or(usize::MAX));
        Ok(&buffer[..length])
    }

    /// Takes bytes that [`data`](Self::data) gave.
    pub(crate) fn consume(&mut self, count: usize) {
        self.stream.consume(count);
        self.data -= count as u64;
    }

    /// Reads on to the end of the stream: a digest counts also what stands behind the archive's end.
    pub(crate) fn drain(mut self) -> Result<(), TarError> {
        loop {
            let count = fill(&mut self.stream)?.len();
            if count == 0 {
                return Ok(());
            }
            self.stream.consume(count);
        }
    }

    fn finish(&mut self, header: &Header<'_>, extensions: Extensions) -> Result<Entry, TarError> {
        let pax = extensions.pax.unwrap_or_else(|| self.global.clone());
        let name = pax
            .path
            .clone()
            .or(extensions.name)
            .unwrap_or_else(|| header.name());
        let kind = kind(header.type_flag(), &name)?;
        let stored = match kind {
            // As in Go: what makes no file has no data, whatever its header says.
            Kind::File => pax.size.map_or_else(|| header.size(), Ok)?,
            _ => 0,
        };
        self.expect_data(stored);
        let (major, minor) = header.device()?;
        let mut entry = Entry {
            name,
            kind,
            mode: header.mode()?,
            uid: pax.uid.map_or_else(|| header.uid(), Ok)?,
            gid: pax.gid.map_or_else(|| header.gid(), Ok)?,
            mtime: pax.mtime.map_or_else(|| header.mtime(), Ok)?,
            size: stored,
            link: pax
                .link
                .clone()
                .or(extensions.link)
                .unwrap_or_else(|| header.link()),
            major,
            minor,
            xattrs: Vec::new(),
            sparse: None,
        };
        if kind == Kind::File {
            self.read_sparse(header, &pax, &mut entry)?;
        }
        entry.xattrs = pax.xattrs;
        Ok(entry)
    }

    fn read_sparse(
        &mut self,
        header: &Header<'_>,
        pax: &Pax,
        entry: &mut Entry,
    ) -> Result<(), TarError> {
        let records = &pax.sparse;
        let numbers = match (header.type_flag(), records.version, &records.map) {
            (b'S', _, _) => {
                entry.size = super::header::unsigned(&header.0[483..495])?;
                self.old_gnu_numbers(header)?
            }
            (_, Some((1, 0)), _) => self.inline_numbers()?,
            (_, _, Some(numbers)) => numbers.clone(),
            _ => return Ok(()),
        };
        if let Some(name) = &records.name {
            entry.name = name.clone();
        }
        if let Some(size) = records.real_size {
            entry.size = size;
        }
        let map: Vec<Segment> = segments(&numbers, entry.size, self.data)?;
        entry.sparse = Some(map);
        Ok(())
    }

    /// The map of the old GNU format, whose further blocks stand between header and data.
    fn old_gnu_numbers(&mut self, header: &Header<'_>) -> Result<Vec<u64>, TarError> {
        let mut numbers = Vec::new();
        let mut more = old_gnu_map(header.0, true, &mut numbers)?;
        let mut block = [0; BLOCK];
        while more {
            self.stream
                .read_exact(&mut block)
                .map_err(|_| truncated())?;
            more = old_gnu_map(&block, false, &mut numbers)?;
        }
        Ok(numbers)
    }

    /// The map of GNU's PAX format 1.0: lines of decimal numbers in front of the data, filled up to a block.
    fn inline_numbers(&mut self) -> Result<Vec<u64>, TarError> {
        let (mut numbers, mut wanted, mut line, mut taken) = (Vec::new(), None, Vec::new(), 0u64);
        while wanted != Some(numbers.len()) || !taken.is_multiple_of(BLOCK as u64) {
            let byte = *self
                .data()?
                .first()
                .ok_or_else(|| TarError::invalid("its sparse map is cut off"))?;
            self.consume(1);
            taken += 1;
            if taken > LARGEST_EXTENSION {
                return Err(TarError::invalid("its sparse map is too large"));
            }
            match (wanted, byte) {
                (Some(count), _) if count == numbers.len() => {}
                (None, b'\n') => {
                    wanted = Some(
                        usize::try_from(decimal(&line)?)
                            .unwrap_or(usize::MAX)
                            .saturating_mul(2),
                    )
                }
                (Some(_), b'\n') => numbers.push(decimal(&line)?),
                (_, byte) => {
                    line.push(byte);
                    continue;
                }
            }
            line.clear();
        }
        Ok(numbers)
    }

    /// Reads what an extending entry carries.
    fn extension(&mut self, header: &Header<'_>) -> Result<Vec<u8>, TarError> {
        let size = header.size()?;
        if size > LARGEST_EXTENSION {
            return Err(TarError::invalid(format!(
                "a name or PAX header is longer than {LARGEST_EXTENSION} bytes"
            )));
        }
        self.expect_data(size);
        let mut content = Vec::with_capacity(size as usize);
        loop {
            let part = self.data()?;
            if part.is_empty() {
                return Ok(content);
            }
            content.extend_from_slice(part);
            let count = part.len();
            self.consume(count);
        }
    }

    fn expect_data(&mut self, size: u64) {
        self.data = size;
        let block = BLOCK as u64;
        self.padding = (block - size % block) % block;
    }

    fn skip(&mut self) -> Result<(), TarError> {
        let mut rest = self.data.checked_add(self.padding).ok_or_else(truncated)?;
        while rest > 0 {
            let available = fill(&mut self.stream)?.len();
            if available == 0 {
                return Err(truncated());
            }
            let count = available.min(usize::try_from(rest).unwrap_or(usize::MAX));
            self.stream.consume(count);
            rest -= count as u64;
        }
        (self.data, self.padding) = (0, 0);
        Ok(())
    }

    /// Whether there is another header; two empty blocks, or the end of the stream between entries, end an archive.
    fn next_header(&mut self) -> Result<bool, TarError> {
        if !self.next_block()? {
            return Ok(false);
        }
        if self.block.iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        if !self.next_block()? || self.block.iter().all(|byte| *byte == 0) {
            return Ok(false);
        }
        Err(TarError::invalid(
            "a single empty block stands between entries",
        ))
    }

    fn next_block(&mut self) -> Result<bool, TarError> {
        if fill(&mut self.stream)?.is_empty() {
            return Ok(false);
        }
        match self.stream.read_exact(&mut self.block) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(truncated()),
            Err(error) => Err(error.into()),
        }
    }
}

fn kind(flag: u8, name: &[u8]) -> Result<Kind, TarError> {
    match flag {
        // Before ustar, a slash at the end made a directory.
        b'0' | 0 if name.ends_with(b"/") => Ok(Kind::Directory),
        b'0' | 0 | b'7' | b'S' => Ok(Kind::File),
        b'1' => Ok(Kind::HardLink),
        b'2' => Ok(Kind::Symlink),
        b'3' => Ok(Kind::Character),
        b'4' => Ok(Kind::Block),
        b'5' => Ok(Kind::Directory),
        b'6' => Ok(Kind::Fifo),
        other => Err(TarError::invalid(format!(
            "its type {:?} is unknown",
            char::from(other)
        ))),
    }
}

fn fill(stream: &mut impl BufRead) -> Result<&[u8], TarError> {
    // A borrow that is returned cannot be retried in a loop, so EINTR is met by the streams themselves.
    Ok(stream.fill_buf()?)
}

fn truncated() -> TarError {
    TarError::invalid("the archive ends in the middle of an entry")
}
