//! Failures of our own, as a person and a shell see them.

use ampoule::ErrorKind;
use std::fmt::Display;
use std::io::{ErrorKind as Io, Write};
use std::process::ExitCode;

/// A failure of our own: what is printed, and the exit code, as `docker run` has them.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong, and what can be done about it.
    pub message: String,
    /// 125, unless the container's program could not be executed (126) or found (127).
    pub code: u8,
}

/// What the command line returns.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// It failed before the container's program began.
    pub const OURS: u8 = 125;

    /// A failure of our own.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            code: Failure::OURS,
        }
    }

    /// Prints it.
    pub fn report(self) -> ExitCode {
        match self.code {
            0 => {
                // Help that nobody can read is nobody's concern.
                let _ = say(self.message.trim_end());
            }
            _ => eprintln!("ampoule: {}", self.message.trim_end()),
        }
        ExitCode::from(self.code)
    }
}

/// Prints a line on standard output. That its reader has seen enough, as `head` has, is no failure.
pub fn say(line: impl Display) -> Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != Io::BrokenPipe => {
            Err(Failure::new(format!("write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

impl From<ampoule::Error> for Failure {
    fn from(error: ampoule::Error) -> Failure {
        let code = match error.kind() {
            ErrorKind::ProgramNotFound => 127,
            ErrorKind::ProgramNotExecutable => 126,
            _ => Failure::OURS,
        };
        let mut message = error.to_string();
        if error.kind() == ErrorKind::Refused {
            message.push_str("\n  `ampoule doctor` shows what this machine allows");
        }
        Failure { message, code }
    }
}

/// A mistake on the command line, or a wish for help.
impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Failure {
        let message = error.render().to_string();
        match error.use_stderr() {
            true => Failure::new(message.strip_prefix("error: ").unwrap_or(&message)),
            false => Failure { message, code: 0 },
        }
    }
}
