//! Names of users and groups, as the image itself knows them.

use super::view::View;
use crate::{Error, Result};
use std::io::Read;

/// A file of accounts is not larger.
const LARGEST: u64 = 4 << 20;

/// The ids that `--chown=user[:group]` means; a group that is not named has the user's number, as in Docker.
pub(super) fn resolve(view: &View, owner: &str) -> Result<(u64, u64)> {
    let (user, group) = owner.split_once(':').unwrap_or((owner, ""));
    let (uid, own_gid) = match user.parse::<u32>() {
        Ok(uid) => (u64::from(uid), u64::from(uid)),
        Err(_) => {
            let fields = line(view, "etc/passwd", user)?;
            (number(&fields, 2, user)?, number(&fields, 3, user)?)
        }
    };
    let gid = match (group, group.parse::<u32>()) {
        ("", _) => own_gid,
        (_, Ok(gid)) => gid.into(),
        (group, Err(_)) => number(&line(view, "etc/group", group)?, 2, group)?,
    };
    Ok((uid, gid))
}

fn line(view: &View, file: &str, name: &str) -> Result<Vec<String>> {
    let missing = || Error::NotFound {
        what: format!("{name:?}"),
        place: format!("/{file} of the image"),
    };
    let (_, found) = view.find_followed(file.as_bytes())?.ok_or_else(missing)?;
    let mut text = Vec::new();
    let opened = found
        .open()
        .map_err(|errno| Error::io("open", file)(errno))?;
    opened
        .take(LARGEST)
        .read_to_end(&mut text)
        .map_err(Error::io("read", file))?;
    let text = String::from_utf8_lossy(&text);
    let fields = text
        .lines()
        .map(|line| line.split(':').map(str::to_string).collect::<Vec<_>>());
    let mut found = fields.filter(|fields| fields.first().is_some_and(|first| first == name));
    found.next().ok_or_else(missing)
}

fn number(fields: &[String], index: usize, name: &str) -> Result<u64> {
    let field = fields
        .get(index)
        .and_then(|field| field.parse::<u32>().ok());
    field.map(u64::from).ok_or_else(|| {
        Error::document(
            "accounts of the image",
            format!("the line of {name:?} is malformed"),
        )
    })
}
