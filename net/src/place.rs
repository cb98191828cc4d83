//! Where the outer ends of interfaces live, and how they are taken back.

use crate::bridge::{Seat, Services};
use crate::dns::Registration;
use crate::firewall::Publication;
use crate::ipam::Lease;
use crate::netlink::{Request, route};
use crate::policy::Membership;
use crate::{Error, Mac, Namespace, Result};
use ipnetwork::IpNetwork;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

/// What passed an interface, each way, since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// To the member.
    pub received: Direction,
    /// From the member.
    pub sent: Direction,
}

/// What passed one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Direction {
    /// Packets.
    pub packets: u64,
    /// Bytes, Ethernet headers included.
    pub bytes: u64,
    /// Packets that were dropped.
    pub dropped: u64,
}

/// A namespace in which a driver makes devices.
#[derive(Debug)]
pub(crate) struct Place {
    name: String,
    namespace: Arc<Namespace>,
    /// The bridge of which the devices are ports, by name and index.
    bridge: Option<(String, u32)>,
    removals: Option<Sender<Removal>>,
    remover: Option<JoinHandle<()>>,
}

/// What an attachment leaves behind, if its namespace lives on.
#[derive(Debug)]
pub(crate) enum Remains {
    /// A device in the place itself.
    Port(String),
    /// An interface that has no other end but in the namespace.
    Inside(Namespace, u32),
}

/// What an attachment holds as long as its device is there: leases, its place on a bridge, published ports, names,
/// a part in a policy.
///
/// All of it is given back after the device is gone: before, its addresses still answer.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) _leases: Vec<Lease>,
    pub(crate) _seat: Option<Seat>,
    pub(crate) _services: Option<Arc<Services>>,
    pub(crate) publication: Option<Publication>,
    pub(crate) registration: Option<Registration>,
    pub(crate) membership: Option<Membership>,
}

impl Held {
    /// Nothing but leases.
    pub(crate) fn leases(leases: Vec<Lease>) -> Held {
        Held {
            _leases: leases,
            _seat: None,
            _services: None,
            publication: None,
            registration: None,
            membership: None,
        }
    }
}

struct Removal {
    remains: Remains,
    _held: Held,
}

impl Place {
    /// A place with a thread that deletes devices off everybody's path.
    pub(crate) fn open(
        name: &str,
        namespace: Arc<Namespace>,
        bridge: Option<(String, u32)>,
    ) -> Result<Arc<Place>> {
        let (removals, queue) = channel();
        let there = Arc::clone(&namespace);
        let remover = thread::Builder::new()
            .name("net-remover".into())
            .spawn(move || remove_in_batches(&there, &queue))
            .map_err(|e| Error::kernel("start the thread that deletes interfaces", e))?;
        Ok(Arc::new(Place {
            name: name.to_string(),
            namespace,
            bridge,
            removals: Some(removals),
            remover: Some(remover),
        }))
    }

    /// What it is called in explanations.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Carries out the requests, the first of which makes a device; leaves nothing if one of them fails.
    pub(crate) fn make(&self, requests: &[Request], port: Option<&str>) -> Result<()> {
        let Some(port) = port else {
            return self.namespace.route(|socket| socket.run(requests));
        };
        self.namespace.route(|socket| {
            let made = match socket.run(requests) {
                // The port's name belongs to our lease: whoever else has it is a dead owner's, whose namespace the
                // kernel has not taken back yet. If nobody has it, it is the name inside that is taken.
                Err(error) if error.errno() == Some(EEXIST) => {
                    match socket.run(&[route::delete(port)]) {
                        Ok(()) => socket.run(requests),
                        Err(_) => return Err(error),
                    }
                }
                made => made,
            };
            made.inspect_err(|_| {
                // A later request may have failed, or the first: then there is nothing to delete.
                let _ = socket.run(&[route::delete(port)]);
            })
        })
    }

    /// Lets an outer end take notice that the inner one is up, and then the bridge.
    ///
    /// The bridge is told the IPv6 neighbours: they cannot be asked for before the kernel has joined them to the group
    /// in which they are, which it does in the background.
    pub(crate) fn settle(
        &self,
        remains: &Remains,
        addresses: &[IpNetwork],
        mac: Mac,
    ) -> Result<()> {
        let Remains::Port(port) = remains else {
            return Ok(());
        };
        let mut requests = vec![route::settle(port)];
        if let Some((name, index)) = &self.bridge {
            requests.push(route::settle(name));
            let v6 = addresses.iter().filter(|address| address.is_ipv6());
            requests.extend(v6.map(|address| {
                route::met(
                    "tell the bridge its new neighbour",
                    *index,
                    address.ip(),
                    mac,
                )
            }));
        }
        self.namespace.route(|socket| socket.run(&requests))
    }

    /// What passed an attachment, as its member sees it.
    pub(crate) fn traffic(&self, remains: &Remains) -> Result<Counters> {
        // What a port receives is what the member sends.
        let (counters, outside) = match remains {
            Remains::Port(port) => (
                self.namespace
                    .route(|socket| socket.counters(route::by_name(port)))?,
                true,
            ),
            Remains::Inside(there, index) => (
                there.route(|socket| socket.counters(route::by_index(*index)))?,
                false,
            ),
        };
        let [a, b, c, d, e, f] = counters;
        let direction = |packets, bytes, dropped| Direction {
            packets,
            bytes,
            dropped,
        };
        let (first, second) = (direction(a, b, c), direction(d, e, f));
        let (received, sent) = if outside {
            (second, first)
        } else {
            (first, second)
        };
        Ok(Counters { received, sent })
    }

    pub(crate) fn remove_now(&self, remains: &Remains, held: Held) -> Result<()> {
        let removed = match remains {
            Remains::Port(port) => self
                .namespace
                .route(|socket| socket.run(&[route::delete(port)])),
            Remains::Inside(there, index) => {
                there.route(|socket| socket.run(&[route::delete_index(*index)]))
            }
        };
        drop(held);
        match removed {
            Err(error) if error.errno() == Some(ENODEV) => Ok(()),
            removed => removed,
        }
    }

    pub(crate) fn remove_later(&self, remains: Remains, mut held: Held) {
        // Nobody new should find the way here from now on.
        held.registration = None;
        if let Some(removals) = &self.removals {
            // The thread ends only after this sender.
            let _ = removals.send(Removal {
                remains,
                _held: held,
            });
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.removals.take());
        if let Some(remover) = self.remover.take() {
            let _ = remover.join();
        }
    }
}

/// One deletion waits for every processor to have forgotten the device, and so does one of a whole group.
fn remove_in_batches(namespace: &Namespace, queue: &Receiver<Removal>) {
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        batch.extend(queue.try_iter().take(BATCH - 1));
        let mut requests: Vec<Request> = Vec::with_capacity(batch.len() + 1);
        for removal in &batch {
            match &removal.remains {
                Remains::Port(port) => requests.push(route::group(port, ASIDE)),
                // Each is in a namespace of its own.
                Remains::Inside(there, index) => {
                    let _ = there.route(|socket| socket.run(&[route::delete_index(*index)]));
                }
            }
        }
        requests.push(route::delete_group(ASIDE));
        // A device that went with its namespace is no failure, and there is nobody to tell of another.
        let _ = namespace.route(|socket| socket.run(&requests));
    }
}

/// As many as one send holds comfortably.
const BATCH: usize = 256;
/// A group that nobody else uses: "ampl".
const ASIDE: u32 = 0x616d_706c;
/// From `asm-generic/errno-base.h`.
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
