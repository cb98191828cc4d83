//! How simulated nodes and containers behave.

use crate::quantity::Amount;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// What a simulated node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSize {
    /// CPUs.
    pub cpus: u32,
    /// Memory, in bytes.
    pub memory: u64,
    /// How many pods it takes.
    pub pods: u32,
}

impl Default for NodeSize {
    /// 8 CPUs, 32 GiB, 110 pods.
    fn default() -> NodeSize {
        NodeSize {
            cpus: 8,
            memory: 32 << 30,
            pods: 110,
        }
    }
}

impl NodeSize {
    pub(super) fn capacity(self) -> BTreeMap<String, Quantity> {
        let memory = i64::try_from(self.memory).unwrap_or(i64::MAX);
        BTreeMap::from([
            (
                "cpu".to_owned(),
                Amount::from_units(self.cpus.into()).into(),
            ),
            ("memory".to_owned(), Amount::from_bytes(memory).into()),
            (
                "pods".to_owned(),
                Amount::from_units(self.pods.into()).into(),
            ),
        ])
    }
}

/// How long things take; each time between half and one and a half of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speeds {
    /// Preparing a pod.
    pub prepare: SignedDuration,
    /// Fetching an image that the node does not have.
    pub pull: SignedDuration,
    /// Starting a container.
    pub start: SignedDuration,
    /// Answering a probe.
    pub probe: SignedDuration,
    /// Ending after the stop signal.
    pub stop: SignedDuration,
}

impl Default for Speeds {
    fn default() -> Speeds {
        Speeds {
            prepare: SignedDuration::from_millis(200),
            pull: SignedDuration::from_secs(5),
            start: SignedDuration::from_millis(300),
            probe: SignedDuration::from_millis(5),
            stop: SignedDuration::from_millis(500),
        }
    }
}

/// How a container behaves. A pod says so in its annotations, for all of its containers or for one by name:
/// `simulate.ampoule.dev/run: 30s`, `simulate.ampoule.dev/exit-code.main: "1"`, `simulate.ampoule.dev/ready-after: 5s`,
/// `simulate.ampoule.dev/image: missing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// After how long it ends by itself; none for never.
    pub run: Option<SignedDuration>,
    /// With which code.
    pub exit_code: i32,
    /// For how long after its start it answers no to every probe.
    pub ready_after: SignedDuration,
    /// Whether its image can be fetched.
    pub has_image: bool,
}

impl Behaviour {
    /// How a container of a pod behaves. One that is to end (an init container, or any of a pod that does not restart always)
    /// ends after two seconds unless the pod says otherwise.
    pub fn of(pod: &Pod, container: &Container) -> Behaviour {
        let spec = pod.spec.as_ref();
        let mut init = spec
            .into_iter()
            .flat_map(|spec| spec.init_containers.iter().flatten());
        let is_init = init.any(|one| one.name == container.name);
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        let always = spec
            .and_then(|spec| spec.restart_policy.as_deref())
            .unwrap_or("Always")
            == "Always";
        let ends = (is_init && !sidecar) || (!is_init && !always);
        let word = |name: &str| annotation(pod, container, name);
        let time = |name: &str| word(name).and_then(|text| text.parse::<SignedDuration>().ok());
        Behaviour {
            run: time("run").or(ends.then_some(SignedDuration::from_secs(2))),
            exit_code: word("exit-code")
                .and_then(|code| code.parse().ok())
                .unwrap_or(0),
            ready_after: time("ready-after").unwrap_or_default(),
            has_image: word("image") != Some("missing"),
        }
    }
}

fn annotation<'p>(pod: &'p Pod, container: &Container, name: &str) -> Option<&'p str> {
    let annotations = pod.metadata.annotations.as_ref()?;
    let general = format!("simulate.ampoule.dev/{name}");
    let own = format!("{general}.{}", container.name);
    let found = annotations.get(&own).or_else(|| annotations.get(&general));
    found.map(String::as_str)
}
