//! The numbers of system calls: `syscalls.tsv`, written by `syscalls.sh`.

use super::Arch;
use crate::similar;
use std::sync::LazyLock;

/// A system call's name and its number in each ABI, in the order of [`Arch::ALL`].
#[derive(Debug)]
pub(super) struct Syscall {
    pub name: &'static str,
    numbers: [Option<u32>; Arch::ALL.len()],
}

static TABLE: LazyLock<Vec<Syscall>> = LazyLock::new(|| {
    include_str!("syscalls.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(parse)
        .collect()
});

fn parse(line: &'static str) -> Syscall {
    let mut fields = line.split('\t');
    Syscall {
        name: fields.next().unwrap_or(""),
        numbers: std::array::from_fn(|_| fields.next().and_then(|field| field.parse().ok())),
    }
}

impl Syscall {
    pub fn number(&self, arch: Arch) -> Option<u32> {
        self.numbers[column(arch)]
    }
}

fn column(arch: Arch) -> usize {
    arch as usize
}

/// The call of this name, on whatever architecture.
pub(super) fn find(name: &str) -> Option<&'static Syscall> {
    let at = TABLE.binary_search_by(|entry| entry.name.cmp(name)).ok()?;
    Some(&TABLE[at])
}

/// The number of a call; none where the ABI lacks it.
pub fn number(arch: Arch, name: &str) -> Option<u32> {
    find(name)?.number(arch)
}

/// The name of a call; none where the number is free, or younger than the table.
pub fn name(arch: Arch, number: u32) -> Option<&'static str> {
    let mut table = TABLE.iter();
    let found = table.find(|entry| entry.number(arch) == Some(number))?;
    Some(found.name)
}

/// The known name that looks most like this one.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    similar::nearest(name, TABLE.iter().map(|entry| entry.name))
}

/// The x86 call through which an old call goes, and what its first argument is then.
///
/// Before Linux 4.3 sockets, and before 5.1 System V IPC, had one call for all on 32-bit x86, and they still have it.
/// Sources: linux/net.h, linux/ipc.h.
pub(super) fn multiplexed(name: &str) -> Option<(&'static str, u64)> {
    let socket = |n| Some(("socketcall", n));
    let ipc = |n| Some(("ipc", n));
    match name {
        "socket" => socket(1),
        "bind" => socket(2),
        "connect" => socket(3),
        "listen" => socket(4),
        "accept" => socket(5),
        "getsockname" => socket(6),
        "getpeername" => socket(7),
        "socketpair" => socket(8),
        "send" => socket(9),
        "recv" => socket(10),
        "sendto" => socket(11),
        "recvfrom" => socket(12),
        "shutdown" => socket(13),
        "setsockopt" => socket(14),
        "getsockopt" => socket(15),
        "sendmsg" => socket(16),
        "recvmsg" => socket(17),
        "accept4" => socket(18),
        "recvmmsg" => socket(19),
        "sendmmsg" => socket(20),
        "semop" => ipc(1),
        "semget" => ipc(2),
        "semctl" => ipc(3),
        "semtimedop" => ipc(4),
        "msgsnd" => ipc(11),
        "msgrcv" => ipc(12),
        "msgget" => ipc(13),
        "msgctl" => ipc(14),
        "shmat" => ipc(21),
        "shmdt" => ipc(22),
        "shmget" => ipc(23),
        "shmctl" => ipc(24),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_unambiguous() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].name < pair[1].name, "{}", pair[1].name);
        }
        for arch in Arch::ALL {
            let mut numbers: Vec<u32> = TABLE
                .iter()
                .filter_map(|entry| entry.number(arch))
                .collect();
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            // ARM has two names for sync_file_range2.
            let aliases = usize::from(arch == Arch::Arm);
            assert_eq!(numbers.len() + aliases, all, "{arch}");
            assert!(all > 300, "{arch} has {all}");
        }
    }

    #[test]
    fn numbers_are_the_abi_s_own() {
        assert_eq!(number(Arch::X86_64, "execve"), Some(59));
        assert_eq!(number(Arch::X86, "execve"), Some(11));
        assert_eq!(number(Arch::X32, "execve"), Some(0x4000_0000 + 520));
        assert_eq!(number(Arch::Aarch64, "execve"), Some(221));
        assert_eq!(number(Arch::Aarch64, "open"), None);
        assert_eq!(name(Arch::X86_64, 435), Some("clone3"));
    }
}
