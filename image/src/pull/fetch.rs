//! One blob on its way: read, hashed and stored in one thread, decompressed and written in others at the same time.

use crate::{Error, Event, Ingest, Progress, Result, Source, UnpackOptions, Unpacked};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

const CHUNK: usize = 128 << 10;
/// Between the network, which stutters, and the decompressor: 2 MiB.
const CHUNKS: usize = 16;

/// A blob that is to be fetched.
pub(super) struct Fetch<'a> {
    pub source: &'a dyn Source,
    pub ingest: Box<Ingest>,
    pub progress: &'a dyn Progress,
    /// Set when another layer has failed.
    pub stopped: &'a AtomicBool,
}

impl Fetch<'_> {
    /// Fetches it into the store.
    pub(super) fn run(self) -> Result<()> {
        self.receive(|_| true)
    }

    /// Fetches it and unpacks it on the way.
    pub(super) fn unpack(self, directory: &Path, options: &UnpackOptions) -> Result<Unpacked> {
        let (chunks, incoming) = sync_channel(CHUNKS);
        std::thread::scope(|scope| {
            let replay = self.ingest.reopen()?;
            let received = scope.spawn(move || self.replay_and_receive(replay, &chunks));
            let unpacked = crate::unpack(Incoming::new(incoming), directory, options);
            let received = received
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // What was unpacked is worth nothing unless the blob was what its digest says.
            match (received, unpacked) {
                (Err(Stopped::Error(error)), _) => Err(error),
                (_, Err(error)) => Err(error),
                (Ok(()), Ok(unpacked)) => Ok(unpacked),
                (Err(Stopped::Unwanted), Ok(_)) => Err(Error::Busy {
                    what: "the layer".into(),
                }),
            }
        })
    }

    fn replay_and_receive(
        self,
        mut replay: impl Read,
        chunks: &SyncSender<Vec<u8>>,
    ) -> Result<(), Stopped> {
        let failed = |source| Stopped::Error(Error::io("read", "a partial download")(source));
        loop {
            let mut chunk = vec![0; CHUNK];
            let length = replay.read(&mut chunk).map_err(failed)?;
            if length == 0 {
                break;
            }
            chunk.truncate(length);
            chunks.send(chunk).map_err(|_| Stopped::Unwanted)?;
        }
        let mut wanted = true;
        let received = self.receive(|chunk| {
            wanted = chunks.send(chunk.to_vec()).is_ok();
            wanted
        });
        match wanted {
            true => received.map_err(Stopped::Error),
            false => Err(Stopped::Unwanted),
        }
    }

    /// Receives all of the blob from where it stands; `each` says whether to go on.
    fn receive(mut self, mut each: impl FnMut(&[u8]) -> bool) -> Result<()> {
        let descriptor = self.ingest.descriptor().clone();
        let offset = self.ingest.length();
        self.progress.event(Event::Started {
            blob: &descriptor,
            offset,
        });
        if offset < descriptor.size {
            let mut stream = self.source.open(&descriptor, offset)?;
            let mut buffer = vec![0; CHUNK];
            while !self.stopped.load(Ordering::Relaxed) {
                let count = fill(&mut stream, &mut buffer)
                    .map_err(Error::io("read", self.source.name()))?;
                if count == 0 {
                    break;
                }
                self.ingest.write(&buffer[..count])?;
                let (blob, count64) = (&descriptor.digest, count as u64);
                self.progress.event(Event::Bytes {
                    blob,
                    count: count64,
                });
                if !each(&buffer[..count]) {
                    return Ok(());
                }
            }
        }
        self.ingest.commit()?;
        self.progress.event(Event::Stored(&descriptor));
        Ok(())
    }
}

/// Full buffers keep the number of hand-overs small.
fn fill(stream: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match stream.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What came before the error is kept; the error comes again.
            Err(_) if length > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Why the fetching thread ended early.
enum Stopped {
    Error(Error),
    /// Unpacking has ended; its result says why.
    Unwanted,
}

/// The chunks that arrive, as a stream.
struct Incoming {
    chunks: Receiver<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
}

impl Incoming {
    fn new(chunks: Receiver<Vec<u8>>) -> Self {
        Self {
            chunks,
            current: Vec::new(),
            position: 0,
        }
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.current.len() {
            let Ok(next) = self.chunks.recv() else {
                return Ok(0);
            };
            (self.current, self.position) = (next, 0);
        }
        let count = (&self.current[self.position..]).read(buffer)?;
        self.position += count;
        Ok(count)
    }
}
