//! What carries traffic to the pods: the contract between the services' controller and a network.
//!
//! The controller decides *which* addresses stand behind a service and who may talk to whom; a [`Network`] makes packets
//! follow. Pods get their own addresses from the runtime.

use crate::error::Result;
use crate::object::Key;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// Everything that a network needs to know about one service. It replaces what was said of that service before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    /// The service.
    pub service: Key,
    /// Its names, without the cluster's domain: `web.default.svc`.
    pub names: Vec<String>,
    /// Its stable addresses; none for a headless service, whose names lead to its endpoints.
    pub addresses: Vec<IpAddr>,
    /// Its ports.
    pub ports: Vec<Route>,
    /// For how long a client keeps its endpoint; none for no affinity.
    pub affinity: Option<Duration>,
    /// A name elsewhere that this service stands for (`ExternalName`).
    pub alias: Option<String>,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The port's name; empty when it has none.
    pub name: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The port at the service's addresses.
    pub port: u16,
    /// The port at every node, if one was given.
    pub node_port: Option<u16>,
    /// Where the traffic goes, one of them each time.
    pub endpoints: Vec<Endpoint>,
}

/// One place that serves a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The pod's address.
    pub address: IpAddr,
    /// The pod's port.
    pub port: u16,
    /// The name of the endpoint itself below the service's, when it has one (pods of a StatefulSet).
    pub hostname: Option<String>,
    /// The node that it is on, for traffic that must stay local.
    pub node: Option<String>,
}

/// Who may talk to some pods, as one `NetworkPolicy` says it. A pod that no policy names may talk to everyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// The policy.
    pub policy: Key,
    /// The addresses of the pods that it is about.
    pub pods: Vec<IpAddr>,
    /// What may come in; none when the policy does not speak of it, an empty list when nothing may.
    pub ingress: Option<Vec<Allowance>>,
    /// What may go out, likewise.
    pub egress: Option<Vec<Allowance>>,
}

/// One thing that is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// With whom; none for anyone.
    pub peers: Option<Vec<Block>>,
    /// On which ports, first to last; none for all.
    pub ports: Option<Vec<(Protocol, u16, u16)>>,
}

/// A block of addresses without some of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The block's address.
    pub address: IpAddr,
    /// The length of its prefix.
    pub prefix: u8,
    /// The parts that are left out.
    pub except: Vec<(IpAddr, u8)>,
}

/// What carries traffic to the pods.
///
/// # Contract
/// - Each call states the whole of what should be for one service or policy, and replaces what was stated before; stating the
///   same again changes nothing. So who lost track states everything once more.
/// - When a call returns, new connections follow it; connections that exist may end where their endpoint is gone.
/// - Withdrawing or lifting what is not there is no error.
pub trait Network: Send + Sync + Debug {
    /// Makes a service reachable.
    ///
    /// # Errors
    /// The network could not be changed; what was there before is still there.
    fn publish(&self, routes: &Routes) -> Result<()>;

    /// Makes a service unreachable.
    ///
    /// # Errors
    /// The network could not be changed.
    fn withdraw(&self, service: &Key) -> Result<()>;

    /// Keeps pods from talking, except as allowed. Where several policies name a pod, what any of them allows is allowed.
    ///
    /// # Errors
    /// The network could not be changed, or cannot enforce policies: then nobody may believe that it does.
    fn isolate(&self, isolation: &Isolation) -> Result<()>;

    /// Forgets a policy.
    ///
    /// # Errors
    /// The network could not be changed.
    fn lift(&self, policy: &Key) -> Result<()>;
}

/// A network on paper: it keeps what it was told, for simulations and tests.
#[derive(Debug, Default)]
pub struct PaperNetwork {
    state: Mutex<Paper>,
}

#[derive(Debug, Default)]
struct Paper {
    routes: BTreeMap<Key, Routes>,
    isolations: BTreeMap<Key, Isolation>,
}

impl PaperNetwork {
    /// What was published for a service.
    pub fn routes(&self, service: &Key) -> Option<Routes> {
        self.paper(|paper| paper.routes.get(service).cloned())
    }

    /// What was said of a policy.
    pub fn isolation(&self, policy: &Key) -> Option<Isolation> {
        self.paper(|paper| paper.isolations.get(policy).cloned())
    }

    fn paper<T>(&self, act: impl FnOnce(&mut Paper) -> T) -> T {
        let mut paper = self.state.lock().unwrap_or_else(|e| e.into_inner());
        act(&mut paper)
    }
}

impl Network for PaperNetwork {
    fn publish(&self, routes: &Routes) -> Result<()> {
        self.paper(|paper| paper.routes.insert(routes.service.clone(), routes.clone()));
        Ok(())
    }

    fn withdraw(&self, service: &Key) -> Result<()> {
        self.paper(|paper| paper.routes.remove(service));
        Ok(())
    }

    fn isolate(&self, isolation: &Isolation) -> Result<()> {
        let key = isolation.policy.clone();
        self.paper(|paper| paper.isolations.insert(key, isolation.clone()));
        Ok(())
    }

    fn lift(&self, policy: &Key) -> Result<()> {
        self.paper(|paper| paper.isolations.remove(policy));
        Ok(())
    }
}
