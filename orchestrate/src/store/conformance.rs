//! A test of the [`Store`] contract that any implementation can call.
//!
//! ```
//! # use ampoule_orchestrate::{clock::VirtualClock, store::{MemoryStore, conformance}};
//! # use std::sync::Arc;
//! conformance::run(|| MemoryStore::new(Arc::new(VirtualClock::new())));
//! ```

use super::{Change, Deletion, Propagation, Revision, Scope, Store, Watch, Write, drain};
use crate::ErrorKind;
use crate::object::{Builtin, Key, Object};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, PodSpec};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};

/// Checks every point of the contract on stores that `open` makes, each empty.
///
/// # Panics
/// The implementation breaks the contract; the message says which point.
pub fn run<S: Store>(open: impl Fn() -> S) {
    assigns_what_only_the_store_assigns(&open());
    refuses_a_second_object_of_the_same_name(&open());
    completes_generated_names(&open());
    refuses_a_stale_update(&open());
    refuses_a_successor_of_the_same_name(&open());
    keeps_status_and_spec_apart(&open());
    makes_no_revision_for_no_change(&open());
    binds_a_pod_once(&open());
    lets_a_running_pod_end_first(&open());
    holds_what_has_finalizers(&open());
    goes_on_after_a_failed_write(&open());
    lists_in_order_and_by_namespace(&open());
    resumes_a_watch_without_gap_or_repeat(&open());
    watches_one_namespace(&open());
    wakes_a_waiting_watch(&open());
}

fn assigns_what_only_the_store_assigns(store: &impl Store) {
    let mut forged = map("a", "1");
    forged.meta_mut().uid = Some("mine".to_owned());
    forged.meta_mut().resource_version = Some("77".to_owned());
    let stored = create(store, forged);
    let other = create(store, map("b", "1"));
    assert!(
        stored.uid() != "mine" && !stored.uid().is_empty(),
        "the store assigns the uid"
    );
    assert_ne!(stored.uid(), other.uid(), "uids differ");
    assert!(
        other.revision() > stored.revision(),
        "a later write has a later revision"
    );
    assert!(
        stored.meta().creation_timestamp.is_some(),
        "the store notes the creation"
    );
    let pod = create(store, pod("p"));
    assert_eq!(pod.meta().generation, Some(1), "the first generation is 1");
    assert_eq!(
        read(store, &pod),
        pod,
        "what was returned is what is stored"
    );
}

fn refuses_a_second_object_of_the_same_name(store: &impl Store) {
    create(store, map("a", "1"));
    let error = store.write_one(Write::Create(map("a", "2"))).err();
    assert_eq!(error.map(|e| e.kind()), Some(ErrorKind::AlreadyExists));
}

fn completes_generated_names(store: &impl Store) {
    let mut unnamed = map("", "1");
    unnamed.meta_mut().name = None;
    unnamed.meta_mut().generate_name = Some("web-".to_owned());
    let first = create(store, unnamed.clone());
    let second = create(store, unnamed);
    assert!(
        first.name().starts_with("web-") && first.name().len() == 9,
        "five characters are added"
    );
    assert_ne!(first.name(), second.name(), "generated names differ");
}

fn refuses_a_stale_update(store: &impl Store) {
    let first = create(store, map("a", "1"));
    let second = update(store, with_value(&first, "2"));
    let error = store
        .write_one(Write::Update(with_value(&first, "3")))
        .err();
    assert_eq!(
        error.map(|e| e.kind()),
        Some(ErrorKind::Conflict),
        "a stale version conflicts"
    );
    assert_eq!(read(store, &first), second, "a conflict changes nothing");
    let mut blind = with_value(&first, "4");
    blind.meta_mut().resource_version = None;
    update(store, blind);
}

fn refuses_a_successor_of_the_same_name(store: &impl Store) {
    let first = create(store, map("a", "1"));
    delete(store, &first, Deletion::default());
    create(store, map("a", "2"));
    let by_uid = Deletion {
        uid: Some(first.uid().to_owned()),
        ..Deletion::default()
    };
    let error = store.write_one(Write::Delete(first.key(), by_uid)).err();
    assert_eq!(
        error.map(|e| e.kind()),
        Some(ErrorKind::Conflict),
        "the uid guards a deletion"
    );
    let mut blind = with_value(&first, "3");
    blind.meta_mut().resource_version = None;
    let error = store.write_one(Write::Update(blind)).err();
    assert_eq!(
        error.map(|e| e.kind()),
        Some(ErrorKind::Conflict),
        "the uid guards an update"
    );
}

fn keeps_status_and_spec_apart(store: &impl Store) {
    let stored = create(store, pod("p"));
    let mut both = stored.clone();
    set_phase(&mut both, "Running");
    both.meta_mut().labels = Some(BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    let after_status = ok(store.write_one(Write::Status(both.clone())));
    assert_eq!(
        phase(&after_status),
        Some("Running"),
        "a status write sets the status"
    );
    assert_eq!(
        after_status.meta().labels,
        None,
        "a status write sets nothing else"
    );
    assert_eq!(
        after_status.meta().generation,
        Some(1),
        "a status is no new generation"
    );
    set_phase(&mut both, "Failed");
    both.meta_mut().resource_version = None;
    let after_update = update(store, both);
    assert_eq!(
        phase(&after_update),
        Some("Running"),
        "an update leaves the status"
    );
    assert!(
        after_update.meta().labels.is_some(),
        "an update sets the rest"
    );
}

fn makes_no_revision_for_no_change(store: &impl Store) {
    let stored = create(store, map("a", "1"));
    assert_eq!(
        update(store, stored.clone()),
        stored,
        "an update that changes nothing makes no revision"
    );
}

fn binds_a_pod_once(store: &impl Store) {
    let stored = create(store, pod("p"));
    let bind = |node: &str, uid: &str| {
        store.write_one(Write::Bind {
            pod: stored.key(),
            uid: uid.into(),
            node: node.into(),
        })
    };
    let wrong = bind("n1", "another").err().map(|e| e.kind());
    assert_eq!(wrong, Some(ErrorKind::Conflict), "the uid guards a binding");
    let bound = ok(bind("n1", stored.uid()));
    assert_eq!(node(&bound), Some("n1"));
    let again = bind("n2", stored.uid()).err().map(|e| e.kind());
    assert_eq!(again, Some(ErrorKind::Conflict), "a pod is placed once");
}

fn lets_a_running_pod_end_first(store: &impl Store) {
    let unplaced = create(store, pod("a"));
    delete(store, &unplaced, Deletion::default());
    assert!(
        is_gone(store, &unplaced),
        "a pod without a node goes at once"
    );

    let placed = create(store, pod("b"));
    ok(store.write_one(Write::Bind {
        pod: placed.key(),
        uid: "".into(),
        node: "n".into(),
    }));
    let ending = delete(store, &placed, Deletion::default());
    assert_eq!(
        ending.meta().deletion_grace_period_seconds,
        Some(30),
        "30 seconds unless the pod says otherwise"
    );
    assert!(!is_gone(store, &placed), "a pod on a node has time to end");
    let at_once = Deletion {
        grace: Some(0),
        ..Deletion::default()
    };
    delete(store, &placed, at_once);
    assert!(is_gone(store, &placed), "a grace of zero removes a pod");
}

fn holds_what_has_finalizers(store: &impl Store) {
    let mut held = map("a", "1");
    held.meta_mut().finalizers = Some(vec!["example.com/hold".to_owned()]);
    let held = create(store, held);
    let mut ending = delete(store, &held, Deletion::default());
    assert!(
        ending.is_terminating() && !is_gone(store, &held),
        "a finalizer holds an object"
    );
    ending.meta_mut().finalizers = None;
    update(store, ending);
    assert!(is_gone(store, &held), "it goes with its last finalizer");

    let owner = create(store, map("b", "1"));
    let foreground = Deletion {
        propagation: Propagation::Foreground,
        ..Deletion::default()
    };
    let ending = delete(store, &owner, foreground);
    let finalizers = ending.meta().finalizers.clone().unwrap_or_default();
    assert_eq!(
        finalizers,
        ["foregroundDeletion"],
        "foreground deletion waits for what is owned"
    );
}

fn goes_on_after_a_failed_write(store: &impl Store) {
    let writes = vec![
        Write::Create(map("a", "1")),
        Write::Create(map("a", "2")),
        Write::Create(map("b", "1")),
    ];
    let succeeded: Vec<bool> = store.write(writes).iter().map(Result::is_ok).collect();
    assert_eq!(
        succeeded,
        [true, false, true],
        "one result a write, each by itself"
    );
}

fn lists_in_order_and_by_namespace(store: &impl Store) {
    for name in ["b", "a", "c"] {
        create(store, map(name, "1"));
    }
    let mut elsewhere = map("a", "1");
    elsewhere.meta_mut().namespace = Some("other".to_owned());
    let last = create(store, elsewhere);
    let list = ok(store.list(&Scope::all(Builtin::ConfigMap)));
    let names: Vec<String> = list.objects.iter().map(|o| o.key().to_string()).collect();
    assert!(
        names.is_sorted() && names.len() == 4,
        "sorted by namespace and name"
    );
    assert!(
        list.revision >= last.revision(),
        "a list's revision covers what it shows"
    );
    let one = ok(store.list(&Scope::namespace(Builtin::ConfigMap, "other")));
    assert_eq!(one.objects.len(), 1, "a list can be of one namespace");
}

fn resumes_a_watch_without_gap_or_repeat(store: &impl Store) {
    let a = create(store, map("a", "1"));
    let list = ok(store.list(&Scope::all(Builtin::ConfigMap)));
    let mut watch = watch(store, &Scope::all(Builtin::ConfigMap), list.revision);
    assert_eq!(changes(&mut *watch), [], "what was listed is not repeated");
    let a2 = update(store, with_value(&a, "2"));
    let b = create(store, map("b", "1"));
    let gone = delete(store, &a2, Deletion::default());
    let seen = changes(&mut *watch);
    assert_eq!(
        seen,
        [
            Change::Modified(a2),
            Change::Added(b),
            Change::Deleted(gone.clone())
        ]
    );
    assert_eq!(changes(&mut *watch), [], "each change comes once");

    let revision = seen[0].revision();
    drop(watch);
    let mut resumed = self::watch(store, &Scope::all(Builtin::ConfigMap), revision);
    assert_eq!(
        changes(&mut *resumed),
        seen[1..],
        "a watch resumes after the revision it names"
    );
    let mut from_end = self::watch(store, &Scope::all(Builtin::ConfigMap), gone.revision());
    assert_eq!(changes(&mut *from_end), []);
}

fn watches_one_namespace(store: &impl Store) {
    let mut watch = watch(
        store,
        &Scope::namespace(Builtin::ConfigMap, "other"),
        Revision::START,
    );
    create(store, map("a", "1"));
    assert_eq!(changes(&mut *watch), [], "other namespaces do not show");
    let mut elsewhere = map("a", "1");
    elsewhere.meta_mut().namespace = Some("other".to_owned());
    let stored = create(store, elsewhere);
    assert_eq!(changes(&mut *watch), [Change::Added(stored)]);
}

fn wakes_a_waiting_watch(store: &impl Store) {
    #[derive(Default)]
    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let flag = Arc::new(Flag::default());
    let waker = flag.clone().into();
    let mut context = Context::from_waker(&waker);
    let mut watch = watch(store, &Scope::all(Builtin::ConfigMap), Revision::START);
    assert!(
        watch.poll(&mut context).is_pending(),
        "nothing happened yet"
    );
    create(store, map("a", "1"));
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !flag.0.load(Ordering::SeqCst) {
        assert!(
            std::time::Instant::now() < patience,
            "a waiting watch is woken"
        );
        std::thread::yield_now();
    }
    assert!(matches!(watch.poll(&mut context), Poll::Ready(Ok(_))));
}

fn map(name: &str, value: &str) -> Object {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map.metadata.namespace = Some("default".to_owned());
    map.data = Some(BTreeMap::from([("value".to_owned(), value.to_owned())]));
    map.into()
}

fn with_value(object: &Object, value: &str) -> Object {
    let Object::ConfigMap(mut map) = object.clone() else {
        unreachable!("made by `map`")
    };
    Arc::make_mut(&mut map).data = Some(BTreeMap::from([("value".to_owned(), value.to_owned())]));
    Object::ConfigMap(map)
}

fn pod(name: &str) -> Object {
    let mut pod = Pod::default();
    pod.metadata.name = Some(name.to_owned());
    pod.metadata.namespace = Some("default".to_owned());
    let container = Container {
        name: "main".to_owned(),
        image: Some("app:1".to_owned()),
        ..Container::default()
    };
    pod.spec = Some(PodSpec {
        containers: vec![container],
        ..PodSpec::default()
    });
    pod.into()
}

fn set_phase(object: &mut Object, phase: &str) {
    if let Object::Pod(pod) = object {
        let status = Arc::make_mut(pod).status.get_or_insert_default();
        status.phase = Some(phase.to_owned());
    }
}

fn phase(object: &Object) -> Option<&str> {
    let pod = object.as_type::<Pod>()?;
    pod.status.as_ref()?.phase.as_deref()
}

fn node(object: &Object) -> Option<&str> {
    let pod = object.as_type::<Pod>()?;
    pod.spec.as_ref()?.node_name.as_deref()
}

fn create(store: &impl Store, object: Object) -> Object {
    ok(store.write_one(Write::Create(object)))
}

fn update(store: &impl Store, object: Object) -> Object {
    ok(store.write_one(Write::Update(object)))
}

fn delete(store: &impl Store, object: &Object, deletion: Deletion) -> Object {
    ok(store.write_one(Write::Delete(object.key(), deletion)))
}

fn read(store: &impl Store, object: &Object) -> Object {
    ok(store.read(&object.key()))
}

fn is_gone(store: &impl Store, object: &Object) -> bool {
    let key: Key = object.key();
    matches!(store.read(&key), Err(error) if error.kind() == ErrorKind::NotFound)
}

fn watch(store: &impl Store, scope: &Scope, after: Revision) -> Box<dyn Watch> {
    ok(store.watch(scope, after))
}

fn changes(watch: &mut dyn Watch) -> Vec<Change> {
    ok(drain(watch))
}

fn ok<T>(result: Result<T, crate::Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the store must accept this: {error}"),
    }
}
