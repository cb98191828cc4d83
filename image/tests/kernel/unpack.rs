//! Layers unpacked by us and by umoci: the same trees, and the same refusals or stricter ones.

use crate::archive::{Archive, Header, header, pax_records};
use crate::scratch::{Scratch, run, store_image, text, umoci};
use crate::tree::{assert_same, describe};
use ampoule_image::{
    Error, ErrorKind, IdRange, Ownership, UnpackLimits, UnpackOptions, Unpacked, unpack,
};
use needs::needs;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

fn unpack_into(directory: &Path, layer: &[u8], options: &UnpackOptions) -> Result<Unpacked, Error> {
    fs::create_dir(directory).unwrap();
    unpack(layer, directory, options)
}

/// Unpacks a stack of layers; the directories, the topmost first.
fn unpack_all(scratch: &Scratch, layers: &[Vec<u8>]) -> Vec<PathBuf> {
    let mut below: Vec<PathBuf> = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let directory = scratch.path(&format!("layer{index}"));
        let unpacked = unpack_into(&directory, layer, &UnpackOptions::default()).unwrap();
        let paths: Vec<&Path> = below.iter().map(PathBuf::as_path).collect();
        unpacked.settle(&directory, &paths).unwrap();
        below.insert(0, directory);
    }
    below
}

/// What a container would see: the layers under an overlay, in a mount namespace that ends with the thread.
fn seen_through_overlay(scratch: &Scratch, lower: &[PathBuf]) -> BTreeMap<String, String> {
    let (empty, merged) = (scratch.path("empty"), scratch.path("merged"));
    fs::create_dir(&empty).unwrap();
    fs::create_dir(&merged).unwrap();
    let mut paths: Vec<&str> = lower.iter().map(|path| text(path)).collect();
    // A read-only overlay wants two.
    paths.push(text(&empty));
    let options = format!("lowerdir={}", paths.join(":"));
    let look = move || {
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
            MsFlags::MS_RDONLY,
            Some(options.as_str()),
        )
        .unwrap();
        describe(&merged)
    };
    std::thread::spawn(look).join().unwrap()
}

fn unpacked_by_umoci(scratch: &Scratch, layers: &[Vec<u8>]) -> BTreeMap<String, String> {
    let store = scratch.store();
    store_image(&store, "r.io/corpus:1", layers);
    let bundle = scratch.path("bundle");
    let image = format!("{}:r.io/corpus:1", text(store.path()));
    run("umoci", &["unpack", "--image", &image, text(&bundle)]);
    describe(&bundle.join("rootfs"))
}

/// Both see the same, apart from the times of directories that umoci leaves to chance: those that no entry states, and those
/// into which it wrote afterwards.
fn check(name: &str, layers: &[Vec<u8>]) {
    let scratch = Scratch::new();
    let started = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let lower = unpack_all(&scratch, layers);
    let mut ours = seen_through_overlay(&scratch, &lower);
    let mut theirs = unpacked_by_umoci(&scratch, layers);
    for (path, line) in &mut theirs {
        let mut words: Vec<&str> = line.split(' ').collect();
        let seconds = words
            .get(3)
            .and_then(|time| time.split('.').next()?.parse::<u64>().ok());
        if words[0] == "directory" && seconds.is_some_and(|seconds| seconds >= started) {
            words[3] = "by chance";
            let changed = words.join(" ");
            if let Some(our_line) = ours.get_mut(path) {
                let mut words: Vec<&str> = our_line.split(' ').collect();
                words[3] = "by chance";
                *our_line = words.join(" ");
            }
            *line = changed;
        }
    }
    assert_same(name, &ours, &theirs);
}

fn base() -> Archive {
    Archive::default().dir("./")
}

needs!(root, overlay, umoci => every_kind_of_entry);
fn every_kind_of_entry() {
    let long = format!("{}/{}", "d".repeat(90), "f".repeat(120));
    let layer = base()
        .dir("dir/")
        .file("dir/file", b"content")
        .file("dir/empty", b"")
        .file("dir/large", &vec![b'x'; 1 << 20])
        .symlink("dir/relative", "file")
        .symlink("dir/absolute", "/dir/file")
        .symlink("dir/dangling", "../../../nowhere")
        .hard_link("dir/hard", "dir/file")
        .hard_link("dir/hard2", "./dir/hard")
        .device(b'3', "null", (1, 3))
        .device(b'4', "disk", (259, 100_000))
        .device(b'6', "fifo", (0, 0))
        .mode(b'0', "suid", 0o4755, 1000, 1000)
        .mode(b'0', "sgid", 0o2755, 0, 50)
        .mode(b'5', "sticky", 0o1777, 0, 0)
        .mode(b'5', "closed", 0o000, 7, 8)
        .mode(b'5', "setgid", 0o2775, 0, 9)
        .file("setgid/child", b"no group inherited")
        .mode(b'0', "far", 0o600, 3_000_000_000, 2_500_000)
        .extension(b'L', format!("{long}\0").as_bytes())
        .file("short", b"GNU long name")
        .extension(b'K', format!("{long}\0").as_bytes())
        .symlink("long-link", "short");
    check("every kind", &[layer.end()]);
}

needs!(root, overlay, umoci => pax_records_are_honoured);
fn pax_records_are_honoured() {
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let acl = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x06\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x06\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
    let layer = base()
        .pax(&[
            ("path", "naïve/\u{1F9EA}/file".as_bytes()),
            ("mtime", b"1500000000.123456789"),
        ])
        .file("x", b"1")
        .pax(&[
            ("mtime", b"-1.5"),
            ("uid", b"4000000000"),
            ("gid", b"70000"),
        ])
        .file("old", b"2")
        .pax(&[("SCHILY.xattr.user.a", b"binary \0 value = \n")])
        .file("attributes", b"3")
        .pax(&[("SCHILY.xattr.security.capability", capability)])
        .mode(b'0', "capable", 0o755, 1000, 1000)
        .pax(&[("SCHILY.xattr.system.posix_acl_access", acl)])
        .mode(b'0', "acl", 0o664, 0, 0)
        .pax(&[("SCHILY.xattr.user.dir", b"d")])
        .dir("attributed")
        .pax(&[("SCHILY.xattr.trusted.t", b"t")])
        .symlink("link", "old")
        .pax(&[("linkpath", "t".repeat(300).as_bytes())])
        .symlink("far", "x");
    check("pax", &[layer.end()]);
}

needs!(root, overlay, umoci => whiteouts_hide_what_is_below);
fn whiteouts_hide_what_is_below() {
    let below = base()
        .dir("dir")
        .file("dir/a", b"a")
        .file("dir/b", b"b")
        .dir("dir/sub")
        .file("dir/sub/c", b"c")
        .file("file", b"f")
        .dir("tree")
        .file("tree/leaf", b"l")
        .symlink("link", "file");
    let upper = base()
        .file(".wh.file", b"")
        .file("dir/.wh.a", b"")
        .dir("dir/sub")
        .file("dir/sub/.wh..wh..opq", b"")
        .file("dir/sub/new", b"n")
        .file(".wh.tree", b"")
        .file(".wh.link", b"")
        .file(".wh..wh.plnk", b"");
    check("one above another", &[below.end(), upper.end()]);

    let below = || {
        base()
            .dir("d")
            .file("d/old", b"o")
            .dir("e")
            .file("e/old", b"o")
            .dir("f")
            .file("f/old", b"o")
            .end()
    };
    let upper = base()
        .file(".wh.d", b"")
        .dir("d")
        .file("d/new", b"made anew after it was removed")
        .dir("e")
        .file("e/new", b"stays: a whiteout speaks of the layers below")
        .file(".wh.e", b"")
        .file(".wh.f", b"");
    let third = base().file("f", b"a file where a directory was");
    check("made anew", &[below(), upper.end(), third.end()]);

    let opaque_last = base()
        .dir("d")
        .file("d/new", b"n")
        .file("d/.wh..wh..opq", b"");
    check("opaque after what it spares", &[below(), opaque_last.end()]);
}

needs!(root, overlay, umoci => implied_parents_are_as_below);
fn implied_parents_are_as_below() {
    let below = base()
        .pax(&[("SCHILY.xattr.user.kept", b"1"), ("mtime", b"1400000000.5")])
        .mode(b'5', "srv", 0o2770, 10, 20)
        .mode(b'5', "srv/deep", 0o700, 30, 40)
        .file("srv/deep/old", b"o")
        .symlink("bin", "usr/bin")
        .dir("usr")
        .mode(b'5', "usr/bin", 0o751, 1, 2)
        .symlink("absolute", "/usr/bin");
    let between = base().file("other", b"x");
    let scratch = Scratch::new();
    let upper = Archive::default()
        .file("srv/deep/new", b"n")
        .file("bin/tool", b"through a link of the layer below")
        .file("absolute/tool2", b"through an absolute one")
        .file("fresh/file", b"nothing below");
    let lower = unpack_all(&scratch, &[below.end(), between.end(), upper.end()]);
    let seen = seen_through_overlay(&scratch, &lower);
    let starts =
        |path: &str, what: &str| assert!(seen[path].starts_with(what), "{path}: {}", seen[path]);
    starts(
        "srv",
        "directory 42770 10:20 1400000000.500000000 user.kept=1",
    );
    starts("srv/deep", "directory 40700 30:40 1600000000");
    starts("srv/deep/old", "file 1");
    starts("bin", "-> usr/bin");
    starts("absolute", "-> /usr/bin");
    starts("usr/bin", "directory 40751 1:2");
    starts("usr/bin/tool", "file 33");
    starts("usr/bin/tool2", "file 23");
    starts("fresh", "directory 40755 0:0");
}

needs!(root, overlay, umoci => hard_links_reach_into_layers_below);
fn hard_links_reach_into_layers_below() {
    let below = base()
        .dir("d")
        .mode(b'0', "d/target", 0o4711, 5, 6)
        .file("d/other", b"o");
    let upper = base()
        .hard_link("link", "d/target")
        .hard_link("d/second", "/d/target");
    let scratch = Scratch::new();
    let lower = unpack_all(&scratch, &[below.end(), upper.end()]);
    let seen = seen_through_overlay(&scratch, &lower);
    for name in ["link", "d/second", "d/target"] {
        assert!(
            seen[name].contains("links 3 104711 5:6 1600000000"),
            "{name}: {}",
            seen[name]
        );
    }
}

needs!(root, overlay, umoci => later_entries_replace_earlier_ones);
fn later_entries_replace_earlier_ones() {
    let layer = base()
        .file("a", b"first")
        .file("a", b"second")
        .dir("b")
        .file("b/inside", b"i")
        .file("b", b"now a file")
        .file("c", b"file")
        .dir("c")
        .file("c/inside", b"now in a directory")
        .symlink("d", "c")
        .dir("d")
        .file("d/inside", b"not in c")
        .dir("e")
        .file("e/kept", b"k")
        .mode(b'5', "e", 0o700, 3, 4)
        .symlink("g", "a")
        .file("g", b"the link is replaced, not followed")
        .file("h", b"h")
        .hard_link("h2", "h")
        .file("h2", b"the link is cut, h stays")
        .symlink("l", "e")
        .file("l/through", b"a link within the layer is followed");
    check("replaced", &[layer.end()]);
}

needs!(root, overlay, umoci => names_are_normalised);
fn names_are_normalised() {
    let layer = base()
        .dir("./a/./")
        .file("/a//absolute", b"1")
        .file("./a/dot", b"2")
        .hard_link("hard", "/a/absolute")
        .symlink("up", "../../../../a")
        .file("up/through", b"stays beneath the root")
        .symlink("root", "/")
        .file("root/at-root", b"r")
        .entry(
            Header {
                magic: b"",
                ..header(0, "v7")
            },
            b"no magic at all",
        )
        .entry(
            Header {
                magic: b"",
                ..header(0, "v7dir/")
            },
            b"",
        )
        .file("with space\nand newline", b"n");
    check("names", &[layer.end()]);
}

needs!(root, overlay, umoci => packed_layers_unpack_the_same);
fn packed_layers_unpack_the_same() {
    let scratch = Scratch::new();
    let plain = base()
        .dir("d")
        .file("d/f", &b"content ".repeat(100_000))
        .end();
    let (front, back) = plain.split_at(5000);
    let zstd = |part: &[u8]| zstd::encode_all(part, 3).unwrap();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"toc"].concat();
    let packed = [
        plain.clone(),
        gzip(&plain),
        [gzip(front), gzip(back)].concat(),
        zstd(&plain),
        [zstd(front), zstd(back), skippable.clone()].concat(),
        [skippable, zstd(&plain)].concat(),
    ];
    let mut seen = Vec::new();
    for (index, layer) in packed.iter().enumerate() {
        let directory = scratch.path(&format!("packed{index}"));
        let unpacked = unpack_into(&directory, layer, &UnpackOptions::default()).unwrap();
        unpacked.settle(&directory, &[]).unwrap();
        seen.push((
            unpacked.diff_id,
            unpacked.bytes,
            unpacked.entries,
            describe(&directory),
        ));
    }
    assert!(seen.iter().all(|one| *one == seen[0]));
    assert_eq!((seen[0].1, seen[0].2), (plain.len() as u64, 3));
}

fn gzip(content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

needs!(root => sparse_files_in_all_formats);
fn sparse_files_in_all_formats() {
    let scratch = Scratch::new();
    let real = 10u64 << 20;
    let mut expect = vec![0; real as usize];
    expect[4096..4096 + 512].fill(b'a');
    expect[8 << 20..(8 << 20) + 100].fill(b'b');
    let stored = [vec![b'a'; 512], vec![b'b'; 100]].concat();
    let map = format!("4096,512,{},100", 8 << 20);
    let old_gnu = header(b'S', "old-gnu").block(612, |block| {
        block[257..265].copy_from_slice(b"ustar  \0");
        for (index, number) in [4096, 512, 8 << 20, 100u64].iter().enumerate() {
            block[386 + 12 * index..][..11].copy_from_slice(format!("{number:011o}").as_bytes());
        }
        block[483..494].copy_from_slice(format!("{real:011o}").as_bytes());
    });
    let size = real.to_string();
    let inline = format!("2\n4096\n512\n{}\n100\n", 8 << 20);
    let inline = [
        inline.clone().into_bytes(),
        vec![0; 512 - inline.len()],
        stored.clone(),
    ]
    .concat();
    let (first, second) = ((8u64 << 20).to_string(), size.clone());
    let layer = Archive::default()
        .block(old_gnu)
        .data(&stored)
        .pax(&[
            ("GNU.sparse.size", size.as_bytes()),
            ("GNU.sparse.offset", b"4096"),
            ("GNU.sparse.numbytes", b"512"),
            ("GNU.sparse.offset", first.as_bytes()),
            ("GNU.sparse.numbytes", b"100"),
        ])
        .file("pax-0.0", &stored)
        .pax(&[
            ("GNU.sparse.name", b"pax-0.1"),
            ("GNU.sparse.realsize", second.as_bytes()),
            ("GNU.sparse.map", map.as_bytes()),
        ])
        .file("GNUSparseFile.0/x", &stored)
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"pax-1.0"),
            ("GNU.sparse.realsize", size.as_bytes()),
        ])
        .file("GNUSparseFile.0/y", &inline)
        .file("after", b"the next entry is found")
        .end();
    let directory = scratch.path("sparse");
    unpack_into(&directory, &layer, &UnpackOptions::default()).unwrap();
    for name in ["old-gnu", "pax-0.0", "pax-0.1", "pax-1.0"] {
        assert!(fs::read(directory.join(name)).unwrap() == expect, "{name}");
        let blocks = fs::metadata(directory.join(name)).unwrap().blocks();
        assert!(
            blocks * 512 < 1 << 20,
            "{name} is not sparse: {blocks} blocks"
        );
    }
    assert!(directory.join("after").exists());
}

needs!(root => gnu_tar_and_we_agree);
fn gnu_tar_and_we_agree() {
    let scratch = Scratch::new();
    let from = scratch.path("from");
    fs::create_dir_all(from.join("a").join("b".repeat(200))).unwrap();
    fs::write(
        from.join("a").join("b".repeat(200)).join("c".repeat(200)),
        b"deep",
    )
    .unwrap();
    let sparse = fs::File::create(from.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"in the middle", 1 << 20).unwrap();
    run(
        "setfattr",
        &["-n", "user.x", "-v", "y", text(&from.join("sparse"))],
    );
    for format in ["gnu", "posix"] {
        let (archive, to) = (scratch.path(format), scratch.path(&format!("to-{format}")));
        let format = format!("--format={format}");
        let mut arguments = vec![
            "-c",
            "--sparse",
            &format,
            "-C",
            text(&from),
            "-f",
            text(&archive),
            ".",
        ];
        if format.contains("posix") {
            arguments.insert(0, "--xattrs");
        } else {
            run("setfattr", &["-x", "user.x", text(&from.join("sparse"))]);
            for path in [from.clone(), from.join("a"), from.join("sparse")] {
                run("touch", &["-d", "2020-01-01", text(&path)]);
            }
        }
        run(
            "find",
            &[
                text(&from),
                "-exec",
                "touch",
                "-h",
                "-d",
                "2020-01-01 00:00:00 UTC",
                "{}",
                "+",
            ],
        );
        run("tar", &arguments);
        unpack_into(&to, &fs::read(&archive).unwrap(), &UnpackOptions::default()).unwrap();
        assert_same(&format, &describe(&to), &describe(&from));
    }
}

/// Unpacks what must be refused; a neighbouring directory shows whether anything got out.
fn refuse(name: &str, layer: Vec<u8>, kind: ErrorKind) {
    let scratch = Scratch::new();
    let outside = scratch.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), b"untouched").unwrap();
    let options = UnpackOptions {
        limits: UnpackLimits {
            bytes: 8 << 20,
            entries: 100,
        },
        ..Default::default()
    };
    let error = unpack_into(&scratch.path("layer"), &layer, &options).err();
    let error = error.unwrap_or_else(|| panic!("{name} was taken"));
    assert_eq!(error.kind(), kind, "{name}: {error}");
    assert_eq!(
        fs::read(outside.join("victim")).unwrap(),
        b"untouched",
        "{name}"
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{name}");
}

needs!(root => hostile_layers_are_refused);
fn hostile_layers_are_refused() {
    let layer = ErrorKind::Layer;
    refuse(
        "parent in a name",
        base().file("../outside/x", b"").end(),
        layer,
    );
    refuse(
        "parent inside a name",
        base().file("a/../../outside/x", b"").end(),
        layer,
    );
    refuse(
        "parent in a hard link",
        base().hard_link("x", "../outside/victim").end(),
        layer,
    );
    refuse("whiteout of no name", base().file(".wh.", b"").end(), layer);
    refuse(
        "whiteout of itself",
        base().file("d/.wh..", b"").end(),
        layer,
    );
    refuse(
        "whiteout of its parent",
        base().file("d/.wh...", b"").end(),
        layer,
    );
    refuse(
        "whiteout as a directory",
        base().file(".wh.d/x", b"").end(),
        layer,
    );
    refuse(
        "root as a file",
        base().file("./", b"").symlink(".", "/etc").end(),
        layer,
    );
    refuse(
        "overlay's own whiteout",
        base().device(b'3', "x", (0, 0)).end(),
        layer,
    );
    refuse(
        "file as a directory",
        base().file("f", b"").file("f/x", b"").end(),
        layer,
    );
    refuse(
        "link to a directory",
        base().dir("d").hard_link("x", "d").end(),
        layer,
    );
    refuse(
        "owner beyond 32 bits",
        base().pax(&[("uid", b"4294967295")]).file("x", b"").end(),
        layer,
    );
    refuse(
        "unknown type",
        base().entry(header(b'Z', "x"), b"").end(),
        layer,
    );
    refuse(
        "NUL in a name",
        base().pax(&[("path", b"a\0b")]).file("x", b"").end(),
        layer,
    );
    refuse(
        "truncated data",
        base().raw(header(b'0', "x"), 5000, b"short").cut(),
        layer,
    );
    refuse(
        "truncated header",
        base().file("x", b"").cut()[..700].to_vec(),
        layer,
    );
    refuse("not an archive", vec![b'x'; 4096], layer);
    refuse(
        "negative size",
        base()
            .block(header(b'0', "x").block(0, |block| block[124..136].fill(0xff)))
            .end(),
        layer,
    );
    refuse(
        "endless PAX header",
        base().raw(header(b'x', "x"), 1 << 40, &[]).cut(),
        layer,
    );
    refuse(
        "endless name",
        base().raw(header(b'L', "x"), 1 << 40, &[]).cut(),
        layer,
    );
    refuse(
        "size near the end of 64 bits",
        base()
            .pax(&[("size", b"18446744073709551615")])
            .file("x", b"")
            .end(),
        ErrorKind::Limit,
    );
    let overlapping: &[(&str, &[u8])] = &[
        ("GNU.sparse.realsize", b"10"),
        ("GNU.sparse.map", b"0,5,3,5"),
    ];
    refuse(
        "overlapping sparse map",
        base().pax(overlapping).file("x", b"0123456789").end(),
        layer,
    );
    refuse(
        "link loop",
        base()
            .symlink("a", "b")
            .symlink("b", "a")
            .file("a/x", b"")
            .end(),
        ErrorKind::Io,
    );
}

needs!(root => bombs_stop_at_the_limit);
fn bombs_stop_at_the_limit() {
    let zeros = base().file("zeros", &vec![0; 64 << 20]).end();
    refuse("gzip bomb", gzip(&zeros), ErrorKind::Limit);
    refuse(
        "zstd bomb",
        zstd::encode_all(&zeros[..], 1).unwrap(),
        ErrorKind::Limit,
    );
    let mut many = base();
    for number in 0..200 {
        many = many.file(&format!("f{number}"), b"");
    }
    refuse("too many entries", many.end(), ErrorKind::Limit);
    let holes: &[(&str, &[u8])] = &[
        ("GNU.sparse.realsize", b"9223372036854775807"),
        ("GNU.sparse.map", b"0,1"),
    ];
    refuse(
        "a file of holes",
        base().pax(holes).file("x", b"1").end(),
        ErrorKind::Limit,
    );
    let mut broken = gzip(&zeros[..4 << 20]);
    let middle = broken.len() / 2;
    broken[middle] ^= 0xff;
    let scratch = Scratch::new();
    assert!(unpack_into(&scratch.path("broken"), &broken, &UnpackOptions::default()).is_err());
    let cut = &gzip(&zeros[..4 << 20])[..1000];
    assert!(unpack_into(&scratch.path("cut"), cut, &UnpackOptions::default()).is_err());
}

needs!(root => symlinks_do_not_lead_out);
fn symlinks_do_not_lead_out() {
    let scratch = Scratch::new();
    let outside = scratch.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), b"untouched").unwrap();
    let target = text(&outside).to_string();
    let layer = Archive::default()
        .symlink("absolute", &target)
        .file("absolute/victim", b"written beneath the root")
        .symlink("relative", "../outside")
        .file("relative/victim", b"written beneath the root")
        .file("d/x", b"a directory, then a link in its place")
        .symlink("d", &target)
        .file("d/victim", b"again beneath the root")
        .file("absolute/.wh.other", b"")
        .file("absolute/.wh..wh..opq", b"")
        .hard_link("stolen", &format!("{target}/victim"))
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ])
        .dir("redirected")
        .end();
    let directory = scratch.path("layer");
    unpack_into(&directory, &layer, &UnpackOptions::default()).unwrap();
    assert_eq!(fs::read(outside.join("victim")).unwrap(), b"untouched");
    assert_eq!(fs::metadata(outside.join("victim")).unwrap().nlink(), 1);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert!(
        directory
            .join(target.trim_start_matches('/'))
            .join("victim")
            .exists()
    );
    let mut list = vec![0; 1000];
    assert_eq!(
        rustix::fs::llistxattr(directory.join("redirected"), &mut list).unwrap(),
        0
    );
}

needs!(root => owners_are_shifted_on_request);
fn owners_are_shifted_on_request() {
    let scratch = Scratch::new();
    let range = IdRange {
        inside: 0,
        outside: 100_000,
        count: 65_536,
    };
    let options = UnpackOptions {
        ownership: Ownership::Shifted {
            users: vec![range],
            groups: vec![range],
        },
        ..Default::default()
    };
    let layer = base()
        .mode(b'0', "a", 0o4755, 1000, 50)
        .mode(b'5', "d", 0o755, 0, 0)
        .symlink("l", "a");
    let directory = scratch.path("layer");
    unpack_into(&directory, &layer.end(), &options).unwrap();
    let owner = |name: &str| {
        let metadata = fs::symlink_metadata(directory.join(name)).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    assert_eq!(owner("a"), (101_000, 100_050, 0o4755));
    assert_eq!(owner("d"), (100_000, 100_000, 0o755));
    assert_eq!(owner("l").0, 100_000);
    let beyond = base().mode(b'0', "a", 0o644, 70_000, 0).end();
    let error = unpack_into(&scratch.path("beyond"), &beyond, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Layer);
}

needs!(root => the_umask_and_its_parent_change_nothing);
fn the_umask_and_its_parent_change_nothing() {
    let scratch = Scratch::new();
    let parent = scratch.path("parent");
    fs::create_dir(&parent).unwrap();
    run("chmod", &["2777", text(&parent)]);
    run("chgrp", &["50", text(&parent)]);
    run(
        "setfacl",
        &["-d", "-m", "u:1000:rwx,g::rwx,o::rwx", text(&parent)],
    );
    let layer = base()
        .mode(b'0', "writable", 0o666, 0, 0)
        .mode(b'5', "d", 0o777, 0, 0)
        .file("implied/x", b"")
        .end();
    let directory = parent.join("layer");
    unpack_into(&directory, &layer, &UnpackOptions::default()).unwrap();
    let seen = describe(&directory);
    assert!(
        seen["writable"].ends_with("100666 0:0 1600000000.000000000 "),
        "{}",
        seen["writable"]
    );
    assert!(
        seen["d"].ends_with("40777 0:0 1600000000.000000000 "),
        "{}",
        seen["d"]
    );
    assert!(
        seen["implied"].starts_with("directory 40755 0:0"),
        "{}",
        seen["implied"]
    );
}

needs!(root => a_global_pax_header_holds_until_overridden);
fn a_global_pax_header_holds_until_overridden() {
    let scratch = Scratch::new();
    let layer = Archive::default()
        .extension(b'g', &pax_records(&[("mtime", b"1000"), ("comment", b"c")]))
        .file("global", b"")
        .pax(&[("mtime", b"2000")])
        .file("own", b"")
        .extension(b'V', b"")
        .end();
    let directory = scratch.path("layer");
    unpack_into(&directory, &layer, &UnpackOptions::default()).unwrap();
    let time = |name: &str| fs::metadata(directory.join(name)).unwrap().mtime();
    assert_eq!((time("global"), time("own")), (1000, 2000));
}

needs!(root => an_empty_attribute_is_kept);
fn an_empty_attribute_is_kept() {
    // Go takes an empty value for "not there", but GNU tar writes one for an attribute that is there and empty.
    let scratch = Scratch::new();
    let layer = Archive::default()
        .pax(&[("SCHILY.xattr.user.empty", b"")])
        .file("x", b"")
        .end();
    let directory = scratch.path("layer");
    unpack_into(&directory, &layer, &UnpackOptions::default()).unwrap();
    assert!(describe(&directory)["x"].ends_with("user.empty="));
}

needs!(root => without_privilege_all_is_the_callers);
fn without_privilege_all_is_the_callers() {
    let scratch = Scratch::new();
    let directory = scratch.path("layer");
    fs::create_dir(&directory).unwrap();
    std::os::unix::fs::chown(&directory, Some(65_534), Some(65_534)).unwrap();
    let layer = base()
        .mode(b'0', "suid", 0o4755, 0, 0)
        .mode(b'5', "closed", 0o000, 7, 8)
        .file("closed/inside", b"i")
        .device(b'3', "null", (1, 3))
        .file(".wh.gone", b"")
        .dir("opaque")
        .file("opaque/.wh..wh..opq", b"")
        .pax(&[
            ("SCHILY.xattr.trusted.t", b"t"),
            ("SCHILY.xattr.user.u", b"u"),
        ])
        .file("attributes", b"")
        .end();
    let to = directory.clone();
    let as_nobody = move || {
        // Only this thread becomes another user: the call is the kernel's own, not the C library's.
        let nobody = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_uid(nobody).unwrap();
        let archive = unpack(&layer[..], &to, &UnpackOptions::default()).unwrap_err();
        assert_eq!(archive.kind(), ErrorKind::Permission);
        fs::remove_file(to.join("suid")).unwrap();
        let options = UnpackOptions {
            ownership: Ownership::Caller,
            ..Default::default()
        };
        unpack(&layer[..], &to, &options).unwrap()
    };
    let unpacked = std::thread::spawn(as_nobody).join().unwrap();
    let left_out: Vec<_> = unpacked
        .left_out
        .iter()
        .map(|left| (text(&left.path), left.what.as_str()))
        .collect();
    assert_eq!(left_out, [("null", "device"), ("attributes", "trusted.t")]);
    assert!(unpacked.user_xattrs);
    let seen = describe(&directory);
    assert!(seen["suid"].contains("104755 65534:"), "{}", seen["suid"]);
    assert!(
        seen["closed"].starts_with("directory 40000 65534:"),
        "{}",
        seen["closed"]
    );
    assert!(seen["gone"].starts_with("c device 0"), "{}", seen["gone"]);
    let mut value = [0; 8];
    let length =
        rustix::fs::lgetxattr(directory.join("opaque"), "user.overlay.opaque", &mut value).unwrap();
    assert_eq!(&value[..length], b"y");
}
