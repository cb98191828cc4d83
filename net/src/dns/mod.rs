//! Names: who has which address in a network, and a server that tells its members.
//!
//! The records are a map in memory; attaching adds to it before the member's first instruction can run, and detaching takes
//! away. The server listens at the network's gateway and asks the host's resolvers, from the host's namespace, for whatever
//! is no name of the network.

mod answer;
mod cache;
mod files;
mod names;
mod server;

pub use files::{Hosts, ResolvConf};
pub(crate) use names::NamedPort;
pub use names::{Names, Registration, check_name};
pub use server::{NameServer, Observer};
