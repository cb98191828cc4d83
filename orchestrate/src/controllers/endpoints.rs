//! Endpoints: which pods stand behind a service.

use super::pods;
use crate::control::{Controller, Next, Queue, View, World, node_of};
use crate::error::Result;
use crate::network::{Endpoint, Network, Protocol, Route, Routes};
use crate::object::{Builtin, Key, Kind, Object, owner_reference};
use crate::selector::{Labels, Selector};
use crate::store::Write;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{
    Endpoint as SliceEndpoint, EndpointConditions, EndpointPort, EndpointSlice,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How many endpoints a slice holds at most, as in Kubernetes.
const SLICE: usize = 100;
/// The label of a slice that names its service.
const SERVICE: &str = "kubernetes.io/service-name";

/// Keeps the `EndpointSlice`s of every service with a selector, and tells the network.
#[derive(Debug)]
pub struct Endpoints {
    network: Arc<dyn Network>,
    published: BTreeMap<Key, Routes>,
}

impl Endpoints {
    /// Tells `network` of the services.
    pub fn new(network: Arc<dyn Network>) -> Endpoints {
        Endpoints {
            network,
            published: BTreeMap::new(),
        }
    }
}

impl Controller for Endpoints {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn kinds(&self) -> Vec<Kind> {
        vec![
            Builtin::Service.into(),
            Builtin::Pod.into(),
            Builtin::EndpointSlice.into(),
        ]
    }

    fn concerns(
        &mut self,
        before: Option<&Object>,
        after: Option<&Object>,
        view: &View,
        queue: &mut Queue,
    ) {
        for object in [before, after].into_iter().flatten() {
            match object {
                Object::Service(_) => queue.add(object.key()),
                Object::EndpointSlice(slice) => {
                    let labels = slice.metadata.labels.as_ref();
                    if let Some(service) = labels.and_then(|labels| labels.get(SERVICE)) {
                        queue.add(Key::new(Builtin::Service, object.namespace(), service));
                    }
                }
                Object::Pod(pod) if !is_same_endpoint(before, after) => {
                    for service in view.in_namespace::<Service>(object.namespace()) {
                        let wanted = wanted(service);
                        let labels = pod.metadata.labels.as_ref();
                        if super::selects(wanted.as_ref(), labels) {
                            queue.add(Object::Service(service.clone()).key());
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn reconcile(&mut self, key: &Key, world: &mut World<'_>) -> Result<Next> {
        let found = world.view().find::<Service>(&key.namespace, &key.name);
        let Some(service) = found.cloned() else {
            self.published.remove(key);
            self.network.withdraw(key)?;
            return Ok(Next::Change);
        };
        if let Some(wanted) = wanted(&service) {
            let chosen = world.view().pods_matching(&key.namespace, &wanted);
            let serving = chosen.filter(|pod| !pods::is_over(pod) && address(pod).is_some());
            let serving: Vec<Arc<Pod>> = serving.cloned().collect();
            write_slices(&service, &serving, world)?;
        }
        let routes = routes(key, &service, world.view());
        if self.published.get(key) != Some(&routes) {
            self.network.publish(&routes)?;
            self.published.insert(key.clone(), routes);
        }
        Ok(Next::Change)
    }
}

/// The pods that a service means; none for one whose endpoints somebody else keeps.
fn wanted(service: &Service) -> Option<Selector> {
    let spec = service.spec.as_ref()?;
    let labels = spec.selector.as_ref().filter(|labels| !labels.is_empty())?;
    let by_name = spec.type_.as_deref() == Some("ExternalName");
    (!by_name).then(|| Selector::exactly(labels))
}

/// Whether a change of a pod makes no difference to who serves: most changes do not.
fn is_same_endpoint(before: Option<&Object>, after: Option<&Object>) -> bool {
    let (Some(Object::Pod(a)), Some(Object::Pod(b))) = (before, after) else {
        return false;
    };
    a.metadata.labels == b.metadata.labels
        && address(a) == address(b)
        && pods::is_ready(a) == pods::is_ready(b)
        && pods::is_active(a) == pods::is_active(b)
}

fn address(pod: &Pod) -> Option<&str> {
    let address = pod.status.as_ref()?.pod_ip.as_deref();
    address.filter(|address| !address.is_empty())
}

/// Writes the slices of a service: one group for every set of port numbers, since pods may give a named port any number.
fn write_slices(service: &Arc<Service>, pods: &[Arc<Pod>], world: &mut World<'_>) -> Result<()> {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    let keep_unready = spec.publish_not_ready_addresses == Some(true);
    let mut groups: BTreeMap<Vec<(String, String, i32)>, Vec<SliceEndpoint>> = BTreeMap::new();
    for pod in pods {
        let numbers = ports.iter().filter_map(|port| {
            let number = target(pod, port)?;
            let protocol = port.protocol.clone().unwrap_or_default();
            Some((port.name.clone().unwrap_or_default(), protocol, number))
        });
        let group = groups.entry(numbers.collect()).or_default();
        group.push(endpoint(pod, keep_unready));
    }
    let mut slices = Vec::new();
    for (ports, mut endpoints) in groups {
        endpoints.sort_by(|a, b| a.addresses.cmp(&b.addresses));
        for part in endpoints.chunks(SLICE) {
            slices.push(slice(service, slices.len(), &ports, part.to_vec()));
        }
    }
    replace(service, slices, world)
}

/// Makes the stored slices equal to these; what is equal already is left alone.
fn replace(
    service: &Arc<Service>,
    slices: Vec<EndpointSlice>,
    world: &mut World<'_>,
) -> Result<()> {
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    let owned = world.view().owned_by::<EndpointSlice>(uid);
    let mut stored: BTreeMap<String, Arc<EndpointSlice>> = owned
        .map(|slice| {
            (
                slice.metadata.name.clone().unwrap_or_default(),
                slice.clone(),
            )
        })
        .collect();
    for slice in slices {
        let name = slice.metadata.name.clone().unwrap_or_default();
        match stored.remove(&name) {
            None => drop(world.create(slice)?),
            Some(old) if old.endpoints == slice.endpoints && old.ports == slice.ports => {}
            Some(old) => {
                let mut changed = EndpointSlice::clone(&old);
                changed.endpoints = slice.endpoints;
                changed.ports = slice.ports;
                world.write(Write::Update(changed.into()))?;
            }
        }
    }
    for (_, surplus) in stored {
        let uid = surplus.metadata.uid.clone().unwrap_or_default();
        world.delete(Object::EndpointSlice(surplus).key(), &uid)?;
    }
    Ok(())
}

fn slice(
    service: &Arc<Service>,
    number: usize,
    ports: &[(String, String, i32)],
    endpoints: Vec<SliceEndpoint>,
) -> EndpointSlice {
    let name = service.metadata.name.clone().unwrap_or_default();
    let first = endpoints
        .first()
        .and_then(|endpoint| endpoint.addresses.first());
    let is_six = first.is_some_and(|address| address.contains(':'));
    let mut slice = EndpointSlice {
        address_type: if is_six { "IPv6" } else { "IPv4" }.to_owned(),
        endpoints,
        ..EndpointSlice::default()
    };
    let port = |(name, protocol, number): &(String, String, i32)| EndpointPort {
        name: Some(name.clone()),
        protocol: Some(protocol.clone()),
        port: Some(*number),
        ..EndpointPort::default()
    };
    slice.ports = Some(ports.iter().map(port).collect());
    slice.metadata.labels = Some(Labels::from([(SERVICE.to_owned(), name.clone())]));
    slice.metadata.name = Some(format!("{name}-{number}"));
    slice
        .metadata
        .namespace
        .clone_from(&service.metadata.namespace);
    slice.metadata.owner_references = Some(vec![owner_reference(&**service)]);
    slice
}

fn endpoint(pod: &Arc<Pod>, keep_unready: bool) -> SliceEndpoint {
    let ending = pod.metadata.deletion_timestamp.is_some();
    let serving = pods::is_ready(pod);
    let spec = pod.spec.as_ref();
    SliceEndpoint {
        addresses: address(pod).map(str::to_owned).into_iter().collect(),
        conditions: Some(EndpointConditions {
            ready: Some((serving && !ending) || keep_unready),
            serving: Some(serving),
            terminating: Some(ending),
        }),
        hostname: spec
            .filter(|spec| spec.subdomain.is_some())
            .and_then(|spec| spec.hostname.clone()),
        node_name: node_of(pod).map(str::to_owned),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..SliceEndpoint::default()
    }
}

/// The number of the pod's port that a service's port leads to.
fn target(pod: &Pod, port: &ServicePort) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let containers = &pod.spec.as_ref()?.containers;
            let mut ports = containers.iter().flat_map(|c| c.ports.iter().flatten());
            let found = ports.find(|port| port.name.as_deref() == Some(name));
            found.map(|port| port.container_port)
        }
    }
}

/// What the network is to know of a service: only what is ready serves.
fn routes(key: &Key, service: &Service, view: &View) -> Routes {
    let spec = service.spec.clone().unwrap_or_default();
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    let owned = view.owned_by::<EndpointSlice>(uid);
    let slices: Vec<&Arc<EndpointSlice>> = owned.collect();
    let config = spec.session_affinity_config.as_ref();
    let sticky = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    let address = |text: &String| text.parse::<IpAddr>().ok();
    Routes {
        service: key.clone(),
        names: vec![format!("{}.{}.svc", key.name, key.namespace)],
        addresses: spec.cluster_ip.iter().filter_map(address).collect(),
        ports: spec
            .ports
            .iter()
            .flatten()
            .map(|port| route(port, &slices))
            .collect(),
        affinity: sticky.map(|seconds| Duration::from_secs(seconds.unsigned_abs().into())),
        alias: spec.external_name,
    }
}

fn route(port: &ServicePort, slices: &[&Arc<EndpointSlice>]) -> Route {
    let name = port.name.clone().unwrap_or_default();
    let mut endpoints = Vec::new();
    for slice in slices {
        let mut ports = slice.ports.iter().flatten();
        let named = ports.find(|port| port.name.as_deref().unwrap_or_default() == name);
        let number = named
            .and_then(|port| port.port)
            .and_then(|port| u16::try_from(port).ok());
        let Some(number) = number else { continue };
        let ready = slice.endpoints.iter().filter(|endpoint| {
            let conditions = endpoint.conditions.as_ref();
            conditions.is_none_or(|conditions| conditions.ready != Some(false))
        });
        for endpoint in ready {
            let addresses = endpoint
                .addresses
                .iter()
                .filter_map(|address| address.parse().ok());
            endpoints.extend(addresses.map(|address| Endpoint {
                address,
                port: number,
                hostname: endpoint.hostname.clone(),
                node: endpoint.node_name.clone(),
            }));
        }
    }
    endpoints.sort();
    Route {
        name,
        protocol: match port.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
        port: u16::try_from(port.port).unwrap_or_default(),
        node_port: port.node_port.and_then(|port| u16::try_from(port).ok()),
        endpoints,
    }
}
