//! `--name=value` in front of an instruction's words.

use super::lines::Line;
use super::{Fault, words};

/// The flags of one instruction, each with its place.
pub(super) struct Flags<'a> {
    line: &'a Line,
    found: Vec<(usize, &'a str, Option<&'a str>)>,
}

impl<'a> Flags<'a> {
    /// Takes the flags off the front; what is left begins at the returned byte.
    pub(super) fn take(line: &'a Line, escape: char) -> (Self, usize) {
        let (mut found, mut begin) = (Vec::new(), line.rest.len());
        for (offset, word) in words::split(&line.rest, escape) {
            match word.strip_prefix("--") {
                // A lone `--` is a word of the command.
                Some(flag) if !flag.is_empty() => {
                    let (name, value) = flag
                        .split_once('=')
                        .map_or((flag, None), |(name, value)| (name, Some(value)));
                    found.push((offset, name, value));
                }
                _ => {
                    begin = offset;
                    break;
                }
            }
        }
        (Self { line, found }, begin)
    }

    /// Refuses by name what the instruction does not have.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Fault> {
        let unknown = self.found.iter().find(|(_, name, _)| !known.contains(name));
        let Some((offset, name, _)) = unknown else {
            return Ok(());
        };
        let expected = match known {
            [] => format!("{} takes no flags", self.line.keyword.to_ascii_uppercase()),
            known => format!("expected --{}", known.join(", --")),
        };
        Err(self.line.fault_at(
            *offset,
            format!("flag --{name} is not supported: {expected}"),
        ))
    }

    /// A flag's value, unquoted; given once at most.
    pub(super) fn value(&self, wanted: &str) -> Result<Option<String>, Fault> {
        let mut values = self.values(wanted)?;
        match values.len() {
            0 | 1 => Ok(values.pop().map(|(_, value)| value)),
            _ => Err(self
                .line
                .fault_at(values[1].0, format!("expected --{wanted} once"))),
        }
    }

    /// All values of a flag that may be repeated.
    pub(super) fn values(&self, wanted: &str) -> Result<Vec<(usize, String)>, Fault> {
        let mut values = Vec::new();
        for (offset, _, value) in self.found.iter().filter(|(_, name, _)| *name == wanted) {
            let value = value.filter(|value| !value.is_empty());
            let missing = || {
                self.line
                    .fault_at(*offset, format!("expected a value: --{wanted}=VALUE"))
            };
            values.push((*offset, value.ok_or_else(missing)?.to_string()));
        }
        Ok(values)
    }

    /// A flag that is set by its name alone, or by `=true`.
    pub(super) fn is_set(&self, wanted: &str) -> Result<bool, Fault> {
        let found = self.found.iter().find(|(_, name, _)| *name == wanted);
        match found.map(|(offset, _, value)| (offset, value.unwrap_or("true"))) {
            None | Some((_, "false")) => Ok(false),
            Some((_, "true")) => Ok(true),
            Some((offset, other)) => Err(self
                .line
                .fault_at(*offset, format!("expected true or false, not {other:?}"))),
        }
    }
}
