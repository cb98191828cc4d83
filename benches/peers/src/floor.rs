//! The floor: the same set-up as `ampoule::Container`'s, written by hand with raw system calls.
//!
//! Nothing here can be configured, printed, explained or undone: it is what the kernel charges for the work, and what a
//! hand-tuner could reach who has one container in mind. All that can be made once is made once: the filter is compiled,
//! layers, masks and `/dev` are detached mounts that are copied, the cgroups' parents are open, and the thread that clones
//! lives in a mount namespace with one empty tmpfs in it and in a file table of its own.
//!
//! It is left out on purpose: the sealed program through which the library executes the container's own (the defence against
//! CVE-2019-5736), lock files of cgroups, error texts, statistics. x86-64 only.
//!
//! # Safety of the unsafe code
//! All of it is system calls with constants, live buffers and descriptors of this thread. The child shares the memory of this
//! thread, which sleeps (VFORK) until the child has executed its program or ended; the child allocates nothing.

use libc::{AT_EMPTY_PATH, AT_FDCWD, c_int, c_long, c_void};
use std::ffi::{CStr, CString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A floor that runs on a thread of its own.
pub struct Floor {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    network: bool,
    answer: mpsc::Sender<io::Result<(Duration, Duration)>>,
}

/// What it starts.
pub struct Setting {
    pub layers: Vec<PathBuf>,
    /// The program inside, a static one.
    pub program: &'static CStr,
    /// Compiled, each word a `struct sock_filter`.
    pub filter: Vec<u64>,
    pub capabilities: u64,
    pub memory: u64,
    pub cpu_quota: u64,
    pub pids: u64,
}

impl Floor {
    pub fn prepare(setting: Setting) -> io::Result<Floor> {
        let (jobs, work) = mpsc::channel::<Job>();
        let (said, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let mut prepared = match Prepared::new(setting) {
                Ok(prepared) => prepared,
                Err(error) => return drop(said.send(Err(error))),
            };
            let _ = said.send(Ok(()));
            for job in work {
                let _ = job.answer.send(prepared.start(job.network));
            }
        });
        heard.recv().map_err(io::Error::other)??;
        Ok(Floor { jobs })
    }

    /// Starts the program and waits for its end: the times until it was executed, and until nothing of it was left.
    pub fn start(&self, network: bool) -> io::Result<(Duration, Duration)> {
        let (answer, heard) = mpsc::channel();
        self.jobs
            .send(Job { network, answer })
            .map_err(io::Error::other)?;
        heard.recv().map_err(io::Error::other)?
    }
}

/// What is made once.
struct Prepared {
    setting: Setting,
    layers: Vec<c_int>,
    dev: c_int,
    mask: c_int,
    null_file: c_int,
    parents: [c_int; 3],
    stack: *mut u8,
    /// What of the kernel's is masked (in proc or not, path, is a directory) or read only.
    masked: Vec<(bool, CString, bool)>,
    read_only: Vec<CString>,
    count: u64,
}

/// What the child needs of one start.
struct Life<'a> {
    prepared: &'a Prepared,
    tasks: [c_int; 3],
    memory: c_int,
    root: c_int,
    dev: c_int,
    pts: c_int,
    shm: c_int,
    masks: &'a [c_int],
    network: bool,
    failed: (u32, i32),
}

const STACK: usize = 64 << 10;
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
const RDONLY: u64 = 1;
const NOSUID: u64 = 2;
const NODEV: u64 = 4;
const NOEXEC: u64 = 8;
const OPEN_TREE_CLONE: c_int = 1;
const MOVE_MOUNT_F_EMPTY_PATH: c_int = 4;
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// A system call, or its error.
macro_rules! sys {
    ($number:ident $(, $arg:expr)*) => {{
        // SAFETY: see the module.
        match unsafe { libc::syscall(libc::$number $(, $arg as usize)*) } {
            -1 => Err(io::Error::last_os_error()),
            result => Ok(result as c_int),
        }
    }};
}

impl Prepared {
    fn new(setting: Setting) -> io::Result<Prepared> {
        // A file table of its own, with nothing in it; and no signals.
        sys!(SYS_unshare, libc::CLONE_FILES | libc::CLONE_FS)?;
        sys!(SYS_close_range, 3, u32::MAX, 0)?;
        let all = u64::MAX;
        sys!(SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const all, 0, 8)?;
        let null_file = open(AT_FDCWD, c"/dev/null", libc::O_RDWR)?;
        let mut layers = Vec::new();
        for layer in &setting.layers {
            layers.push(tree(AT_FDCWD, &c_path(layer), 0)?);
        }
        let mut parents = [0; 3];
        for (parent, controller) in parents.iter_mut().zip(CONTROLLERS) {
            let path = format!("/sys/fs/cgroup/{controller}/ampoule-floor");
            let _ = std::fs::create_dir(&path);
            *parent = open(AT_FDCWD, &c_path(path), libc::O_DIRECTORY)?;
        }
        let exists = |path: &&str| Path::new(path).exists();
        let masked = MASKED.iter().copied().filter(exists).map(|path| {
            let inner = path.splitn(3, '/').nth(2).unwrap_or_default();
            let proc = path.starts_with("/proc");
            (proc, c_path(inner), Path::new(path).is_dir())
        });
        let masked = masked.collect();
        let read_only = READ_ONLY
            .iter()
            .filter(|name| Path::new("/proc").join(name).exists());
        let read_only = read_only.map(c_path).collect();
        tiny_root()?;
        let mask = tmpfs(
            &[(c"size", c"4k"), (c"mode", c"0755")],
            RDONLY | NOSUID | NODEV | NOEXEC,
        )?;
        // SAFETY: new memory, never unmapped.
        let stack = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(std::ptr::null_mut(), STACK, protection, flags, -1, 0)
        };
        Ok(Prepared {
            dev: dev()?,
            setting,
            layers,
            mask,
            null_file,
            parents,
            stack: stack.cast(),
            masked,
            read_only,
            count: 0,
        })
    }

    fn start(&mut self, network: bool) -> io::Result<(Duration, Duration)> {
        let began = Instant::now();
        self.count += 1;
        let name = CString::new(format!("{}-{}", std::process::id(), self.count))?;
        let tasks = self.cgroups(&name)?;
        let (memory, root) = self.overlay()?;
        let dev = tree(self.dev, c"", AT_EMPTY_PATH)?;
        let pts = filesystem(
            c"devpts",
            &[(c"ptmxmode", c"0666"), (c"mode", c"0620"), (c"gid", c"5")],
            NOSUID | NOEXEC,
        )?;
        let shm = tmpfs(
            &[(c"size", c"67108864"), (c"mode", c"1777")],
            NOSUID | NODEV | NOEXEC,
        )?;
        let mut masks = [0; MASKED.len()];
        for (mask, (_, _, directory)) in masks.iter_mut().zip(&self.masked) {
            *mask = match directory {
                true => tree(self.mask, c"", AT_EMPTY_PATH)?,
                false => tree(self.dev, c"null", 0)?,
            };
        }
        let mut life = Life {
            prepared: self,
            tasks,
            memory,
            root,
            dev,
            pts,
            shm,
            masks: &masks[..self.masked.len()],
            network,
            failed: (0, 0),
        };
        let (pid, pidfd) = birth(&mut life)?;
        let failed = life.failed;
        for fd in [memory, root, dev, pts, shm]
            .iter()
            .chain(life.masks)
            .chain(&tasks)
        {
            close(*fd);
        }
        let executed = began.elapsed();
        // SAFETY: zeros are a valid siginfo, which the kernel fills.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        sys!(
            SYS_waitid,
            libc::P_PIDFD,
            pidfd,
            &raw mut info,
            libc::WEXITED,
            0
        )?;
        close(pidfd);
        for parent in self.parents {
            sys!(SYS_unlinkat, parent, name.as_ptr(), libc::AT_REMOVEDIR)?;
        }
        let ended = began.elapsed();
        // SAFETY: what waitid fills for a child that ended.
        match (failed, unsafe { info.si_status() }) {
            ((0, _), 0) => Ok((executed, ended)),
            ((0, _), status) => Err(io::Error::other(format!(
                "the floor's {pid} ended with {status}"
            ))),
            ((line, errno), _) => Err(io::Error::other(format!(
                "line {line} of the floor: {}",
                io::Error::from_raw_os_error(errno)
            ))),
        }
    }

    /// Makes the cgroups, with limits; returns the files through which the child enters.
    fn cgroups(&self, name: &CStr) -> io::Result<[c_int; 3]> {
        let Setting {
            memory,
            cpu_quota,
            pids,
            ..
        } = self.setting;
        let limits = [
            (c"memory.limit_in_bytes", memory),
            (c"cpu.cfs_quota_us", cpu_quota),
            (c"pids.max", pids),
        ];
        let mut tasks = [0; 3];
        for ((parent, (file, value)), task) in self.parents.iter().zip(limits).zip(&mut tasks) {
            sys!(SYS_mkdirat, *parent, name.as_ptr(), 0o755)?;
            let dir = open(*parent, name, libc::O_PATH | libc::O_DIRECTORY)?;
            let limit = open(dir, file, libc::O_WRONLY)?;
            let value = value.to_string();
            sys!(SYS_write, limit, value.as_ptr(), value.len())?;
            close(limit);
            *task = open(dir, c"tasks", libc::O_WRONLY)?;
            close(dir);
        }
        Ok(tasks)
    }

    fn overlay(&self) -> io::Result<(c_int, c_int)> {
        let memory = tmpfs(
            &[(c"size", c"67108864"), (c"mode", c"0755")],
            NOSUID | NODEV,
        )?;
        let fs = sys!(SYS_fsopen, c"overlay".as_ptr(), 1)?;
        for layer in &self.layers {
            set_fd(fs, c"lowerdir+", *layer)?;
        }
        for (key, name) in [(c"upperdir", c"upper"), (c"workdir", c"work")] {
            sys!(SYS_mkdirat, memory, name.as_ptr(), 0o755)?;
            let dir = open(memory, name, libc::O_PATH | libc::O_DIRECTORY)?;
            set_fd(fs, key, dir)?;
            close(dir);
        }
        set_string(fs, c"redirect_dir", c"off")?;
        Ok((memory, mounted(fs, NODEV)?))
    }
}

fn birth(life: &mut Life<'_>) -> io::Result<(c_long, c_int)> {
    let mut pidfd: c_int = -1;
    let mut flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
    flags |= libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    flags |= libc::CLONE_NEWCGROUP;
    if life.network {
        flags |= libc::CLONE_NEWNET;
    }
    const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    let args: [u64; 11] = [
        flags as u32 as u64 | CLONE_CLEAR_SIGHAND,
        &raw mut pidfd as u64,
        0,
        0,
        libc::SIGCHLD as u64,
        life.prepared.stack as u64,
        STACK as u64,
        0,
        0,
        0,
        0,
    ];
    let life: *mut Life<'_> = life;
    let result: c_long;
    // SAFETY: see the module; the child begins on a stack of its own, and never returns.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") args.as_ptr(),
            in("rsi") size_of_val(&args),
            in("r12") life,
            in("r13") child as extern "C" fn(*mut c_void) -> !,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    match result {
        pid if pid > 0 => Ok((pid, pidfd)),
        error => Err(io::Error::from_raw_os_error(-error as i32)),
    }
}

extern "C" fn child(life: *mut c_void) -> ! {
    // SAFETY: the parent sleeps meanwhile.
    let life = unsafe { &mut *life.cast::<Life<'_>>() };
    if let Err((line, error)) = inside(life) {
        life.failed = (line, error.raw_os_error().unwrap_or(libc::EIO));
    }
    // SAFETY: ends this process.
    unsafe { libc::_exit(127) }
}

fn inside(life: &Life<'_>) -> Result<(), (u32, io::Error)> {
    macro_rules! go {
        ($call:expr) => {
            $call.map_err(|error| (line!(), error))?
        };
    }
    let prepared = life.prepared;
    for tasks in life.tasks {
        go!(sys!(SYS_write, tasks, c"0".as_ptr(), 1));
    }
    if life.network {
        go!(loopback());
    }
    go!(attach(life.memory, AT_FDCWD, c"/"));
    go!(attach(life.root, AT_FDCWD, c"/"));
    go!(sys!(SYS_fchdir, life.root));
    go!(attach(life.dev, AT_FDCWD, c"dev"));
    go!(attach(life.pts, life.dev, c"pts"));
    go!(attach(life.shm, life.dev, c"shm"));
    let restricted = NOSUID | NODEV | NOEXEC;
    let mqueue = go!(filesystem(c"mqueue", &[], restricted));
    go!(attach(mqueue, life.dev, c"mqueue"));
    let proc = go!(filesystem(c"proc", &[], restricted));
    let sysfs = go!(filesystem(c"sysfs", &[], restricted | RDONLY));
    go!(attach(sysfs, AT_FDCWD, c"sys"));
    go!(attach(proc, AT_FDCWD, c"proc"));
    go!(sys!(SYS_fchdir, life.root));
    go!(sys!(SYS_pivot_root, c".".as_ptr(), c".".as_ptr()));
    // The overlay's memory, and then the old root that it lies on.
    go!(sys!(SYS_umount2, c".".as_ptr(), libc::MNT_DETACH));
    go!(sys!(SYS_umount2, c".".as_ptr(), libc::MNT_DETACH));
    go!(sys!(SYS_chdir, c"/".as_ptr()));
    for (mask, (in_proc, path, _)) in life.masks.iter().zip(&prepared.masked) {
        go!(attach(*mask, if *in_proc { proc } else { sysfs }, path));
    }
    for path in &prepared.read_only {
        let copy = go!(tree(proc, path, libc::AT_RECURSIVE));
        go!(attributes(copy, RDONLY));
        go!(attach(copy, proc, path));
    }
    go!(sys!(SYS_sethostname, c"floor".as_ptr(), 5));
    for number in 0..3 {
        go!(sys!(SYS_dup3, prepared.null_file, number, 0));
    }
    go!(sys!(SYS_umask, 0o022));
    go!(sys!(SYS_setsid));
    let none = 0u64;
    go!(sys!(
        SYS_rt_sigprocmask,
        libc::SIG_SETMASK,
        &raw const none,
        0,
        8
    ));
    let kept = prepared.setting.capabilities;
    for capability in (0..41).filter(|bit| kept & (1 << bit) == 0) {
        go!(sys!(SYS_prctl, libc::PR_CAPBSET_DROP, capability, 0, 0, 0));
    }
    go!(sys!(SYS_prctl, libc::PR_SET_KEEPCAPS, 1, 0, 0, 0));
    go!(sys!(SYS_setgroups, 0, 0));
    go!(sys!(SYS_setresgid, 0, 0, 0));
    go!(sys!(SYS_setresuid, 0, 0, 0));
    let header = [0x2008_0522u32, 0];
    let (low, high) = (kept as u32, (kept >> 32) as u32);
    let sets = [low, low, 0, high, high, 0];
    go!(sys!(SYS_capset, header.as_ptr(), sets.as_ptr()));
    go!(sys!(
        SYS_prctl,
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL,
        0,
        0,
        0
    ));
    go!(sys!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    go!(sys!(
        SYS_prctl,
        libc::PR_SET_PDEATHSIG,
        libc::SIGKILL,
        0,
        0,
        0
    ));
    // All descriptors are close-on-exec, or the program's.
    let filter = &prepared.setting.filter;
    let program = [filter.len() as u64, filter.as_ptr() as u64];
    go!(sys!(
        SYS_seccomp,
        libc::SECCOMP_SET_MODE_FILTER,
        0,
        program.as_ptr()
    ));
    let program = prepared.setting.program.as_ptr();
    let (argv, envp) = (
        [program, std::ptr::null()],
        [c"PATH=/".as_ptr(), std::ptr::null()],
    );
    go!(sys!(SYS_execve, program, argv.as_ptr(), envp.as_ptr()));
    Ok(())
}

fn loopback() -> io::Result<()> {
    let socket = sys!(
        SYS_socket,
        libc::AF_INET,
        libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
        0
    )?;
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as u16;
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    sys!(SYS_ioctl, socket, libc::SIOCSIFFLAGS, request.as_ptr())?;
    close(socket);
    Ok(())
}

/// A mount namespace whose one mount is an empty tmpfs: what `CLONE_NEWNS` then copies.
fn tiny_root() -> io::Result<()> {
    sys!(SYS_unshare, libc::CLONE_NEWNS)?;
    let private = [0, 0, libc::MS_PRIVATE, 0];
    let recursive = libc::AT_RECURSIVE;
    sys!(
        SYS_mount_setattr,
        AT_FDCWD,
        c"/".as_ptr(),
        recursive,
        private.as_ptr(),
        32
    )?;
    let tiny = tmpfs(&[], NOSUID | NODEV | NOEXEC)?;
    attach(tiny, AT_FDCWD, c"/")?;
    sys!(SYS_fchdir, tiny)?;
    sys!(SYS_pivot_root, c".".as_ptr(), c".".as_ptr())?;
    sys!(SYS_umount2, c".".as_ptr(), libc::MNT_DETACH)?;
    close(tiny);
    Ok(())
}

fn dev() -> io::Result<c_int> {
    let dev = tmpfs(&[(c"size", c"64k"), (c"mode", c"0755")], NOSUID | NOEXEC)?;
    for name in [c"pts", c"shm", c"mqueue"] {
        sys!(SYS_mkdirat, dev, name.as_ptr(), 0o755)?;
    }
    let devices = [
        (c"null", 3),
        (c"zero", 5),
        (c"full", 7),
        (c"random", 8),
        (c"urandom", 9),
    ];
    for (name, minor) in devices {
        let device = libc::makedev(1, minor);
        sys!(
            SYS_mknodat,
            dev,
            name.as_ptr(),
            libc::S_IFCHR | 0o666,
            device
        )?;
    }
    sys!(
        SYS_mknodat,
        dev,
        c"tty".as_ptr(),
        libc::S_IFCHR | 0o666,
        libc::makedev(5, 0)
    )?;
    let links = [
        (c"fd", c"/proc/self/fd"),
        (c"stdin", c"/proc/self/fd/0"),
        (c"stdout", c"/proc/self/fd/1"),
        (c"stderr", c"/proc/self/fd/2"),
        (c"ptmx", c"pts/ptmx"),
    ];
    for (name, to) in links {
        sys!(SYS_symlinkat, to.as_ptr(), dev, name.as_ptr())?;
    }
    attributes(dev, RDONLY)?;
    Ok(dev)
}

fn tmpfs(options: &[(&CStr, &CStr)], attributes: u64) -> io::Result<c_int> {
    filesystem(c"tmpfs", options, attributes)
}

fn filesystem(kind: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> io::Result<c_int> {
    let fs = sys!(SYS_fsopen, kind.as_ptr(), 1)?;
    for (key, value) in options {
        set_string(fs, key, value)?;
    }
    mounted(fs, attributes)
}

fn mounted(fs: c_int, attributes: u64) -> io::Result<c_int> {
    sys!(SYS_fsconfig, fs, 6, 0, 0, 0)?;
    let mount = sys!(SYS_fsmount, fs, 1, attributes)?;
    close(fs);
    Ok(mount)
}

fn set_string(fs: c_int, key: &CStr, value: &CStr) -> io::Result<c_int> {
    sys!(SYS_fsconfig, fs, 1, key.as_ptr(), value.as_ptr(), 0)
}

fn set_fd(fs: c_int, key: &CStr, fd: c_int) -> io::Result<c_int> {
    sys!(SYS_fsconfig, fs, 5, key.as_ptr(), 0, fd)
}

fn attach(mount: c_int, dir: c_int, path: &CStr) -> io::Result<c_int> {
    sys!(
        SYS_move_mount,
        mount,
        c"".as_ptr(),
        dir,
        path.as_ptr(),
        MOVE_MOUNT_F_EMPTY_PATH
    )
}

fn tree(dir: c_int, path: &CStr, flags: c_int) -> io::Result<c_int> {
    let flags = flags | OPEN_TREE_CLONE | libc::O_CLOEXEC;
    sys!(SYS_open_tree, dir, path.as_ptr(), flags)
}

fn attributes(mount: c_int, set: u64) -> io::Result<c_int> {
    let change = [set, 0, 0, 0];
    sys!(
        SYS_mount_setattr,
        mount,
        c"".as_ptr(),
        AT_EMPTY_PATH,
        change.as_ptr(),
        32
    )
}

fn open(dir: c_int, path: &CStr, flags: c_int) -> io::Result<c_int> {
    sys!(SYS_openat, dir, path.as_ptr(), flags | libc::O_CLOEXEC, 0)
}

fn close(fd: c_int) {
    // There is nothing to do about an error.
    let _ = sys!(SYS_close, fd);
}

fn c_path(path: impl AsRef<Path>) -> CString {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_ref().as_os_str().as_bytes()).expect("paths of the bench have no NUL")
}
