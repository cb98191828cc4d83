//! Layers and images that we write, read by us and by others.

use crate::archive::Archive;
use crate::scratch::{Scratch, run, skopeo, store_image, text, umoci};
use crate::tree::{assert_same, describe};
use ampoule_image::{
    ConfigEdit, DiffOptions, DockerArchive, History, OciArchive, Platform, PullOptions, Reference,
    Source, Store, UnpackOptions, archive_directory, unpack,
};
use needs::needs;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A tree with all that a layer can hold.
fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("dir/deep")).unwrap();
    fs::write(root.join("dir/file"), "content").unwrap();
    fs::hard_link(root.join("dir/file"), root.join("a-link")).unwrap();
    symlink("../target", root.join("dir/symlink")).unwrap();
    fs::write(root.join("dir").join("n".repeat(200)), "a long name").unwrap();
    fs::write(root.join("large"), vec![7; 3 << 20]).unwrap();
    run("mknod", &[text(&root.join("null")), "c", "1", "3"]);
    run("mkfifo", &[text(&root.join("fifo"))]);
    run("chown", &["3000000:70000", text(&root.join("large"))]);
    run("chmod", &["4711", text(&root.join("large"))]);
    run("chmod", &["1777", text(&root.join("dir/deep"))]);
    run(
        "setfattr",
        &["-n", "user.a", "-v", "value", text(&root.join("dir"))],
    );
    run("setcap", &["cap_net_raw+ep", text(&root.join("dir/file"))]);
    run("setfacl", &["-m", "u:1000:r", text(&root.join("large"))]);
}

fn archived(directory: &Path, options: &DiffOptions) -> Vec<u8> {
    let mut archive = Vec::new();
    archive_directory(directory, &mut archive, options).unwrap();
    archive
}

needs!(root => a_tree_survives_the_way_through_an_archive);
fn a_tree_survives_the_way_through_an_archive() {
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("from"), scratch.path("to"));
    make_tree(&from);
    fs::create_dir(&to).unwrap();
    let archive = archived(&from, &DiffOptions::default());
    unpack(&archive[..], &to, &UnpackOptions::default()).unwrap();
    assert_same("round trip", &describe(&to), &describe(&from));
    let by_tar = scratch.path("by-tar");
    fs::create_dir(&by_tar).unwrap();
    fs::write(scratch.path("archive"), &archive).unwrap();
    let attributes = [
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "--numeric-owner",
        "-p",
    ];
    let place = ["-x", "-C", text(&by_tar), "-f"];
    let file = scratch.path("archive");
    run(
        "tar",
        &[&attributes[..], &place[..], &[text(&file)]].concat(),
    );
    // GNU tar spells ACLs as text, in a record of its own; layers carry them as attributes, and it does not read those.
    run("setfacl", &["-b", text(&from.join("large"))]);
    run("chmod", &["4751", text(&from.join("large"))]);
    assert_same("GNU tar", &describe(&by_tar), &describe(&from));
}

needs!(root => a_layer_is_the_same_at_any_time);
fn a_layer_is_the_same_at_any_time() {
    let scratch = Scratch::new();
    let options = DiffOptions {
        latest: Some(1_000_000_000),
        whiteouts: true,
    };
    let mut archives = Vec::new();
    for name in ["first", "second"] {
        make_tree(&scratch.path(name));
        archives.push(archived(&scratch.path(name), &options));
    }
    assert!(archives[0] == archives[1]);
}

needs!(root, overlay => an_upper_directory_becomes_a_layer);
fn an_upper_directory_becomes_a_layer() {
    let scratch = Scratch::new();
    let base = Archive::default()
        .dir("./")
        .dir("d")
        .file("d/old", b"o")
        .dir("e")
        .file("e/old", b"o")
        .file("f", b"f")
        .end();
    let lower = scratch.path("lower");
    fs::create_dir(&lower).unwrap();
    unpack(&base[..], &lower, &UnpackOptions::default()).unwrap();
    let merged = changed_through_overlay(&scratch, &lower);
    let layer = archived(
        &scratch.path("upper"),
        &DiffOptions {
            whiteouts: true,
            latest: None,
        },
    );
    let again = scratch.path("again");
    fs::create_dir(&again).unwrap();
    unpack(&layer[..], &again, &UnpackOptions::default())
        .unwrap()
        .settle(&again, &[&lower])
        .unwrap();
    // A layer's whiteout has no time.
    let mut upper = describe(&scratch.path("upper"));
    let ours = describe(&again);
    assert!(ours["e/old"].starts_with("c device 0 ") && upper["e/old"].starts_with("c device 0 "));
    upper.insert("e/old".into(), ours["e/old"].clone());
    assert_same("upper", &ours, &upper);
    assert!(merged.contains(&"d/new".to_string()) && !merged.contains(&"d/old".to_string()));
    // Overlay's own mark came back as its own mark.
    let mut value = [0; 4];
    assert_eq!(
        rustix::fs::lgetxattr(again.join("d"), "trusted.overlay.opaque", &mut value).unwrap(),
        1
    );
}

/// Lets the kernel's overlay make an upper directory, and tells what is then seen.
fn changed_through_overlay(scratch: &Scratch, lower: &Path) -> Vec<String> {
    for name in ["upper", "work", "merged"] {
        fs::create_dir(scratch.path(name)).unwrap();
    }
    let [upper, work, merged]: [PathBuf; 3] =
        ["upper", "work", "merged"].map(|name| scratch.path(name));
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        text(lower),
        text(&upper),
        text(&work)
    );
    let change = move || {
        use nix::mount::{MsFlags, mount};
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS | nix::sched::CloneFlags::CLONE_NEWNS)
            .unwrap();
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .unwrap();
        mount(
            Some("overlay"),
            &merged,
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .unwrap();
        fs::remove_dir_all(merged.join("d")).unwrap();
        fs::create_dir(merged.join("d")).unwrap();
        fs::write(merged.join("d/new"), "n").unwrap();
        fs::remove_file(merged.join("e/old")).unwrap();
        fs::write(merged.join("f"), "changed").unwrap();
        describe(&merged).into_keys().collect()
    };
    std::thread::spawn(change).join().unwrap()
}

needs!(root, umoci => a_commit_adds_a_layer_that_umoci_unpacks);
fn a_commit_adds_a_layer_that_umoci_unpacks() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let base = Archive::default()
        .dir("./")
        .dir("etc")
        .file("etc/old", b"o")
        .end();
    store_image(&store, "r.io/base:1", &[base]);
    let upper = scratch.path("upper");
    fs::create_dir_all(upper.join("etc")).unwrap();
    fs::write(upper.join("etc/new"), "n").unwrap();
    run("mknod", &[text(&upper.join("etc/old")), "c", "0", "0"]);
    let base = store.image("r.io/base:1", &Platform::host()).unwrap();
    let step = History {
        created_by: Some("commit".into()),
        ..Default::default()
    };
    let name: Reference = "r.io/made:1".parse().unwrap();
    let image = store.commit(&base, &upper, step, &name).unwrap();
    assert_eq!(
        (image.manifest().layers.len(), image.config().history.len()),
        (2, 1)
    );
    let bundle = scratch.path("bundle");
    run(
        "umoci",
        &[
            "unpack",
            "--image",
            &format!("{}:r.io/made:1", text(store.path())),
            text(&bundle),
        ],
    );
    let seen = describe(&bundle.join("rootfs/etc"));
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["", "new"]);
    store.unpack(&image, &UnpackOptions::default()).unwrap();
    assert_eq!(store.rootfs(&image).unwrap().lower.len(), 2);
    assert_eq!(store.collect().unwrap(), Default::default());
}

needs!(root => unknown_keys_of_a_configuration_survive);
fn unknown_keys_of_a_configuration_survive() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let text = r#"{"architecture":"amd64","os":"linux","x-key":{"z":1,"a":[2]},"config":{"ArgsEscaped":true,"Env":["A=1"]},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config = store
        .write_document("application/vnd.oci.image.config.v1+json", text.as_bytes())
        .unwrap();
    let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": []});
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let descriptor = store
        .write_document(kind, manifest.to_string().as_bytes())
        .unwrap();
    let image = store.image_at(&descriptor, &Platform::host()).unwrap();
    let mut edit = ConfigEdit::of(&store, &image).unwrap();
    assert_eq!(edit.to_bytes(), text.as_bytes());
    edit.set("Env", serde_json::json!(["A=2"]))
        .set("Cmd", serde_json::json!(["sh"]));
    let changed = String::from_utf8(edit.to_bytes()).unwrap();
    assert!(
        changed.contains(r#""x-key":{"z":1,"a":[2]}"#)
            && changed.contains(r#""ArgsEscaped":true,"Env":["A=2"],"Cmd":["sh"]"#)
    );
}

needs!(root, skopeo => what_is_saved_is_loaded_by_us_and_by_skopeo);
fn what_is_saved_is_loaded_by_us_and_by_skopeo() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let tree = scratch.path("tree");
    make_tree(&tree);
    let mut config = ConfigEdit::scratch(&Platform::host());
    config.set("Cmd", serde_json::json!(["/dir/file"]));
    let name: Reference = "r.io/tree:1".parse().unwrap();
    let image = store.import(&tree, &config, &name).unwrap();
    assert_eq!(image.config().run.cmd, ["/dir/file"]);
    let file = scratch.path("saved.tar");
    store
        .save(&[(&name, &image)], fs::File::create(&file).unwrap())
        .unwrap();
    let sources: [&dyn Source; 2] = [
        &OciArchive::open(&file, Some("r.io/tree:1")).unwrap(),
        &DockerArchive::open(&file, Some("r.io/tree:1")).unwrap(),
    ];
    for (index, source) in sources.into_iter().enumerate() {
        let other = Store::open(scratch.path(&format!("other{index}"))).unwrap();
        let loaded = other.pull(source, &name, &PullOptions::default()).unwrap();
        assert_eq!(loaded.id(), image.id());
        let rootfs = other.rootfs(&loaded).unwrap();
        assert_same("loaded", &describe(&rootfs.lower[0]), &describe(&tree));
    }
    for transport in ["oci-archive", "docker-archive"] {
        let to = format!("oci:{}:x", text(&scratch.path(transport)));
        let from = format!("{transport}:{}", text(&file));
        run("skopeo", &["--insecure-policy", "copy", &from, &to]);
        let config = run("skopeo", &["inspect", "--config", &to]);
        assert!(config.contains("/dir/file"), "{config}");
    }
}
