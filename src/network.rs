//! What network a container has.

use ampoule_net::Namespace;
use std::sync::Arc;

/// What network a container has.
#[derive(Debug, Clone)]
pub struct Network(pub(crate) Kind);

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A namespace that is made with the container.
    None,
    /// The host's.
    Host,
    /// One that was made before.
    Namespace(Arc<Namespace>),
}

impl Network {
    /// A network namespace of its own with the loopback interface, and nothing else. The default.
    pub fn none() -> Network {
        Network(Kind::None)
    }

    /// The host's network: its interfaces, ports, and abstract Unix sockets.
    pub fn host() -> Network {
        Network(Kind::Host)
    }

    /// A namespace that exists already: of another container, or from a [pool](ampoule_net::Pool). Without privilege it must
    /// have been made in the container's own user namespace.
    pub fn namespace(namespace: impl Into<Arc<Namespace>>) -> Network {
        Network(Kind::Namespace(namespace.into()))
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self.0, Kind::None)
    }

    pub(crate) fn is_host(&self) -> bool {
        matches!(self.0, Kind::Host)
    }
}

impl Default for Network {
    fn default() -> Network {
        Network::none()
    }
}
