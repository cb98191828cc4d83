//! What each instruction says. Variables are still in place: their values are known only when the stage is built.

use super::flags::Flags;
use super::lines::{HereDocument, Line};
use super::{Fault, words};
use crate::Healthcheck;

/// What is done in a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instruction {
    /// `ADD`: as COPY, and unpacks archives and fetches URLs.
    Add(Copy),
    /// `ARG`: variables of the build, with defaults.
    Arg(Vec<(String, Option<String>)>),
    /// `CMD`
    Cmd(Arguments),
    /// `COPY`
    Copy(Copy),
    /// `ENTRYPOINT`
    Entrypoint(Arguments),
    /// `ENV`
    Env(Vec<(String, String)>),
    /// `EXPOSE`: ports as they are written.
    Expose(Vec<String>),
    /// `HEALTHCHECK`; none is `HEALTHCHECK NONE`.
    Healthcheck(Option<Box<Healthcheck>>),
    /// `LABEL`
    Label(Vec<(String, String)>),
    /// `MAINTAINER`, which became a label's work.
    Maintainer(String),
    /// `ONBUILD`: an instruction for whoever builds upon the image, as text.
    OnBuild(String),
    /// `RUN`
    Run(Box<Run>),
    /// `SHELL`
    Shell(Vec<String>),
    /// `STOPSIGNAL`
    StopSignal(String),
    /// `USER`
    User(String),
    /// `VOLUME`
    Volume(Vec<String>),
    /// `WORKDIR`
    Workdir(String),
}

/// What a stage begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// An image, an earlier stage, or `scratch`.
    pub image: String,
    /// `--platform`
    pub platform: Option<String>,
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arguments {
    /// `["program", "argument"]`: run as it is.
    Exec(Vec<String>),
    /// A line for the shell.
    Shell(String),
}

/// `RUN`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What is run.
    pub arguments: Arguments,
    /// `--mount`
    pub mounts: Vec<RunMount>,
    /// `--network`: `default`, `none` or `host`.
    pub network: Option<String>,
    /// Here-documents.
    pub documents: Vec<HereDocument>,
}

/// `--mount=type=…`: its keys and values, in order, checked against those of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// `bind`, `cache`, `tmpfs` or `secret`.
    pub kind: String,
    /// The other keys; a key without a value is `true`.
    pub options: Vec<(String, String)>,
}

/// `COPY` and `ADD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Files of the context or of `from`, with wildcards; for ADD also URLs.
    pub sources: Vec<String>,
    /// Where they go; with a slash at its end, or with more than one source, a directory.
    pub destination: String,
    /// `--from`: a stage or an image.
    pub from: Option<String>,
    /// `--chown`
    pub owner: Option<String>,
    /// `--chmod`
    pub mode: Option<String>,
    /// `--exclude`
    pub excludes: Vec<String>,
    /// Here-documents among the sources.
    pub documents: Vec<HereDocument>,
}

impl Instruction {
    /// The stages or images that it takes files from.
    pub(super) fn sources(&self) -> Vec<&str> {
        match self {
            Self::Copy(copy) | Self::Add(copy) => copy.from.as_deref().into_iter().collect(),
            Self::Run(run) => {
                let options = run.mounts.iter().flat_map(|mount| &mount.options);
                options
                    .filter(|(key, _)| key == "from")
                    .map(|(_, value)| value.as_str())
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}

pub(super) enum Parsed {
    From(From, Option<String>),
    Step(Instruction),
}

const KNOWN: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

pub(super) fn parse(line: &Line, escape: char) -> Result<Parsed, Fault> {
    let keyword = line.keyword.to_ascii_uppercase();
    let (flags, begin) = Flags::take(line, escape);
    let body = Body {
        line,
        begin,
        escape,
    };
    if keyword == "FROM" {
        flags.only(&["platform"])?;
        return from(&body, flags.value("platform")?);
    }
    let instruction = match keyword.as_str() {
        "RUN" => run(&body, &flags)?,
        "COPY" | "ADD" => copy(&body, &flags, keyword == "ADD")?,
        "HEALTHCHECK" => healthcheck(&body, &flags)?,
        // Only the inner instruction has flags.
        "ONBUILD" => on_build(line)?,
        other => {
            flags.only(&[])?;
            simple(other, &body)?
        }
    };
    Ok(Parsed::Step(instruction))
}

fn simple(keyword: &str, body: &Body<'_>) -> Result<Instruction, Fault> {
    Ok(match keyword {
        "ARG" => Instruction::Arg(
            body.words("NAME or NAME=DEFAULT")?
                .into_iter()
                .map(|word| argument(body, word))
                .collect::<Result<_, _>>()?,
        ),
        "CMD" => Instruction::Cmd(body.arguments()?),
        "ENTRYPOINT" => Instruction::Entrypoint(body.arguments()?),
        "ENV" => Instruction::Env(body.pairs()?),
        "EXPOSE" => Instruction::Expose(body.texts("a port, as in 80 or 53/udp")?),
        "LABEL" => Instruction::Label(body.pairs()?),
        "MAINTAINER" => Instruction::Maintainer(body.text("a name")?.into()),
        "SHELL" => match body.json()? {
            Some(words) if !words.is_empty() => Instruction::Shell(words),
            _ => return Err(body.fault("expected a JSON list, as in [\"/bin/sh\", \"-c\"]")),
        },
        "STOPSIGNAL" => Instruction::StopSignal(body.one("a signal, as in SIGTERM")?),
        "USER" => Instruction::User(body.one("a user, as in name, uid or uid:gid")?),
        "VOLUME" => Instruction::Volume(body.list("a directory")?),
        "WORKDIR" => Instruction::Workdir(body.text("a directory")?.into()),
        other => {
            let close = KNOWN
                .iter()
                .min_by_key(|known| distance(known, other))
                .filter(|known| distance(known, other) <= 2);
            let hint = close.map_or("see the list of the Dockerfile reference".into(), |known| {
                format!("did you mean {known}?")
            });
            return Err(body
                .line
                .fault(format!("unknown instruction {other}: {hint}")));
        }
    })
}

/// What follows the flags.
struct Body<'a> {
    line: &'a Line,
    begin: usize,
    escape: char,
}

impl<'a> Body<'a> {
    fn rest(&self) -> &'a str {
        &self.line.rest[self.begin..]
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        self.line.fault_at(self.begin, message)
    }

    fn text(&self, expected: &str) -> Result<&'a str, Fault> {
        match self.rest() {
            "" => Err(self.fault(format!("expected {expected}"))),
            text => Ok(text),
        }
    }

    fn words(&self, expected: &str) -> Result<Vec<(usize, &'a str)>, Fault> {
        self.text(expected)?;
        let words = words::split(self.rest(), self.escape);
        Ok(words
            .into_iter()
            .map(|(offset, word)| (self.begin + offset, word))
            .collect())
    }

    fn texts(&self, expected: &str) -> Result<Vec<String>, Fault> {
        Ok(self
            .words(expected)?
            .into_iter()
            .map(|(_, word)| word.to_string())
            .collect())
    }

    fn one(&self, expected: &str) -> Result<String, Fault> {
        match self.words(expected)?.as_slice() {
            [(_, word)] => Ok(word.to_string()),
            words => Err(self
                .line
                .fault_at(words[1].0, format!("expected nothing after {expected}"))),
        }
    }

    /// A list in JSON; none where the text is something else. What looks like JSON and is not, is a line for the shell.
    fn json(&self) -> Result<Option<Vec<String>>, Fault> {
        Ok(serde_json::from_str(self.rest()).ok())
    }

    fn list(&self, expected: &str) -> Result<Vec<String>, Fault> {
        match self.json()? {
            Some(list) if !list.is_empty() => Ok(list),
            Some(_) => Err(self.fault(format!("expected {expected}"))),
            None => self.texts(expected),
        }
    }

    fn arguments(&self) -> Result<Arguments, Fault> {
        match self.json()? {
            Some(list) => Ok(Arguments::Exec(list)),
            None => Ok(Arguments::Shell(self.rest().to_string())),
        }
    }

    /// `NAME=value …`, or in the old form `NAME value of several words`.
    fn pairs(&self) -> Result<Vec<(String, String)>, Fault> {
        let words = self.words("NAME=VALUE")?;
        if !words[0].1.contains('=') {
            let (name, value) = self
                .rest()
                .split_once(char::is_whitespace)
                .unwrap_or((self.rest(), ""));
            return match value.trim() {
                "" => Err(self.fault(format!("expected NAME=VALUE, but {name} has no value"))),
                value => Ok(vec![(name.into(), value.into())]),
            };
        }
        let pair = |(offset, word): (usize, &str)| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
            _ => Err(self
                .line
                .fault_at(offset, format!("expected NAME=VALUE, not {word}"))),
        };
        words.into_iter().map(pair).collect()
    }
}

fn argument(
    body: &Body<'_>,
    (offset, word): (usize, &str),
) -> Result<(String, Option<String>), Fault> {
    let (name, default) = word.split_once('=').map_or((word, None), |(name, value)| {
        (name, Some(value.to_string()))
    });
    let is_name = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match is_name {
        true => Ok((name.into(), default)),
        false => Err(body.line.fault_at(
            offset,
            format!("expected the name of a variable, not {name:?}"),
        )),
    }
}

fn from(body: &Body<'_>, platform: Option<String>) -> Result<Parsed, Fault> {
    let words = body.words("an image, an earlier stage, or scratch")?;
    let name = match words.as_slice() {
        [_] => None,
        [_, (_, word), (offset, name)] if word.eq_ignore_ascii_case("as") => {
            let name = name.to_ascii_lowercase();
            let good = name
                .bytes()
                .next()
                .is_some_and(|byte| byte.is_ascii_lowercase())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            if !good {
                return Err(body.line.fault_at(
                    *offset,
                    format!("expected a name that begins with a letter, not {name:?}"),
                ));
            }
            Some(name)
        }
        words => return Err(body.line.fault_at(words[1].0, "expected AS NAME")),
    };
    let image = words[0].1.to_string();
    Ok(Parsed::From(From { image, platform }, name))
}

fn run(body: &Body<'_>, flags: &Flags<'_>) -> Result<Instruction, Fault> {
    flags.only(&["mount", "network"])?;
    let network = flags.value("network")?;
    if let Some(other) = network
        .as_deref()
        .filter(|network| !["default", "none", "host"].contains(network))
    {
        return Err(body.line.fault(format!(
            "expected --network=default, none or host, not {other:?}"
        )));
    }
    let mounts = flags
        .values("mount")?
        .into_iter()
        .map(|(offset, text)| mount(body, offset, &text))
        .collect::<Result<_, _>>()?;
    body.text("a command")?;
    Ok(Instruction::Run(Box::new(Run {
        arguments: body.arguments()?,
        mounts,
        network,
        documents: body.line.documents.clone(),
    })))
}

fn mount(body: &Body<'_>, offset: usize, text: &str) -> Result<RunMount, Fault> {
    let mut options: Vec<(String, String)> = Vec::new();
    for part in text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, "true"));
        options.push((key.to_ascii_lowercase(), value.to_string()));
    }
    let position = options.iter().position(|(key, _)| key == "type");
    let kind = position.map_or("bind".into(), |position| options.remove(position).1);
    let known: &[&str] =
        match kind.as_str() {
            "bind" => &[
                "target",
                "dst",
                "destination",
                "source",
                "src",
                "from",
                "rw",
                "readwrite",
                "ro",
                "readonly",
            ],
            "cache" => &[
                "id",
                "target",
                "dst",
                "destination",
                "ro",
                "readonly",
                "sharing",
                "from",
                "source",
                "src",
                "mode",
                "uid",
                "gid",
            ],
            "tmpfs" => &["target", "dst", "destination", "size"],
            "secret" => &[
                "id",
                "target",
                "dst",
                "destination",
                "required",
                "mode",
                "uid",
                "gid",
                "env",
            ],
            other => return Err(body.line.fault_at(
                offset,
                format!(
                    "mount type {other:?} is not supported: expected bind, cache, tmpfs or secret"
                ),
            )),
        };
    match options
        .iter()
        .find(|(key, _)| !known.contains(&key.as_str()))
    {
        Some((key, _)) => Err(body.line.fault_at(
            offset,
            format!(
                "a mount of type {kind} has no {key:?}: expected {}",
                known.join(", ")
            ),
        )),
        None => Ok(RunMount { kind, options }),
    }
}

fn copy(body: &Body<'_>, flags: &Flags<'_>, is_add: bool) -> Result<Instruction, Fault> {
    match is_add {
        true => flags.only(&["chown", "chmod", "exclude", "link"])?,
        false => flags.only(&["from", "chown", "chmod", "exclude", "link"])?,
    }
    // Each COPY is a layer of its own here, so it is linked anyway.
    flags.is_set("link")?;
    let expected = "at least one source and a destination";
    let mut sources = body.list(expected)?;
    let destination = sources.pop().filter(|_| !sources.is_empty());
    let destination = destination.ok_or_else(|| body.fault(format!("expected {expected}")))?;
    sources.retain(|source| !source.starts_with("<<"));
    let copy = Copy {
        sources,
        destination,
        from: flags.value("from")?,
        owner: flags.value("chown")?,
        mode: flags.value("chmod")?,
        excludes: flags
            .values("exclude")?
            .into_iter()
            .map(|(_, value)| value)
            .collect(),
        documents: body.line.documents.clone(),
    };
    Ok(if is_add {
        Instruction::Add(copy)
    } else {
        Instruction::Copy(copy)
    })
}

fn healthcheck(body: &Body<'_>, flags: &Flags<'_>) -> Result<Instruction, Fault> {
    flags.only(&[
        "interval",
        "timeout",
        "start-period",
        "start-interval",
        "retries",
    ])?;
    let text = body.text("NONE or CMD")?;
    if text.eq_ignore_ascii_case("none") {
        return Ok(Instruction::Healthcheck(None));
    }
    let command = text
        .split_once(char::is_whitespace)
        .filter(|(word, _)| word.eq_ignore_ascii_case("cmd"));
    let command = command
        .ok_or_else(|| body.fault("expected NONE or CMD"))?
        .1
        .trim();
    let test = match serde_json::from_str::<Vec<String>>(command) {
        Ok(list) => [vec!["CMD".into()], list].concat(),
        Err(_) => vec!["CMD-SHELL".into(), command.into()],
    };
    let time = |name: &str| -> Result<u64, Fault> {
        let Some(text) = flags.value(name)? else {
            return Ok(0);
        };
        duration(&text).ok_or_else(|| {
            body.line.fault(format!(
                "expected a time for --{name}, as in 30s or 1m30s, not {text:?}"
            ))
        })
    };
    let retries = flags.value("retries")?.map_or(Ok(0), |text| {
        text.parse().map_err(|_| {
            body.line
                .fault(format!("expected a number for --retries, not {text:?}"))
        })
    })?;
    Ok(Instruction::Healthcheck(Some(Box::new(Healthcheck {
        test,
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start-period")?,
        start_interval: time("start-interval")?,
        retries,
    }))))
}

/// Go's durations, in nanoseconds: `1h2m3.5s`.
fn duration(text: &str) -> Option<u64> {
    let (mut total, mut rest) = (0f64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let end = unit
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(unit.len());
        total += number
            * match &unit[..end] {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &unit[end..];
    }
    (total > 0.0 && total < 1e18).then_some(total as u64)
}

fn on_build(line: &Line) -> Result<Instruction, Fault> {
    let inner = line
        .rest
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_ascii_uppercase();
    match inner.as_str() {
        "" => Err(line.fault("expected an instruction after ONBUILD")),
        "ONBUILD" | "FROM" | "MAINTAINER" => {
            Err(line.fault_at(0, format!("{inner} may not stand after ONBUILD")))
        }
        known if KNOWN.contains(&known) => Ok(Instruction::OnBuild(line.rest.clone())),
        other => Err(line.fault_at(0, format!("unknown instruction {other}"))),
    }
}

/// How many letters must change.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(20).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, left) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, right) in b.iter().enumerate() {
            let cost = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = cost.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}
