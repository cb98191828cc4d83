//! Objects from files: YAML or JSON, several documents, whole directories.
//!
//! Reading is strict: an unknown field or kind is an error that names the nearest one there is, and every error says in which
//! line and column. What the reader accepts has been completed with the API server's defaults and checked by its rules.
//!
//! ```
//! use ampoule_orchestrate::manifest;
//!
//! let error = manifest::read("web.yaml", "\
//! apiVersion: v1
//! kind: Pod
//! metadata: {name: web}
//! spec:
//!   containers:
//!   - name: web
//!     imagee: nginx
//! ").unwrap_err();
//! assert_eq!(error.to_string(), "web.yaml:7:5: unknown field \"spec.containers[0].imagee\": did you mean \"image\"?");
//! ```

mod known;
mod strict;
mod tree;

pub use known::Catalog;

use crate::admit::admit;
use crate::error::{Error, Result};
use crate::field::Path;
use crate::object::{Kind, Object};
use std::cell::RefCell;
use std::io::Read;
use strict::{Strict, Unknown};
use tree::{Place, Tree, Value};

/// The size above which a file is refused unread, in bytes.
pub const LARGEST_FILE: u64 = 64 << 20;

/// Reads all objects of a text, of the built-in kinds.
///
/// `name` is what errors call the text: a file's path.
///
/// # Errors
/// The text is no YAML, holds an unknown kind or field, a value of the wrong type, or an object that breaks a rule.
pub fn read(name: &str, text: &str) -> Result<Vec<Object>> {
    read_with(&Catalog::default(), name, text)
}

/// Reads all objects of a text, also of kinds that `catalog` knows from definitions.
///
/// # Errors
/// As [`read`].
pub fn read_with(catalog: &Catalog, name: &str, text: &str) -> Result<Vec<Object>> {
    let mut catalog = catalog.clone();
    let mut objects = Vec::new();
    for document in documents(name, text)? {
        for tree in flatten(&document) {
            let object = object(&catalog, name, tree)?;
            // A definition holds for what follows it, as with `kubectl apply`.
            catalog.learn(&object);
            objects.push(object);
        }
    }
    Ok(objects)
}

/// Reads all objects of a file, a directory's `.yaml`, `.yml` and `.json` files in the order of their names, or `-` for the
/// standard input.
///
/// # Errors
/// As [`read`]; or a file cannot be read, or is larger than [`LARGEST_FILE`].
pub fn read_path(path: &std::path::Path) -> Result<Vec<Object>> {
    if path.as_os_str() == "-" {
        return read("stdin", &text("read the standard input", std::io::stdin())?);
    }
    let io = |error| Error::io(format!("read {}", path.display()), error);
    if !std::fs::metadata(path).map_err(io)?.is_dir() {
        let file = std::fs::File::open(path).map_err(io)?;
        let text = text(&format!("read {}", path.display()), file)?;
        return read(&path.display().to_string(), &text);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let file = entry.map_err(io)?.path();
        let extension = file.extension().and_then(|e| e.to_str());
        if matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(file);
        }
    }
    files.sort();
    let mut objects = Vec::new();
    for file in files {
        objects.extend(read_path(&file)?);
    }
    Ok(objects)
}

/// Writes objects as YAML, one document each.
///
/// # Errors
/// A custom object holds a value that YAML cannot express.
pub fn write(objects: &[Object]) -> Result<String> {
    let mut text = String::new();
    for object in objects {
        let document = serde_saphyr::to_string(&object.to_json());
        let document = document
            .map_err(|error| Error::Unsupported(format!("{} as YAML: {error}", object.key())))?;
        text.push_str("---\n");
        text.push_str(&document);
    }
    Ok(text)
}

fn text(action: &str, source: impl Read) -> Result<String> {
    let mut text = String::new();
    let limited = source.take(LARGEST_FILE + 1).read_to_string(&mut text);
    let size = limited.map_err(|error| Error::io(action, error))?;
    if size as u64 > LARGEST_FILE {
        let error = std::io::Error::from(std::io::ErrorKind::FileTooLarge);
        return Err(Error::io(action, error));
    }
    Ok(text)
}

fn documents(name: &str, text: &str) -> Result<Vec<Tree>> {
    // Large enough for thousands of objects in one file; a bomb of aliases hits its own limit long before.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: 4_000_000, max_events: 10_000_000 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let location = error.location();
        Error::Malformed {
            source_name: name.to_owned(),
            line: location.map_or(0, |place| place.line()),
            column: location.map_or(0, |place| place.column()),
            message: error.without_snippet().to_string(),
        }
    })
}

/// The objects of a document: none of an empty one, several of a `List`.
fn flatten(document: &Tree) -> Vec<&Tree> {
    let is_list = document.field("kind").and_then(Tree::text) == Some("List");
    match (&document.value, document.field("items").map(|t| &t.value)) {
        (Value::Null, _) => Vec::new(),
        (_, Some(Value::List(items))) if is_list => items.iter().flat_map(flatten).collect(),
        _ => vec![document],
    }
}

fn object(catalog: &Catalog, name: &str, tree: &Tree) -> Result<Object> {
    let malformed = |place: Place, message: String| Error::Malformed {
        source_name: name.to_owned(),
        line: place.line,
        column: place.column,
        message,
    };
    let part = |field: &str| {
        let found = tree.field(field).filter(|part| part.text().is_some());
        found.ok_or_else(|| malformed(tree.place, format!("an object needs a {field:?}")))
    };
    let (version, kind) = (part("apiVersion")?, part("kind")?);
    let (version_text, kind_text) = (version.text().unwrap_or(""), kind.text().unwrap_or(""));
    let found = catalog.lookup(version_text, kind_text);
    let found = found.map_err(|message| malformed(kind.place, message))?;
    let unknown = RefCell::default();
    let strict = Strict::new(tree, Path::default(), &unknown);
    let object = match &found {
        Kind::Builtin(builtin) => Object::deserialize(*builtin, strict),
        Kind::Custom(_) => serde::Deserialize::deserialize(strict)
            .and_then(|json| Object::from_json(&found, json).map_err(serde::de::Error::custom)),
    };
    let mut object = object.map_err(|wrong| {
        let colon = if wrong.path.as_str().is_empty() {
            ""
        } else {
            ": "
        };
        malformed(
            wrong.place,
            format!("{}{colon}{}", wrong.path, wrong.message),
        )
    })?;
    if let Some(unknown) = unknown.into_inner().first() {
        return Err(malformed(unknown.place, explain(unknown)));
    }
    if object.kind().is_namespaced() && object.namespace().is_empty() {
        object.meta_mut().namespace = Some("default".to_owned());
    }
    admit(&mut object).map_err(|error| malformed(tree.place, error.to_string()))?;
    Ok(object)
}

fn explain(unknown: &Unknown) -> String {
    let path = unknown.path.as_str();
    let field = path.rsplit('.').next().unwrap_or(path);
    match known::nearest(field, unknown.known.iter().copied()) {
        Some(near) => format!("unknown field {path:?}: did you mean {near:?}?"),
        None => format!("unknown field {path:?}"),
    }
}
