//! Variables and quotes in words, as the Dockerfile reference has them.

use crate::{Error, Result};
use std::iter::Peekable;
use std::str::CharIndices;

/// Values nest in defaults: `${a:-${b:-c}}`.
const DEEPEST: usize = 32;
/// A few variables that hold each other could otherwise make gigabytes.
const LONGEST: usize = 1 << 20;

/// Replaces variables and takes quotes away.
///
/// `$name`, `${name}`, `${name:-word}`, `${name:+word}`, `${name:?message}` and the three without colon; `${name#pattern}`,
/// `##`, `%`, `%%` with `*` and `?`. Nothing is replaced in single quotes. What is unknown is empty.
///
/// # Errors
/// `Parse` at an open brace or quote, an unknown operator, and where `:?` asks for a value that is missing.
///
/// # Examples
/// ```
/// use ampoule_image::dockerfile::expand;
///
/// let lookup = |name: &str| (name == "v").then(|| "1.2".to_string());
/// assert_eq!(expand(r#"app-$v-"${w:-none}"-'$v'"#, '\\', &lookup)?, "app-1.2-none-$v");
/// # Ok::<(), ampoule_image::Error>(())
/// ```
pub fn expand(word: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let mut expander = Expander {
        word,
        escape,
        lookup,
        rest: word.char_indices().peekable(),
        depth: 0,
    };
    expander.until(None)
}

struct Expander<'a> {
    word: &'a str,
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    rest: Peekable<CharIndices<'a>>,
    depth: usize,
}

impl Expander<'_> {
    /// To the end, or to a brace that closes.
    fn until(&mut self, end: Option<char>) -> Result<String> {
        let mut out = String::new();
        let mut in_double = false;
        loop {
            if out.len() > LONGEST {
                return Err(self.fault(format!("it becomes longer than {LONGEST} bytes")));
            }
            let Some((_, c)) = self.rest.next() else {
                break;
            };
            match c {
                c if Some(c) == end && !in_double => return Ok(out),
                '\'' if !in_double => self.single_quoted(&mut out)?,
                '"' => in_double = !in_double,
                '$' => out.push_str(&self.variable()?),
                c if c == self.escape => self.escaped(in_double, &mut out),
                c => out.push(c),
            }
        }
        match (in_double, end) {
            (true, _) => Err(self.fault("its double quote is not closed")),
            (_, Some(end)) => Err(self.fault(format!("expected {end:?}"))),
            (false, None) => Ok(out),
        }
    }

    fn single_quoted(&mut self, out: &mut String) -> Result<()> {
        loop {
            match self.rest.next() {
                Some((_, '\'')) => return Ok(()),
                Some((_, c)) => out.push(c),
                None => return Err(self.fault("its single quote is not closed")),
            }
        }
    }

    /// In double quotes only what means something there is escaped.
    fn escaped(&mut self, in_double: bool, out: &mut String) {
        match self.rest.peek() {
            None => out.push(self.escape),
            Some((_, c)) if in_double && !matches!(c, '"' | '$') && *c != self.escape => {
                out.push(self.escape)
            }
            Some((_, c)) => {
                out.push(*c);
                self.rest.next();
            }
        }
    }

    fn variable(&mut self) -> Result<String> {
        match self.rest.peek() {
            Some((_, '{')) => {
                self.rest.next();
                self.depth += 1;
                if self.depth > DEEPEST {
                    return Err(self.fault("its braces are nested too deeply"));
                }
                let value = self.braced();
                self.depth -= 1;
                value
            }
            _ => match self.name() {
                name if name.is_empty() => Ok("$".into()),
                name => Ok((self.lookup)(&name).unwrap_or_default()),
            },
        }
    }

    fn braced(&mut self) -> Result<String> {
        let name = self.name();
        if name.is_empty() {
            return Err(self.fault("expected the name of a variable after \"${\""));
        }
        let value = (self.lookup)(&name);
        let (mut operator, mut counts_empty) = (self.rest.next().map(|(_, c)| c), false);
        if operator == Some(':') {
            counts_empty = true;
            operator = self.rest.next().map(|(_, c)| c);
        }
        let is_set = value
            .as_ref()
            .is_some_and(|value| !(counts_empty && value.is_empty()));
        match operator {
            Some('}') if !counts_empty => Ok(value.unwrap_or_default()),
            Some('-') => {
                let word = self.until(Some('}'))?;
                Ok(if is_set {
                    value.unwrap_or_default()
                } else {
                    word
                })
            }
            Some('+') => {
                let word = self.until(Some('}'))?;
                Ok(if is_set { word } else { String::new() })
            }
            Some('?') => {
                let message = self.until(Some('}'))?;
                match (is_set, value) {
                    (true, Some(value)) => Ok(value),
                    _ => Err(self.fault(format!("{name} is not set: {message}"))),
                }
            }
            Some(operator @ ('#' | '%')) if !counts_empty => {
                let is_longest = self.rest.next_if(|(_, c)| *c == operator).is_some();
                let pattern = self.until(Some('}'))?;
                Ok(trim(
                    &value.unwrap_or_default(),
                    &pattern,
                    operator == '#',
                    is_longest,
                ))
            }
            _ => Err(self.fault(format!("expected one of }} - + ? # % after ${{{name}"))),
        }
    }

    /// Letters, digits and `_`, or a single digit.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some((_, c)) = self
            .rest
            .next_if(|(_, c)| c.is_ascii_alphanumeric() || *c == '_')
        {
            name.push(c);
            if name.len() == 1 && c.is_ascii_digit() {
                break;
            }
        }
        name
    }

    fn fault(&self, reason: impl Into<String>) -> Error {
        Error::parse("word", self.word, reason)
    }
}

/// Takes the shortest or longest match of a pattern off one end.
fn trim(value: &str, pattern: &str, from_start: bool, is_longest: bool) -> String {
    let ends: Vec<usize> = value
        .char_indices()
        .map(|(offset, _)| offset)
        .chain([value.len()])
        .collect();
    let fits = |split: &&usize| {
        let (front, back) = value.split_at(**split);
        matches(pattern, if from_start { front } else { back })
    };
    let found = match from_start == is_longest {
        true => ends.iter().rev().find(fits),
        false => ends.iter().find(fits),
    };
    match (found, from_start) {
        (None, _) => value.into(),
        (Some(split), true) => value[*split..].into(),
        (Some(split), false) => value[..*split].into(),
    }
}

/// `*` is any text and `?` any character; in time that is the product of the lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    let close = |reached: &mut Vec<bool>| {
        for (index, c) in pattern.iter().enumerate() {
            reached[index + 1] |= *c == '*' && reached[index];
        }
    };
    close(&mut reached);
    for c in text.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for (index, wanted) in pattern
            .iter()
            .enumerate()
            .filter(|(index, _)| reached[*index])
        {
            match wanted {
                '*' => next[index] = true,
                '?' => next[index + 1] = true,
                wanted => next[index + 1] |= *wanted == c,
            }
        }
        close(&mut next);
        reached = next;
    }
    reached[pattern.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "a" => Some("one".into()),
            "empty" => Some(String::new()),
            "path" => Some("usr/local/bin/tool.tar.gz".into()),
            _ => None,
        }
    }

    #[test]
    fn words_as_the_reference_has_them() {
        for (word, expect) in [
            ("$a", "one"),
            ("${a}b", "oneb"),
            ("$ab", ""),
            ("x${none}y", "xy"),
            ("${none:-d}", "d"),
            ("${empty:-d}", "d"),
            ("${empty-d}", ""),
            ("${a:+set}${none:+set}", "set"),
            ("${empty+set}${empty:+set}", "set"),
            ("${none:-${a}}", "one"),
            ("${none:-'}'}", "}"),
            (r"\$a", "$a"),
            (r#""a b \" $a""#, "a b \" one"),
            (r"'$a \'", r"$a \"),
            ("$", "$"),
            ("100%$", "100%$"),
            ("${path#*/}", "local/bin/tool.tar.gz"),
            ("${path##*/}", "tool.tar.gz"),
            ("${path%.*}", "usr/local/bin/tool.tar"),
            ("${path%%.*}", "usr/local/bin/tool"),
            ("${a#x}", "one"),
            (r#""\n""#, r"\n"),
            (r"a\ b", "a b"),
        ] {
            assert_eq!(expand(word, '\\', &lookup).unwrap(), expect, "{word}");
        }
        assert_eq!(expand(r"c:\dir\`$a", '`', &lookup).unwrap(), r"c:\dir\$a");
    }

    #[test]
    fn what_is_broken_is_refused() {
        let deep = format!("{}{}", "${x:-".repeat(100), "}".repeat(100));
        for word in [
            "${a",
            "${",
            "${}",
            "'a",
            "\"a",
            "${a:}",
            "${a:x}",
            "${a@Q}",
            "${none:?missing}",
            &deep,
        ] {
            assert!(expand(word, '\\', &lookup).is_err(), "{word}");
        }
    }
}
