//! The program's environment, as `-e` and `--env-file` name it.

use crate::failure::{Failure, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

type Variable = (OsString, OsString);

/// All variables: those of files first, so that `-e` can replace them.
pub fn gather(files: &[PathBuf], single: &[String]) -> Result<Vec<Variable>> {
    let mut all = Vec::new();
    for file in files {
        all.extend(read(file)?);
    }
    for text in single {
        let refuse = |why| Failure::new(format!("-e {text:?}: {why}"));
        all.extend(variable(text).map_err(refuse)?);
    }
    Ok(all)
}

fn read(file: &Path) -> Result<Vec<Variable>> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Failure::new(format!("read --env-file {file:?}: {e}")))?;
    let mut variables = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let refuse = |why| Failure::new(format!("--env-file {file:?}, line {number}: {why}"));
        variables.extend(variable(line).map_err(refuse)?);
    }
    Ok(variables)
}

/// `NAME=VALUE`, or `NAME` for one of ours; nothing where we have none.
fn variable(text: &str) -> Result<Option<Variable>, &'static str> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.into())),
        None => (text, std::env::var_os(text)),
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err("a variable is NAME=VALUE, or NAME for one of ours");
    }
    Ok(value.map(|value| (name.into(), value)))
}

#[cfg(test)]
mod tests {
    use super::variable;

    #[test]
    fn variables_as_docker_reads_them() {
        let check = |text: &str, expect: Option<(&str, &str)>| {
            let expect = expect.map(|(name, value)| (name.into(), value.into()));
            assert_eq!(variable(text), Ok(expect), "{text:?}");
        };
        check("A=1", Some(("A", "1")));
        check("A=", Some(("A", "")));
        check("A=b=c d", Some(("A", "b=c d")));
        check("AMPOULE_IS_NOT_SET", None);
        for wrong in ["", "=1", "A B=1"] {
            assert!(variable(wrong).is_err(), "{wrong:?}");
        }
    }
}
