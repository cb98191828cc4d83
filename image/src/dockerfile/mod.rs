//! Dockerfiles, read into values: each instruction with its place, each refusal with line, column and what was expected.
//!
//! The grammar is that of the Dockerfile reference: parser directives, comments, continued lines, here-documents, flags, and
//! the shell and the exec form. The `dockerfile-parser` crate was left, because it fails on here-documents and on another
//! escape character.

mod expand;
mod flags;
mod instruction;
mod lines;
mod words;

pub use expand::expand;
pub use instruction::{Arguments, Copy, From, Instruction, Run, RunMount};
pub use lines::HereDocument;

use crate::{Error, Result};
use lines::{Line, logical_lines};
use std::collections::HashSet;

/// No Dockerfile may be larger, bytes.
pub const LARGEST_DOCKERFILE: usize = 4 << 20;

/// A Dockerfile.
///
/// # Examples
/// ```
/// use ampoule_image::dockerfile::{Dockerfile, Instruction};
///
/// let text = "ARG VERSION=3\nFROM alpine:$VERSION AS base\nRUN echo hello\n";
/// let file = Dockerfile::parse("Dockerfile", text)?;
/// assert_eq!(file.stages[0].name.as_deref(), Some("base"));
/// assert!(matches!(file.stages[0].steps[0].instruction, Instruction::Run(_)));
///
/// let error = Dockerfile::parse("Dockerfile", "FROM alpine\nRUM echo").unwrap_err();
/// assert_eq!(error.to_string(), "Dockerfile:2:1: unknown instruction RUM: did you mean RUN?");
/// # Ok::<(), ampoule_image::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The arguments in front of the first stage, with their defaults: only for its `FROM` lines.
    pub arguments: Vec<(String, Option<String>)>,
    /// The stages, in the order of the file.
    pub stages: Vec<Stage>,
    /// The character that continues a line: a backslash, or a backtick by directive.
    pub escape: char,
}

/// A stage: an image to begin with, and steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What it begins with.
    pub from: From,
    /// Its name, where it has one; in lower case.
    pub name: Option<String>,
    /// The line of its `FROM`.
    pub line: usize,
    /// What is done.
    pub steps: Vec<Step>,
}

/// An instruction and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub instruction: Instruction,
    /// The first of its lines, from 1 on.
    pub line: usize,
    /// Its text, with continued lines joined: what the history shows.
    pub text: String,
}

impl Dockerfile {
    /// Reads a Dockerfile; `name` is for messages.
    ///
    /// # Errors
    /// `Invalid` with file, line and column.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        if text.len() > LARGEST_DOCKERFILE {
            let what = format!("read {name}");
            return Err(Error::Limit {
                what,
                limit: LARGEST_DOCKERFILE as u64,
            });
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (lines, escape) = logical_lines(text).map_err(|fault| fault.error(name))?;
        let mut file = Self {
            arguments: Vec::new(),
            stages: Vec::new(),
            escape,
        };
        for line in &lines {
            file.add(line).map_err(|fault| fault.error(name))?;
        }
        match file.stages.is_empty() {
            true => Err(Fault::at(
                1,
                1,
                "expected FROM, but there is no instruction that begins a stage",
            )
            .error(name)),
            false => Ok(file),
        }
    }

    /// The stage that a name or number stands for.
    pub fn stage(&self, name: &str) -> Option<usize> {
        let wanted = name.to_ascii_lowercase();
        let by_name = self
            .stages
            .iter()
            .position(|stage| stage.name.as_deref() == Some(&wanted));
        by_name.or_else(|| {
            name.parse()
                .ok()
                .filter(|number| *number < self.stages.len())
        })
    }

    /// The stages that a stage needs, itself last, in the order of the file: the others need not be built.
    pub fn needed(&self, target: usize) -> Vec<usize> {
        let (mut needed, mut open) = (HashSet::new(), vec![target]);
        while let Some(index) = open.pop() {
            if !needed.insert(index) {
                continue;
            }
            let stage = &self.stages[index];
            let of_steps = stage
                .steps
                .iter()
                .flat_map(|step| step.instruction.sources());
            let names = of_steps.chain([stage.from.image.as_str()]);
            // A stage knows only those before it; any other name is an image.
            open.extend(
                names
                    .filter_map(|name| self.stage(name))
                    .filter(|other| *other < index),
            );
        }
        let mut needed: Vec<usize> = needed.into_iter().collect();
        needed.sort_unstable();
        needed
    }

    fn add(&mut self, line: &Line) -> Result<(), Fault> {
        let instruction = instruction::parse(line, self.escape)?;
        match (instruction, self.stages.last_mut()) {
            (instruction::Parsed::From(from, name), _) => {
                let taken = name.as_ref().is_some_and(|name| {
                    self.stages
                        .iter()
                        .any(|stage| stage.name.as_ref() == Some(name))
                });
                if taken {
                    return Err(line.fault("expected a new name: another stage has this one"));
                }
                let stage = Stage {
                    from,
                    name,
                    line: line.number,
                    steps: Vec::new(),
                };
                self.stages.push(stage);
            }
            (instruction::Parsed::Step(Instruction::Arg(pairs)), None) => {
                self.arguments.extend(pairs)
            }
            (instruction::Parsed::Step(_), None) => {
                return Err(line.fault("expected FROM or ARG before any other instruction"));
            }
            (instruction::Parsed::Step(instruction), Some(stage)) => stage.steps.push(Step {
                instruction,
                line: line.number,
                text: line.text(),
            }),
        }
        Ok(())
    }
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    line: usize,
    column: usize,
    message: String,
}

impl Fault {
    pub(crate) fn at(line: usize, column: usize, message: impl Into<String>) -> Self {
        Self {
            line,
            column,
            message: message.into(),
        }
    }

    fn error(self, file: &str) -> Error {
        Error::Dockerfile {
            file: file.into(),
            line: self.line,
            column: self.column,
            message: self.message,
        }
    }
}

#[cfg(test)]
mod tests;
