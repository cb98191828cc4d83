//! Limits as writes: which value goes into which file, on v1 and on v2. Pure, so that it can be read and tested as data.

mod v1;
mod v2;

use crate::{Controller, Limit, Resources, Result, Version};
use std::borrow::Cow;

/// One value for one file of a cgroup directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) file: Cow<'static, str>,
    pub(crate) value: String,
    /// What the same limit is called where the first file is missing.
    pub(crate) otherwise: Option<(&'static str, String)>,
}

impl Setting {
    fn new(file: impl Into<Cow<'static, str>>, value: impl ToString) -> Setting {
        Setting {
            file: file.into(),
            value: value.to_string(),
            otherwise: None,
        }
    }

    /// Whether it is a part of the CPU quota, which slows whoever is inside from the moment it is written.
    pub(crate) fn is_quota(&self) -> bool {
        ["cpu.max", "cpu.cfs_"]
            .iter()
            .any(|prefix| self.file.starts_with(prefix))
    }
}

/// What to write for one controller, in order; the devices of v2 are a program instead.
///
/// # Errors
/// `Unsupported` for what this version of cgroups cannot do.
pub(crate) fn settings(
    version: Version,
    controller: Controller,
    resources: &Resources,
) -> Result<Vec<Setting>> {
    match version {
        Version::V1 => v1::settings(controller, resources),
        Version::V2 => Ok(v2::settings(controller, resources)),
    }
}

fn or_max(limit: Limit) -> String {
    match limit {
        Limit::Max(value) => value.to_string(),
        Limit::Unlimited => "max".into(),
    }
}
