//! How a plan is printed.

use crate::call::Call;
use crate::phase::Phase;
use crate::plan::{Action, ChildStep, Plan, Step};
use crate::syscall::{Arg, Fd, Micro, Operation, Slot, Syscall};
use std::ffi::{CStr, CString};
use std::fmt::{self, Display, Formatter, Write};

/// The width of the host's column. Most steps are the child's, and theirs are the long ones.
const HOST: usize = 26;

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>4}  {:<8}  {:<HOST$}  child", "step", "phase", "host")?;
        self.birth(f)?;
        for (index, step) in self.steps.iter().enumerate() {
            self.row(f, index + 2, step)?;
        }
        Ok(())
    }
}

impl Plan {
    /// The first step is always the same: the child is born.
    fn birth(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<&str> = self.namespaces.iter_names().map(|(name, _)| name).collect();
        if self.cgroup.is_some() {
            kinds.push("CLONE_INTO_CGROUP");
        }
        let kinds = if kinds.is_empty() {
            "0".to_string()
        } else {
            kinds.join("|")
        };
        let cgroup = self
            .cgroup
            .map(|slot| format!(", cgroup={}", self.name(slot)))
            .unwrap_or_default();
        writeln!(
            f,
            "{:>4}  {:<8}  clone3({{flags={kinds}{cgroup}}})",
            1,
            Phase::Birth
        )?;
        why(f, "", "the child is born in namespaces of its own")
    }

    fn row(&self, f: &mut Formatter<'_>, number: usize, step: &Step) -> fmt::Result {
        write!(f, "{number:>4}  {:<8}  ", step.phase)?;
        match &step.action {
            Action::Host(_) => {
                let mut lines = wrapped(&step.why, HOST);
                writeln!(f, "{:<HOST$}  (waits)", lines.next().unwrap_or_default())?;
                lines.try_for_each(|line| writeln!(f, "{:16}{line}", ""))
            }
            Action::Child(child) => {
                writeln!(f, "{:<HOST$}  {}", "", self.show(&child.call))?;
                self.refinements(f, child)?;
                why(f, &" ".repeat(HOST + 2), &step.why)
            }
        }
    }

    fn refinements(&self, f: &mut Formatter<'_>, child: &ChildStep) -> fmt::Result {
        let indent = " ".repeat(16 + HOST + 4);
        if let Some(call) = &child.or_else {
            writeln!(f, "{indent}or {}", self.show(call))?;
        }
        if !child.tolerate.is_empty() {
            let names: Vec<String> = child
                .tolerate
                .iter()
                .map(|errno| format!("{errno:?}"))
                .collect();
            writeln!(f, "{indent}{} does not matter", names.join(", "))?;
        }
        Ok(())
    }

    /// A call as strace would print it, file descriptors by their names.
    pub(crate) fn show<'a>(&'a self, call: &'a Call) -> Shown<'a> {
        Shown { plan: self, call }
    }

    fn show_syscall(&self, f: &mut Formatter<'_>, syscall: &Syscall<'_>) -> fmt::Result {
        write!(f, "{}(", syscall.name)?;
        for (index, arg) in syscall.args.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            self.show_arg(f, arg)?;
        }
        f.write_char(')')?;
        match syscall.out {
            Some(slot) => write!(f, " = {}", self.name(slot)),
            None => Ok(()),
        }
    }

    fn show_arg(&self, f: &mut Formatter<'_>, arg: &Arg<'_>) -> fmt::Result {
        match arg {
            Arg::Fd(Fd::Cwd) => f.write_str("AT_FDCWD"),
            Arg::Fd(Fd::Number(number)) => write!(f, "{number}"),
            Arg::Fd(Fd::Slot(slot)) => f.write_str(&self.name(*slot)),
            Arg::Text(text) => show_text(f, text),
            Arg::List(list) => show_list(f, list),
            Arg::Hidden(list) => write!(f, "[/* {} variables */]", list.len()),
            Arg::Int(number) => write!(f, "{number}"),
            Arg::Octal(0) => f.write_char('0'),
            Arg::Octal(mode) => write!(f, "0{mode:o}"),
            Arg::Named(_, name) | Arg::Bytes(_, name) => f.write_str(name),
            Arg::Filter(filter) => write!(f, "{{{} instructions}}", filter.len()),
            Arg::Null => f.write_str("NULL"),
        }
    }

    fn name(&self, slot: Slot) -> String {
        let name = self
            .slots
            .get(slot.index())
            .map_or("?", |entry| &entry.name);
        format!("<{name}>")
    }
}

/// A call, with the plan that knows the names of its file descriptors.
pub(crate) struct Shown<'a> {
    plan: &'a Plan,
    call: &'a Call,
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.call.operation() {
            Operation::Syscall(syscall) => self.plan.show_syscall(f, &syscall),
            Operation::Micro(Micro::Fork) => f.write_str("fork, and go on in the new process"),
            Operation::Micro(Micro::Lifeline) => f.write_str("end unless the host is still there"),
            Operation::Micro(Micro::CloseFrom(first)) => write!(f, "close_range({first}, ~0U, 0)"),
        }
    }
}

fn show_text(f: &mut Formatter<'_>, text: &CStr) -> fmt::Result {
    write!(f, "{:?}", text.to_string_lossy())
}

fn show_list(f: &mut Formatter<'_>, list: &[CString]) -> fmt::Result {
    f.write_char('[')?;
    for (index, text) in list.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        show_text(f, text)?;
    }
    f.write_char(']')
}

fn why(f: &mut Formatter<'_>, indent: &str, text: &str) -> fmt::Result {
    writeln!(f, "{:16}{indent}  — {text}", "")
}

/// Words in lines of at most `width` characters, where the words allow it.
fn wrapped(text: &str, width: usize) -> impl Iterator<Item = String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines.into_iter()
}
