//! Events on tokio's reactor.

use crate::{Error, Event, Events, Result};
use futures_core::Stream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;

/// [`Events`] as an async stream; made by [`Events::into_stream`].
///
/// It ends only with its owner: a cgroup that was removed tells nothing more.
#[derive(Debug)]
pub struct EventStream {
    events: AsyncFd<Events>,
    failed: bool,
}

impl Events {
    /// Makes a stream of it, on the current tokio runtime.
    ///
    /// # Errors
    /// [`Error::Kernel`] where the runtime's reactor refuses it.
    ///
    /// # Panics
    /// Outside a tokio runtime, or in one without I/O, as all of tokio's I/O types do.
    pub fn into_stream(self) -> Result<EventStream> {
        // Deprecated for types whose descriptor may change or close; that of `Events` is its own until the end.
        #[allow(deprecated)]
        let events = AsyncFd::with_interest(self, tokio::io::Interest::READABLE)
            .map_err(|error| Error::kernel("register with tokio", "events".as_ref(), error))?;
        Ok(EventStream {
            events,
            failed: false,
        })
    }
}

impl EventStream {
    /// The next event.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Error::Kernel`] where a file of the cgroup cannot be read.
    pub async fn next(&mut self) -> Result<Event> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event>> {
        loop {
            if let Some(event) = self.events.get_mut().next(std::time::Duration::ZERO)? {
                return Poll::Ready(Ok(event));
            }
            match ready!(self.events.poll_read_ready_mut(cx)) {
                Ok(mut guard) => guard.clear_ready(),
                Err(error) => {
                    return Poll::Ready(Err(Error::kernel("poll", "events".as_ref(), error)));
                }
            }
        }
    }
}

impl Stream for EventStream {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Event>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let event = ready!(self.poll_event(cx));
        self.failed = event.is_err();
        Poll::Ready(Some(event))
    }
}
