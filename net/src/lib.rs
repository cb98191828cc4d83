//! Network namespaces for programs: made, kept ready, and given back to the kernel without a trace.
//!
//! A [`Namespace`] is a network of its own: its interfaces, addresses, routes, sockets and firewall are seen by nobody
//! outside. It is held as a file descriptor and nothing else, so the kernel takes it back when its last owner dies,
//! whatever that owner died of. A [`Pool`] keeps some ready, because making one takes the kernel 0.3 ms.
//!
//! ```no_run
//! use ampoule_net::Namespace;
//! use std::net::{TcpListener, TcpStream};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let namespace = Namespace::create()?;
//! // Port 80 of this namespace's own loopback: free, whatever runs on the machine.
//! let server = namespace.run(|| TcpListener::bind("127.0.0.1:80"))??;
//! let client = namespace.run(|| TcpStream::connect("127.0.0.1:80"))??;
//! assert_eq!(server.accept()?.1, client.local_addr()?);
//! assert!(TcpStream::connect("127.0.0.1:80").is_err(), "the machine's own loopback is another one");
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//!
//! A network namespace belongs to a *thread*, and a socket belongs to the namespace of the thread that made it, for
//! good. So everything here that enters a namespace does so on a short-lived thread of its own and hands back what it
//! opened there: no thread of the caller ever changes its namespace, neither a tokio worker nor `main`.

#[cfg(feature = "drivers")]
mod address;
#[cfg(feature = "drivers")]
mod bridge;
#[cfg(feature = "cni")]
mod cni;
#[cfg(feature = "drivers")]
mod dns;
#[cfg(feature = "drivers")]
mod driver;
mod error;
#[cfg(feature = "drivers")]
mod firewall;
#[cfg(feature = "drivers")]
mod ipam;
mod namespace;
mod netlink;
#[cfg(feature = "drivers")]
mod nft;
#[cfg(feature = "drivers")]
mod parent;
#[cfg(feature = "drivers")]
mod place;
#[cfg(feature = "drivers")]
mod policy;
mod pool;
#[cfg(feature = "drivers")]
mod ports;

#[cfg(feature = "cni")]
pub use cni::{Chain, ConfList, Joined};

#[cfg(feature = "drivers")]
pub use {
    address::Mac,
    bridge::{Bridge, Member, Network, Overlay},
    dns::{Hosts, NameServer, Names, Observer, Registration, ResolvConf, check_name},
    driver::{Attachment, Driver, Endpoint, Ready},
    ipam::{AddressPool, Lease, Subnet},
    parent::{IpvlanMode, MacvlanMode, Parent, ParentNetwork},
    place::{Counters, Direction},
    policy::{Peer, Policy, Traffic},
    ports::{Protocol, Publish},
};

pub use error::{Error, ErrorKind, Result};
pub use namespace::Namespace;
pub use pool::{Pool, Stats};
