//! What a registry says when it wants to know who asks: the `WWW-Authenticate` header.

/// A way to authenticate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token from another service.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// Reads one header; schemes that are not known are passed over.
pub(super) fn parse(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameters = parameters(rest);
    let find = |name: &str| {
        let mut found = parameters
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.clone())
    };
    Some(Challenge::Bearer {
        realm: find("realm")?,
        service: find("service"),
        scope: find("scope"),
    })
}

/// `key="value",key=value`; a comma inside quotes belongs to the value.
fn parameters(text: &str) -> Vec<(String, String)> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',', '\t']).to_string();
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.push((key, value.trim().to_string()));
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_as_registries_send_them() {
        let header = r#"Bearer realm="https://auth.r.io/token",service="r.io",scope="repository:a/b:pull,push""#;
        let expect = Challenge::Bearer {
            realm: "https://auth.r.io/token".into(),
            service: Some("r.io".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        assert_eq!(parse(header), Some(expect));
        assert_eq!(parse(r#"basic realm="x""#), Some(Challenge::Basic));
        let bare = Challenge::Bearer {
            realm: "x".into(),
            service: None,
            scope: None,
        };
        assert_eq!(parse("Bearer realm=x"), Some(bare));
        for text in [
            "",
            "Bearer",
            "Negotiate abc",
            "Bearer service=x",
            "Bearer realm",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
