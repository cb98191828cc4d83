//! Another OCI image layout, as `skopeo copy … oci:DIR:TAG` writes it.

use super::Source;
use crate::{Descriptor, Error, LARGEST_MANIFEST, Result, Store};
use std::io::{Read, Seek, SeekFrom};

/// An image in a layout on disk.
#[derive(Debug, Clone)]
pub struct LayoutSource {
    layout: Store,
    name: Option<String>,
}

impl LayoutSource {
    /// The image with this name in the layout; without a name, the only one that is there.
    pub fn new(directory: impl Into<std::path::PathBuf>, name: Option<&str>) -> Self {
        Self {
            layout: Store::foreign(directory.into()),
            name: name.map(str::to_string),
        }
    }
}

impl LayoutSource {
    /// A store's own blobs.
    pub(crate) fn of(store: &Store) -> Self {
        Self {
            layout: store.clone(),
            name: None,
        }
    }
}

impl Source for LayoutSource {
    fn resolve(&self) -> Result<(Descriptor, Vec<u8>)> {
        let descriptor = match &self.name {
            Some(name) => self.layout.resolve(name)?,
            None => only(self.layout.index()?.manifests, &self.name())?,
        };
        let bytes = self.manifest(&descriptor)?;
        Ok((descriptor, bytes))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.layout.read_blob(&descriptor.digest, LARGEST_MANIFEST)
    }

    fn open(&self, descriptor: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>> {
        let (mut file, _) = self.layout.open_blob(&descriptor.digest)?;
        let path = self.layout.blob_path(&descriptor.digest);
        file.seek(SeekFrom::Start(offset))
            .map_err(Error::io("seek", path))?;
        Ok(Box::new(file))
    }

    fn name(&self) -> String {
        let directory = self.layout.path().display();
        match &self.name {
            Some(name) => format!("oci:{directory}:{name}"),
            None => format!("oci:{directory}"),
        }
    }
}

/// Where no name was given there must be nothing to choose.
pub(super) fn only(mut entries: Vec<Descriptor>, place: &str) -> Result<Descriptor> {
    match (entries.pop(), entries.len()) {
        (Some(entry), 0) => Ok(entry),
        (None, _) => Err(Error::NotFound {
            what: "an image".into(),
            place: place.into(),
        }),
        (Some(_), more) => {
            let reason = format!("it holds {} images: say which", more + 1);
            Err(Error::document(place, reason))
        }
    }
}
