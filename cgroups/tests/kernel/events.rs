//! Events as they happen: polled, waited for, and as a stream.

use super::harness::{SECONDS, Scene, controllers, on_every_layout, shell};
use ampoule_cgroups::{Event, Events, Layout, Resources, Version};
use needs::needs;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::time::{Duration, Instant};

use super::harness::GREEDY;

needs!(root, controllers => an_oom_kill_is_told);
fn an_oom_kill_is_told() {
    on_every_layout("event-oom", |scene| {
        let cgroup = scene
            .parent
            .create("one", Resources::new().memory(16 << 20))
            .unwrap();
        let mut events = cgroup.events().unwrap();
        assert_eq!(without_states(events.read().unwrap()), []);
        let _running = shell(&cgroup, GREEDY);
        wait_for(&mut events, |event| matches!(event, Event::OomKill(1..)));
    });
}

needs!(root, controllers => a_refused_fork_is_told);
fn a_refused_fork_is_told() {
    on_every_layout("event-pids", |scene| {
        let cgroup = scene
            .parent
            .create("one", Resources::new().pids(2))
            .unwrap();
        let mut events = cgroup.events().unwrap();
        let mut running = shell(&cgroup, "sleep 9 & sleep 9 & sleep 9 & wait");
        running.child.wait().unwrap();
        if cgroup.paths().all(|(version, _)| version == Version::V2) {
            // The descriptor alone tells that there is something.
            let ready = rustix::event::poll(
                &mut [PollFd::new(&events, PollFlags::IN)],
                Some(&Timespec {
                    tv_sec: 10,
                    tv_nsec: 0,
                }),
            );
            assert_eq!(ready, Ok(1));
        }
        let seen = events.read().unwrap();
        assert!(
            seen.iter()
                .any(|event| matches!(event, Event::PidsMax(1..))),
            "{seen:?}"
        );
    });
}

needs!(root, controllers, a_v2_hierarchy => coming_and_going_is_told);
fn coming_and_going_is_told() {
    let scene = Scene::new("event-populated", Layout::discover().unwrap());
    let cgroup = scene.parent.create("one", &Resources::new()).unwrap();
    let mut events = cgroup.events().unwrap();
    assert_eq!(events.next(Duration::ZERO).unwrap(), None);
    let running = shell(&cgroup, "sleep 100");
    wait_for(&mut events, |event| event == Event::Populated(true));
    cgroup.freeze(SECONDS).unwrap();
    wait_for(&mut events, |event| event == Event::Frozen(true));
    cgroup.thaw().unwrap();
    wait_for(&mut events, |event| event == Event::Frozen(false));
    drop(running);
    cgroup.kill(SECONDS).unwrap();
    wait_for(&mut events, |event| event == Event::Populated(false));
    drop(cgroup);
    events.read().unwrap();
    assert_eq!(events.read().unwrap(), []);
}

#[cfg(feature = "tokio")]
needs!(root, controllers => events_are_a_stream);
#[cfg(feature = "tokio")]
fn events_are_a_stream() {
    on_every_layout("event-stream", |scene| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let cgroup = scene
                .parent
                .create("one", Resources::new().memory(16 << 20))
                .unwrap();
            let mut events = cgroup.events().unwrap().into_stream().unwrap();
            let running = shell(&cgroup, GREEDY);
            let killed =
                async { while !matches!(events.next().await.unwrap(), Event::OomKill(_)) {} };
            tokio::time::timeout(SECONDS, killed).await.unwrap();
            drop(running);
        });
    });
}

fn wait_for(events: &mut Events, wanted: impl Fn(Event) -> bool) {
    let begun = Instant::now();
    let mut seen = Vec::new();
    while let Some(event) = events
        .next(SECONDS.saturating_sub(begun.elapsed()))
        .unwrap()
    {
        seen.push(event);
        if wanted(event) {
            return;
        }
    }
    panic!("only {seen:?} in {SECONDS:?}");
}

fn without_states(mut events: Vec<Event>) -> Vec<Event> {
    events.retain(|event| !matches!(event, Event::Populated(_) | Event::Frozen(_)));
    events
}

fn a_v2_hierarchy() -> Result<(), String> {
    use ampoule_cgroups::Mode;
    match Layout::discover().map(|layout| layout.mode()) {
        Ok(Mode::V2 | Mode::Hybrid) => Ok(()),
        other => Err(format!("no v2 hierarchy: {other:?}")),
    }
}
