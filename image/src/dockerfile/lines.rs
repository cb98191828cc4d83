//! Logical lines: continuations joined, comments gone, here-documents attached, each character's place known.

use super::Fault;

/// A text inside the Dockerfile: `<<NAME … NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HereDocument {
    /// The word that ends it, which is also the name of the file that COPY makes of it.
    pub name: String,
    /// The text, with its last newline.
    pub content: String,
    /// Whether variables in it are replaced: not where the word was quoted.
    pub expands: bool,
}

/// An instruction with all that belongs to it.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// The first line, from 1 on.
    pub number: usize,
    /// The instruction's name as it is written.
    pub keyword: String,
    pub column: usize,
    /// What follows the name, continuations joined.
    pub rest: String,
    /// For each byte of `rest`, or further on: line and column of the parts that it was joined of.
    parts: Vec<(usize, usize, usize)>,
    pub documents: Vec<HereDocument>,
}

impl Line {
    /// A fault at the instruction itself.
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::at(self.number, self.column, message)
    }

    /// A fault at a byte of what follows the name.
    pub(super) fn fault_at(&self, offset: usize, message: impl Into<String>) -> Fault {
        let part = self.parts.iter().rev().find(|(start, ..)| *start <= offset);
        let (start, line, column) = part.copied().unwrap_or((0, self.number, self.column));
        let before = self.rest.get(start..offset).unwrap_or_default();
        Fault::at(line, column + before.chars().count(), message)
    }

    pub(super) fn text(&self) -> String {
        format!("{} {}", self.keyword.to_ascii_uppercase(), self.rest)
            .trim_end()
            .to_string()
    }
}

/// Splits a text; also tells the escape character that it sets.
pub(super) fn logical_lines(text: &str) -> Result<(Vec<Line>, char), Fault> {
    let raw: Vec<&str> = text.lines().collect();
    let escape = directives(&raw)?;
    let (mut lines, mut next) = (Vec::new(), 0);
    while next < raw.len() {
        let trimmed = raw[next].trim_start();
        if trimmed.trim_end().is_empty() || trimmed.starts_with('#') {
            next += 1;
            continue;
        }
        lines.push(logical_line(&raw, &mut next, escape)?);
    }
    Ok((lines, escape))
}

/// `# name=value` lines in front of everything else; only `escape` changes how the rest is read.
fn directives(raw: &[&str]) -> Result<char, Fault> {
    let mut escape = '\\';
    for (index, line) in raw.iter().enumerate() {
        let Some((name, value)) = line
            .trim_start()
            .strip_prefix('#')
            .and_then(|rest| rest.split_once('='))
        else {
            break;
        };
        match (name.trim().to_ascii_lowercase().as_str(), value.trim()) {
            ("escape", "\\") => escape = '\\',
            ("escape", "`") => escape = '`',
            ("escape", other) => {
                return Err(Fault::at(
                    index + 1,
                    1,
                    format!("expected escape=\\ or escape=`, not {other:?}"),
                ));
            }
            ("syntax" | "check", _) => {}
            // Any other is a comment, and ends the directives.
            _ => break,
        }
    }
    Ok(escape)
}

fn logical_line(raw: &[&str], next: &mut usize, escape: char) -> Result<Line, Fault> {
    let number = *next + 1;
    let first = raw[*next].trim_start();
    let indent = raw[*next].chars().count() - first.chars().count();
    let keyword: String = first
        .chars()
        .take_while(|c| !c.is_whitespace() && *c != escape)
        .collect();
    let after = &first[keyword.len()..];
    let skipped = after.len() - after.trim_start().len();
    let mut line = Line {
        number,
        column: indent + 1,
        rest: String::new(),
        parts: vec![(0, number, indent + keyword.chars().count() + skipped + 1)],
        documents: Vec::new(),
        keyword,
    };
    let (mut part, mut continued) = continuation(after.trim_start(), escape);
    line.rest.push_str(part);
    *next += 1;
    while continued && *next < raw.len() {
        let text = raw[*next];
        *next += 1;
        // Comments and empty lines may stand between continued lines.
        if text.trim().is_empty() || text.trim_start().starts_with('#') {
            continue;
        }
        line.parts.push((line.rest.len(), *next, 1));
        (part, continued) = continuation(text, escape);
        line.rest.push_str(part);
    }
    line.rest.truncate(line.rest.trim_end().len());
    if matches!(
        line.keyword.to_ascii_uppercase().as_str(),
        "RUN" | "COPY" | "ADD"
    ) {
        take_documents(&mut line, raw, next)?;
    }
    Ok(line)
}

/// A line goes on if the escape character is its last, and is not escaped itself.
fn continuation(text: &str, escape: char) -> (&str, bool) {
    let trimmed = text.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape) {
        Some(before) if !before.ends_with(escape) => (before, true),
        _ => (text.trim_end_matches('\r'), false),
    }
}

fn take_documents(line: &mut Line, raw: &[&str], next: &mut usize) -> Result<(), Fault> {
    for (offset, marker) in markers(&line.rest) {
        let mut content = String::new();
        loop {
            let Some(text) = raw.get(*next) else {
                return Err(line.fault_at(
                    offset,
                    format!(
                        "expected a line {:?} that ends the here-document",
                        marker.name
                    ),
                ));
            };
            *next += 1;
            let text = if marker.strips_tabs {
                text.trim_start_matches('\t')
            } else {
                text
            };
            if text == marker.name {
                break;
            }
            content.push_str(text);
            content.push('\n');
        }
        line.documents.push(HereDocument {
            name: marker.name,
            content,
            expands: marker.expands,
        });
    }
    Ok(())
}

struct Marker {
    name: String,
    expands: bool,
    strips_tabs: bool,
}

/// `<<NAME`, `<<-NAME`, `<<"NAME"` outside of quotes; `<<<` is a here-string of the shell.
fn markers(text: &str) -> Vec<(usize, Marker)> {
    let (mut found, mut quote, mut skip_until) = (Vec::new(), None, 0);
    for (offset, c) in text.char_indices() {
        match (quote, c) {
            _ if offset < skip_until => {}
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '<') if text[offset..].starts_with("<<<") => skip_until = offset + 3,
            (None, '<') if text[offset..].starts_with("<<") => {
                skip_until = offset + 2;
                if let Some(marker) = marker(&text[offset + 2..]) {
                    found.push((offset, marker));
                }
            }
            _ => {}
        }
    }
    found
}

fn marker(text: &str) -> Option<Marker> {
    let strips_tabs = text.starts_with('-');
    let text = text.strip_prefix('-').unwrap_or(text);
    let is_word = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let (name, expands): (String, bool) = match text.chars().next()? {
        quote @ ('"' | '\'') => (text[1..].split_once(quote)?.0.into(), false),
        _ => (text.chars().take_while(is_word).collect(), true),
    };
    // `1 << 2` in a command is a shift, not a document.
    let begins_well = name
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    begins_well.then_some(Marker {
        name,
        expands,
        strips_tabs,
    })
}
