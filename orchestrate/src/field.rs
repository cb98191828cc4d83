//! Paths of fields, and the problems found in them, in the API server's wording.
//!
//! The wording is that of `k8s.io/apimachinery/pkg/util/validation/field`: what a person finds when searching for the
//! message is then true here too.

use std::fmt;

/// The path of a field in an object: `spec.containers[0].image`, `metadata.labels[app]`.
///
/// ```
/// use ampoule_orchestrate::field::Path;
///
/// let path = Path::root("spec").child("containers").index(0).child("image");
/// assert_eq!(path.to_string(), "spec.containers[0].image");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(String);

impl Path {
    /// A path of one name.
    pub fn root(name: &str) -> Path {
        Path(name.to_owned())
    }

    /// The field `name` of what this path leads to.
    pub fn child(&self, name: &str) -> Path {
        let dot = if self.0.is_empty() { "" } else { "." };
        Path(format!("{}{dot}{name}", self.0))
    }

    /// The element `index` of the list that this path leads to.
    pub fn index(&self, index: usize) -> Path {
        Path(format!("{}[{index}]", self.0))
    }

    /// The entry `key` of the map that this path leads to.
    pub fn key(&self, key: &str) -> Path {
        Path(format!("{}[{key}]", self.0))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field.
    pub path: Path,
    /// What is wrong: `Required value`, `Invalid value: -1: must be …`.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Every problem of an object; validation goes on after the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Nothing found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems, in the order of the fields.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Notes any problem.
    pub fn add(&mut self, path: Path, message: String) {
        self.0.push(Problem { path, message });
    }

    /// Notes a field that must be there and is not.
    pub fn required(&mut self, path: Path, detail: &str) {
        let colon = if detail.is_empty() { "" } else { ": " };
        self.add(path, format!("Required value{colon}{detail}"));
    }

    /// Notes a value that is not acceptable; `value` is shown as JSON, as the API server shows it.
    pub fn invalid(&mut self, path: Path, value: impl serde::Serialize, detail: &str) {
        let value = serde_json::to_string(&value).unwrap_or_default();
        self.add(path, format!("Invalid value: {value}: {detail}"));
    }

    /// Notes a field that must not be set here.
    pub fn forbidden(&mut self, path: Path, detail: &str) {
        self.add(path, format!("Forbidden: {detail}"));
    }

    /// Notes a value that occurs twice where it may occur once.
    pub fn duplicate(&mut self, path: Path, value: &str) {
        self.add(path, format!("Duplicate value: {value:?}"));
    }

    /// Notes a reference to something that the object does not have.
    pub fn not_found(&mut self, path: Path, value: &str) {
        self.add(path, format!("Not found: {value:?}"));
    }

    /// Notes a value that is none of the permitted ones.
    pub fn not_supported(&mut self, path: Path, value: &str, supported: &[&str]) {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        self.add(
            path,
            format!(
                "Unsupported value: {value:?}: supported values: {}",
                list.join(", ")
            ),
        );
    }

    /// Notes an unsupported value unless it is one of `supported` or absent.
    pub fn one_of(&mut self, path: Path, value: Option<&str>, supported: &[&str]) {
        if let Some(value) = value.filter(|value| !supported.contains(value)) {
            self.not_supported(path, value, supported);
        }
    }

    /// Notes a negative number.
    pub fn non_negative(&mut self, path: Path, value: Option<i64>) {
        if let Some(value) = value.filter(|value| *value < 0) {
            self.invalid(path, value, "must be greater than or equal to 0");
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => one.fmt(f),
            many => {
                let list: Vec<String> = many.iter().map(Problem::to_string).collect();
                write!(f, "[{}]", list.join(", "))
            }
        }
    }
}
