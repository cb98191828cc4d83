//! Writes archives byte by byte, independently of the crate's own tar code, and in ways that no honest program would.

/// An archive under construction; `end` gives its bytes.
#[derive(Default)]
pub struct Archive(Vec<u8>);

/// A header's fields, with defaults that are common.
#[derive(Clone)]
pub struct Header {
    pub name: Vec<u8>,
    pub flag: u8,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime: i64,
    pub link: Vec<u8>,
    pub device: (u32, u32),
    pub magic: &'static [u8],
}

pub fn header(flag: u8, name: &str) -> Header {
    Header {
        name: name.into(),
        flag,
        mode: if flag == b'5' { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        mtime: 1_600_000_000,
        link: Vec::new(),
        device: (0, 0),
        magic: b"ustar\x0000",
    }
}

impl Archive {
    pub fn dir(self, name: &str) -> Self {
        self.entry(header(b'5', name), b"")
    }

    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(header(b'0', name), content)
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(
            Header {
                link: target.into(),
                mode: 0o777,
                ..header(b'2', name)
            },
            b"",
        )
    }

    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(
            Header {
                link: target.into(),
                ..header(b'1', name)
            },
            b"",
        )
    }

    pub fn device(self, flag: u8, name: &str, device: (u32, u32)) -> Self {
        self.entry(
            Header {
                device,
                ..header(flag, name)
            },
            b"",
        )
    }

    pub fn mode(self, flag: u8, name: &str, mode: u32, uid: u64, gid: u64) -> Self {
        self.entry(
            Header {
                mode,
                uid,
                gid,
                ..header(flag, name)
            },
            b"",
        )
    }

    /// A PAX header for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.extension(b'x', &pax_records(records))
    }

    pub fn extension(self, flag: u8, content: &[u8]) -> Self {
        self.entry(header(flag, "extension"), content)
    }

    pub fn entry(self, header: Header, content: &[u8]) -> Self {
        self.raw(header, content.len() as u64, content)
    }

    /// The length in the header need not be that of the content.
    pub fn raw(mut self, header: Header, length: u64, content: &[u8]) -> Self {
        self.0.extend_from_slice(&header.block(length, |_| ()));
        self.data(content)
    }

    pub fn block(mut self, block: [u8; 512]) -> Self {
        self.0.extend_from_slice(&block);
        self
    }

    pub fn data(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    pub fn cut(self) -> Vec<u8> {
        self.0
    }
}

impl Header {
    /// The block; `change` may spoil it before the checksum is computed.
    pub fn block(&self, length: u64, change: impl FnOnce(&mut [u8; 512])) -> [u8; 512] {
        let mut block = [0; 512];
        let name = &self.name[..self.name.len().min(100)];
        block[..name.len()].copy_from_slice(name);
        number(&mut block[100..108], self.mode.into());
        number(&mut block[108..116], self.uid as i64);
        number(&mut block[116..124], self.gid as i64);
        number(&mut block[124..136], length as i64);
        number(&mut block[136..148], self.mtime);
        block[156] = self.flag;
        let link = &self.link[..self.link.len().min(100)];
        block[157..157 + link.len()].copy_from_slice(link);
        block[257..257 + self.magic.len()].copy_from_slice(self.magic);
        number(&mut block[329..337], self.device.0.into());
        number(&mut block[337..345], self.device.1.into());
        change(&mut block);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }
}

/// Octal where it fits, else binary as GNU writes it.
fn number(field: &mut [u8], value: i64) {
    let digits = field.len() - 1;
    if value >= 0 && value < 1 << (3 * digits) {
        field[..digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
        return;
    }
    let bytes = value.to_be_bytes();
    field.fill(if value < 0 { 0xff } else { 0 });
    let count = bytes.len().min(field.len());
    let start = field.len() - count;
    field[start..].copy_from_slice(&bytes[bytes.len() - count..]);
    field[0] |= 0x80;
}

pub fn pax_records(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut all = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length += 1;
        }
        all.extend_from_slice(format!("{length} {key}=").as_bytes());
        all.extend_from_slice(value);
        all.push(b'\n');
    }
    all
}
