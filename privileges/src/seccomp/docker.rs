//! Docker's default profile, as data.
//!
//! What is allowed follows moby/profiles, `seccomp/default.json`, commit 02e898b137ae of 2026 (Apache-2.0); the sections for
//! architectures that filters cannot be compiled for are left out.

use super::template::{Guard, KernelVersion, Section, Template};
use super::{Action, Arch, Compare, Condition, Flags, Rule};
use crate::capabilities::{Capability, CapabilitySet};

/// Calls that every container may make.
const ALWAYS: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
    clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64
    close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old
    epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat
    faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat
    fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs
    fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat
    getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer
    getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit
    get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid getuid32 getxattr
    getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents
    io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule
    landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr
    listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier
    memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr
    mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal
    msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open
    openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll
    ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev
    pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages
    removexattr removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
    rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile
    sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32
    setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32
    setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 setxattr setxattrat shmat
    shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat
    stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask
    uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write
    writev";

/// Calls that a capability opens.
const BY_CAPABILITY: &[(Capability, &str)] = &[
    (Capability::DacReadSearch, "open_by_handle_at"),
    (
        Capability::SysAdmin,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
         lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
         sethostname setns syslog umount umount2 unshare",
    ),
    (Capability::SysBoot, "reboot"),
    (Capability::SysChroot, "chroot"),
    (Capability::SysModule, "delete_module init_module finit_module"),
    (Capability::SysPacct, "acct"),
    (
        Capability::SysPtrace,
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    (Capability::SysRawio, "iopl ioperm"),
    (Capability::SysTime, "settimeofday stime clock_settime clock_settime64"),
    (Capability::SysTtyConfig, "vhangup"),
    (
        Capability::SysNice,
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    (Capability::Syslog, "syslog"),
    (Capability::Bpf, "bpf"),
    (Capability::Perfmon, "perf_event_open"),
];

/// Calls that belong to an architecture.
const BY_ARCH: &[(&[Arch], &str)] = &[
    (
        &[Arch::Arm, Arch::Aarch64],
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    ),
    (&[Arch::X86_64, Arch::X32], "arch_prctl"),
    (&[Arch::X86_64, Arch::X32, Arch::X86], "modify_ldt"),
];

/// Address families from 1 on below which none is blocked: AF_UNIX to AF_ROSE.
const FAMILIES_BELOW: u64 = 12;

/// The other address families that socket(2) may have. Not among them are those that Linux no longer has, AF_ALG (38:
/// CVE-2026-31431) and AF_VSOCK (40: it reaches the host past the network namespace). On 32-bit x86 socketcall(2) reaches
/// them all the same, since it hides its arguments behind a pointer.
const FAMILIES: &[u64] = &[
    13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44,
    45,
];

/// What personality(2) may be set to: Linux, BSD, both with UNAME26, and the question what it is.
const PERSONALITIES: &[u64] = &[0, 0x8, 0x20000, 0x20008, 0xffff_ffff];

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

const ENOSYS: u16 = 38;

impl Template {
    /// Docker's default profile: some 350 calls are allowed, all others fail with EPERM.
    pub fn docker() -> Template {
        let mut sections = vec![
            allow(ALWAYS),
            Section {
                // Before 4.8 a tracer could get around the filter.
                includes: Guard {
                    kernel: Some(KernelVersion { major: 4, minor: 8 }),
                    ..Guard::default()
                },
                ..allow("process_vm_readv process_vm_writev ptrace")
            },
            allow_if("socket", Compare::Lt(FAMILIES_BELOW)),
        ];
        sections.extend(
            FAMILIES
                .iter()
                .map(|family| allow_if("socket", Compare::Eq(*family))),
        );
        sections.extend(
            PERSONALITIES
                .iter()
                .map(|value| allow_if("personality", Compare::Eq(*value))),
        );
        sections.extend(BY_ARCH.iter().map(|(arches, calls)| Section {
            includes: Guard {
                arches: Some(arches.to_vec()),
                ..Guard::default()
            },
            ..allow(calls)
        }));
        sections.extend(BY_CAPABILITY.iter().map(|(capability, calls)| Section {
            includes: having(*capability),
            ..allow(calls)
        }));
        sections.extend(no_namespaces());
        Template {
            default: Action::Errno(1),
            arches: vec![
                (Arch::X86_64, vec![Arch::X86, Arch::X32]),
                (Arch::Aarch64, vec![Arch::Arm]),
            ],
            sections,
            flags: Flags::default(),
        }
    }
}

/// Without CAP_SYS_ADMIN: clone(2) without new namespaces; clone3(2) hides its flags behind a pointer, so programs are told
/// to fall back to clone(2).
fn no_namespaces() -> [Section; 2] {
    let compare = Compare::MaskedEq {
        mask: CLONE_NAMESPACES,
        value: 0,
    };
    [
        Section {
            excludes: having(Capability::SysAdmin),
            ..allow_if("clone", compare)
        },
        Section {
            excludes: having(Capability::SysAdmin),
            ..section(Rule::new(Action::Errno(ENOSYS), ["clone3"]))
        },
    ]
}

fn allow(calls: &str) -> Section {
    section(Rule::new(Action::Allow, calls.split_whitespace()))
}

fn allow_if(call: &str, compare: Compare) -> Section {
    let mut section = allow(call);
    section.rule.conditions.push(Condition {
        argument: 0,
        compare,
    });
    section
}

fn section(rule: Rule) -> Section {
    Section {
        rule,
        includes: Guard::default(),
        excludes: Guard::default(),
    }
}

fn having(capability: Capability) -> Guard {
    Guard {
        capabilities: CapabilitySet::of(&[capability]),
        ..Guard::default()
    }
}
