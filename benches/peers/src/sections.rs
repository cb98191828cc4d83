//! The tables, one function each.

use crate::commands::{self, Bundle};
use crate::conditions;
use crate::floor::{Floor, Setting};
use crate::ours;
use crate::phases;
use crate::place::Place;
use crate::table::{self, Contestant, Sample};
use ampoule::net::Pool;
use ampoule::privileges::capabilities::CapabilitySet;
use ampoule::privileges::seccomp::{Host, Template};
use ampoule::{Container, GenericPool, Network};
use serde_json::Value;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

type Section = fn(&Bench) -> anyhow::Result<Value>;

pub const ALL: &[(&str, Section)] = &[
    ("start", start),
    ("host", conditions::host),
    ("throughput", conditions::throughput),
    ("memory", conditions::memory),
    ("phases", phases::phases),
];

/// What all sections use.
pub struct Bench {
    pub quick: bool,
    pub place: Place,
    bundle: RefCell<Bundle>,
    /// The layers, laid over one another once: what peers are given as a root.
    pub root: PathBuf,
    floor: Floor,
}

impl Bench {
    pub fn new(quick: bool) -> anyhow::Result<Bench> {
        let place = Place::new()?;
        let filter = Template::docker()
            .resolve(&Host::here(CapabilitySet::DOCKER)?)
            .compile()?;
        let floor = Floor::prepare(Setting {
            layers: place.layers.clone(),
            program: c"/bin/true",
            filter: filter.words().to_vec(),
            capabilities: CapabilitySet::DOCKER.bits(),
            memory: ours::MEMORY,
            cpu_quota: 50_000,
            pids: ours::PIDS,
        })?;
        let bundle = Bundle::new(&place)?;
        bundle.mount(&place)?;
        Ok(Bench {
            quick,
            root: bundle.dir.join("rootfs"),
            bundle: RefCell::new(bundle),
            place,
            floor,
        })
    }

    fn rounds(&self, full: u32) -> (u32, Duration) {
        match self.quick {
            true => ((full / 4).max(10), Duration::from_secs(30)),
            false => (full, Duration::from_secs(120)),
        }
    }

    fn floor(&self, network: bool) -> anyhow::Result<Sample> {
        let (executed, ended) = self.floor.start(network)?;
        Ok((Some(executed), ended))
    }

    pub fn container(&self) -> Container {
        ours::container(&self.place, "/bin/true")
    }
}

/// Everybody, with everything on.
fn start(bench: &Bench) -> anyhow::Result<Value> {
    let program = bench.place.program();
    let cold = bench.container();
    let mut shared = bench.container();
    shared.network(Network::host());
    let mut pooled = bench.container();
    let pool = Pool::namespaces(4)?;
    let running = ours::container(&bench.place, "/bin/pause").spawn()?;
    let parked = ampoule::Pool::new(&cold, 4)?;
    let generic = GenericPool::new(4)?;
    let root = &bench.root;
    let v1 = commands::without_unified()?;

    let mut all = vec![
        Contestant::new("floor", 1, || bench.floor(true)),
        Contestant::new("floor, host network", 1, || bench.floor(false)),
        Contestant::new("ampoule", 1, || ours::start(&cold)),
        Contestant::new("ampoule, host network", 1, || ours::start(&shared)),
        Contestant::new("ampoule, pooled network", 1, || {
            ours::start_pooled(&mut pooled, &pool)
        }),
        Contestant::new("ampoule, exec into a running one", 1, || {
            ours::exec_with(|| running.exec("/bin/true"))
        }),
        Contestant::new("ampoule, complete sandbox parked", 1, || {
            parked.wait_full(Duration::from_secs(5));
            ours::exec_with(|| parked.exec("/bin/true"))
        }),
        Contestant::new("ampoule, generic pool", 1, || {
            generic.wait_full(Duration::from_secs(5));
            ours::start_with(|| Ok(generic.spawn(&cold)?))
        }),
        Contestant::new("std::process::Command", 1, || {
            commands::run(&mut Command::new(&program))
        }),
        Contestant::new("bare vfork and exec", 1, || bare(&program)),
    ];
    if conditions::command(root).is_some() {
        let turn = move || match conditions::command(root) {
            Some(mut command) => commands::whole(&mut command),
            None => anyhow::bail!("the command is gone"),
        };
        all.push(Contestant::new("ampoule run", 2, turn));
    }
    if let Some(bwrap) = commands::find("bwrap") {
        let turn = move || commands::whole(&mut commands::bubblewrap(&bwrap, root));
        all.push(Contestant::new("bubblewrap, doing less", 2, turn));
    }
    let (bundle, v1) = (&bench.bundle, &v1);
    for name in ["crun", "runc", "youki"] {
        let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/youki/bin/youki");
        let own = (name == "youki" && installed.is_file()).then_some(installed);
        let Some(runtime) = own.or_else(|| commands::find(name)) else {
            println!("{name} is not installed");
            continue;
        };
        let place = v1.as_ref().filter(|_| name == "crun");
        let turn = move || bundle.borrow_mut().run(&runtime, place);
        all.push(Contestant::new(name, 10, turn));
    }
    let (rounds, most) = bench.rounds(400);
    let rows = table::race(all, rounds, most);
    table::print("A container, everything on", &rows, "floor");
    Ok(table::to_json(&rows))
}

/// What any start costs: vfork, execve, waitid, with nothing around them.
fn bare(program: &PathBuf) -> anyhow::Result<Sample> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(program.as_os_str().as_bytes())?;
    let (argv, envp) = (
        [path.as_ptr(), std::ptr::null()],
        [std::ptr::null::<libc::c_char>()],
    );
    let mut pid = 0;
    let began = Instant::now();
    // SAFETY: everything lives until the calls return. posix_spawn is a CLONE_VM|CLONE_VFORK and an execve.
    unsafe {
        let spawned = libc::posix_spawn(
            &mut pid,
            path.as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            argv.as_ptr().cast(),
            envp.as_ptr().cast(),
        );
        anyhow::ensure!(spawned == 0, "posix_spawn: {spawned}");
    }
    let executed = began.elapsed();
    // SAFETY: as above.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    Ok((Some(executed), began.elapsed()))
}
