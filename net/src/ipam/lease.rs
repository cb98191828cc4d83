//! One address, held by a claim.

use super::claim::Claim;
use crate::{Error, ErrorKind, Result};
use std::net::IpAddr;
use std::path::Path;

/// An address that belongs to this process until the lease is dropped or the process dies.
#[derive(Debug)]
pub struct Lease {
    address: IpAddr,
    _claim: Claim,
}

/// How to take a claim: thoroughly, or passing by what dead owners left.
pub(super) type Take = fn(&Path, &str, &str) -> Result<Option<Claim>>;

impl Lease {
    /// The address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Takes an address by a claim of its name; `None` when it is somebody's.
    pub(super) fn take(
        take: Take,
        directory: &Path,
        address: IpAddr,
        owner: &str,
    ) -> Result<Option<Lease>> {
        let claim = take(directory, &address.to_string(), owner)?;
        Ok(claim.map(|claim| Lease {
            address,
            _claim: claim,
        }))
    }
}

pub(super) fn taken(directory: &Path, address: IpAddr) -> Error {
    let owner = Claim::read(directory, &address.to_string()).filter(|owner| !owner.is_empty());
    let owner = owner.unwrap_or_else(|| "another owner".into());
    Error::new(
        ErrorKind::Taken,
        format!("the address {address} belongs to {owner}"),
    )
}
