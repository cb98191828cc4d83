//! Whose the unpacked files are.

/// Whose the unpacked files are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ownership {
    /// As the archive says. Needs `CAP_CHOWN`, or that all is the caller's. For a user namespace, mount with an id map.
    #[default]
    Archive,
    /// Shifted while they are written, where an idmapped mount is not possible.
    Shifted {
        /// For owners.
        users: Vec<IdRange>,
        /// For groups.
        groups: Vec<IdRange>,
    },
    /// The caller's, all of it. Device nodes and privileged attributes are left out, and named in
    /// [`Unpacked::left_out`](crate::Unpacked::left_out).
    Caller,
}

/// Ids from `inside` on stand for those from `outside` on, `count` of them; a line of `/proc/PID/uid_map`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The first id in the archive.
    pub inside: u32,
    /// The first id on the disk.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl Ownership {
    /// The ids on the disk, none where they stay the caller's.
    pub(super) fn map(&self, uid: u64, gid: u64) -> Result<Option<(u32, u32)>, String> {
        // -1 means "leave as it is" to chown.
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        let (Some(uid), Some(gid)) = (id(uid), id(gid)) else {
            return Err(format!("its owner {uid}:{gid} is beyond 32 bits"));
        };
        match self {
            Self::Archive => Ok(Some((uid, gid))),
            Self::Caller => Ok(None),
            Self::Shifted { users, groups } => {
                let unmapped = |what: &str, id: u32| {
                    format!("its {what} {id} is in none of the ranges that are mapped")
                };
                let uid = shift(users, uid).ok_or_else(|| unmapped("owner", uid))?;
                let gid = shift(groups, gid).ok_or_else(|| unmapped("group", gid))?;
                Ok(Some((uid, gid)))
            }
        }
    }

    /// Whether what only root may make is left out.
    pub(super) fn is_unprivileged(&self) -> bool {
        *self == Self::Caller
    }
}

fn shift(ranges: &[IdRange], id: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let offset = id
            .checked_sub(range.inside)
            .filter(|offset| *offset < range.count)?;
        range.outside.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_shift_by_ranges() {
        let range = |inside, outside, count| IdRange {
            inside,
            outside,
            count,
        };
        let ranges = vec![range(0, 1000, 1), range(1, 100_000, 65_535)];
        let shifted = Ownership::Shifted {
            users: ranges.clone(),
            groups: ranges,
        };
        assert_eq!(shifted.map(0, 1), Ok(Some((1000, 100_000))));
        assert_eq!(shifted.map(65_535, 0), Ok(Some((165_534, 1000))));
        assert!(shifted.map(65_536, 0).is_err());
        assert!(Ownership::Archive.map(u64::from(u32::MAX), 0).is_err());
        assert_eq!(Ownership::Archive.map(1 << 22, 0), Ok(Some((1 << 22, 0))));
    }
}
