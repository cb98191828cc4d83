//! One pass over a layer: decompress, hash and write at the same time, in three threads that hand buffers on.
//!
//! The calling thread decompresses, which is the longest work; a second one hashes, a third one writes. Buffers go round in
//! a ring, so that memory stays the same however large the layer is.

use super::apply::{Applied, Applier};
use super::compression::Compression;
use super::{UnpackOptions, Unpacked};
use crate::tar::Reader;
use crate::{Algorithm, Digest, Error, Hasher, Result};
use rustix::fs::{Mode, OFlags};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, ScopedJoinHandle};

/// Long enough that a hand-over costs nothing, short enough that it is still in the cache when it is written.
const CHUNK: usize = 256 << 10;
/// The stages differ from moment to moment (a large file, then a thousand small ones): the ring evens that out.
const CHUNKS: usize = 24;
const PACKED_BUFFER: usize = 128 << 10;

/// Unpacks a layer into an empty directory.
///
/// The archive may be packed with gzip or Zstandard, which is told by its first bytes. The directory is overlay's: what the
/// layer removes from those below is a whiteout there. Follow with [`Unpacked::settle`].
///
/// # Errors
/// `Layer` where the archive is broken or hostile, `Limit` at a bomb, `NoSpace`, `Permission` without the privilege to give
/// files their owners (see [`Ownership`](crate::Ownership)). What was written until then is left to the caller to remove.
///
/// # Examples
/// ```no_run
/// use ampoule_image::{UnpackOptions, unpack};
///
/// let archive = std::fs::File::open("layer.tar.gz")?;
/// let directory = std::path::Path::new("layer");
/// std::fs::create_dir(directory)?;
/// let unpacked = unpack(archive, directory, &UnpackOptions::default())?;
/// unpacked.settle(directory, &[])?;
/// println!("{} entries, diff id {}", unpacked.entries, unpacked.diff_id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unpack(archive: impl Read, directory: &Path, options: &UnpackOptions) -> Result<Unpacked> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(directory, flags, Mode::empty())
        .map_err(Error::io("open directory", directory))?;
    drop_inherited(&root, directory)?;
    let (to_hasher, for_hasher) = sync_channel(CHUNKS);
    let (to_writer, for_writer) = sync_channel(CHUNKS);
    let (to_pool, pool) = channel();
    thread::scope(|scope| {
        let hasher = scope.spawn(move || hash(&for_hasher));
        let writer = scope.spawn(move || {
            part_from_umask()?;
            let chunks = Chunks {
                incoming: for_writer,
                current: None,
                position: 0,
            };
            Applier::new(root, options)?.apply_all(Reader::new(chunks))
        });
        let outlets = Outlets {
            to_hasher,
            to_writer,
            to_pool,
            pool,
            made: 0,
            sent: 0,
            limit: options.limits.bytes,
        };
        let decompressed = decompress(archive, outlets);
        let writer = join(writer);
        let (diff_id, bytes) = join(hasher);
        // A decompressor's error is the cause of the truncation that the writer met.
        let compression = decompressed?;
        let Applied {
            entries,
            user_xattrs,
            left_out,
            needs,
        } = writer?;
        Ok(Unpacked {
            diff_id,
            compression,
            bytes,
            entries,
            user_xattrs,
            left_out,
            needs,
        })
    })
}

/// A directory inherits set-gid and a default ACL from the one above it, and would pass them on to what is unpacked.
fn drop_inherited(root: &OwnedFd, path: &Path) -> Result<()> {
    use rustix::io::Errno;
    rustix::fs::fchmod(root, Mode::from_raw_mode(0o755))
        .map_err(Error::io("change mode of", path))?;
    match rustix::fs::fremovexattr(root, "system.posix_acl_default") {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(Error::io("remove default ACL of", path)(errno)),
    }
}

/// The umask belongs to the whole process, unless a thread parts from it; with 0, a file is created with its final mode.
fn part_from_umask() -> Result<()> {
    let parted = nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS);
    parted.map_err(Error::io("unshare", "the file system context"))?;
    rustix::process::umask(Mode::empty());
    Ok(())
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A piece of the plain archive; whoever drops it last, and for whatever reason, hands the buffer back.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    pool: Sender<Vec<u8>>,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // The decompressor may have ended.
        let _ = self.pool.send(std::mem::take(&mut self.bytes));
    }
}

/// Where decompressed chunks go.
struct Outlets {
    to_hasher: SyncSender<Arc<Chunk>>,
    to_writer: SyncSender<Arc<Chunk>>,
    to_pool: Sender<Vec<u8>>,
    pool: Receiver<Vec<u8>>,
    made: usize,
    sent: u64,
    limit: u64,
}

impl Outlets {
    fn buffer(&mut self) -> Vec<u8> {
        if self.made < CHUNKS {
            self.made += 1;
            return vec![0; CHUNK];
        }
        // All buffers are on their way, and each comes back when it is dropped.
        self.pool.recv().unwrap_or_default()
    }

    /// Whether anybody still wants chunks.
    fn send(&mut self, bytes: Vec<u8>) -> Result<bool> {
        self.sent += bytes.len() as u64;
        if self.sent > self.limit {
            let what = "decompress the layer".into();
            return Err(Error::Limit {
                what,
                limit: self.limit,
            });
        }
        let pool = self.to_pool.clone();
        let chunk = Arc::new(Chunk { bytes, pool });
        Ok(self.to_hasher.send(chunk.clone()).is_ok() && self.to_writer.send(chunk).is_ok())
    }
}

fn decompress(archive: impl Read, mut outlets: Outlets) -> Result<Compression> {
    let failed = |source| Error::io("decompress", "the layer")(source);
    let mut packed = BufReader::with_capacity(PACKED_BUFFER, archive);
    let start = fill_at_least(&mut packed).map_err(failed)?;
    let compression = Compression::detect(&start);
    let mut plain = compression
        .decoder(io::Cursor::new(start).chain(packed))
        .map_err(failed)?;
    loop {
        let mut chunk = outlets.buffer();
        chunk.resize(CHUNK, 0);
        let length = fill(&mut plain, &mut chunk).map_err(failed)?;
        chunk.truncate(length);
        if length == 0 || !outlets.send(chunk)? {
            return Ok(compression);
        }
    }
}

/// The first four bytes, which may arrive in pieces.
fn fill_at_least(packed: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    packed.take(4).read_to_end(&mut start)?;
    Ok(start)
}

fn fill(stream: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < chunk.len() {
        match stream.read(&mut chunk[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn hash(chunks: &Receiver<Arc<Chunk>>) -> (Digest, u64) {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for chunk in chunks {
        hasher.update(&chunk.bytes);
    }
    (hasher.clone().finish(), hasher.length())
}

/// The chunks as one stream, without a copy.
struct Chunks {
    incoming: Receiver<Arc<Chunk>>,
    current: Option<Arc<Chunk>>,
    position: usize,
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let is_used_up = |chunk: &Arc<Chunk>| self.position == chunk.bytes.len();
        if self.current.as_ref().is_none_or(is_used_up) {
            self.current = None;
            self.current = self.incoming.recv().ok();
            self.position = 0;
        }
        let left = self
            .current
            .as_ref()
            .map(|chunk| &chunk.bytes[self.position..]);
        Ok(left.unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
