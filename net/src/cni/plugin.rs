//! Running the plugins of a chain.

use super::config::ConfList;
use crate::{Error, ErrorKind, Namespace, Result};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// A chain of CNI plugins that makes a network.
///
/// # Examples
///
/// ```no_run
/// use ampoule_net::{Chain, ConfList, Namespace};
///
/// let chain = Chain::new(ConfList::read("/etc/cni/net.d/10-blue.conflist")?);
/// let namespace = Namespace::create()?;
/// let joined = chain.add("web-1", &namespace, "eth0")?;
/// println!("{:?}", joined.addresses());
/// joined.del()?;
/// # Ok::<(), ampoule_net::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Chain {
    list: ConfList,
    path: Vec<PathBuf>,
    arguments: Map<String, Value>,
    patience: Duration,
    host: Option<Arc<Namespace>>,
}

impl Chain {
    /// A chain whose plugins are looked for in `/opt/cni/bin` and `/usr/lib/cni`, each with 60 seconds for its work.
    pub fn new(list: ConfList) -> Chain {
        Chain {
            list,
            path: vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()],
            arguments: Map::new(),
            patience: Duration::from_secs(60),
            host: None,
        }
    }

    /// The directories in which plugins are looked for.
    pub fn path(
        &mut self,
        directories: impl IntoIterator<Item = impl Into<PathBuf>>,
    ) -> &mut Chain {
        self.path = directories.into_iter().map(Into::into).collect();
        self
    }

    /// What plugins that declare this capability are given, such as `portMappings`
    /// ([conventions](https://www.cni.dev/docs/conventions/)).
    pub fn capability(&mut self, name: &str, value: Value) -> &mut Chain {
        self.arguments.insert(name.into(), value);
        self
    }

    /// How long one plugin may take; then it is killed.
    pub fn patience(&mut self, patience: Duration) -> &mut Chain {
        self.patience = patience;
        self
    }

    /// The namespace that the plugins run in, instead of the caller's.
    pub fn host(&mut self, host: Arc<Namespace>) -> &mut Chain {
        self.host = Some(host);
        self
    }

    /// Joins a namespace to the network; `id` names the container to the plugins.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Missing`] for a plugin that is not installed; [`ErrorKind::Plugin`] for one that fails, hangs or prints
    /// what is no result. What the chain has done by then is undone.
    pub fn add(&self, id: &str, namespace: &Namespace, interface: &str) -> Result<Joined> {
        let mut joined = Joined {
            chain: self.clone(),
            id: id.to_string(),
            namespace: namespace.try_clone()?,
            interface: interface.to_string(),
            result: Value::Null,
        };
        for plugin in &self.list.plugins {
            let previous = (!joined.result.is_null()).then_some(&joined.result);
            match joined.call("ADD", plugin, previous) {
                Ok(Some(result)) => joined.result = result,
                Ok(None) => {}
                Err(error) => {
                    // The first failure is the one to tell of.
                    let _ = joined.del();
                    return Err(error);
                }
            }
        }
        Ok(joined)
    }

    /// Asks whether the chain could do its work now (specification 1.1).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Plugin`] for a plugin that could not.
    pub fn status(&self) -> Result<()> {
        self.each("STATUS", json!({}))
    }

    /// Lets the plugins remove what belongs to none of these containers and interfaces (specification 1.1).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Plugin`] for a plugin that fails; all of them are asked.
    pub fn gc(&self, alive: &[(&str, &str)]) -> Result<()> {
        let alive: Vec<Value> = alive
            .iter()
            .map(|(id, interface)| json!({"containerID": id, "ifname": interface}))
            .collect();
        self.each("GC", json!({ "cni.dev/valid-attachments": alive }))
    }

    fn each(&self, verb: &str, extra: Value) -> Result<()> {
        let mut outcome = Ok(());
        for plugin in &self.list.plugins {
            let mut input = self.list.input(plugin, None, &self.arguments);
            if let (Some(input), Some(extra)) = (input.as_object_mut(), extra.as_object()) {
                input.extend(extra.clone());
            }
            outcome = outcome.and(self.run(verb, plugin, &[], &input).map(drop));
        }
        outcome
    }

    fn run(
        &self,
        verb: &str,
        plugin: &Map<String, Value>,
        environment: &[(&str, String)],
        input: &Value,
    ) -> Result<Vec<u8>> {
        let kind = plugin
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let program = self
            .path
            .iter()
            .map(|directory| directory.join(kind))
            .find(|program| program.is_file());
        let program = program.ok_or_else(|| {
            Error::new(
                ErrorKind::Missing,
                format!("the CNI plugin {kind} is in none of {:?}", self.path),
            )
        })?;
        let what = format!("{verb} by the CNI plugin {kind}");
        let mut command = Command::new(program);
        let path = std::env::join_paths(&self.path).unwrap_or_default();
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_PATH", path)
            .envs(environment.iter().map(|(k, v)| (k, v)));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A group of its own, so that a plugin that hangs is killed with whatever it has started.
        command.process_group(0);
        let child = match &self.host {
            Some(host) => host.run(|| command.spawn())?,
            None => command.spawn(),
        };
        let child = child.map_err(|e| Error::kernel(&what, e))?;
        let (success, output) =
            converse(child, input.to_string().into_bytes(), self.patience, &what)?;
        match success {
            true => Ok(output),
            false => Err(failure(&what, &output)),
        }
    }
}

/// A namespace that a chain has joined to its network.
#[derive(Debug)]
#[must_use = "plugins keep state of their own, which only `del` removes"]
pub struct Joined {
    chain: Chain,
    id: String,
    namespace: Namespace,
    interface: String,
    result: Value,
}

impl Joined {
    /// The chain's result, as the last plugin printed it.
    pub fn result(&self) -> &Value {
        &self.result
    }

    /// The addresses in the result.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let ips = self
            .result
            .get("ips")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let address = |ip: &Value| ip.get("address")?.as_str()?.split('/').next()?.parse().ok();
        ips.filter_map(address).collect()
    }

    /// Asks the plugins whether all is as they made it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Plugin`] for the first that finds something wrong.
    pub fn check(&self) -> Result<()> {
        let each = |plugin| self.call("CHECK", plugin, Some(&self.result)).map(drop);
        self.chain.list.plugins.iter().try_for_each(each)
    }

    /// Undoes the chain's work, last plugin first; each of them gets its turn, also when another fails.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Plugin`] for the first that failed.
    pub fn del(&self) -> Result<()> {
        let previous = (!self.result.is_null()).then_some(&self.result);
        let each =
            |outcome: Result<()>, plugin| outcome.and(self.call("DEL", plugin, previous).map(drop));
        // `and` takes a value, so the call is made whatever came before.
        self.chain.list.plugins.iter().rev().fold(Ok(()), each)
    }

    fn call(
        &self,
        verb: &str,
        plugin: &Map<String, Value>,
        previous: Option<&Value>,
    ) -> Result<Option<Value>> {
        let input = self
            .chain
            .list
            .input(plugin, previous, &self.chain.arguments);
        let fd = self.namespace.as_fd().as_raw_fd();
        let environment = [
            ("CNI_CONTAINERID", self.id.clone()),
            ("CNI_NETNS", format!("/proc/{}/fd/{fd}", std::process::id())),
            ("CNI_IFNAME", self.interface.clone()),
        ];
        let output = self.chain.run(verb, plugin, &environment, &input)?;
        if verb != "ADD" || output.trim_ascii().is_empty() {
            return Ok(None);
        }
        let result: Value = serde_json::from_slice(&output).map_err(|e| {
            let kind = plugin
                .get("type")
                .and_then(Value::as_str)
                .unwrap_or_default();
            Error::new(
                ErrorKind::Plugin,
                format!("ADD by the CNI plugin {kind}: its result is not JSON: {e}"),
            )
        })?;
        Ok(Some(result))
    }
}

/// Gives a child its input and gets its output, at most so much and so long.
fn converse(
    mut child: Child,
    input: Vec<u8>,
    patience: Duration,
    what: &str,
) -> Result<(bool, Vec<u8>)> {
    let failed = |e| Error::kernel(what, e);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let read = |stream: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut output = Vec::new();
            // What is longer is no result; the rest is refused to the plugin by the closed pipe.
            let _ = stream.map(|stream| stream.take(LONGEST).read_to_end(&mut output));
            output
        })
    };
    let stdout = read(stdout.map(|s| Box::new(s) as _));
    let stderr = read(stderr.map(|s| Box::new(s) as _));
    // A plugin need not read its input.
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let deadline = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if Instant::now() >= deadline {
            kill_group(&mut child);
            let text = format!("{what}: it took longer than {patience:?} and was killed");
            return Err(Error::new(ErrorKind::Plugin, text));
        }
        thread::sleep(Duration::from_millis(1));
    };
    let mut output = stdout.join().unwrap_or_default();
    let complaint = stderr.join().unwrap_or_default();
    if output.is_empty() && !status.success() {
        output = complaint;
    }
    Ok((status.success(), output))
}

/// No result of a plugin is a megabyte.
const LONGEST: u64 = 1 << 20;

fn kill_group(child: &mut Child) {
    if let Some(group) = rustix::process::Pid::from_raw(child.id() as i32) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

/// The error that a plugin printed (specification, section 5), or whatever it printed instead.
fn failure(what: &str, output: &[u8]) -> Error {
    let mut text = what.to_string();
    // Writing to a string cannot fail.
    let _ = match serde_json::from_slice::<Value>(output) {
        Ok(error) if error.get("msg").is_some() => {
            let word = |key: &str| {
                error
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_string()
            };
            let code = error
                .get("code")
                .and_then(Value::as_u64)
                .unwrap_or_default();
            let details = word("details");
            let details = if details.is_empty() {
                details
            } else {
                format!(" ({details})")
            };
            write!(text, ": {}{details}, code {code}", word("msg"))
        }
        _ => {
            let output = String::from_utf8_lossy(output);
            let start: String = output.trim().chars().take(200).collect();
            write!(text, ": it failed and said {start:?}")
        }
    };
    Error::new(ErrorKind::Plugin, text)
}
