//! Values of options, as docker writes them.

use ampoule::IdMap;
use ampoule::namespaces::Extent;
use std::path::PathBuf;
use std::time::Duration;

/// A number, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// So many.
    Some(u64),
    /// `-1`.
    Unlimited,
}

/// `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// A loopback interface only.
    None,
    /// This machine's.
    Host,
}

/// `--userns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Map {
    /// No user namespace, where it can be so.
    Host,
    /// What `/etc/subuid` grants.
    Auto,
    /// These ids.
    Extents(IdMap),
}

/// `--security-opt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecurityOption {
    /// No filter.
    SeccompUnconfined,
    /// Docker's profile, the default.
    SeccompBuiltin,
    /// The profile in a file.
    SeccompFile(PathBuf),
    /// Whether set-user-ID bits and their like may give privileges.
    NewPrivileges(bool),
    /// A profile of AppArmor.
    AppArmor(String),
    /// No label of SELinux, no profile of AppArmor.
    NoLabel,
}

/// A number of bytes with a unit of 1024: `65536`, `64k`, `64m`, `1g`, `64MiB`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let invalid = || format!("{text:?} is no size: write bytes, or a unit as in 64m or 2g");
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(invalid()),
    };
    let number: u64 = digits.parse().map_err(|_| invalid())?;
    number.checked_mul(1 << shift).ok_or_else(invalid)
}

/// The same, or `-1`.
pub fn byte_count(text: &str) -> Result<Count, String> {
    match text {
        "-1" => Ok(Count::Unlimited),
        text => bytes(text).map(Count::Some),
    }
}

/// A number, or `-1`.
pub fn count(text: &str) -> Result<Count, String> {
    match text {
        "-1" => Ok(Count::Unlimited),
        text => text
            .parse()
            .map(Count::Some)
            .map_err(|_| format!("{text:?} is no number; -1 is no limit")),
    }
}

/// A time such as `5s`, `1m 30s` or `500ms`; a bare number is seconds, as timeout(1) has it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    let time = match seconds {
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        None => humantime::parse_duration(text).ok(),
    };
    match time {
        Some(time) if !time.is_zero() => Ok(time),
        Some(_) => Err("no time at all: nothing could run".into()),
        None => Err(format!("{text:?} is no time: write 5s, 500ms or 2m")),
    }
}

/// A network by its name.
pub fn network(text: &str) -> Result<Net, String> {
    match text {
        "none" => Ok(Net::None),
        "host" => Ok(Net::Host),
        _ => Err(format!(
            "there is no network {text:?} yet: it is none or host"
        )),
    }
}

/// The map of a user namespace.
pub fn user_namespace(text: &str) -> Result<Map, String> {
    match text {
        "host" => return Ok(Map::Host),
        "auto" => return Ok(Map::Auto),
        _ => {}
    }
    let extents: Option<Vec<Extent>> = text.split(',').map(extent).collect();
    let extents = extents.ok_or_else(|| {
        format!(
            "{text:?} is no map: write host, auto, or INSIDE:OUTSIDE:COUNT as in 0:100000:65536"
        )
    })?;
    IdMap::new(extents.clone(), extents)
        .map(Map::Extents)
        .map_err(|error| error.to_string())
}

fn extent(text: &str) -> Option<Extent> {
    let mut numbers = text.split(':').map(|number| number.parse().ok());
    let mut next = || numbers.next().flatten();
    let (inside, outside, count) = (next()?, next()?, next()?);
    numbers.next().is_none().then_some(Extent {
        inside,
        outside,
        count,
    })
}

/// One `--security-opt`.
pub fn security(text: &str) -> Result<SecurityOption, String> {
    // Docker's older form has a colon.
    let (name, value) = match text.split_once(['=', ':']) {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    Ok(match (name, value) {
        ("seccomp", Some("unconfined")) => SecurityOption::SeccompUnconfined,
        ("seccomp", Some("builtin")) => SecurityOption::SeccompBuiltin,
        ("seccomp", Some(file)) if !file.is_empty() => SecurityOption::SeccompFile(file.into()),
        ("no-new-privileges", None | Some("true")) => SecurityOption::NewPrivileges(false),
        ("no-new-privileges", Some("false")) => SecurityOption::NewPrivileges(true),
        ("apparmor", Some("unconfined")) | ("label", Some("disable")) => SecurityOption::NoLabel,
        ("apparmor", Some(profile)) if !profile.is_empty() => {
            SecurityOption::AppArmor(profile.into())
        }
        ("label", _) => {
            return Err("of SELinux's labels only label=disable is supported".into());
        }
        _ => return Err(unknown_security(text, name)),
    })
}

fn unknown_security(text: &str, name: &str) -> String {
    let known = ["seccomp", "no-new-privileges", "apparmor", "label"];
    let near = known
        .into_iter()
        .find(|known| *known != name && strsim::damerau_levenshtein(known, name) <= 2);
    let hint = match near {
        Some(near) => format!("did you mean {near}?"),
        None => {
            "there are seccomp=unconfined|FILE, no-new-privileges[=false], apparmor=PROFILE and label=disable"
                .into()
        }
    };
    format!("{text:?} is no security option: {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check =
            |text: &str, expect: Option<u64>| assert_eq!(bytes(text).ok(), expect, "{text}");
        check("65536", Some(65536));
        check("64m", Some(64 << 20));
        check("64MiB", Some(64 << 20));
        check("1G", Some(1 << 30));
        for wrong in ["", "m", "-1", "1.5g", "64q", "99999999999t", "64 m", "0x10"] {
            check(wrong, None);
        }
        assert_eq!(byte_count("-1"), Ok(Count::Unlimited));
        assert_eq!(count("-2").ok(), None);
    }

    #[test]
    fn times() {
        let check = |text: &str, expect: Option<u64>| {
            let millis = duration(text).ok().map(|time| time.as_millis() as u64);
            assert_eq!(millis, expect, "{text}");
        };
        check("5s", Some(5000));
        check("500ms", Some(500));
        check("1m 30s", Some(90_000));
        check("2", Some(2000));
        check("0.5", Some(500));
        for wrong in ["", "0", "-1", "5 bananas", "nan", "inf", "1e300"] {
            check(wrong, None);
        }
    }

    #[test]
    fn maps_of_user_namespaces() {
        let one = IdMap::ranges(100_000, 65_536).unwrap();
        assert_eq!(user_namespace("0:100000:65536"), Ok(Map::Extents(one)));
        for wrong in ["", "0:1", "0:1:2:3", "0:1:0", "a:b:c", "0:1:1,0:2:1"] {
            assert!(user_namespace(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn security_options() {
        let check = |text: &str, expect| assert_eq!(security(text), Ok(expect), "{text}");
        check("seccomp=unconfined", SecurityOption::SeccompUnconfined);
        check("seccomp:unconfined", SecurityOption::SeccompUnconfined);
        check(
            "seccomp=a=b.json",
            SecurityOption::SeccompFile("a=b.json".into()),
        );
        check("no-new-privileges", SecurityOption::NewPrivileges(false));
        check(
            "no-new-privileges=false",
            SecurityOption::NewPrivileges(true),
        );
        check("apparmor=unconfined", SecurityOption::NoLabel);
        for wrong in [
            "",
            "seccomp",
            "seccomp=",
            "label=type:x",
            "no-new-privileges=maybe",
        ] {
            assert!(security(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            security("secomp=unconfined").unwrap_err(),
            r#""secomp=unconfined" is no security option: did you mean seccomp?"#
        );
    }
}
