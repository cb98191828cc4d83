//! Builds images from Dockerfiles: no daemon, and for all but RUN no privilege beyond that of unpacking.
//!
//! A step that changes files becomes a layer by the way that pulled layers take: what is copied is a small archive, unpacked
//! beneath the layer's own directory and settled on those below, so a link in an image cannot lead a COPY out of it. RUN is
//! done by an [`Executor`], since this crate starts no containers.

mod cache;
mod copy;
mod glob;
mod instructions;
mod state;
mod users;
mod view;

use crate::dockerfile::{Dockerfile, expand};
use crate::{Error, Image, Platform, Reference, Result, Store};
use state::State;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Runs the commands of RUN instructions.
pub trait Executor: Sync {
    /// Runs a command in a root tree, and returns its exit code.
    ///
    /// # Errors
    /// Whatever kept the command from being started; an exit code other than 0 is not an error here.
    fn run(&self, command: &RunCommand<'_>) -> Result<i32>;
}

/// A command of a RUN instruction, with all that it needs.
#[derive(Debug)]
pub struct RunCommand<'a> {
    /// The lower directories of its root tree, the topmost first.
    pub lower: &'a [PathBuf],
    /// Where what it changes goes: the upper directory of the overlay.
    pub upper: &'a Path,
    /// An empty directory on the same file system, for overlay.
    pub work: &'a Path,
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// What is written to its standard input.
    pub input: Vec<u8>,
    /// `NAME`, `value`.
    pub environment: Vec<(String, String)>,
    /// Where it starts.
    pub directory: String,
    /// `user[:group]`, names or ids; empty is root.
    pub user: String,
    /// `default`, `none` or `host`.
    pub network: &'a str,
    /// What is mounted besides.
    pub mounts: Vec<RunMountPoint>,
}

/// Something that is mounted while a command runs, and is no part of the layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMountPoint {
    /// Where, absolute.
    pub target: String,
    /// What.
    pub kind: RunMountKind,
}

/// What is mounted while a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunMountKind {
    /// A directory that stays from build to build.
    Cache(PathBuf),
    /// Directories of the context or of a stage, the topmost first, and the path in them; writes are thrown away.
    Bind {
        /// The directories.
        lower: Vec<PathBuf>,
        /// The path in them.
        path: String,
    },
    /// A file that only this command may read.
    Secret(PathBuf),
    /// Memory, of this many bytes at most.
    Tmpfs(Option<u64>),
}

/// How an image is built.
#[derive(Clone, Copy)]
pub struct BuildOptions<'a> {
    /// The directory from which COPY takes files.
    pub context: &'a Path,
    /// The stage to build; none for the last.
    pub target: Option<&'a str>,
    /// Values for ARG.
    pub arguments: &'a BTreeMap<String, String>,
    /// Labels besides those of the file.
    pub labels: &'a BTreeMap<String, String>,
    /// Files for `RUN --mount=type=secret`, by id.
    pub secrets: &'a BTreeMap<String, PathBuf>,
    /// Finds the images that FROM and `COPY --from` name, present or pulled.
    pub images: &'a (dyn Fn(&Reference, &Platform) -> Result<Image> + Sync),
    /// Runs commands; none where RUN is an error.
    pub executor: Option<&'a dyn Executor>,
    /// Whether earlier results are used.
    pub cache: bool,
    /// No file is younger than this, seconds since 1970.
    pub latest: Option<i64>,
    /// Told each step as it begins: its stage, line and text, and whether it is in the cache.
    pub step: &'a (dyn Fn(BuildStep<'_>) + Sync),
}

impl std::fmt::Debug for BuildOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("BuildOptions");
        debug
            .field("context", &self.context)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// A step of a build, as it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildStep<'a> {
    /// The number of the stage, from 0 on.
    pub stage: usize,
    /// The line in the Dockerfile.
    pub line: usize,
    /// The instruction.
    pub text: &'a str,
    /// Whether its layer was there.
    pub cached: bool,
}

impl Store {
    /// Builds an image and gives it names.
    ///
    /// Stages that the target does not need are not built; independent ones are built at the same time.
    ///
    /// # Errors
    /// `Build` with the line of the step that failed.
    pub fn build(
        &self,
        file: &Dockerfile,
        names: &[&Reference],
        options: &BuildOptions<'_>,
    ) -> Result<Image> {
        let target = match options.target {
            None => file.stages.len() - 1,
            Some(name) => file.stage(name).ok_or_else(|| Error::NotFound {
                what: format!("stage {name:?}"),
                place: "the Dockerfile".into(),
            })?,
        };
        let lease = Mutex::new(self.lease()?);
        let builder = Builder {
            store: self,
            file,
            options,
            lease: &lease,
            globals: globals(file, options)?,
        };
        let mut built: BTreeMap<usize, State> = BTreeMap::new();
        let mut open = file.needed(target);
        while !open.is_empty() {
            // Those whose sources are built: the first of the list always is, since stages look backwards only.
            let (ready, later): (Vec<usize>, Vec<usize>) = open.into_iter().partition(|index| {
                let needs = file.needed(*index);
                needs
                    .iter()
                    .all(|need| need == index || built.contains_key(need))
            });
            let (builder, done) = (&builder, &built);
            let results: Vec<(usize, Result<State>)> = std::thread::scope(|scope| {
                let spawn = |index| (index, scope.spawn(move || builder.stage(index, done)));
                let threads: Vec<_> = ready.into_iter().map(spawn).collect();
                let join =
                    |(index, thread): (usize, std::thread::ScopedJoinHandle<'_, Result<State>>)| {
                        (
                            index,
                            thread
                                .join()
                                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                        )
                    };
                threads.into_iter().map(join).collect()
            });
            for (index, state) in results {
                built.insert(index, state?);
            }
            open = later;
        }
        let mut state = built
            .remove(&target)
            .ok_or_else(|| Error::document("Dockerfile", "its target was not built"))?;
        for (name, value) in options.labels {
            state.set_label(name, value);
        }
        let image = self.write_image(&state.config, state.layers, names.first().copied())?;
        names
            .iter()
            .skip(1)
            .try_for_each(|name| self.tag(name, image.descriptor()))?;
        Ok(image)
    }
}

/// The arguments in front of the first FROM.
fn globals(file: &Dockerfile, options: &BuildOptions<'_>) -> Result<BTreeMap<String, String>> {
    let platform = Platform::host();
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for prefix in ["TARGET", "BUILD"] {
        known.insert(format!("{prefix}PLATFORM"), platform.to_string());
        known.insert(format!("{prefix}OS"), platform.os.clone());
        known.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        known.insert(
            format!("{prefix}VARIANT"),
            platform.variant.clone().unwrap_or_default(),
        );
    }
    for (name, default) in &file.arguments {
        let default = default
            .as_ref()
            .map(|word| expand(word, file.escape, &|name| known.get(name).cloned()));
        let given = options.arguments.get(name).cloned();
        if let Some(value) = given.map(Ok).or(default).transpose()? {
            known.insert(name.clone(), value);
        }
    }
    Ok(known)
}

/// What all stages share.
struct Builder<'a> {
    store: &'a Store,
    file: &'a Dockerfile,
    options: &'a BuildOptions<'a>,
    lease: &'a Mutex<crate::Lease>,
    globals: BTreeMap<String, String>,
}

impl Builder<'_> {
    fn stage(&self, index: usize, built: &BTreeMap<usize, State>) -> Result<State> {
        let stage = &self.file.stages[index];
        let at = |line: usize, error: Error| Error::Build {
            line,
            cause: Box::new(error),
        };
        let mut state = self
            .begin(index, built)
            .map_err(|error| at(stage.line, error))?;
        for step in std::mem::take(&mut state.inherited) {
            self.step(&mut state, &step, index, built)
                .map_err(|error| at(stage.line, error))?;
        }
        for step in &stage.steps {
            self.step(&mut state, step, index, built)
                .map_err(|error| at(step.line, error))?;
        }
        Ok(state)
    }

    /// What FROM names: nothing, an earlier stage, or an image.
    fn begin(&self, index: usize, built: &BTreeMap<usize, State>) -> Result<State> {
        let from = &self.file.stages[index].from;
        let value = |word: &str| {
            expand(word, self.file.escape, &|name| {
                self.globals.get(name).cloned()
            })
        };
        let host = Platform::host();
        let platform = match &from.platform {
            None => host,
            Some(word) => {
                let wanted: Platform = value(word)?.parse()?;
                if !host.runs(&wanted) {
                    return Err(Error::document(
                        "FROM",
                        format!("--platform={wanted} does not run on {host}"),
                    ));
                }
                wanted
            }
        };
        let name = value(&from.image)?;
        if let Some(earlier) = self
            .file
            .stage(&name)
            .filter(|earlier| *earlier < index)
            .and_then(|earlier| built.get(&earlier))
        {
            return Ok(earlier.continued());
        }
        if name == "scratch" {
            return Ok(State::scratch(&platform));
        }
        let image = self.image(&name, &platform)?;
        State::of(self.store, &image)
    }

    /// An image, present and unpacked, and held until the build has ended.
    fn image(&self, name: &str, platform: &Platform) -> Result<Image> {
        let image = (self.options.images)(&name.parse()?, platform)?;
        self.hold(&image.descriptor().digest)?;
        image
            .chain_ids()
            .iter()
            .try_for_each(|chain_id| self.hold(chain_id))?;
        self.store
            .unpack(&image, &crate::UnpackOptions::default())?;
        Ok(image)
    }

    fn hold(&self, digest: &crate::Digest) -> Result<()> {
        let mut lease = self
            .lease
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        lease.add(digest)
    }
}
