//! The loop itself.

use super::{Controller, Next, Queue, Record, View, World};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::object::{Kind, Object};
use crate::store::{Change, Scope, Store, Watch};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Runs controllers over a store.
#[derive(Debug)]
pub struct ControlLoop {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    view: View,
    watches: BTreeMap<Kind, Option<Box<dyn Watch>>>,
    controllers: Vec<Registered>,
    news: Vec<(Option<Object>, Option<Object>)>,
    records: Vec<Record>,
}

struct Registered {
    controller: Box<dyn Controller>,
    kinds: Vec<Kind>,
    queue: Queue,
}

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:?})", self.controller.name(), self.queue)
    }
}

/// How many rounds of changes may follow from one another before the loop looks at the clock again: a bound for
/// controllers that undo each other's work.
const ROUNDS: usize = 10_000;

impl ControlLoop {
    /// A loop without controllers.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> ControlLoop {
        ControlLoop {
            store,
            clock,
            view: View::default(),
            watches: BTreeMap::new(),
            controllers: Vec::new(),
            news: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Adds a controller. It hears of every object there is at the next [`pump`](ControlLoop::pump).
    pub fn add(&mut self, controller: impl Controller + 'static) {
        let mut registered = Registered {
            kinds: controller.kinds(),
            controller: Box::new(controller),
            queue: Queue::default(),
        };
        for kind in &registered.kinds {
            self.watches.entry(kind.clone()).or_default();
            for object in self.view.of_kind(kind) {
                let queue = &mut registered.queue;
                registered
                    .controller
                    .concerns(None, Some(object), &self.view, queue);
            }
        }
        self.controllers.push(registered);
    }

    /// Does all that can be done now, and returns when there will be more to do if nothing changes; none for never.
    ///
    /// # Errors
    /// The store cannot be reached. What a controller fails in is tried again later, and recorded.
    pub fn pump(&mut self) -> Result<Option<Timestamp>> {
        self.pump_with(Waker::noop())
    }

    /// The same, with a waker that is woken when the store or a controller's outside has news.
    ///
    /// # Errors
    /// As [`pump`](ControlLoop::pump).
    pub fn pump_with(&mut self, waker: &Waker) -> Result<Option<Timestamp>> {
        let mut context = Context::from_waker(waker);
        for _ in 0..ROUNDS {
            let now = self.clock.now();
            self.read_watches(&mut context)?;
            let mut busy = false;
            for index in 0..self.controllers.len() {
                self.tell();
                let one = &mut self.controllers[index];
                one.controller.poll(&mut context, now, &mut one.queue);
                one.queue.wake(now);
                if one.queue.is_ready() {
                    busy = true;
                    self.work(index, now);
                }
            }
            self.tell();
            if !busy && !self.controllers.iter().any(|one| one.queue.is_ready()) {
                break;
            }
        }
        let deadlines = self
            .controllers
            .iter()
            .filter_map(|one| one.queue.deadline());
        Ok(deadlines.min())
    }

    /// Runs until `done` says so, resting in between; for a thread of its own.
    ///
    /// # Errors
    /// As [`pump`](ControlLoop::pump).
    pub fn run_until(&mut self, mut done: impl FnMut(&View) -> bool) -> Result<()> {
        let waker = crate::clock::thread_waker();
        loop {
            let deadline = self.pump_with(&waker)?;
            if done(&self.view) {
                return Ok(());
            }
            self.clock.park_until(deadline);
        }
    }

    /// All objects, as the loop knows them.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What there was to tell since the last call.
    pub fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    fn read_watches(&mut self, context: &mut Context<'_>) -> Result<()> {
        for (kind, watch) in &mut self.watches {
            loop {
                let Some(open) = watch else {
                    let changes = relist(self.store.as_ref(), kind, &self.view, watch)?;
                    take_in(&mut self.view, &mut self.news, changes);
                    continue;
                };
                match open.poll(context) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(changes)) => take_in(&mut self.view, &mut self.news, changes),
                    Poll::Ready(Err(error)) if error.kind() == ErrorKind::Expired => *watch = None,
                    Poll::Ready(Err(error)) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Tells the controllers what has changed.
    fn tell(&mut self) {
        for (before, after) in std::mem::take(&mut self.news) {
            let Some(kind) = after.as_ref().or(before.as_ref()).map(Object::kind) else {
                continue;
            };
            for one in &mut self.controllers {
                if one.kinds.contains(&kind) {
                    let (controller, queue) = (&mut one.controller, &mut one.queue);
                    controller.concerns(before.as_ref(), after.as_ref(), &self.view, queue);
                }
            }
        }
    }

    /// Lets a controller work off its queue.
    fn work(&mut self, index: usize, now: Timestamp) {
        let Registered {
            controller, queue, ..
        } = &mut self.controllers[index];
        let mut world = World {
            source: controller.name(),
            store: self.store.as_ref(),
            view: &mut self.view,
            now,
            news: &mut self.news,
            records: &mut self.records,
        };
        while let Some(key) = queue.pop() {
            match controller.reconcile(&key, &mut world) {
                Ok(next) => {
                    queue.succeeded(&key);
                    if let Next::At(time) = next {
                        queue.add_at(key, time);
                    }
                }
                Err(error) => {
                    if !is_ordinary(&error) {
                        world.record(key.clone(), "FailedReconcile", error.to_string());
                    }
                    queue.retry(key, now);
                }
            }
        }
        if let Err(error) = controller.finish(&mut world, queue) {
            let key = crate::object::Key::new(crate::object::Builtin::Namespace, "", world.source);
            world.record(key, "FailedReconcile", error.to_string());
        }
    }
}

/// Whether an error is the kind that looking again puts right.
fn is_ordinary(error: &Error) -> bool {
    use ErrorKind::{AlreadyExists, Conflict, NotFound};
    matches!(error.kind(), Conflict | AlreadyExists | NotFound)
}

fn take_in(
    view: &mut View,
    news: &mut Vec<(Option<Object>, Option<Object>)>,
    changes: Vec<Change>,
) {
    for change in changes {
        if let Ok(before) = view.apply(&change) {
            let after = match change {
                Change::Added(object) | Change::Modified(object) => Some(object),
                Change::Deleted(_) => None,
            };
            news.push((before, after));
        }
    }
}

/// Lists a kind anew, opens a watch from there, and returns what is different from the view.
fn relist(
    store: &dyn Store,
    kind: &Kind,
    view: &View,
    watch: &mut Option<Box<dyn Watch>>,
) -> Result<Vec<Change>> {
    let scope = Scope::all(kind.clone());
    let list = store.list(&scope)?;
    *watch = Some(store.watch(&scope, list.revision)?);
    let mut missing: std::collections::BTreeSet<_> = view.keys(kind).into_iter().collect();
    let mut changes = Vec::new();
    for object in list.objects {
        missing.remove(&object.key());
        changes.push(Change::Added(object));
    }
    for key in missing {
        if let Some(mut object) = view.object(&key).cloned() {
            object.meta_mut().resource_version = Some(list.revision.0.to_string());
            changes.push(Change::Deleted(object));
        }
    }
    Ok(changes)
}
