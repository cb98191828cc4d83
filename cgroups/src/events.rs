//! What happens to a cgroup, as it happens: one pollable descriptor for both versions.
//!
//! On v2 the kernel reports changes of `memory.events`, `pids.events` and `cgroup.events` through inotify; on v1 the OOM killer
//! reports through an eventfd. Both only say "look": events are what differs between two looks at the counters.

use crate::cgroup::Cgroup;
use crate::dir::Dir;
use crate::stats::field;
use crate::{Controller, Error, Result, Version};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd};
use rustix::fs::{OFlags, inotify};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Something that happened inside a cgroup or its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// The OOM killer killed so many more processes.
    OomKill(u64),
    /// An allocation found so many more times that the limit could not be kept by reclaiming; v2 only.
    Oom(u64),
    /// `memory.max` was hit so many more times; v2 only.
    MemoryMax(u64),
    /// `memory.high` was hit so many more times; v2 only.
    MemoryHigh(u64),
    /// The task limit refused so many more forks. v1 counts them but tells nobody: there it comes with the next other event,
    /// or when [`Events::read`] is called.
    PidsMax(u64),
    /// The first process came (`true`), or the last one went; needs a v2 hierarchy, if only an empty one.
    Populated(bool),
    /// All tasks stopped, or went on; needs a v2 hierarchy.
    Frozen(bool),
}

/// The events of one cgroup, from the moment of [`Cgroup::events`] on.
///
/// [`AsFd`] gives a descriptor that is readable (`POLLIN`) when [`read`](Self::read) may find something; [`next`](Self::next)
/// waits for it; with the feature `tokio`, `into_stream` makes it a `Stream`. It keeps the cgroup's files open, not the cgroup:
/// it may outlive it, and then tells nothing more.
#[derive(Debug)]
pub struct Events {
    /// Readable when one of the notifiers is.
    epoll: OwnedFd,
    inotify: OwnedFd,
    oom_v1: Option<OomV1>,
    sources: Vec<Source>,
    pending: VecDeque<Event>,
}

/// v1's OOM notification. It comes before the victim is killed and counted, so a timer has the counter looked at again.
#[derive(Debug)]
struct OomV1 {
    eventfd: OwnedFd,
    timer: OwnedFd,
    /// How often it is still looked for: none when the kill was seen, or was none.
    looks: u32,
}

/// One second altogether.
const LOOKS: u32 = 200;
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A file with counters, and what they were.
#[derive(Debug)]
struct Source {
    file: File,
    counters: Vec<(Counter, u64)>,
}

#[derive(Debug)]
struct Counter {
    key: &'static str,
    event: fn(u64) -> Event,
    /// Whether the value itself is the event, rather than by how much it grew.
    is_state: bool,
}

const fn grows(key: &'static str, event: fn(u64) -> Event) -> Counter {
    Counter {
        key,
        event,
        is_state: false,
    }
}

const fn state(key: &'static str, event: fn(u64) -> Event) -> Counter {
    Counter {
        key,
        event,
        is_state: true,
    }
}

impl Cgroup {
    /// Begins to watch for events. What there is to watch depends on the controllers that the cgroup was made with.
    ///
    /// # Errors
    /// [`Error::Kernel`], for instance when `fs.inotify.max_user_instances` is reached (EMFILE).
    ///
    /// # Examples
    /// ```no_run
    /// # use ampoule_cgroups::{Event, Parent, Resources};
    /// # use std::time::Duration;
    /// # let parent = Parent::open("demo")?;
    /// let cgroup = parent.create("job", Resources::new().memory(64 << 20))?;
    /// let mut events = cgroup.events()?;
    /// while let Some(event) = events.next(Duration::from_secs(10))? {
    ///     if let Event::OomKill(_) = event {
    ///         println!("out of memory");
    ///     }
    /// }
    /// # Ok::<(), ampoule_cgroups::Error>(())
    /// ```
    pub fn events(&self) -> Result<Events> {
        let mut events = Events::new()?;
        if let Some(member) = self.v2() {
            let counters = vec![
                state("populated", |on| Event::Populated(on != 0)),
                state("frozen", |on| Event::Frozen(on != 0)),
            ];
            events.watch(&member.dir, "cgroup.events", counters)?;
        }
        if let Ok(member) = self.member(Controller::Pids) {
            events.watch(
                &member.dir,
                "pids.events",
                vec![grows("max", Event::PidsMax)],
            )?;
        }
        if let Ok(member) = self.member(Controller::Memory) {
            match self.node(member).version {
                Version::V2 => {
                    let counters = vec![
                        grows("high", Event::MemoryHigh),
                        grows("max", Event::MemoryMax),
                        grows("oom", Event::Oom),
                        grows("oom_kill", Event::OomKill),
                    ];
                    events.watch(&member.dir, "memory.events", counters)?;
                }
                Version::V1 => events.watch_oom_v1(&member.dir)?,
            }
        }
        Ok(events)
    }
}

impl Events {
    fn new() -> Result<Events> {
        let failed = |what: &str, errno| Error::kernel(what, "events".as_ref(), errno);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|e| failed("create an epoll for", e))?;
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags).map_err(|e| failed("create an inotify for", e))?;
        add(&epoll, &inotify).map_err(|e| failed("watch the inotify for", e))?;
        Ok(Events {
            epoll,
            inotify,
            oom_v1: None,
            sources: Vec::new(),
            pending: VecDeque::new(),
        })
    }

    /// Watches a file by inotify; a file that this kernel lacks, or this cgroup for want of the controller, is passed over.
    fn watch(&mut self, dir: &Dir, name: &'static str, counters: Vec<Counter>) -> Result<()> {
        let Some(source) = Source::open(dir, name, counters)? else {
            return Ok(());
        };
        // inotify knows paths only; the descriptor's own leads to the file wherever it is mounted.
        let path = format!("/proc/self/fd/{}", source.file.as_raw_fd());
        inotify::add_watch(&self.inotify, &path, inotify::WatchFlags::MODIFY)
            .map_err(|errno| Error::kernel("watch", &dir.path().join(name), errno))?;
        self.push(source)
    }

    /// Watches v1's OOM killer by an eventfd (Documentation/admin-guide/cgroup-v1/memory.rst, section 10).
    fn watch_oom_v1(&mut self, dir: &Dir) -> Result<()> {
        const FILE: &str = "memory.oom_control";
        let Some(source) = Source::open(dir, FILE, vec![grows("oom_kill", Event::OomKill)])? else {
            return Ok(());
        };
        let failed = |action: &str, errno| Error::kernel(action, &dir.path().join(FILE), errno);
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| failed("create an eventfd for", errno))?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)
            .map_err(|errno| failed("create a timer for", errno))?;
        let registration = format!("{} {}", eventfd.as_raw_fd(), source.file.as_raw_fd());
        dir.write("cgroup.event_control", &registration)?;
        for fd in [&eventfd, &timer] {
            add(&self.epoll, fd).map_err(|errno| failed("watch", errno))?;
        }
        self.oom_v1 = Some(OomV1 {
            eventfd,
            timer,
            looks: 0,
        });
        self.push(source)
    }

    /// Takes the counters as they are now for the beginning: after the watch was set, so that nothing falls between.
    fn push(&mut self, mut source: Source) -> Result<()> {
        source.look()?;
        self.sources.push(source);
        Ok(())
    }

    /// What has happened since the last call, without waiting; empty when nothing has.
    ///
    /// # Errors
    /// [`Error::Kernel`] where a file cannot be read.
    pub fn read(&mut self) -> Result<Vec<Event>> {
        self.look()?;
        Ok(self.pending.drain(..).collect())
    }

    /// The next event, or `None` if there is none within that time.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Event>> {
        let begun = Instant::now();
        loop {
            if self.pending.is_empty() {
                self.look()?;
            }
            if let Some(event) = self.pending.pop_front() {
                return Ok(Some(event));
            }
            let left = timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            self.wait(left)?;
        }
    }

    fn wait(&self, time: Duration) -> Result<()> {
        // An absurd time means a long one.
        let timeout = timespec(time.min(Duration::from_secs(86_400)));
        match rustix::event::poll(
            &mut [PollFd::new(&self.epoll, PollFlags::IN)],
            Some(&timeout),
        ) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(Error::kernel("poll", "events".as_ref(), errno)),
        }
    }

    /// Empties the notifiers, then compares the counters: a change between the two is seen now and notified again.
    fn look(&mut self) -> Result<()> {
        drain(&self.inotify);
        if let Some(oom) = &mut self.oom_v1 {
            oom.drain();
        }
        for source in &mut self.sources {
            self.pending.extend(source.look()?);
        }
        if let Some(oom) = &mut self.oom_v1 {
            let seen = self
                .pending
                .iter()
                .any(|event| matches!(event, Event::OomKill(_)));
            oom.look_again_unless(seen)?;
        }
        Ok(())
    }
}

impl OomV1 {
    fn drain(&mut self) {
        drain(&self.timer);
        if drain(&self.eventfd) {
            self.looks = LOOKS;
        }
    }

    fn look_again_unless(&mut self, seen: bool) -> Result<()> {
        if seen || self.looks == 0 {
            self.looks = 0;
            return Ok(());
        }
        self.looks -= 1;
        let once = Itimerspec {
            it_interval: timespec(Duration::ZERO),
            it_value: timespec(LOOK_AGAIN),
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)
            .map(drop)
            .map_err(|errno| Error::kernel("set a timer for", "events".as_ref(), errno))
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

impl Source {
    fn open(dir: &Dir, name: &'static str, counters: Vec<Counter>) -> Result<Option<Source>> {
        match dir.file(name, OFlags::RDONLY) {
            Ok(fd) => Ok(Some(Source {
                file: fd.into(),
                counters: counters.into_iter().map(|counter| (counter, 0)).collect(),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::kernel("open", &dir.path().join(name), errno)),
        }
    }

    /// What changed since the last look.
    fn look(&mut self) -> Result<Vec<Event>> {
        let mut buffer = [0; 1024];
        let len = match rustix::io::pread(&self.file, &mut buffer, 0) {
            Ok(len) => len,
            // The cgroup is gone, and nothing happens any more.
            Err(Errno::NODEV) => 0,
            Err(errno) => return Err(Error::kernel("read", "events".as_ref(), errno)),
        };
        let text = String::from_utf8_lossy(&buffer[..len]);
        let mut events = Vec::new();
        for (counter, before) in &mut self.counters {
            let Some(now) = field(&text, counter.key).filter(|now| now != before) else {
                continue;
            };
            let value = if counter.is_state {
                now
            } else {
                now.saturating_sub(*before)
            };
            events.push((counter.event)(value));
            *before = now;
        }
        Ok(events)
    }
}

fn add(epoll: &OwnedFd, fd: &OwnedFd) -> rustix::io::Result<()> {
    epoll::add(
        epoll,
        fd,
        epoll::EventData::new_u64(0),
        epoll::EventFlags::IN,
    )
}

/// Reads a non-blocking notifier until it is empty, and says whether there was anything; what it was does not matter.
fn drain(notifier: &OwnedFd) -> bool {
    let mut buffer = [0; 4096];
    let mut any = false;
    while rustix::io::read(notifier, &mut buffer).is_ok_and(|len| len > 0) {
        any = true;
    }
    any
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs() as i64,
        tv_nsec: time.subsec_nanos().into(),
    }
}
