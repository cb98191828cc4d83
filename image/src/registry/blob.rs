//! A blob as a stream that survives its connections.

use super::Registry;
use super::transport::{Request, Transport};
use crate::{Descriptor, Result};
use std::io::{self, Read};
use std::thread;
use std::time::Duration;
use ureq::http::StatusCode;

/// How often in a row a connection may end without having given a byte.
const ATTEMPTS_WITHOUT_PROGRESS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Reads a blob from a byte on; when the connection breaks or stalls, another one goes on where it was.
pub(super) struct Resuming<'a> {
    transport: &'a Transport,
    path: String,
    scope: String,
    position: u64,
    end: u64,
    stream: Box<dyn Read + Send>,
    fruitless: u32,
}

impl<'a> Resuming<'a> {
    pub(super) fn open(
        transport: &'a Transport,
        registry: &Registry,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<Self> {
        let mut reader = Self {
            transport,
            path: registry.path(&format!("blobs/{}", blob.digest)),
            scope: registry.scope("pull"),
            position: offset,
            end: blob.size,
            stream: Box::new(io::empty()),
            fruitless: 0,
        };
        reader.connect()?;
        Ok(reader)
    }

    fn connect(&mut self) -> Result<()> {
        let mut request = Request::get(self.path.clone(), self.scope.clone());
        if self.position > 0 {
            // With its end: some registries ignore an open range.
            request.headers.push((
                "range",
                format!("bytes={}-{}", self.position, self.end.saturating_sub(1)),
            ));
        }
        // The digest is that of the bytes as they are.
        request.headers.push(("accept-encoding", "identity".into()));
        let response = self.transport.send(&request)?;
        let is_partial = response.status() == StatusCode::PARTIAL_CONTENT;
        let starts_right = response.headers().get("content-range").is_none_or(|range| {
            let range = range.to_str().unwrap_or_default();
            range.trim_start_matches("bytes ").split('-').next() == Some(&self.position.to_string())
        });
        let mut stream = response.into_body().into_reader();
        if self.position > 0 && !(is_partial && starts_right) {
            // It knows no ranges and begins anew.
            let skipped = io::copy(&mut (&mut stream).take(self.position), &mut io::sink());
            skipped.map_err(|source| self.transport.broken("read", &self.path, source))?;
        }
        self.stream = Box::new(stream);
        Ok(())
    }
}

impl Read for Resuming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let cause = match self.stream.read(buffer) {
                Ok(0) if self.position < self.end => io::ErrorKind::UnexpectedEof.into(),
                Ok(count) => {
                    self.position += count as u64;
                    self.fruitless = 0;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            self.fruitless += 1;
            if self.fruitless > ATTEMPTS_WITHOUT_PROGRESS {
                return Err(cause);
            }
            thread::sleep(FIRST_PAUSE * (1 << self.fruitless.min(6)));
            self.connect().map_err(io::Error::other)?;
        }
    }
}
