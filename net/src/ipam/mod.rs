//! Which address belongs to whom.
//!
//! An address is a file in the network's directory, and the lease is a lock on that file, held as long as it is open. A
//! dead owner's address is free at once, whatever it died of, and processes that know nothing of one another never get the
//! same one. What is left of a dead owner is an unlocked file, which means nothing.

mod claim;
mod lease;
mod subnet;

pub(crate) use claim::{Claim, open_directory};
pub use lease::Lease;
pub use subnet::{AddressPool, Subnet};
