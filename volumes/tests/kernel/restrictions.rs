//! What a volume lets the container do.

use crate::scratch::{Scratch, shell};
use ampoule_volumes::{Bind, Propagation, Tmpfs, Volume};
use needs::needs;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

needs!( => a_directory_is_shared_both_ways);
fn a_directory_is_shared_both_ways() {
    let scratch = Scratch::new();
    scratch.file("in", "from the host\n");
    let volume = Volume::bind(Bind::new(scratch.path()), "/data");
    let said = shell([volume], "cat /data/in; echo back > /data/out").unwrap();
    assert_eq!(said, "from the host\n");
    let back = std::fs::read_to_string(scratch.path().join("out")).unwrap();
    assert_eq!(back, "back\n");
}

needs!( => a_single_file_is_shared);
fn a_single_file_is_shared() {
    let scratch = Scratch::new();
    let file = scratch.file("motd", "hello\n");
    let volume = Volume::bind(Bind::new(&file), "/etc/../srv/motd");
    assert!(
        shell([volume], "true").is_err(),
        "a target with .. was taken"
    );
    let volume = Volume::bind(Bind::new(&file), "/srv/deep/motd");
    let said = shell([volume], "cat /srv/deep/motd; echo more >> /srv/deep/motd").unwrap();
    assert_eq!(said, "hello\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "hello\nmore\n");
}

needs!( => read_only_is_so_with_all_that_is_mounted_below);
fn read_only_is_so_with_all_that_is_mounted_below() {
    let bind = Bind {
        read_only: true,
        ..Bind::new("/dev")
    };
    let volume = Volume::bind(bind.clone(), "/data");
    let script = "(touch /data/shm/ampoule-x) 2>&1; (echo > /data/null) 2>&1; true";
    let said = shell([volume], script).unwrap();
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(
        said.contains("Permission denied"),
        "its devices cannot be opened: {said}"
    );
    let above = Bind {
        writable_below: true,
        ..bind
    };
    let script =
        "touch /data/shm/ampoule-y && rm /data/shm/ampoule-y && (mkdir /data/z) 2>&1; true";
    let said = shell([Volume::bind(above, "/data")], script).unwrap();
    assert!(said.contains("Read-only file system"), "{said}");
}

needs!( => a_tmpfs_ends_where_its_size_says);
fn a_tmpfs_ends_where_its_size_says() {
    let volume = Volume::parse_tmpfs("/scratch:size=64k,mode=700").unwrap();
    let script = "stat -c %a /scratch; (dd if=/dev/zero of=/scratch/x bs=1k count=128) 2>&1; \
                  cp /bin/true /scratch/t; (/scratch/t) 2>&1; true";
    let said = shell([volume], script).unwrap();
    assert!(said.starts_with("700\n"), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(
        said.contains("Permission denied"),
        "programs are not executed there: {said}"
    );
    let tmpfs = Tmpfs {
        exec: true,
        ..Tmpfs::default()
    };
    let script = "cp /bin/true /scratch/t && /scratch/t && echo ran";
    let said = shell([Volume::tmpfs(tmpfs, "/scratch")], script).unwrap();
    assert_eq!(said, "ran\n");
}

needs!(root => mounts_spread_only_where_it_was_asked_for);
fn mounts_spread_only_where_it_was_asked_for() {
    let scratch = Scratch::new();
    let shared = Shared::mount(scratch.dir("shared"));
    let (private, slave) = (
        shared.bind(Propagation::Private),
        shared.bind(Propagation::Slave),
    );
    let volumes = [
        Volume::bind(private, "/private"),
        Volume::bind(slave, "/slave"),
    ];
    let said = shell(volumes, "cat /proc/self/mountinfo").unwrap();
    let line = |point: &str| {
        let line = said
            .lines()
            .find(|line| line.split(' ').nth(4) == Some(point));
        line.unwrap_or_else(|| panic!("{point}: {said}"))
            .to_string()
    };
    for word in ["shared:", "master:"] {
        assert!(!line("/private").contains(word), "{said}");
    }
    assert!(line("/slave").contains("master:"), "{said}");
}

needs!(root, user_namespaces => owners_are_shown_through_a_map);
fn owners_are_shown_through_a_map() {
    let scratch = Scratch::new();
    scratch.file("note", "");
    let bind = Bind {
        idmap: Some(mapped_namespace(100_000).into()),
        ..Bind::new(scratch.path())
    };
    let script = "stat -c %u /data/note; chown 100007 /data/note";
    let said = shell([Volume::bind(bind, "/data")], script).unwrap();
    assert_eq!(said, "100000\n");
    let owner = std::fs::metadata(scratch.path().join("note"))
        .unwrap()
        .uid();
    assert_eq!(owner, 7);
}

/// A user namespace whose ids are the machine's from `first` on; its process ends here, the namespace with its descriptor.
fn mapped_namespace(first: u32) -> OwnedFd {
    let mut command = Command::new("unshare");
    command.args(["--user", "sh", "-c", "echo; exec cat"]);
    let mut holder = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0];
    holder
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut line)
        .unwrap();
    for file in ["uid_map", "gid_map"] {
        let path = format!("/proc/{}/{file}", holder.id());
        std::fs::write(path, format!("0 {first} 65536")).unwrap();
    }
    let namespace = File::open(format!("/proc/{}/ns/user", holder.id())).unwrap();
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    namespace.into()
}

/// A shared mount of the test's own, which goes with it.
struct Shared(PathBuf);

impl Shared {
    fn mount(at: PathBuf) -> Shared {
        let run = |program: &str, args: &[&str]| {
            let done = Command::new(program).args(args).arg(&at).status().unwrap();
            assert!(done.success(), "{program} {args:?}");
        };
        run("mount", &["-t", "tmpfs", "ampoule-test"]);
        run("mount", &["--make-shared"]);
        Shared(at)
    }

    fn bind(&self, propagation: Propagation) -> Bind {
        Bind {
            propagation,
            ..Bind::new(&self.0)
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
