//! The layers of an image: several under way at once, put in place from the lowest up.

use super::PullOptions;
use super::fetch::Fetch;
use crate::store::{PendingLayer, mismatch};
use crate::{
    Digest, Event, Image, Ingestion, LayerInfo, Result, Source, Store, UnpackOptions, Unpacked,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;

/// A layer that is written, but not yet completed with what those below say.
struct Written {
    directory: PendingLayer,
    unpacked: Unpacked,
}

impl Store {
    pub(super) fn pull_layers(
        &self,
        source: &dyn Source,
        image: &Image,
        options: &PullOptions<'_>,
    ) -> Result<()> {
        let layers = &image.manifest().layers;
        let work = Work {
            store: self,
            source,
            image,
            options,
            next: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        };
        let workers = options.parallel.clamp(1, layers.len().max(1));
        let (results, finished) = channel();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (work, results) = (&work, results.clone());
                scope.spawn(move || {
                    while let Some(index) = work.take(layers.len()) {
                        // The receiver is gone once a layer has failed.
                        let _ = results.send((index, work.layer(index)));
                    }
                });
            }
            drop(results);
            let mut waiting: Vec<Option<Option<Written>>> = layers.iter().map(|_| None).collect();
            let mut settled = 0;
            for (index, result) in finished {
                let outcome = result.and_then(|written| {
                    waiting[index] = Some(written);
                    while let Some(written) = waiting.get_mut(settled).and_then(Option::take) {
                        self.put_in_place(image, settled, written, options)?;
                        settled += 1;
                    }
                    Ok(())
                });
                if let Err(error) = outcome {
                    work.stopped.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            Ok(())
        })
    }

    /// Everything below is in place.
    fn put_in_place(
        &self,
        image: &Image,
        index: usize,
        written: Option<Written>,
        options: &PullOptions<'_>,
    ) -> Result<()> {
        let Some(Written {
            directory,
            unpacked,
        }) = written
        else {
            return Ok(());
        };
        let (chain_ids, blob) = (image.chain_ids(), &image.manifest().layers[index]);
        let below: Vec<PathBuf> = chain_ids[..index]
            .iter()
            .rev()
            .map(|chain_id| self.layer_path(chain_id))
            .collect();
        let below: Vec<&Path> = below.iter().map(PathBuf::as_path).collect();
        unpacked.settle(&directory.path(), &below)?;
        let info = LayerInfo {
            diff_id: unpacked.diff_id,
            entries: unpacked.entries,
            bytes: unpacked.bytes,
            user_xattrs: unpacked.user_xattrs,
        };
        directory.commit(&chain_ids[index], &info)?;
        let chain_id = &chain_ids[index];
        options.progress.event(Event::Unpacked { blob, chain_id });
        Ok(())
    }
}

/// What the workers share.
struct Work<'a> {
    store: &'a Store,
    source: &'a dyn Source,
    image: &'a Image,
    options: &'a PullOptions<'a>,
    next: AtomicUsize,
    stopped: AtomicBool,
}

impl Work<'_> {
    fn take(&self, count: usize) -> Option<usize> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        (index < count && !self.stopped.load(Ordering::Relaxed)).then_some(index)
    }

    /// Fetches and writes a layer; none where it is in place already.
    fn layer(&self, index: usize) -> Result<Option<Written>> {
        let blob = &self.image.manifest().layers[index];
        let chain_id = &self.image.chain_ids()[index];
        let unpack = self
            .options
            .unpack
            .filter(|_| !self.store.has_layer(chain_id));
        let ingestion = self.store.ingest(blob)?;
        match (ingestion, unpack) {
            (Ingestion::Present, None) => {
                self.options.progress.event(Event::Present(blob));
                Ok(None)
            }
            (Ingestion::Present, Some(unpack)) => {
                let (file, _) = self.store.open_blob(&blob.digest)?;
                self.write(index, unpack, |directory, options| {
                    crate::unpack(file, directory, options)
                })
                .map(Some)
            }
            (Ingestion::Wanted(ingest), unpack) => {
                let fetch = Fetch {
                    source: self.source,
                    ingest,
                    progress: self.options.progress,
                    stopped: &self.stopped,
                };
                match unpack {
                    None => fetch.run().map(|()| None),
                    Some(unpack) => self
                        .write(index, unpack, |directory, options| {
                            fetch.unpack(directory, options)
                        })
                        .map(Some),
                }
            }
        }
    }

    fn write(
        &self,
        index: usize,
        options: &UnpackOptions,
        unpack: impl FnOnce(&Path, &UnpackOptions) -> Result<Unpacked>,
    ) -> Result<Written> {
        let directory = self.store.new_layer()?;
        let unpacked = unpack(&directory.path(), options)?;
        let expected = self.image.config().rootfs.diff_ids[index];
        check(&expected, unpacked.diff_id)?;
        Ok(Written {
            directory,
            unpacked,
        })
    }
}

fn check(expected: &Digest, found: Digest) -> Result<()> {
    match found == *expected {
        true => Ok(()),
        false => Err(mismatch("unpacked layer", *expected, found)),
    }
}
