//! Takes the status of processes that joined a container.
//!
//! Process 1 of a pid namespace cannot end before every process in there has been waited for, and the kernel leaves that of
//! one which joined from outside to its parent: us. A program that waits for its container first, or forgets what it started
//! in there, would wait for ever. So one thread of the library waits for all of them, and keeps what it learns.

use crate::error::Error;
use crate::process::Life;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The processes that are watched, by number.
struct Watch {
    epoll: OwnedFd,
    lives: Mutex<(u64, HashMap<u64, Arc<Life>>)>,
}

/// Has the status of this process taken as soon as it ends.
pub(crate) fn watch(life: &Arc<Life>) -> Result<(), Error> {
    let watch = started().map_err(|e| Error::os("start the thread that reaps", e))?;
    let mut lives = watch.lives.lock().unwrap_or_else(PoisonError::into_inner);
    lives.0 += 1;
    let number = lives.0;
    lives.1.insert(number, life.clone());
    let data = epoll::EventData::new_u64(number);
    epoll::add(&watch.epoll, &life.pidfd, data, epoll::EventFlags::IN)
        .map_err(|e| Error::os("watch a process", e))
}

fn started() -> std::io::Result<&'static Watch> {
    static WATCH: OnceLock<Watch> = OnceLock::new();
    if let Some(watch) = WATCH.get() {
        return Ok(watch);
    }
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut first = false;
    let watch = WATCH.get_or_init(|| {
        first = true;
        Watch {
            epoll,
            lives: Mutex::default(),
        }
    });
    if first {
        std::thread::Builder::new()
            .name("ampoule-reaper".into())
            .stack_size(64 << 10)
            .spawn(|| reap(watch))?;
    }
    Ok(watch)
}

fn reap(watch: &Watch) {
    let mut events = Vec::with_capacity(16);
    loop {
        match epoll::wait(&watch.epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        for event in events.drain(..) {
            let number = event.data.u64();
            let life = watch
                .lives
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .1
                .remove(&number);
            if let Some(life) = life {
                // What cannot be waited for has been waited for.
                let _ = life.take(false);
                let _ = epoll::delete(&watch.epoll, &life.pidfd);
            }
        }
    }
}
