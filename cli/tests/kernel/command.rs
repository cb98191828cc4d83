//! Calls the command, and tells what came of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What a call came to.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// The command, with nothing to read.
pub fn ampoule(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ampoule"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Calls it and waits.
pub fn ran(args: &[&str]) -> Ran {
    ampoule(args).output().expect("ampoule starts").into()
}

/// Calls it, and looks at its exit code and at its output.
#[track_caller]
pub fn prints(args: &[&str], code: i32, stdout: &str) {
    let ran = ran(args);
    assert_eq!(
        (ran.code, &ran.stdout[..]),
        (Some(code), stdout),
        "{args:?}: {ran:?}"
    );
}

/// Calls it, and looks at its exit code and for words in its error message.
#[track_caller]
pub fn fails(args: &[&str], code: i32, words: &[&str]) {
    let ran = ran(args);
    assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
    assert!(ran.stderr.starts_with("ampoule: "), "{args:?}: {ran:?}");
    for word in words {
        assert!(
            ran.stderr.contains(word),
            "{word:?} is not in the message of {args:?}: {ran:?}"
        );
    }
}

/// A directory that goes when the test ends.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ampoule-cli-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a scratch directory");
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and returns its path as text.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a scratch file");
        path.to_str().expect("a path of ASCII").to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
