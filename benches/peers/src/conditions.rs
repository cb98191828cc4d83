//! The same start on a host that is large, busy or crowded.

use crate::commands::{bubblewrap, find, whole};
use crate::ours;
use crate::sections::Bench;
use crate::table::{self, Row, Sample};
use ampoule::{Child, Network};
use anyhow::ensure;
use serde_json::{Map, Value, json};
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Resident memory, mounts, open files, live containers: with and without take turns in blocks.
pub fn host(bench: &Bench) -> anyhow::Result<Value> {
    let mut rows = Vec::new();
    let resident = |megabytes: usize| move || Ok(vec![1u8; megabytes << 20]);
    rows.extend(blocks(bench, "256 MB resident", resident(256))?);
    rows.extend(blocks(bench, "2 GB resident", resident(2048))?);
    rows.extend(blocks(bench, "1,000 mounts", || Mounts::new(bench, 1000))?);
    rows.extend(blocks(bench, "10,000 open files", || files(10_000))?);
    rows.extend(blocks(bench, "100 live containers", || live(bench, 100))?);
    if !bench.quick {
        rows.extend(blocks(bench, "1,000 live containers", || {
            live(bench, 1000)
        })?);
    }
    table::print("On another host", &rows, "");
    Ok(table::to_json(&rows))
}

/// Some blocks without the condition and with it, each in turn; two rows.
fn blocks<G>(
    bench: &Bench,
    name: &str,
    condition: impl Fn() -> anyhow::Result<G>,
) -> anyhow::Result<[Row; 2]> {
    let container = bench.container();
    let (blocks, turns) = if bench.quick { (2, 15) } else { (3, 40) };
    let mut samples: [Vec<Sample>; 2] = Default::default();
    for _ in 0..blocks {
        for (index, samples) in samples.iter_mut().enumerate() {
            let guard = match index {
                0 => None,
                _ => Some(condition()?),
            };
            ours::start(&container)?;
            for _ in 0..turns {
                samples.push(ours::start(&container)?);
            }
            drop(guard);
        }
    }
    let [without, with] = samples;
    Ok([
        Row::of(format!("without {name}"), without),
        Row::of(format!("with {name}"), with),
    ])
}

/// Mounts in the bench's own mount namespace, one below another's root.
struct Mounts(PathBuf);

impl Mounts {
    fn new(bench: &Bench, count: usize) -> anyhow::Result<Mounts> {
        let base = bench.place.base.join("mounts");
        fs::create_dir_all(&base)?;
        mount(&base)?;
        let mounts = Mounts(base);
        for number in 0..count {
            let place = mounts.0.join(number.to_string());
            fs::create_dir(&place)?;
            mount(&place)?;
        }
        Ok(mounts)
    }
}

fn mount(place: &Path) -> anyhow::Result<()> {
    let target = CString::new(place.as_os_str().as_encoded_bytes())?;
    // SAFETY: texts that live until the call returns.
    let result = unsafe {
        libc::mount(
            c"tmpfs".as_ptr(),
            target.as_ptr(),
            c"tmpfs".as_ptr(),
            0,
            std::ptr::null(),
        )
    };
    ensure!(result == 0, "mount: {}", std::io::Error::last_os_error());
    Ok(())
}

impl Drop for Mounts {
    fn drop(&mut self) {
        if let Ok(target) = CString::new(self.0.as_os_str().as_encoded_bytes()) {
            // SAFETY: as above.
            unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

fn files(count: usize) -> anyhow::Result<Vec<OwnedFd>> {
    let null = File::open("/dev/null")?;
    let copy = |_| {
        // SAFETY: a descriptor of this process; the copy is nobody else's.
        unsafe {
            let fd = libc::fcntl(null.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 1000);
            ensure!(fd >= 0, "dup: {}", std::io::Error::last_os_error());
            Ok(OwnedFd::from_raw_fd(fd))
        }
    };
    (0..count).map(copy).collect()
}

fn live(bench: &Bench, count: usize) -> anyhow::Result<Vec<Child>> {
    let mut container = ours::container(&bench.place, "/bin/pause");
    container.network(Network::host());
    (0..count).map(|_| Ok(container.spawn()?)).collect()
}

/// How many starts a second, of several threads at once; and what is left behind.
pub fn throughput(bench: &Bench) -> anyhow::Result<Value> {
    let time = Duration::from_secs(if bench.quick { 1 } else { 3 });
    let container = bench.container();
    let (bwrap, root) = (find("bwrap"), &bench.root);
    println!("\n### Starts a second\n\n| threads | ampoule | bubblewrap |\n|---|---|---|");
    let mut results = Map::new();
    for threads in [1, 2, 4, 16] {
        let ours = rate(threads, time, || ours::start(&container).map(drop))?;
        let theirs = match &bwrap {
            Some(bwrap) => rate(threads, time, || {
                whole(&mut bubblewrap(bwrap, root)).map(drop)
            })?,
            None => f64::NAN,
        };
        println!("| {threads} | {ours:.0} | {theirs:.0} |");
        let result = json!({"ampoule": ours, "bubblewrap": theirs});
        results.insert(threads.to_string(), result);
    }
    let left = fs::read_dir("/sys/fs/cgroup/memory/ampoule")
        .map_or(0, |dir| dir.flatten().filter(|e| e.path().is_dir()).count());
    println!("\ncgroups left behind: {left} (other programs' containers included)");
    results.insert("left".into(), left.into());
    Ok(Value::Object(results))
}

fn rate(
    threads: usize,
    time: Duration,
    turn: impl Fn() -> anyhow::Result<()> + Sync,
) -> anyhow::Result<f64> {
    let (count, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while began.elapsed() < time && !failed.load(Relaxed) {
                    match turn() {
                        Ok(()) => drop(count.fetch_add(1, Relaxed)),
                        Err(error) => {
                            eprintln!("{error:#}");
                            failed.store(true, Relaxed);
                        }
                    }
                }
            });
        }
    });
    ensure!(!failed.load(Relaxed), "a start failed");
    Ok(count.load(Relaxed) as f64 / began.elapsed().as_secs_f64())
}

/// What a live container costs in memory: of this process, and of the whole machine's kernel.
pub fn memory(bench: &Bench) -> anyhow::Result<Value> {
    const COUNT: usize = 200;
    drop(live(bench, 4)?);
    let container = ours::container(&bench.place, "/bin/pause");
    let (host, kernel) = (resident()?, kernel()?);
    let children: Vec<Child> = (0..COUNT)
        .map(|_| Ok(container.spawn()?))
        .collect::<anyhow::Result<_>>()?;
    let each = |now: u64, before: u64| (now as f64 - before as f64) / COUNT as f64;
    let (host, kernel) = (each(resident()?, host), each(self::kernel()?, kernel));
    let first = children.first().map_or(0, Child::id);
    let inside = fs::read_to_string(format!("/proc/{first}/smaps_rollup"))?;
    let inside = field(&inside, "Pss:");
    drop(children);
    println!("\n### Memory of a live container, of {COUNT}\n");
    println!(
        "host process {host:.1} KiB, kernel {kernel:.0} KiB (a network namespace each), its own program {inside} KiB"
    );
    Ok(json!({"host_kib": host, "kernel_kib": kernel, "program_kib": inside}))
}

fn resident() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/self/smaps_rollup")?;
    Ok(field(&text, "Pss:"))
}

/// What the kernel holds: other programs of the machine are in it, so it wants a quiet one.
fn kernel() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let kinds = ["Slab:", "KernelStack:", "PageTables:", "Percpu:"];
    Ok(kinds.iter().map(|kind| field(&text, kind)).sum())
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_ascii_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Our command, with the settings that bubblewrap lacks.
pub fn command(root: &Path) -> Option<Command> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/ampoule");
    let mut command = Command::new(file.is_file().then_some(file)?);
    command.args([
        "run",
        "--memory",
        "64m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "32",
    ]);
    command.arg(root).arg("/bin/true");
    Some(command)
}
