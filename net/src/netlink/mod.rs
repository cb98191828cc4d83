//! Messages to the kernel's network configuration, many in one send.

mod socket;

pub(crate) use socket::{Request, Socket};
