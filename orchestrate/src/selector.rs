//! Selectors: which objects are meant, by their labels.
//!
//! ```
//! use ampoule_orchestrate::selector::Selector;
//! use std::collections::BTreeMap;
//!
//! let selector: Selector = "app=web, tier in (front, back), !legacy".parse()?;
//! let labels = BTreeMap::from([("app".into(), "web".into()), ("tier".into(), "front".into())]);
//! assert!(selector.matches(&labels));
//! # Ok::<(), ampoule_orchestrate::selector::BadSelector>(())
//! ```

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// What the labels of an object must be. Without any requirement it matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Above(i64),
    Below(i64),
}

/// A text or structure that is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct BadSelector {
    /// The part that is wrong.
    pub what: String,
    /// Why.
    pub why: &'static str,
}

impl Selector {
    /// The selector that matches these labels.
    pub fn exactly(labels: &Labels) -> Selector {
        let one = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            test: Test::In(vec![value.clone()]),
        };
        Selector {
            requirements: labels.iter().map(one).collect(),
        }
    }

    /// Whether an object with these labels is meant.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements
            .iter()
            .all(|r| r.holds(labels.get(&r.key)))
    }

    /// Whether there is no requirement, so that everything is meant.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// One label that every match must have, for an index: a requirement of the form `key = value`.
    pub fn pivot(&self) -> Option<(&str, &str)> {
        self.requirements.iter().find_map(|r| match &r.test {
            Test::In(values) if values.len() == 1 => Some((r.key.as_str(), values[0].as_str())),
            _ => None,
        })
    }

    /// Adds a condition as `matchExpressions` and node selectors write it.
    ///
    /// # Errors
    /// The operator is unknown, or does not go with the number of values.
    pub fn require(
        &mut self,
        key: &str,
        operator: &str,
        values: &[String],
    ) -> Result<(), BadSelector> {
        let bad = |why| BadSelector {
            what: format!("{key} {operator}"),
            why,
        };
        let number = || match values {
            [one] => one.parse().map_err(|_| bad("the value must be an integer")),
            _ => Err(bad("must have exactly one value")),
        };
        let test = match (operator, values.is_empty()) {
            ("In", false) => Test::In(values.to_vec()),
            ("NotIn", false) => Test::NotIn(values.to_vec()),
            ("In" | "NotIn", true) => {
                return Err(bad("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            ("Exists", true) => Test::Exists,
            ("DoesNotExist", true) => Test::Absent,
            ("Exists" | "DoesNotExist", false) => {
                return Err(bad(
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                ));
            }
            ("Gt", _) => Test::Above(number()?),
            ("Lt", _) => Test::Below(number()?),
            _ => return Err(bad("not a valid selector operator")),
        };
        self.requirements.push(Requirement {
            key: key.to_owned(),
            test,
        });
        Ok(())
    }
}

impl Requirement {
    fn holds(&self, value: Option<&String>) -> bool {
        let number = |value: &String| value.parse::<i64>().ok();
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::Above(bound) => value.and_then(number).is_some_and(|n| n > *bound),
            Test::Below(bound) => value.and_then(number).is_some_and(|n| n < *bound),
        }
    }
}

impl TryFrom<&LabelSelector> for Selector {
    type Error = BadSelector;

    fn try_from(selector: &LabelSelector) -> Result<Selector, BadSelector> {
        let mut made = match &selector.match_labels {
            Some(labels) => Selector::exactly(labels),
            None => Selector::default(),
        };
        for expression in selector.match_expressions.as_deref().unwrap_or_default() {
            let values = expression.values.as_deref().unwrap_or_default();
            made.require(&expression.key, &expression.operator, values)?;
        }
        Ok(made)
    }
}

impl FromStr for Selector {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Selector, BadSelector> {
        let mut selector = Selector::default();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let (key, operator, values) = parse_requirement(part)?;
            selector.require(key, operator, &values)?;
        }
        Ok(selector)
    }
}

fn parse_requirement(part: &str) -> Result<(&str, &'static str, Vec<String>), BadSelector> {
    let bad = |why| BadSelector {
        what: format!("{part:?}"),
        why,
    };
    let (key, operator, values) = if let Some(key) = part.strip_prefix('!') {
        (key, "DoesNotExist", Vec::new())
    } else if let Some((key, value)) = part.split_once("!=") {
        (key, "NotIn", vec![value.trim().to_owned()])
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, "In", vec![value.trim().to_owned()])
    } else if let Some((head, list)) = part.split_once('(') {
        let list = list
            .strip_suffix(')')
            .ok_or_else(|| bad("the list of values does not end"))?;
        let values = list
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        match head.trim().split_once(char::is_whitespace) {
            Some((key, word)) if word.trim() == "in" => (key, "In", values),
            Some((key, word)) if word.trim() == "notin" => (key, "NotIn", values),
            _ => return Err(bad("before a list of values stands `in` or `notin`")),
        }
    } else {
        (part, "Exists", Vec::new())
    };
    let key = key.trim();
    if key.is_empty() || key.contains(|c: char| c.is_whitespace() || "()=!,".contains(c)) {
        return Err(bad("a label's key is expected"));
    }
    Ok((key, operator, values))
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { key, test }) in self.requirements.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match test {
                Test::In(values) if values.len() == 1 => write!(f, "{key}={}", values[0])?,
                Test::In(values) => write!(f, "{key} in ({})", values.join(","))?,
                Test::NotIn(values) => write!(f, "{key} notin ({})", values.join(","))?,
                Test::Exists => write!(f, "{key}")?,
                Test::Absent => write!(f, "!{key}")?,
                Test::Above(bound) => write!(f, "{key}>{bound}")?,
                Test::Below(bound) => write!(f, "{key}<{bound}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, labels: &[(&str, &str)], expect: bool) {
        let parsed: Selector = selector.parse().unwrap_or_else(|e| panic!("{e}"));
        let labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(parsed.matches(&labels), expect, "{selector} on {labels:?}");
    }

    #[test]
    fn matching() {
        check("", &[], true);
        check("a=b", &[("a", "b"), ("c", "d")], true);
        check("a==b", &[("a", "c")], false);
        check("a!=b", &[], true);
        check("a in (b, c)", &[("a", "c")], true);
        check("a notin (b,c)", &[("a", "c")], false);
        check("a notin (b,c)", &[], true);
        check("a,!b", &[("a", "")], true);
        check("a,!b", &[("a", ""), ("b", "")], false);
    }

    #[test]
    fn refusals() {
        for text in ["a in b", "a in (b", "=b", "a b", "!", "a in ()x"] {
            assert!(text.parse::<Selector>().is_err(), "{text:?} is no selector");
        }
    }
}
