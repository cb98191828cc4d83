//! What each instruction does to a stage.

use super::copy::Plan;
use super::glob::Ignore;
use super::state::{DEFAULT_PATH, State};
use super::view::View;
use super::{BuildStep, Builder, RunCommand, RunMountKind, RunMountPoint, cache, users};
use crate::dockerfile::{Arguments, Copy, Instruction, Run, RunMount, Step, expand};
use crate::store::PendingLayer;
use crate::tar::{Entry, Kind, Writer};
use crate::{
    DiffOptions, Error, LayerInfo, NewLayer, Platform, Result, UnpackOptions, Unpacked, unpack,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

impl Builder<'_> {
    pub(super) fn step(
        &self,
        state: &mut State,
        step: &Step,
        stage: usize,
        built: &BTreeMap<usize, State>,
    ) -> Result<()> {
        let tell = |cached| {
            let (line, text) = (step.line, step.text.as_str());
            (self.options.step)(BuildStep {
                stage,
                line,
                text,
                cached,
            });
        };
        let layer = match &step.instruction {
            Instruction::Run(run) => Some(self.run(state, run, &step.text, built, &tell)?),
            Instruction::Copy(copy) => Some(self.copy(state, copy, false, built, &tell)?),
            Instruction::Add(copy) => Some(self.copy(state, copy, true, built, &tell)?),
            Instruction::Workdir(path) => self.workdir(state, path, &tell)?,
            instruction => {
                self.configure(state, instruction)?;
                tell(true);
                None
            }
        };
        // Arguments are no part of the image, but of what it is made of.
        state.mix(&format!("{} {:?}", step.text, state.arguments));
        state.add(&step.text, layer, self.options.latest);
        Ok(())
    }

    fn value(&self, state: &State, word: &str) -> Result<String> {
        expand(word, self.file.escape, &|name| state.variable(name))
    }

    /// Instructions that change the configuration alone.
    fn configure(&self, state: &mut State, instruction: &Instruction) -> Result<()> {
        match instruction {
            Instruction::Arg(pairs) => {
                for (name, default) in pairs {
                    let default = default
                        .as_ref()
                        .map(|word| self.value(state, word))
                        .transpose()?;
                    let given = self.options.arguments.get(name).cloned();
                    if let Some(value) = given
                        .or(default)
                        .or_else(|| self.globals.get(name).cloned())
                    {
                        state.arguments.insert(name.clone(), value);
                    }
                }
            }
            Instruction::Env(pairs) => {
                // All see what was before the line.
                let before = state.clone();
                for (name, word) in pairs {
                    state.set_environment(&self.value(&before, name)?, &self.value(&before, word)?);
                }
            }
            Instruction::Label(pairs) => {
                for (name, word) in pairs {
                    let (name, value) = (self.value(state, name)?, self.value(state, word)?);
                    state.set_label(&name, &value);
                }
            }
            Instruction::Cmd(arguments) => {
                let words = self.words(state, arguments);
                state.config.set("Cmd", json!(words));
                state.has_command = true;
            }
            Instruction::Entrypoint(arguments) => {
                let words = self.words(state, arguments);
                state.config.set("Entrypoint", json!(words));
                if !state.has_command {
                    // The base's arguments were for the base's program.
                    state.config.set("Cmd", Value::Null);
                }
            }
            Instruction::Expose(ports) => {
                for word in ports {
                    let port = self.value(state, word)?;
                    let port = if port.contains('/') {
                        port
                    } else {
                        format!("{port}/tcp")
                    };
                    state.insert("ExposedPorts", &port, json!({}));
                }
            }
            Instruction::Volume(paths) => {
                for word in paths {
                    let path = self.value(state, word)?;
                    state.insert("Volumes", &path, json!({}));
                }
            }
            Instruction::User(word) => {
                let user = self.value(state, word)?;
                state.config.set("User", user.into());
            }

            Instruction::StopSignal(word) => {
                let signal = self.value(state, word)?;
                state.config.set("StopSignal", signal.into());
            }

            Instruction::Shell(words) => {
                state.config.set("Shell", json!(words));
            }

            Instruction::Maintainer(name) => {
                state.config.set_outer("author", name.clone().into());
            }

            Instruction::Healthcheck(check) => {
                let value = match check {
                    Some(check) => json!(check),
                    None => json!({"Test": ["NONE"]}),
                };
                state.config.set("Healthcheck", value);
            }
            Instruction::OnBuild(text) => {
                let mut list = state
                    .config
                    .value("OnBuild")
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                list.push(text.clone().into());
                state.config.set("OnBuild", Value::Array(list));
            }
            // `step` has them.
            Instruction::Run(_)
            | Instruction::Copy(_)
            | Instruction::Add(_)
            | Instruction::Workdir(_) => {}
        }
        Ok(())
    }

    fn words(&self, state: &State, arguments: &Arguments) -> Vec<String> {
        match arguments {
            Arguments::Exec(words) => words.clone(),
            Arguments::Shell(line) => [shell(state), vec![line.clone()]].concat(),
        }
    }

    fn workdir(
        &self,
        state: &mut State,
        word: &str,
        tell: &dyn Fn(bool),
    ) -> Result<Option<NewLayer>> {
        let path = state.path(&self.value(state, word)?);
        state.config.set("WorkingDir", path.clone().into());
        let inside = path.trim_start_matches('/').as_bytes().to_vec();
        let there = View::of_layers(&state.lower(self.store))?.find_followed(&inside)?;
        if inside.is_empty() || there.is_some() {
            tell(true);
            return Ok(None);
        }
        state.mix(&format!("directory {path}"));
        self.cached_layer(state, tell, |state| {
            self.archive_layer(state, |archive| {
                let mut entry = Entry::plain(Kind::Directory);
                (entry.name, entry.mode) = (inside.clone(), 0o755);
                archive
                    .entry(&entry, &mut std::io::empty())
                    .map_err(Error::io("archive", &path))
            })
        })
        .map(Some)
    }

    fn copy(
        &self,
        state: &mut State,
        copy: &Copy,
        is_add: bool,
        built: &BTreeMap<usize, State>,
        tell: &dyn Fn(bool),
    ) -> Result<NewLayer> {
        let value = |word: &String| self.value(state, word);
        let from = match &copy.from {
            None => View::of_directory(self.options.context)?,
            Some(name) => View::of_layers(&self.tree(&value(name)?, built)?)?,
        };
        let image = View::of_layers(&state.lower(self.store))?;
        let mut ignore = match copy.from {
            None => self.docker_ignore()?,
            Some(_) => Ignore::default(),
        };
        if !copy.excludes.is_empty() {
            let own: Vec<String> = copy.excludes.iter().map(value).collect::<Result<_>>()?;
            ignore.extend(Ignore::of(&own));
        }
        let written = value(&copy.destination)?;
        let mut destination = state.path(&written);
        if written.ends_with('/')
            || written.ends_with("/.")
            || written == "."
            || copy.sources.len() + copy.documents.len() > 1
        {
            destination.push('/');
        }
        let mut plan = Plan::new(&from, &image, &ignore, &destination);
        plan.unpacks = is_add;
        plan.owner = match (&copy.owner, &copy.from) {
            (Some(owner), _) => Some(users::resolve(&image, &value(owner)?)?),
            (None, None) => Some((0, 0)),
            (None, Some(_)) => None,
        };
        plan.mode = copy
            .mode
            .as_ref()
            .map(|word| mode(&value(word)?))
            .transpose()?;
        for source in &copy.sources {
            let source = value(source)?;
            if is_add && (source.contains("://") || source.starts_with("git@")) {
                return Err(Error::document(
                    "ADD",
                    format!("{source:?} is a URL, which is not supported: fetch it with RUN"),
                ));
            }
            plan.add(&source)?;
        }
        for document in &copy.documents {
            let text = if document.expands {
                expand_document(&document.content, self.file.escape, &|name| {
                    state.variable(name)
                })?
            } else {
                document.content.clone()
            };
            plan.add_text(&document.name, text)?;
        }
        let key = plan.key()?;
        state.mix(&format!("copy {key} {destination}"));
        self.cached_layer(state, tell, |state| {
            self.archive_layer(state, |archive| plan.write(archive))
        })
    }

    fn run(
        &self,
        state: &mut State,
        run: &Run,
        text: &str,
        built: &BTreeMap<usize, State>,
        tell: &dyn Fn(bool),
    ) -> Result<NewLayer> {
        state.mix(&format!("{text} {:?} {:?}", state.arguments, run.documents));
        let executor = self
            .options
            .executor
            .ok_or_else(|| Error::document("RUN", "nothing was given that runs commands"))?;
        let mounts = run
            .mounts
            .iter()
            .map(|mount| self.mount(state, mount, built))
            .collect::<Result<Vec<_>>>()?;
        self.cached_layer(state, tell, |state| {
            let (pending, unpacked) = self.begin_layer(state, |_| Ok(()))?;
            let (upper, work) = (pending.path(), pending.path().with_file_name("work"));
            std::fs::create_dir(&work).map_err(Error::io("create directory", &work))?;
            let (arguments, input) = command(state, run);
            let command = RunCommand {
                lower: &state.lower(self.store),
                upper: &upper,
                work: &work,
                arguments,
                input,
                environment: environment(state),
                directory: Some(state.text("WorkingDir"))
                    .filter(|path| !path.is_empty())
                    .unwrap_or_else(|| "/".into()),
                user: state.text("User"),
                network: run.network.as_deref().unwrap_or("default"),
                mounts: mounts.clone(),
            };
            let code = executor.run(&command)?;
            let removed = std::fs::remove_dir_all(&work);
            removed.map_err(Error::io("remove directory", &work))?;
            match code {
                0 => self.finish_layer(state, pending, &unpacked),
                code => Err(Error::document(
                    "RUN",
                    format!("the command ended with exit code {code}"),
                )),
            }
        })
    }

    fn mount(
        &self,
        state: &State,
        mount: &RunMount,
        built: &BTreeMap<usize, State>,
    ) -> Result<RunMountPoint> {
        let option = |names: &[&str]| -> Result<Option<String>> {
            let found = mount
                .options
                .iter()
                .find(|(key, _)| names.contains(&key.as_str()));
            found.map(|(_, word)| self.value(state, word)).transpose()
        };
        let id = option(&["id"])?;
        let target = option(&["target", "dst", "destination"])?;
        let target = match (target, mount.kind.as_str(), &id) {
            (Some(target), ..) => state.path(&target),
            (None, "secret", Some(id)) => format!("/run/secrets/{id}"),
            _ => return Err(Error::document("RUN --mount", "it has no target=")),
        };
        let kind = match mount.kind.as_str() {
            "cache" => RunMountKind::Cache(self.cache_directory(id.as_deref().unwrap_or(&target))?),
            "tmpfs" => RunMountKind::Tmpfs(option(&["size"])?.and_then(|size| size.parse().ok())),
            "secret" => {
                let id = id.unwrap_or_else(|| target.rsplit('/').next().unwrap_or_default().into());
                let path = self.options.secrets.get(&id).cloned();
                RunMountKind::Secret(path.ok_or_else(|| Error::NotFound {
                    what: format!("secret {id:?}"),
                    place: "the options of the build".into(),
                })?)
            }
            _ => {
                let lower = match option(&["from"])? {
                    Some(name) => self.tree(&name, built)?,
                    None => vec![self.options.context.to_path_buf()],
                };
                let path = option(&["source", "src"])?.unwrap_or_default();
                RunMountKind::Bind { lower, path }
            }
        };
        Ok(RunMountPoint { target, kind })
    }

    /// Named by what the file calls it, which may hold anything.
    fn cache_directory(&self, id: &str) -> Result<PathBuf> {
        let name = crate::Digest::of(Default::default(), id.as_bytes()).hex();
        let path = self.store.path().join("ampoule/caches").join(name);
        std::fs::create_dir_all(&path).map_err(Error::io("create directory", &path))?;
        Ok(path)
    }

    /// The layers of a stage or an image, the topmost first.
    fn tree(&self, name: &str, built: &BTreeMap<usize, State>) -> Result<Vec<PathBuf>> {
        if let Some(state) = self.file.stage(name).and_then(|index| built.get(&index)) {
            return Ok(state.lower(self.store));
        }
        let image = self.image(name, &Platform::host())?;
        Ok(image
            .chain_ids()
            .iter()
            .rev()
            .map(|chain_id| self.store.layer_path(chain_id))
            .collect())
    }

    fn docker_ignore(&self) -> Result<Ignore> {
        let path = self.options.context.join(".dockerignore");
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Ignore::parse(&text)),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(Ignore::default()),
            Err(source) => Err(Error::io("read", &path)(source)),
        }
    }

    /// The layer that an earlier build has made, or a new one.
    fn cached_layer(
        &self,
        state: &State,
        tell: &dyn Fn(bool),
        make: impl FnOnce(&State) -> Result<NewLayer>,
    ) -> Result<NewLayer> {
        let found = if self.options.cache {
            cache::find(self.store, state)
        } else {
            None
        };
        tell(found.is_some());
        if let Some(layer) = found {
            self.hold(&layer.descriptor.digest)?;
            state
                .chain_with(&layer.diff_id)
                .map_or(Ok(()), |chain_id| self.hold(&chain_id))?;
            return Ok(layer);
        }
        let layer = make(state)?;
        cache::keep(self.store, &state.key, &layer)?;
        Ok(layer)
    }

    fn archive_layer(
        &self,
        state: &State,
        write: impl FnOnce(&mut Writer<std::io::PipeWriter>) -> Result<()> + Send,
    ) -> Result<NewLayer> {
        let (pending, unpacked) = self.begin_layer(state, write)?;
        self.finish_layer(state, pending, &unpacked)
    }

    /// A directory with what an archive holds, settled on the layers below.
    fn begin_layer(
        &self,
        state: &State,
        write: impl FnOnce(&mut Writer<std::io::PipeWriter>) -> Result<()>,
    ) -> Result<(PendingLayer, Unpacked)> {
        let pending = self.store.new_layer()?;
        let (reader, pipe) = std::io::pipe().map_err(Error::io("create", "a pipe"))?;
        let directory = pending.path();
        let unpacked = std::thread::scope(|scope| {
            let unpacker = scope.spawn(|| unpack(reader, &directory, &UnpackOptions::default()));
            let mut archive = Writer::new(pipe);
            let written = write(&mut archive);
            let finished = archive.finish().map_err(Error::io("write", "a layer"));
            let finished = finished.map(drop);
            let unpacked = unpacker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // A pipe that broke is told by the unpacker, which broke it.
            match (written, unpacked, finished) {
                (_, Err(error), _) | (Err(error), ..) | (.., Err(error)) => Err(error),
                (Ok(()), Ok(unpacked), Ok(())) => Ok(unpacked),
            }
        })?;
        let lower = state.lower(self.store);
        let below: Vec<&Path> = lower.iter().map(PathBuf::as_path).collect();
        unpacked.settle(&directory, &below)?;
        Ok((pending, unpacked))
    }

    fn finish_layer(
        &self,
        state: &State,
        pending: PendingLayer,
        unpacked: &Unpacked,
    ) -> Result<NewLayer> {
        let options = DiffOptions {
            latest: self.options.latest,
            whiteouts: true,
        };
        let layer = {
            let mut lease = self.store.lease()?;
            let layer = self
                .store
                .layer_from(&pending.path(), &options, &mut lease)?;
            self.hold(&layer.descriptor.digest)?;
            layer
        };
        let chain_id = state.chain_with(&layer.diff_id).unwrap_or(layer.diff_id);
        self.hold(&chain_id)?;
        let info = LayerInfo {
            diff_id: layer.diff_id,
            entries: unpacked.entries,
            bytes: unpacked.bytes,
            user_xattrs: unpacked.user_xattrs,
        };
        pending.commit(&chain_id, &info)?;
        Ok(layer)
    }
}

fn shell(state: &State) -> Vec<String> {
    let list = state.config.value("Shell");
    let words: Vec<String> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(Into::into)
        .collect();
    match words.is_empty() {
        true => vec!["/bin/sh".into(), "-c".into()],
        false => words,
    }
}

/// Arguments are seen by commands too, unless the environment has the name.
fn environment(state: &State) -> Vec<(String, String)> {
    let mut all: BTreeMap<String, String> = BTreeMap::from([("PATH".into(), DEFAULT_PATH.into())]);
    all.extend(state.arguments.clone());
    all.extend(state.environment());
    all.into_iter().collect()
}

/// A here-document alone is a script; beside a command it is the shell's.
fn command(state: &State, run: &Run) -> (Vec<String>, Vec<u8>) {
    let line = match &run.arguments {
        Arguments::Exec(words) => return (words.clone(), Vec::new()),
        Arguments::Shell(line) => line,
    };
    let alone = line.starts_with("<<") && !line.contains(char::is_whitespace);
    match run.documents.as_slice() {
        [] => ([shell(state), vec![line.clone()]].concat(), Vec::new()),
        [document] if alone => match document.content.strip_prefix("#!") {
            // Its interpreter reads it from its input: there is no file that the layer would have to be rid of.
            Some(rest) => {
                let interpreter = rest.lines().next().unwrap_or_default().split_whitespace();
                let words = interpreter
                    .map(str::to_string)
                    .chain(["/dev/stdin".to_string()])
                    .collect();
                (words, document.content.clone().into_bytes())
            }
            None => (
                [shell(state), vec![document.content.clone()]].concat(),
                Vec::new(),
            ),
        },
        documents => {
            let texts = documents
                .iter()
                .map(|document| format!("\n{}{}", document.content, document.name));
            let script: String = std::iter::once(line.clone()).chain(texts).collect();
            ([shell(state), vec![script]].concat(), Vec::new())
        }
    }
}

fn mode(text: &str) -> Result<u32> {
    let mode = u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| Error::parse("mode", text, "expected octal digits, as in 755"))
}

/// Replaces variables and leaves everything else, quotes too, as it is.
fn expand_document(
    text: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String> {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        // Between double quotes only variables, escapes and double quotes mean something.
        let quoted = format!("\"{}\"", line.replace('"', &format!("{escape}\"")));
        out.push_str(&expand(&quoted, escape, lookup)?);
    }
    Ok(out)
}
