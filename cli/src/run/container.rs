//! From the command line to the library's description of a container.

use super::Run;
use super::environment;
use super::values::{Count, Map, Net, SecurityOption};
use crate::failure::{Failure, Result};
use ampoule::cgroups::Limit;
use ampoule::privileges::Label;
use ampoule::privileges::capabilities::CapabilitySet;
use ampoule::privileges::seccomp::{Host, Template};
use ampoule::rootfs::{Dev, Device};
use ampoule::{Container, IdMap, Network, Root, Seccomp, Stdio, Volume};
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// What runs where nothing is named.
const SHELL: &str = "sh";

/// The word for the view of this machine.
const HOST: &str = "host";

impl Run {
    /// The container that was described.
    pub(super) fn container(&self) -> Result<Container> {
        let program = self.program()?;
        let mut container = Container::new(program.first().map_or(OsStr::new(SHELL), |p| p));
        container.args(program.iter().skip(1)).root(self.root()?);
        self.process(&mut container)?;
        self.files(&mut container)?;
        self.limits(&mut container)?;
        self.privileges(&mut container)?;
        Ok(container)
    }

    /// Whether the program has a terminal: with a shell that nobody asked for, wherever there is one.
    pub(super) fn terminal(&self) -> bool {
        self.tty || (self.words.len() == 1 && std::io::stdin().is_terminal())
    }

    /// Whether the program reads our standard input.
    pub(super) fn interactive(&self) -> bool {
        self.interactive || self.words.len() == 1
    }

    fn program(&self) -> Result<&[OsString]> {
        let program = &self.words[1..];
        let program = match program.first() {
            Some(first) if first == "--" => &program[1..],
            _ => program,
        };
        match program.first() {
            Some(first) if first.as_encoded_bytes().starts_with(b"-") => {
                Err(Failure::new(format!(
                    "{first:?} is taken for the program: options stand before ROOT, as in `ampoule run {} {}`",
                    first.display(),
                    self.words[0].display(),
                )))
            }
            _ => Ok(program),
        }
    }

    fn root(&self) -> Result<Root> {
        let word = &self.words[0];
        let path = Path::new(word);
        if word == HOST {
            return Ok(Root::host());
        }
        if path.exists() || word.as_encoded_bytes().contains(&b'/') {
            return Ok(Root::dir(path));
        }
        let similar = strsim::damerau_levenshtein(&word.to_string_lossy(), HOST) <= 2;
        let hint = match similar {
            true => "did you mean `host`?",
            false => "it is `host`, or a directory with a file system in it",
        };
        Err(Failure::new(format!("there is no root {word:?} ({hint})")))
    }

    fn process(&self, container: &mut Container) -> Result<()> {
        for (name, value) in environment::gather(&self.env_file, &self.env)? {
            container.env(name, value);
        }
        if let Some(directory) = &self.workdir {
            container.current_dir(directory);
        }
        if let Some(user) = &self.user {
            container.user(user);
        }
        if let Some(name) = &self.name {
            container.name(name);
        }
        if let Some(name) = &self.hostname {
            container.hostname(name);
        }
        if let Some(timeout) = self.timeout {
            container.timeout(timeout);
        }
        if !self.interactive() {
            container.stdin(Stdio::Null);
        }
        container.init(self.init);
        Ok(())
    }

    fn files(&self, container: &mut Container) -> Result<()> {
        for text in &self.volume {
            container.volume(volume(text)?);
        }
        for text in &self.mount {
            container.volume(Volume::parse_mount(text).map_err(ampoule::Error::from)?);
        }
        for text in &self.tmpfs {
            container.volume(Volume::parse_tmpfs(text).map_err(ampoule::Error::from)?);
        }
        let mut dev = Dev::default();
        for text in &self.device {
            dev.device(device(text)?);
        }
        if let Some(bytes) = self.shm_size {
            dev.shm(bytes);
        }
        container.dev(dev).read_only(self.read_only);
        Ok(())
    }

    fn limits(&self, container: &mut Container) -> Result<()> {
        if let Some(memory) = self.memory {
            container.memory(memory);
            match self.memory_swap {
                None => {}
                Some(Count::Unlimited) => {
                    container.resources().swap(Limit::Unlimited);
                }
                Some(Count::Some(both)) => {
                    let swap = both.checked_sub(memory).ok_or_else(|| {
                        Failure::new(format!(
                            "--memory-swap {both} is memory and swap together: it cannot be less than --memory {memory}"
                        ))
                    })?;
                    container.resources().swap(swap);
                }
            }
        }
        if let Some(cpus) = self.cpus {
            container.cpus(cpus);
        }
        let resources = container.resources();
        if let Some(shares) = self.cpu_shares {
            resources.cpu_shares(shares);
        }
        if let Some(list) = &self.cpuset_cpus {
            resources.cpuset_cpus(list);
        }
        match self.pids_limit {
            None => {}
            Some(Count::Unlimited) => {
                resources.pids(Limit::Unlimited);
            }
            Some(Count::Some(count)) => {
                resources.pids(count);
            }
        }
        for limit in &self.ulimit {
            container.privileges().rlimit(*limit);
        }
        if let Some(adjustment) = self.oom_score_adj {
            container.privileges().oom_score_adj(adjustment);
        }
        Ok(())
    }

    fn privileges(&self, container: &mut Container) -> Result<()> {
        if self.privileged {
            return Err(Failure::new(
                "--privileged is refused: with every device, capability and system call a container holds nobody. Name what \
                 the program needs: --cap-add, --device, --security-opt",
            ));
        }
        let all = |sets: &[CapabilitySet]| sets.iter().fold(CapabilitySet::EMPTY, |a, b| a | *b);
        let kept = CapabilitySet::DOCKER.adjusted(all(&self.cap_add), all(&self.cap_drop));
        container.capabilities(kept);
        for option in &self.security_opt {
            secure(container, option, kept)?;
        }
        container.network(match self.network {
            Net::None => Network::none(),
            Net::Host => Network::host(),
        });
        match &self.userns {
            None | Some(Map::Host) => {}
            Some(Map::Auto) => {
                container.id_map(IdMap::subordinate().map_err(ampoule::Error::from)?);
            }
            Some(Map::Extents(map)) => {
                container.id_map(map.clone());
            }
        }
        Ok(())
    }
}

/// As docker has it, a source that begins with a dot is relative to where we are.
fn volume(text: &str) -> Result<Volume> {
    let absolute = match text.starts_with('.') {
        true => std::path::absolute(text)
            .map(|path| path.to_string_lossy().into_owned())
            .map_err(|e| Failure::new(format!("-v {text:?}: find the working directory: {e}")))?,
        false => text.to_string(),
    };
    Ok(Volume::parse_volume(&absolute).map_err(ampoule::Error::from)?)
}

/// `SOURCE`, `SOURCE:TARGET` or `SOURCE:TARGET:rwm`; both below `/dev`.
fn device(text: &str) -> Result<Device> {
    let invalid = |why: &str| Failure::new(format!("--device {text:?}: {why}"));
    let mut words = text.split(':');
    let source = words.next().unwrap_or_default();
    let target = words.next().unwrap_or(source);
    match words.next() {
        None | Some("rwm" | "rw") => {}
        Some(_) => {
            return Err(invalid(
                "permissions other than rw are not enforced: leave them out",
            ));
        }
    }
    let name = target
        .strip_prefix("/dev/")
        .ok_or_else(|| invalid("the target must lie below /dev"))?;
    Ok(Device {
        name: PathBuf::from(name),
        source: PathBuf::from(source),
    })
}

fn secure(container: &mut Container, option: &SecurityOption, kept: CapabilitySet) -> Result<()> {
    match option {
        SecurityOption::SeccompUnconfined => {
            container.seccomp(Seccomp::Unconfined);
        }
        SecurityOption::SeccompBuiltin => {
            container.seccomp(Seccomp::Docker);
        }
        SecurityOption::SeccompFile(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|e| Failure::new(format!("read the seccomp profile {path:?}: {e}")))?;
            let compile = || {
                Template::from_json(&text)?
                    .resolve(&Host::here(kept)?)
                    .compile()
            };
            let filter =
                compile().map_err(|e| Failure::new(format!("seccomp profile {path:?}: {e}")))?;
            container.seccomp(Seccomp::Filter(filter));
        }
        SecurityOption::NewPrivileges(allowed) => {
            container.new_privileges(*allowed);
        }
        SecurityOption::AppArmor(profile) => {
            container
                .privileges()
                .label(Label::AppArmor(profile.clone()));
        }
        // No label is what a container has anyway.
        SecurityOption::NoLabel => {}
    }
    Ok(())
}
