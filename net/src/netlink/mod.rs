//! Messages to the kernel's network configuration, many in one send.

#[cfg(feature = "drivers")]
pub(crate) mod route;
mod socket;

pub(crate) use socket::{Request, Socket};
