//! Networks made by CNI plugins: any chain that a configuration list names
//! ([CNI specification 1.1](https://www.cni.dev/docs/spec/)).

mod config;
mod plugin;

pub use config::ConfList;
pub use plugin::{Chain, Joined};
