use super::{Action, Arch, Data, Flags, Program, syscalls};
use crate::Error;
use std::fmt;
use std::sync::Arc;

/// A compiled profile, ready to be loaded. It is cheap to clone: compile once, and share it among containers and threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    program: Program,
    words: Arc<[u64]>,
    flags: Flags,
    skipped: Vec<String>,
}

/// What a filter does with one call, and which call that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The filter's answer.
    pub action: Action,
    /// Through which ABI the call came.
    pub arch: Arch,
    /// Its number there.
    pub number: u32,
    /// Its name, where the number is known.
    pub name: Option<&'static str>,
}

impl Filter {
    pub(super) fn new(program: Program, flags: Flags, skipped: Vec<String>) -> Filter {
        Filter {
            words: program.to_words().into(),
            program,
            flags,
            skipped,
        }
    }

    /// Takes a program that another compiler wrote, such as a bubblewrap `--seccomp` file.
    ///
    /// # Errors
    /// [`Error::FilterTooLong`] if it is empty or longer than the kernel's 4,096 instructions.
    pub fn from_program(program: Program, flags: Flags) -> Result<Filter, Error> {
        match program.instructions().len() {
            1..=4096 => Ok(Filter::new(program, flags, Vec::new())),
            length => Err(Error::FilterTooLong(length)),
        }
    }

    /// The program as the kernel wants it in memory: an array of `struct sock_filter`, one in each `u64`.
    pub fn words(&self) -> Arc<[u64]> {
        self.words.clone()
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// How it is loaded.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// The names that the profile has rules for and Linux does not know; only with [`Unknown::Skip`](super::Unknown).
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// What the filter does with a call of this name.
    ///
    /// # Errors
    /// [`Error::UnknownSyscall`] if the ABI has no such call.
    pub fn explain(&self, arch: Arch, name: &str, arguments: [u64; 6]) -> Result<Decision, Error> {
        let number = syscalls::number(arch, name).ok_or_else(|| Error::UnknownSyscall {
            name: name.into(),
            similar: syscalls::nearest(name),
        })?;
        Ok(self.decide(arch, number, arguments))
    }

    /// What the filter does with a call of this number.
    pub fn decide(&self, arch: Arch, number: u32, arguments: [u64; 6]) -> Decision {
        Decision {
            action: self.program.run(&Data::new(arch, number, arguments)),
            arch,
            number,
            name: syscalls::name(arch, number),
        }
    }
}

/// The program's disassembly.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.program.fmt(f)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.action {
            Action::KillProcess | Action::KillThread => "killed by seccomp".to_string(),
            Action::Allow => "allowed by seccomp".to_string(),
            action => format!("seccomp answers {action}"),
        };
        match self.name {
            Some(name) => write!(
                f,
                "{verdict} on syscall {name} ({}, number {})",
                self.arch, self.number
            ),
            None => write!(
                f,
                "{verdict} on syscall number {} ({})",
                self.number, self.arch
            ),
        }
    }
}
