//! A container's standard streams.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What one of a container's standard streams is.
#[derive(Debug, Clone, Default)]
pub enum Stdio {
    /// The caller's own.
    Inherit,
    /// `/dev/null`.
    #[default]
    Null,
    /// A pipe, whose other end [`Child`](crate::Child) has.
    Piped,
    /// A file, socket or terminal.
    Fd(Arc<OwnedFd>),
}

impl<F: Into<OwnedFd>> From<F> for Stdio {
    fn from(fd: F) -> Stdio {
        Stdio::Fd(Arc::new(fd.into()))
    }
}

/// A stream as the container gets it. None is the caller's own.
pub(crate) type Given = Option<Arc<OwnedFd>>;

/// For standard input: what the container reads, and what the caller writes to.
pub(crate) fn input(stdio: &Stdio) -> Result<(Given, Option<PipeWriter>)> {
    match stdio {
        Stdio::Piped => {
            let (reader, writer) = pipe()?;
            Ok((Some(Arc::new(reader.into())), Some(writer)))
        }
        other => Ok((given(other)?, None)),
    }
}

/// For standard output and error: what the container writes to, and what the caller reads.
pub(crate) fn output(stdio: &Stdio) -> Result<(Given, Option<PipeReader>)> {
    match stdio {
        Stdio::Piped => {
            let (reader, writer) = pipe()?;
            Ok((Some(Arc::new(writer.into())), Some(reader)))
        }
        other => Ok((given(other)?, None)),
    }
}

fn given(stdio: &Stdio) -> Result<Given> {
    match stdio {
        Stdio::Fd(fd) => Ok(Some(fd.clone())),
        Stdio::Null => {
            let null = File::options().read(true).write(true).open("/dev/null");
            Ok(Some(Arc::new(
                null.map_err(|e| Error::os("open /dev/null", e))?.into(),
            )))
        }
        Stdio::Inherit | Stdio::Piped => Ok(None),
    }
}

fn pipe() -> Result<(PipeReader, PipeWriter)> {
    std::io::pipe().map_err(|e| Error::os("make a pipe", e))
}
