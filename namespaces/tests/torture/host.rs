//! Everything of a host that a start could change and must not.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// What the host is like.
#[derive(Debug, PartialEq)]
pub struct State {
    dumpable: i32,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    /// Umask, signal mask and dispositions, capabilities, seccomp, no_new_privs, ids.
    status: BTreeMap<String, String>,
    limits: String,
    namespaces: BTreeMap<String, PathBuf>,
    cgroups: String,
    descriptors: usize,
    children: String,
}

impl State {
    /// This process, as it is now.
    pub fn here() -> State {
        // SAFETY: reads a flag.
        let dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) };
        State {
            dumpable,
            directory: std::env::current_dir().unwrap(),
            environment: std::env::vars().collect(),
            status: status(),
            limits: fs::read_to_string("/proc/self/limits").unwrap(),
            namespaces: namespaces(),
            cgroups: fs::read_to_string("/proc/self/cgroup").unwrap(),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            children: fs::read_to_string("/proc/thread-self/children").unwrap_or_default(),
        }
    }

    /// The same as now, but for the descriptors of spawners: one each, at most eight.
    pub fn assert_unchanged(&self) {
        let mut now = State::here();
        assert!(
            now.descriptors <= self.descriptors + 8,
            "{} descriptors, {} before",
            now.descriptors,
            self.descriptors
        );
        now.descriptors = self.descriptors;
        assert_eq!(now, *self);
    }
}

fn status() -> BTreeMap<String, String> {
    let wanted = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "NoNewPrivs",
        "Seccomp",
    ];
    let text = fs::read_to_string("/proc/thread-self/status").unwrap();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .filter(|(name, _)| wanted.contains(name) || name.starts_with("Cap"))
        .map(|(name, value)| (name.to_string(), value.trim().to_string()))
        .collect()
}

fn namespaces() -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir("/proc/thread-self/ns")
        .unwrap()
        .map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read_link(entry.path()).unwrap(),
            )
        })
        .collect()
}
