//! Dockerfiles built by us and by buildah: the same trees and configurations.

use crate::scratch::{Scratch, run, text, umoci};
use crate::tree::describe;
use ampoule_image::dockerfile::Dockerfile;
use ampoule_image::{
    BuildOptions, BuildStep, ConfigEdit, DockerArchive, ErrorKind, Executor, Image, Platform,
    PullOptions, Reference, Result, RunCommand, RunConfig, RunMountKind, Store,
};
use needs::needs;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

fn buildah() -> std::result::Result<(), String> {
    needs::program("buildah")
}

fn busybox() -> std::result::Result<(), String> {
    needs::file("/bin/busybox")
}

/// Runs commands by `unshare`, `mount` and `chroot`: enough to see what a build hands over.
struct Chroot;

impl Executor for Chroot {
    fn run(&self, command: &RunCommand<'_>) -> Result<i32> {
        let merged = command.work.with_file_name("merged");
        fs::create_dir(&merged).unwrap();
        let lower: Vec<&str> = command.lower.iter().map(|path| text(path)).collect();
        let root = text(&merged);
        let mut script = format!(
            "set -e; mount -t overlay overlay -o lowerdir={},upperdir={},workdir={} {root}\n",
            lower.join(":"),
            text(command.upper),
            text(command.work)
        );
        for mount in &command.mounts {
            let target = format!("{root}{}", mount.target);
            script += &match &mount.kind {
                RunMountKind::Cache(path) => {
                    format!("mkdir -p {target}; mount --bind {} {target}\n", text(path))
                }
                RunMountKind::Tmpfs(_) => {
                    format!("mkdir -p {target}; mount -t tmpfs none {target}\n")
                }
                RunMountKind::Secret(path) => {
                    format!(
                        "mkdir -p $(dirname {target}); touch {target}; mount --bind {} {target}\n",
                        text(path)
                    )
                }
                RunMountKind::Bind { lower, path } => {
                    format!(
                        "mkdir -p {target}; mount --bind {}/{path} {target}\n",
                        text(&lower[0])
                    )
                }
            };
        }
        script += "dir=$1; shift; root=$1; shift; exec chroot $root /bin/sh -c 'cd \"$0\" && exec \"$@\"' \"$dir\" \"$@\"\n";
        let mut unshare = Command::new("unshare");
        unshare
            .args([
                "--mount",
                "sh",
                "-c",
                &script,
                "sh",
                &command.directory,
                root,
            ])
            .args(&command.arguments);
        unshare
            .env_clear()
            .envs(command.environment.iter().cloned())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let mut child = unshare
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &command.input).unwrap();
        let status = child.wait().unwrap();
        fs::remove_dir(&merged).unwrap();
        Ok(status.code().unwrap_or(255))
    }
}

/// A base image, a context, and a store that has the base.
struct Bench {
    scratch: Scratch,
    store: Store,
    context: PathBuf,
}

const BASE: &str = "localhost/base:1";

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        let (store, context, tree) = (
            scratch.store(),
            scratch.path("context"),
            scratch.path("tree"),
        );
        // What buildah makes where it is missing, to mount over it or for a volume, is there from the beginning.
        let mounted = ["dev", "proc", "sys", "run", "data", "more"];
        for directory in ["bin", "etc", "tmp", "usr/lib", "srv"]
            .iter()
            .chain(&mounted)
        {
            fs::create_dir_all(tree.join(directory)).unwrap();
        }
        run("chmod", &["1777", text(&tree.join("tmp"))]);
        run("chmod", &["750", text(&tree.join("srv"))]);
        fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "echo", "mkdir", "rm", "touch", "env", "ls", "cp", "sort", "grep", "id",
            "chmod", "ln", "test",
        ] {
            symlink("busybox", tree.join("bin").join(applet)).unwrap();
        }
        fs::write(
            tree.join("etc/passwd"),
            "root:x:0:0::/:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\n",
        )
        .unwrap();
        fs::write(
            tree.join("etc/group"),
            "root:x:0:\napp:x:1001:\nstaff:x:50:\n",
        )
        .unwrap();
        for name in ["etc/hostname", "etc/hosts", "etc/resolv.conf"] {
            fs::write(tree.join(name), "").unwrap();
        }
        symlink("usr/lib", tree.join("lib")).unwrap();
        let mut config = ConfigEdit::scratch(&Platform::host());
        config
            .set("Env", serde_json::json!(["PATH=/bin", "BASE=1"]))
            .set("Cmd", serde_json::json!(["sh"]));
        store
            .import(&tree, &config, &BASE.parse().unwrap())
            .unwrap();
        fs::create_dir_all(context.join("dir/sub")).unwrap();
        for (name, content) in [
            ("one.txt", "1"),
            ("two.txt", "2"),
            ("dir/a", "a"),
            ("dir/sub/b.log", "b"),
            ("script.sh", "#!/bin/sh\necho hi"),
        ] {
            fs::write(context.join(name), content).unwrap();
        }
        run("chmod", &["755", text(&context.join("script.sh"))]);
        symlink("one.txt", context.join("link")).unwrap();
        let archive = context.join("archive.tar.gz");
        run(
            "tar",
            &[
                "-czf",
                text(&archive),
                "-C",
                text(&context),
                "--owner=5",
                "--group=6",
                "dir",
            ],
        );
        Self {
            scratch,
            store,
            context,
        }
    }

    fn build(&self, file: &str) -> (Result<Image>, Vec<String>) {
        self.build_target(file, None, &BTreeMap::new(), &BTreeMap::new())
    }

    fn build_target(
        &self,
        file: &str,
        target: Option<&str>,
        arguments: &BTreeMap<String, String>,
        labels: &BTreeMap<String, String>,
    ) -> (Result<Image>, Vec<String>) {
        let secrets = BTreeMap::from([("key".to_string(), self.context.join("one.txt"))]);
        let steps = Mutex::new(Vec::new());
        let step = |step: BuildStep<'_>| {
            let word = if step.cached { "cached" } else { "done" };
            steps.lock().unwrap().push(format!("{word} {}", step.text));
        };
        let images =
            |name: &Reference, platform: &Platform| self.store.image(&name.to_string(), platform);
        let options = BuildOptions {
            context: &self.context,
            target,
            arguments,
            labels,
            secrets: &secrets,
            images: &images,
            executor: Some(&Chroot),
            cache: true,
            latest: None,
            step: &step,
        };
        let name: Reference = "localhost/ours:1".parse().unwrap();
        let image = Dockerfile::parse("Dockerfile", file)
            .and_then(|file| self.store.build(&file, &[&name], &options));
        let steps = std::mem::take(&mut *steps.lock().unwrap());
        (image, steps)
    }

    /// What umoci unpacks an image of a layout to, without times: a build makes new ones.
    fn unpacked(&self, layout: &Path, name: &str, to: &str) -> BTreeMap<String, String> {
        let bundle = self.scratch.path(to);
        run(
            "umoci",
            &[
                "unpack",
                "--image",
                &format!("{}:{name}", text(layout)),
                text(&bundle),
            ],
        );
        let mut tree = describe(&bundle.join("rootfs"));
        fs::remove_dir_all(&bundle).unwrap();
        for line in tree.values_mut() {
            let words: Vec<&str> = line.split(' ').collect();
            let is_time = |word: &str| {
                word.len() > 10
                    && word.contains('.')
                    && word
                        .bytes()
                        .all(|byte| byte.is_ascii_digit() || byte == b'.')
            };
            *line = words
                .into_iter()
                .filter(|word| !is_time(word))
                .collect::<Vec<_>>()
                .join(" ");
        }
        tree
    }

    fn buildah(&self, arguments: &[&str]) -> String {
        let (root, runroot) = (
            self.scratch.path("buildah"),
            self.scratch.path("buildah-run"),
        );
        let store = [
            "--root",
            text(&root),
            "--runroot",
            text(&runroot),
            "--storage-driver",
            "vfs",
        ];
        run("buildah", &[&store[..], arguments].concat())
    }

    /// Builds with both and compares.
    fn compare(&self, number: usize, file: &str) {
        let ours = self
            .build(file)
            .0
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        let dockerfile = self.scratch.path("Dockerfile");
        fs::write(&dockerfile, file).unwrap();
        let (secret, tag) = (
            format!("id=key,src={}", text(&self.context.join("one.txt"))),
            format!("localhost/theirs:{number}"),
        );
        let mut arguments = vec![
            "bud",
            "--isolation",
            "chroot",
            "--network",
            "host",
            "--pull-never",
            "--layers=false",
            "--format",
            "docker",
            "--quiet",
        ];
        arguments.extend([
            "--secret",
            &secret,
            "--identity-label=false",
            "-t",
            &tag,
            "-f",
            text(&dockerfile),
            text(&self.context),
        ]);
        self.buildah(&arguments);
        // A layout's configuration would lack SHELL, HEALTHCHECK and ONBUILD, which OCI does not have.
        let archive = self.scratch.path(&format!("theirs{number}.tar"));
        let to = format!("docker-archive:{}:{tag}", text(&archive));
        self.buildah(&["push", "--quiet", &tag, &to]);
        let other = Store::open(self.scratch.path(&format!("store{number}"))).unwrap();
        let source = DockerArchive::open(&archive, None).unwrap();
        let theirs = other.pull(
            &source,
            &"localhost/x:1".parse().unwrap(),
            &PullOptions::default(),
        );
        assert_eq!(config(&ours), config(&theirs.unwrap()), "{file}");
        let (mine, their) = (
            self.unpacked(self.store.path(), "localhost/ours:1", "ours"),
            self.unpacked(other.path(), "localhost/x:1", "theirs"),
        );
        crate::tree::assert_same(file, &mine, &their);
    }
}

/// What both must say; order of the environment does not count, and buildah adds nothing that we lack.
fn config(image: &Image) -> RunConfig {
    let mut config = image.config().run.clone();
    config.env.sort();
    // "/" and nothing are the same place.
    if config.working_dir == "/" {
        config.working_dir.clear();
    }
    config
}

/// Without mounts, which buildah 1.28 answers by removing the root tree, and without a CMD in the shell form behind SHELL, which it
/// gives to /bin/sh all the same.
const DOCKERFILES: &[&str] = &[
    "FROM localhost/base:1\nCOPY one.txt /",
    "FROM localhost/base:1\nCOPY one.txt two.txt /deep/new/",
    "FROM localhost/base:1\nCOPY one.txt /named",
    "FROM localhost/base:1\nCOPY dir /dir",
    "FROM localhost/base:1\nCOPY dir/ /srv/",
    "FROM localhost/base:1\nCOPY *.txt /texts/",
    "FROM localhost/base:1\nWORKDIR /work\nCOPY one.txt relative.txt\nWORKDIR sub\nCOPY . .",
    "FROM localhost/base:1\nCOPY --chown=app:staff --chmod=640 one.txt /owned",
    "FROM localhost/base:1\nCOPY --chown=7:8 dir /owned",
    "FROM localhost/base:1\nCOPY one.txt /lib/through-a-link",
    "FROM localhost/base:1\nADD archive.tar.gz /unpacked/",
    "FROM localhost/base:1\nCOPY archive.tar.gz /kept.tar.gz",
    "FROM scratch\nCOPY one.txt /only",
    "FROM localhost/base:1 AS build\nRUN echo built > /out\nFROM scratch\nCOPY --from=build /out /out\nCOPY --from=build /etc/ /etc/",
    "ARG TAG=1\nFROM localhost/base:$TAG\nARG WHO=world\nENV GREETING=\"hello $WHO\" B=${MISSING:-b}\nRUN echo $GREETING $WHO > /greeting",
    "FROM localhost/base:1\nRUN mkdir /d && echo x > /d/x\nRUN rm -r /d && mkdir /d && echo y > /d/y\nRUN rm /etc/group",
    "FROM localhost/base:1\nRUN echo 1 > /srv/in-a-closed-directory && chmod 4755 /bin/busybox",
    "FROM localhost/base:1\nENTRYPOINT [\"/bin/cat\"]",
    "FROM localhost/base:1\nENTRYPOINT /bin/cat\nCMD [\"-\"]",
    "FROM localhost/base:1\nCMD echo $BASE\nUSER app\nSTOPSIGNAL SIGINT\nEXPOSE 80 53/udp\nVOLUME /data /more",
    "FROM localhost/base:1\nLABEL a=1 b=\"two words\"\nLABEL a=3\nMAINTAINER somebody",
    "FROM localhost/base:1\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN echo shell > /made\nCMD [\"run\", \"this\"]",
    "FROM localhost/base:1 AS a\nRUN echo a > /a\nFROM localhost/base:1 AS b\nRUN echo b > /b\nFROM a\nCOPY --from=b /b /b\nCOPY --from=0 /a /again",
    "FROM localhost/base:1\nRUN ln -s /etc /linked && echo x > /first && ln /first /hard\nCOPY two.txt /linked/",
    "FROM localhost/base:1\nENV A=1\nENV A=2 B=$A\nRUN env | grep -E '^[AB]=' | sort > /env\nWORKDIR /w/$B",
    "FROM localhost/base:1\nHEALTHCHECK --interval=30s --retries=2 CMD cat /etc/passwd\nONBUILD COPY . /onbuild",
];

needs!(root, overlay, umoci, buildah, busybox => buildah_and_we_build_the_same);
fn buildah_and_we_build_the_same() {
    let bench = Bench::new();
    let base = format!("oci:{}:{BASE}", text(bench.store.path()));
    let pulled = bench.buildah(&["pull", "--quiet", &base]);
    bench.buildah(&["tag", pulled.trim(), BASE]);
    // All differences at once: a build takes seconds.
    let compare = |(number, file): (usize, &&'static str)| {
        let compared = std::panic::AssertUnwindSafe(|| bench.compare(number, file));
        std::panic::catch_unwind(compared).is_err().then_some(*file)
    };
    let differing: Vec<&str> = DOCKERFILES.iter().enumerate().filter_map(compare).collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

needs!(root, overlay, busybox => a_second_build_is_all_cached);
fn a_second_build_is_all_cached() {
    let bench = Bench::new();
    let file =
        "FROM localhost/base:1\nRUN echo 1 > /a\nCOPY one.txt /b\nRUN echo 2 > /c\nENV X=1\n";
    let (first, steps) = bench.build(file);
    assert_eq!(
        steps.iter().filter(|step| step.starts_with("done")).count(),
        3,
        "{steps:?}"
    );
    let start = std::time::Instant::now();
    let (second, steps) = bench.build(file);
    assert!(
        steps.iter().all(|step| step.starts_with("cached")),
        "{steps:?}"
    );
    assert!(start.elapsed().as_millis() < 1000, "{:?}", start.elapsed());
    assert_eq!(first.unwrap().id(), second.unwrap().id());
    // Touching a file is no change; changing it is one, for all that follows.
    fs::write(bench.context.join("one.txt"), "1").unwrap();
    assert!(
        bench
            .build(file)
            .1
            .iter()
            .all(|step| step.starts_with("cached"))
    );
    fs::write(bench.context.join("one.txt"), "changed").unwrap();
    let (_, steps) = bench.build(file);
    let done: Vec<_> = steps
        .iter()
        .filter(|step| step.starts_with("done"))
        .collect();
    assert_eq!(done, ["done COPY one.txt /b", "done RUN echo 2 > /c"]);
}

needs!(root, overlay, busybox => here_documents_are_scripts_and_files);
fn here_documents_are_scripts_and_files() {
    let bench = Bench::new();
    let file = "FROM localhost/base:1\nENV WHO=me\nRUN <<EOF\necho \"$WHO\" > /a\necho two >> /a\nEOF\nCOPY <<one <<\"two\" /files/\n$WHO \"quoted\" 'single'\none\n$WHO\ntwo\nRUN cat <<X > /b\nin $WHO\nX\n";
    bench.build(file).0.unwrap();
    let tree = scratch_tree(&bench);
    for (name, content) in [
        ("a", "me\ntwo\n"),
        ("files/one", "me \"quoted\" 'single'\n"),
        ("files/two", "$WHO\n"),
        ("b", "in me\n"),
    ] {
        assert_eq!(
            fs::read_to_string(tree.join(name)).unwrap(),
            content,
            "{name}"
        );
    }
}

fn scratch_tree(bench: &Bench) -> PathBuf {
    let bundle = bench.scratch.path("bundle");
    let image = format!("{}:localhost/ours:1", text(bench.store.path()));
    run("umoci", &["unpack", "--image", &image, text(&bundle)]);
    bundle.join("rootfs")
}

needs!(root, overlay, busybox => dockerignore_and_excludes_hide_files);
fn dockerignore_and_excludes_hide_files() {
    let bench = Bench::new();
    fs::write(
        bench.context.join(".dockerignore"),
        "# comment\n*.txt\n!two.txt\n**/*.log\narchive*\n",
    )
    .unwrap();
    bench
        .build("FROM scratch\nCOPY --exclude=script.sh . /")
        .0
        .unwrap();
    let seen = describe(&scratch_tree(&bench));
    let names: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "",
            ".dockerignore",
            "dir",
            "dir/a",
            "dir/sub",
            "link",
            "two.txt"
        ]
    );
    let error = bench.build("FROM scratch\nCOPY missing /").0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().starts_with("build line 2: "), "{error}");
}

needs!(root, overlay, busybox => targets_arguments_labels_and_caches);
fn targets_arguments_labels_and_caches() {
    let bench = Bench::new();
    let file = "ARG V=1\nFROM localhost/base:$V AS first\nARG W\nRUN --mount=type=cache,target=/c echo $W >> /c/seen && cp /c/seen /seen\nFROM nothing/there AS unused\nFROM first AS last\nRUN false\n";
    let labels = BTreeMap::from([("by".to_string(), "me".to_string())]);
    for (round, value) in ["a", "b"].iter().enumerate() {
        let arguments = BTreeMap::from([("W".to_string(), value.to_string())]);
        let (image, _) = bench.build_target(file, Some("FIRST"), &arguments, &labels);
        assert_eq!(image.unwrap().config().run.labels["by"], "me");
        let rootfs = bench
            .store
            .rootfs(
                &bench
                    .store
                    .image("localhost/ours:1", &Platform::host())
                    .unwrap(),
            )
            .unwrap();
        let seen = fs::read_to_string(rootfs.lower[0].join("seen")).unwrap();
        assert_eq!(
            seen,
            ["a\n", "a\nb\n"][round],
            "the cache stays from build to build"
        );
    }
    let error = bench.build(file).0.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("line 7: read RUN: the command ended with exit code 1"),
        "{error}"
    );
    assert!(
        bench
            .build_target(file, Some("none"), &labels, &labels)
            .0
            .is_err()
    );
}

needs!(root, overlay, umoci, busybox => mounts_are_no_part_of_a_layer);
fn mounts_are_no_part_of_a_layer() {
    let bench = Bench::new();
    let file = "FROM localhost/base:1 AS other\nRUN echo o > /o\nFROM localhost/base:1\n\
        RUN --mount=type=tmpfs,target=/tmp echo x > /tmp/x\n\
        RUN --mount=type=secret,id=key,target=/etc/group cat /etc/group > /copied\n\
        RUN --mount=target=/data --mount=type=bind,from=other,target=/more cat /data/two.txt /more/o > /both\n";
    bench.build(file).0.unwrap();
    let tree = scratch_tree(&bench);
    assert!(!tree.join("tmp/x").exists());
    assert_eq!(fs::read_to_string(tree.join("copied")).unwrap(), "1");
    assert_eq!(fs::read_to_string(tree.join("both")).unwrap(), "2o\n");
    assert!(
        fs::read_to_string(tree.join("etc/group"))
            .unwrap()
            .contains("staff")
    );
    let missing = "FROM localhost/base:1\nRUN --mount=type=secret,id=none true";
    assert_eq!(
        bench.build(missing).0.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}
