//! Patterns of COPY and of `.dockerignore`: `*` and `?` within a name, `[…]` classes, `**` across directories.

/// Whether a path matches a pattern, part by part.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    // reached[n]: the first n parts of the pattern match what has been seen of the path.
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    close(&pattern, &mut reached);
    for part in path {
        let mut next = vec![false; pattern.len() + 1];
        for (index, wanted) in pattern
            .iter()
            .enumerate()
            .filter(|(index, _)| reached[*index])
        {
            match *wanted {
                "**" => next[index] = true,
                wanted => next[index + 1] |= name_matches(wanted, part),
            }
        }
        close(&pattern, &mut next);
        reached = next;
    }
    reached[pattern.len()]
}

/// `**` also matches nothing.
fn close(pattern: &[&str], reached: &mut [bool]) {
    for (index, part) in pattern.iter().enumerate() {
        reached[index + 1] |= *part == "**" && reached[index];
    }
}

fn name_matches(pattern: &str, name: &str) -> bool {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Char(rest.next().unwrap_or('\\')),
            '[' => class(&mut rest),
            c => Token::Char(c),
        });
    }
    let mut reached = vec![false; tokens.len() + 1];
    reached[0] = true;
    let close = |reached: &mut Vec<bool>| {
        for (index, token) in tokens.iter().enumerate() {
            reached[index + 1] |= matches!(token, Token::Any) && reached[index];
        }
    };
    close(&mut reached);
    for c in name.chars() {
        let mut next = vec![false; tokens.len() + 1];
        for (index, token) in tokens
            .iter()
            .enumerate()
            .filter(|(index, _)| reached[*index])
        {
            match token {
                Token::Any => next[index] = true,
                token => next[index + 1] |= token.fits(c),
            }
        }
        close(&mut next);
        reached = next;
    }
    reached[tokens.len()]
}

enum Token {
    Any,
    One,
    Char(char),
    Class(bool, Vec<(char, char)>),
}

impl Token {
    fn fits(&self, c: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Char(wanted) => *wanted == c,
            Self::Class(negated, ranges) => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Token {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while let Some(low) = rest.next().filter(|c| *c != ']' || ranges.is_empty()) {
        let high = match rest.next_if_eq(&'-') {
            Some(_) => rest.next().unwrap_or(low),
            None => low,
        };
        ranges.push((low, high));
    }
    Token::Class(negated, ranges)
}

/// The rules of a `.dockerignore` file; the last that matches decides.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    rules: Vec<(bool, String)>,
}

impl Ignore {
    pub(super) fn parse(text: &str) -> Self {
        let mut ignore = Self::default();
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            match line.strip_prefix('!') {
                Some(rest) => ignore.rules.push((false, rest.trim().into())),
                None => ignore.rules.push((true, line.into())),
            }
        }
        ignore
    }

    /// As `parse`, from patterns.
    pub(super) fn of(patterns: &[String]) -> Self {
        Self::parse(&patterns.join("\n"))
    }

    /// Adds the rules of another, which come after its own.
    pub(super) fn extend(&mut self, other: Self) {
        self.rules.extend(other.rules);
    }

    /// A rule for a directory holds for all in it.
    pub(super) fn excludes(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        let prefixes: Vec<String> = (1..=parts.len())
            .map(|count| parts[..count].join("/"))
            .collect();
        let mut excluded = false;
        for (excludes, pattern) in &self.rules {
            if prefixes.iter().any(|prefix| matches(pattern, prefix)) {
                excluded = *excludes;
            }
        }
        excluded
    }

    /// Whether an exception may take something back from an excluded directory.
    pub(super) fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|(excludes, _)| !excludes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_by_parts() {
        for (pattern, path, expect) in [
            ("*.rs", "a.rs", true),
            ("*.rs", "src/a.rs", false),
            ("**/*.rs", "src/deep/a.rs", true),
            ("**/*.rs", "a.rs", true),
            ("src/**", "src/a/b", true),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("/abs", "abs", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
        ] {
            assert_eq!(matches(pattern, path), expect, "{pattern} {path}");
        }
    }

    #[test]
    fn the_last_rule_decides() {
        let ignore = Ignore::parse("# comment\ntarget\n*.log\n!keep.log\n**/tmp\n");
        for (path, expect) in [
            ("target/debug/x", true),
            ("a.log", true),
            ("keep.log", false),
            ("deep/tmp/x", true),
            ("src/target", false),
            ("src/main.rs", false),
        ] {
            assert_eq!(ignore.excludes(path), expect, "{path}");
        }
    }
}
