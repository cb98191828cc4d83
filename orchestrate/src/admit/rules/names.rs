//! The forms that names, labels and keys must have: `k8s.io/apimachinery/pkg/util/validation`.

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SERVICE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
'[a-z]([-a-z0-9]*[a-z0-9])?')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VARIABLE: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";

pub(super) type Complaint = Option<String>;

/// A name such as a container's or a namespace's.
pub(super) fn label(name: &str) -> Complaint {
    too_long(name, 63).or_else(|| refuse(is_label(name), LABEL))
}

/// A name such as a pod's or a node's.
pub(super) fn subdomain(name: &str) -> Complaint {
    let fine = name.split('.').all(is_label);
    too_long(name, 253).or_else(|| refuse(fine, SUBDOMAIN))
}

/// A service's name.
pub(super) fn service(name: &str) -> Complaint {
    let fine = is_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase());
    too_long(name, 63).or_else(|| refuse(fine, SERVICE))
}

/// The value of a label.
pub(super) fn label_value(value: &str) -> Complaint {
    let fine = value.is_empty() || is_qualified_part(value);
    too_long(value, 63).or_else(|| refuse(fine, VALUE))
}

/// The key of a label or an annotation, the name of a resource or of a condition.
pub(super) fn qualified(key: &str) -> Complaint {
    let (prefix, name) = match key.rsplit_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if let Some(complaint) = prefix.and_then(subdomain) {
        return Some(format!("prefix part {complaint}"));
    }
    if name.is_empty() {
        return Some("name part must be non-empty".to_owned());
    }
    too_long(name, 63).or_else(|| refuse(is_qualified_part(name), KEY))
}

/// The name of an environment variable.
pub(super) fn variable(name: &str) -> Complaint {
    let fine = name
        .bytes()
        .all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    refuse(fine && !name.is_empty(), VARIABLE)
}

/// The name of a port: an IANA service name.
pub(super) fn port(name: &str) -> Complaint {
    if name.len() > 15 {
        return Some("must be no more than 15 characters".to_owned());
    }
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !name.bytes().all(allowed) {
        return Some(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !name.bytes().any(|b| b.is_ascii_lowercase()) {
        return Some("must contain at least one letter (a-z)".to_owned());
    }
    let edges = name.starts_with('-') || name.ends_with('-');
    refuse(!edges, "must not start or end with hyphen (-)")
}

fn is_label(name: &str) -> bool {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !name.is_empty() && name.bytes().all(inside) && !name.starts_with('-') && !name.ends_with('-')
}

fn is_qualified_part(name: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    edge(name.bytes().next()) && edge(name.bytes().last()) && name.bytes().all(inside)
}

fn too_long(name: &str, most: usize) -> Complaint {
    refuse(
        name.len() <= most,
        &format!("must be no more than {most} bytes"),
    )
}

fn refuse(fine: bool, complaint: &str) -> Complaint {
    (!fine).then(|| complaint.to_owned())
}
