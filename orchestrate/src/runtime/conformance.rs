//! A test of the [`Runtime`] contract that any implementation can call.

use super::{ContainerRef, Event, Events, HeldState, Question, Runtime, Sandbox};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What the test needs to know about the implementation under test.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What else the pod is to say, in its metadata or its specification.
    pub pod: Pod,
    /// A container that runs until it is stopped.
    pub lasting: Container,
    /// A container that ends by itself with code 0.
    pub ending: Container,
    /// A container that cannot be started.
    pub broken: Container,
}

/// Checks the contract on a runtime that has no pods yet.
///
/// `advance` is called again and again while an event is awaited: it lets a virtual time pass or a real thread sleep, a little
/// each time. After 100,000 calls without the event, the test fails.
///
/// # Panics
/// The implementation breaks the contract; the message says which point.
pub fn run(runtime: &dyn Runtime, workload: &Workload, advance: impl FnMut()) {
    let events = runtime.watch().unwrap_or_else(|e| panic!("watch: {e}"));
    let mut test = Test {
        runtime,
        workload,
        events,
        seen: Vec::new(),
        advance,
    };
    test.a_pod_is_prepared_once();
    test.a_container_starts_answers_and_stops();
    test.a_container_ends_by_itself();
    test.a_broken_container_says_so();
    test.a_list_shows_what_is_there();
    test.a_removed_pod_is_heard_of_no_more();
}

struct Test<'a, Advance> {
    runtime: &'a dyn Runtime,
    workload: &'a Workload,
    events: Box<dyn Events>,
    seen: Vec<Event>,
    advance: Advance,
}

const POD: &str = "5a3c1e7e-0000-4000-8000-000000000001";

impl<Advance: FnMut()> Test<'_, Advance> {
    fn a_pod_is_prepared_once(&mut self) {
        assert!(
            self.runtime
                .start(&container("lasting", 0), &self.workload.lasting)
                .is_err(),
            "a container of a pod that is not prepared is refused"
        );
        ok(self.runtime.run(&sandbox(self.workload)));
        ok(self.runtime.run(&sandbox(self.workload)));
        let ready = |event: &Event| matches!(event, Event::PodReady { pod, addresses } if &**pod == POD && !addresses.is_empty());
        self.await_event("PodReady, with an address", ready);
    }

    fn a_container_starts_answers_and_stops(&mut self) {
        let lasting = container("lasting", 0);
        ok(self.runtime.start(&lasting, &self.workload.lasting));
        ok(self.runtime.start(&lasting, &self.workload.lasting));
        self.await_event("Started", |event| {
            *event
                == Event::Started {
                    container: lasting.clone(),
                }
        });
        let sleep = Question::Sleep(Duration::from_millis(1));
        ok(self
            .runtime
            .probe(&lasting, &sleep, Duration::from_secs(10), 7));
        self.await_event("an answer", |event| {
            matches!(event, Event::Answered { container, ticket: 7, answer: Ok(()) } if *container == lasting)
        });
        ok(self.runtime.stop(&lasting, Duration::from_secs(1)));
        self.await_event("Exited after stop", |event| is_exit(event, &lasting));
        let sleep = self
            .runtime
            .probe(&lasting, &sleep, Duration::from_secs(1), 8);
        assert!(sleep.is_err(), "an ended container cannot be asked");
    }

    fn a_container_ends_by_itself(&mut self) {
        let ending = container("ending", 0);
        ok(self.runtime.start(&ending, &self.workload.ending));
        self.await_event("Started", |event| {
            *event
                == Event::Started {
                    container: ending.clone(),
                }
        });
        self.await_event("Exited with 0", |event| {
            matches!(event, Event::Exited { container, code: 0, .. } if *container == ending)
        });
        let again = container("ending", 1);
        ok(self.runtime.start(&again, &self.workload.ending));
        self.await_event("Exited of the second attempt", |event| {
            is_exit(event, &again)
        });
    }

    fn a_broken_container_says_so(&mut self) {
        let broken = container("broken", 0);
        ok(self.runtime.start(&broken, &self.workload.broken));
        self.await_event("StartFailed", |event| {
            matches!(event, Event::StartFailed { container, reason, .. } if *container == broken && !reason.is_empty())
        });
    }

    fn a_list_shows_what_is_there(&mut self) {
        let running = container("lasting", 1);
        ok(self.runtime.start(&running, &self.workload.lasting));
        self.await_event("Started", |event| {
            *event
                == Event::Started {
                    container: running.clone(),
                }
        });
        let held = ok(self.runtime.list());
        let pod = held.iter().find(|held| &*held.pod == POD);
        let containers = pod.map(|pod| pod.containers.as_slice()).unwrap_or_default();
        assert!(
            containers.contains(&(running, HeldState::Running)),
            "a list shows a running container"
        );
        let ended = (container("ending", 1), HeldState::Exited(0));
        assert!(
            containers.contains(&ended),
            "a list shows an ended container's latest attempt"
        );
    }

    fn a_removed_pod_is_heard_of_no_more(&mut self) {
        ok(self.runtime.remove(&POD.into()));
        let removed = Event::Removed { pod: POD.into() };
        self.await_event("Removed", |event| *event == removed);
        assert!(self.seen.is_empty(), "Removed is the last event of a pod");
        let held = ok(self.runtime.list());
        assert!(
            !held.iter().any(|held| &*held.pod == POD),
            "a removed pod is not listed"
        );
        ok(self.runtime.remove(&POD.into()));
        self.await_event("Removed for an unknown pod", |event| *event == removed);
    }

    /// Reads events until the wanted one came, and forgets those up to it.
    fn await_event(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..100_000 {
            while let Poll::Ready(events) = self.events.poll(&mut context) {
                self.seen.extend(ok(events));
            }
            if let Some(at) = self.seen.iter().position(&wanted) {
                self.seen.drain(..=at);
                return;
            }
            (self.advance)();
        }
        panic!(
            "the runtime must report {what}; it reported {:?}",
            self.seen
        );
    }
}

fn is_exit(event: &Event, of: &ContainerRef) -> bool {
    matches!(event, Event::Exited { container, .. } if container == of)
}

fn container(name: &str, attempt: u32) -> ContainerRef {
    ContainerRef {
        pod: POD.into(),
        name: name.into(),
        attempt,
    }
}

fn sandbox(workload: &Workload) -> Sandbox {
    let mut pod = workload.pod.clone();
    pod.metadata.name = Some("conformance".to_owned());
    pod.metadata.namespace = Some("default".to_owned());
    pod.metadata.uid = Some(POD.to_owned());
    let containers = [&workload.lasting, &workload.ending, &workload.broken];
    let spec = pod.spec.get_or_insert_with(PodSpec::default);
    spec.containers = containers.into_iter().cloned().collect();
    Sandbox {
        pod: Arc::new(pod),
        volumes: Vec::new(),
    }
}

fn ok<T>(result: crate::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the runtime must accept this: {error}"),
    }
}
