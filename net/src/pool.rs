//! Things that take long to make, made before they are asked for.

use crate::{Error, Namespace, Result};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A bounded stock of ready things, refilled by one background thread.
///
/// Each thing is given out once and belongs to the taker from then on. There is no way to put one back: what a tenant
/// has used never reaches another. Dropping the pool ends its thread and drops what is in stock.
///
/// # Examples
///
/// ```no_run
/// use ampoule_net::Pool;
///
/// let pool = Pool::namespaces(16)?;
/// let namespace = pool.take()?;          // a pop; made on the spot if the stock has run out
/// println!("{:.0} % were ready", 100.0 * pool.stats().hit_rate());
/// # Ok::<(), ampoule_net::Error>(())
/// ```
#[derive(Debug)]
pub struct Pool<T: Send + 'static = Namespace> {
    shared: Arc<Shared<T>>,
    refill: Option<JoinHandle<()>>,
}

/// What a [`Pool`] has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Things in stock now.
    pub ready: usize,
    /// Takes that were served from the stock.
    pub hits: u64,
    /// Takes that had to wait until theirs was made.
    pub misses: u64,
    /// Times that making one failed in the background; the next take tries again.
    pub failures: u64,
}

impl Stats {
    /// The share of takes that were served from the stock, from 0 to 1; 1 if there was none.
    pub fn hit_rate(&self) -> f64 {
        match self.hits + self.misses {
            0 => 1.0,
            takes => self.hits as f64 / takes as f64,
        }
    }
}

struct Shared<T> {
    make: Box<dyn Fn() -> Result<T> + Send + Sync>,
    capacity: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    stock: VecDeque<T>,
    stats: Stats,
    /// Set when making one has failed: trying again at once would fail again, so wait for the next take.
    resting: bool,
    closed: bool,
}

impl Pool<Namespace> {
    /// A pool of new network namespaces whose loopback interface is up.
    ///
    /// Each costs some 100 kB of kernel memory while it waits.
    ///
    /// # Errors
    ///
    /// When no thread can be started. A failure to make a namespace appears at [`take`](Pool::take).
    pub fn namespaces(capacity: usize) -> Result<Pool> {
        Pool::start(capacity, Namespace::create)
    }
}

impl<T: Send + 'static> Pool<T> {
    /// Starts to keep `capacity` things ready that `make` makes, on a thread of its own.
    ///
    /// The thread inherits the caller's namespaces and root directory; `make` needs `/proc` there if it makes
    /// namespaces. A capacity of 0 makes everything on the spot.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn start(
        capacity: usize,
        make: impl Fn() -> Result<T> + Send + Sync + 'static,
    ) -> Result<Pool<T>> {
        let shared = Arc::new(Shared {
            make: Box::new(make),
            capacity,
            state: Mutex::new(State {
                stock: VecDeque::with_capacity(capacity),
                stats: Stats::default(),
                resting: false,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let refill = match capacity {
            0 => None,
            _ => Some(refill(Arc::clone(&shared))?),
        };
        Ok(Pool { shared, refill })
    }

    /// Takes the one that has waited longest, or makes one on the spot if none is ready.
    ///
    /// # Errors
    ///
    /// Those of making one.
    pub fn take(&self) -> Result<T> {
        match self.try_take() {
            Some(thing) => Ok(thing),
            None => (self.shared.make)(),
        }
    }

    /// Takes one if one is ready; it never waits for one to be made. An empty stock counts as a miss.
    pub fn try_take(&self) -> Option<T> {
        let mut state = self.shared.lock();
        let thing = state.stock.pop_front();
        match thing {
            Some(_) => state.stats.hits += 1,
            None => state.stats.misses += 1,
        }
        state.resting = false;
        drop(state);
        self.shared.changed.notify_all();
        thing
    }

    /// Waits until the stock is full, at most so long; says whether it is.
    pub fn wait_full(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.lock();
        loop {
            if state.stock.len() == self.shared.capacity {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What the pool has done so far.
    pub fn stats(&self) -> Stats {
        let state = self.shared.lock();
        Stats {
            ready: state.stock.len(),
            ..state.stats
        }
    }
}

impl<T: Send + 'static> Drop for Pool<T> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        if let Some(refill) = self.refill.take() {
            // Its only panic is one of `make`, which was reported where it happened.
            let _ = refill.join();
        }
    }
}

fn refill<T: Send + 'static>(shared: Arc<Shared<T>>) -> Result<JoinHandle<()>> {
    thread::Builder::new()
        .name("pool".into())
        .spawn(move || while shared.refill_one() {})
        .map_err(|e| Error::kernel("start the pool's thread", e))
}

impl<T> Shared<T> {
    /// Waits until one is missing, makes it, and adds it; `false` once the pool is closed.
    fn refill_one(&self) -> bool {
        let idle = |state: &mut State<T>| {
            !state.closed && (state.resting || state.stock.len() >= self.capacity)
        };
        let waited = self.changed.wait_while(self.lock(), idle);
        if waited.unwrap_or_else(PoisonError::into_inner).closed {
            return false;
        }
        // The lock is free meanwhile: a take never waits for this.
        let made = (self.make)();
        let mut state = self.lock();
        match made {
            Ok(thing) => state.stock.push_back(thing),
            Err(_) => {
                state.stats.failures += 1;
                state.resting = true;
            }
        }
        drop(state);
        self.changed.notify_all();
        true
    }

    /// Nothing panics while it holds the lock, so a poisoned state is a good one.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("capacity", &self.capacity)
            .field("stats", &self.lock().stats)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LONG: Duration = Duration::from_secs(10);

    fn numbers(capacity: usize) -> Pool<usize> {
        let next = AtomicUsize::new(0);
        Pool::start(capacity, move || Ok(next.fetch_add(1, Ordering::Relaxed))).unwrap()
    }

    #[test]
    fn holds_no_more_than_its_capacity_and_refills() {
        let pool = numbers(3);
        assert!(pool.wait_full(LONG));
        assert_eq!(pool.take().unwrap(), 0);
        assert!(pool.wait_full(LONG));
        assert_eq!(pool.take().unwrap(), 1);
        assert!(pool.wait_full(LONG));
        assert_eq!(pool.stats().ready, 3);
        assert_eq!(pool.stats().hits, 2);
        // The next to be made is the sixth: never more were made than taken or in stock.
        assert_eq!((pool.shared.make)().unwrap(), 5);
    }

    #[test]
    fn an_empty_stock_is_a_miss_that_is_made_on_the_spot() {
        let pool = numbers(0);
        assert_eq!(pool.take().unwrap(), 0);
        assert_eq!(pool.try_take(), None);
        let stats = pool.stats();
        assert_eq!((stats.hits, stats.misses, stats.hit_rate()), (0, 2, 0.0));
    }

    #[test]
    fn nothing_is_given_out_twice() {
        let pool = numbers(4);
        let taken = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let number = pool.take().unwrap();
                        taken.lock().unwrap().push(number);
                    }
                });
            }
        });
        let mut taken = taken.into_inner().unwrap();
        taken.sort_unstable();
        taken.dedup();
        assert_eq!(taken.len(), 2000);
    }

    #[test]
    fn a_failure_rests_until_the_next_take() {
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let pool = Pool::<()>::start(2, move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Err(Error::kernel(
                "make it",
                std::io::Error::from_raw_os_error(28),
            ))
        })
        .unwrap();
        while pool.stats().failures < 1 {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(20));
        assert_eq!(made.load(Ordering::Relaxed), 1, "it does not spin");
        assert!(pool.take().is_err());
        while pool.stats().failures < 2 {
            thread::yield_now();
        }
        assert_eq!(
            made.load(Ordering::Relaxed),
            3,
            "one on the spot, one in the background"
        );
    }

    #[test]
    fn ends_with_its_owner() {
        struct Thing(Arc<AtomicUsize>);
        impl Drop for Thing {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let alive = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&alive);
        let pool = Pool::start(5, move || {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(Thing(Arc::clone(&counter)))
        })
        .unwrap();
        assert!(pool.wait_full(LONG));
        let kept = pool.take().unwrap();
        drop(pool);
        assert_eq!(
            alive.load(Ordering::Relaxed),
            1,
            "only what was taken lives on"
        );
        drop(kept);
        assert_eq!(
            Arc::strong_count(&alive),
            1,
            "the thread and its closure are gone"
        );
    }
}
