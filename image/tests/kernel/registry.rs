//! Against Debian's docker-registry, with skopeo as the other client, and with a network that fails.

use crate::archive::Archive;
use crate::scratch::{Scratch, run, skopeo, store_image, text};
use crate::server::{Config, Fault, Proxy, Server, openssl, registry};
use ampoule_image::{
    Credential, Credentials, Digest, ErrorKind, Event, LayoutSource, Platform, PullOptions,
    PushOptions, Reference, Registry, RegistryOptions, Source, Store,
};
use needs::needs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn options() -> RegistryOptions {
    RegistryOptions {
        credentials: Credentials::anonymous(),
        stall: Duration::from_secs(2),
        ..Default::default()
    }
}

fn with_password(server: &Server, password: &str) -> RegistryOptions {
    let mut options = options();
    let (user, password) = ("user".to_string(), password.to_string());
    options
        .credentials
        .add(&server.address, Credential::Password { user, password });
    options
}

fn noise(seed: u32, length: u32) -> Vec<u8> {
    let numbers =
        (0..length / 4).map(|number| (number ^ seed).wrapping_mul(2_654_435_761).rotate_left(7));
    numbers.flat_map(u32::to_le_bytes).collect()
}

fn layers(version: u32) -> Vec<Vec<u8>> {
    vec![
        Archive::default()
            .dir("./")
            .file("base", &noise(1, 3 << 20))
            .end(),
        Archive::default()
            .file("changed", &noise(version, 1 << 20))
            .end(),
    ]
}

fn origin(scratch: &Scratch) -> Store {
    let origin = Store::open(scratch.path("origin")).unwrap();
    store_image(&origin, "r.io/app:1", &layers(1));
    store_image(&origin, "r.io/app:2", &layers(2));
    origin
}

fn local(origin: &Store, version: &str) -> LayoutSource {
    LayoutSource::new(origin.path(), Some(&format!("r.io/app:{version}")))
}

fn push(origin: &Store, version: &str, to: &Reference, options: &RegistryOptions) -> Digest {
    let registry = Registry::new(to, options).unwrap();
    registry
        .push(&local(origin, version), &PushOptions::default())
        .unwrap()
        .digest
}

fn pull(
    store: &Store,
    from: &Reference,
    options: &RegistryOptions,
) -> (u64, ampoule_image::Result<Digest>) {
    let moved = AtomicU64::new(0);
    let progress = |event: Event<'_>| {
        if let Event::Bytes { count, .. } = event {
            moved.fetch_add(count, Ordering::Relaxed);
        }
    };
    let pull = PullOptions {
        progress: &progress,
        ..Default::default()
    };
    let image =
        Registry::new(from, options).and_then(|registry| store.pull(&registry, from, &pull));
    (
        moved.into_inner(),
        image.map(|image| image.descriptor().digest),
    )
}

needs!(root, registry, skopeo => skopeo_and_we_exchange_images);
fn skopeo_and_we_exchange_images() {
    let scratch = Scratch::new();
    let server = Server::start(&scratch, Config::default());
    let (origin, store) = (origin(&scratch), scratch.store());
    let ours = server.name("team/ours:1");
    let digest = push(&origin, "1", &ours, &options());
    let copied = format!("oci:{}:copied", text(&scratch.path("copied")));
    run(
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "--preserve-digests",
            "--src-tls-verify=false",
            &format!("docker://{ours}"),
            &copied,
        ],
    );
    let raw = run("skopeo", &["inspect", "--raw", &copied]);
    assert_eq!(Digest::of(Default::default(), raw.as_bytes()), digest);

    let theirs = server.name("team/theirs:1");
    run(
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "--preserve-digests",
            "--dest-tls-verify=false",
            &copied,
            &format!("docker://{theirs}"),
        ],
    );
    let (_, pulled) = pull(&store, &theirs, &options());
    assert_eq!(pulled.unwrap(), digest);
    let image = store.image(&theirs.to_string(), &Platform::host()).unwrap();
    let rootfs = store.rootfs(&image).unwrap();
    assert_eq!(
        std::fs::read(rootfs.lower[1].join("base")).unwrap(),
        noise(1, 3 << 20)
    );
    let pinned = theirs.with_digest(digest);
    assert_eq!(pull(&store, &pinned, &options()).0, 0);
}

needs!(root, registry => a_new_version_moves_its_changed_layer_only);
fn a_new_version_moves_its_changed_layer_only() {
    let scratch = Scratch::new();
    let server = Server::start(&scratch, Config::default());
    let (origin, store) = (origin(&scratch), scratch.store());
    for version in ["1", "2"] {
        push(
            &origin,
            version,
            &server.name(&format!("app:{version}")),
            &options(),
        );
    }
    let sizes: Vec<u64> = layers(2).iter().map(|layer| layer.len() as u64).collect();
    assert_eq!(
        pull(&store, &server.name("app:1"), &options()).0,
        sizes[0] + sizes[1]
    );
    assert_eq!(pull(&store, &server.name("app:2"), &options()).0, sizes[1]);
    assert_eq!(pull(&store, &server.name("app:2"), &options()).0, 0);
}

needs!(registry => lists_searches_mounts_and_deletes);
fn lists_searches_mounts_and_deletes() {
    let scratch = Scratch::new();
    let server = Server::start(&scratch, Config::default());
    let origin = origin(&scratch);
    for version in ["1", "2"] {
        push(
            &origin,
            version,
            &server.name(&format!("one/app:{version}")),
            &options(),
        );
    }
    let one = Registry::new(&server.name("one/app:1"), &options()).unwrap();
    let mut tags = one.tags().unwrap();
    tags.sort();
    assert_eq!(tags, ["1", "2"]);
    let sent = AtomicU64::new(0);
    let progress = |event: Event<'_>| {
        if let Event::Bytes { count, .. } = event {
            sent.fetch_add(count, Ordering::Relaxed);
        }
    };
    let (from, to) = (server.name("one/app:1"), server.name("two/app:1"));
    let push = PushOptions {
        mount_from: Some(&from),
        progress: &progress,
        ..Default::default()
    };
    Registry::new(&to, &options())
        .unwrap()
        .push(&one, &push)
        .unwrap();
    assert_eq!(
        sent.into_inner(),
        0,
        "all blobs are mounted from the other repository"
    );
    assert_eq!(one.search("app").unwrap(), ["one/app", "two/app"]);
    assert_eq!(one.search("two").unwrap(), ["two/app"]);
    let digest = one.resolve().unwrap().0.digest;
    assert!(one.referrers(&digest).unwrap().is_empty());
    one.delete().unwrap();
    assert_eq!(one.resolve().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(one.tags().unwrap(), ["2"]);
}

needs!(root, registry, openssl => a_password_and_tls_are_asked_for);
fn a_password_and_tls_are_asked_for() {
    let scratch = Scratch::new();
    let server = Server::start(
        &scratch,
        Config {
            auth: true,
            tls: true,
        },
    );
    let (origin, store) = (origin(&scratch), scratch.store());
    let name = server.name("secret/app:1");
    let mut good = with_password(&server, "secret");
    good.attempts = 1;
    let distrusted = Registry::new(&name, &good)
        .unwrap()
        .push(&local(&origin, "1"), &PushOptions::default());
    assert_eq!(
        distrusted.unwrap_err().kind(),
        ErrorKind::Network,
        "its certificate is not trusted yet"
    );
    good.certificates.push(server.certificate.clone());
    let digest = push(&origin, "1", &name, &good);
    assert_eq!(pull(&store, &name, &good).1.unwrap(), digest);

    let mut anonymous = options();
    anonymous.certificates.push(server.certificate.clone());
    assert_eq!(
        pull(&store, &name, &anonymous).1.unwrap_err().kind(),
        ErrorKind::Denied
    );
    let mut wrong = with_password(&server, "wrong");
    wrong.certificates.push(server.certificate.clone());
    let error = pull(&store, &name, &wrong).1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(
        !error.to_string().contains("wrong") && error.to_string().contains("401"),
        "{error}"
    );
    let file = scratch.path("auth.json");
    Credentials::login(&file, &server.address, "user", "secret").unwrap();
    let mut from_file = anonymous.clone();
    from_file.credentials = Credentials::from_file(&file);
    assert_eq!(pull(&store, &name, &from_file).1.unwrap(), digest);
}

/// Pulls through a proxy that fails; what arrives in the end is counted.
fn pull_through(fault: Fault) -> (u64, ampoule_image::Result<Digest>, Store, Scratch, usize) {
    let scratch = Scratch::new();
    let server = Server::start(&scratch, Config::default());
    push(&origin(&scratch), "1", &server.name("app:1"), &options());
    let proxy = Proxy::start(&server.address, fault);
    let store = scratch.store();
    // The proxy knows plain HTTP only.
    let options = RegistryOptions {
        protocol: ampoule_image::Protocol::Http,
        ..options()
    };
    let (moved, pulled) = pull(&store, &proxy.name("app:1"), &options);
    assert!(store.verify().unwrap().is_empty(), "{fault:?}");
    let connections = proxy.connections.load(Ordering::Relaxed);
    drop(server);
    (moved, pulled, store, scratch, connections)
}

fn size_of_all() -> u64 {
    layers(1).iter().map(|layer| layer.len() as u64).sum()
}

needs!(root, registry => a_connection_that_is_cut_is_resumed);
fn a_connection_that_is_cut_is_resumed() {
    let (moved, pulled, _, _scratch, connections) = pull_through(Fault::Cut(300_000));
    pulled.unwrap();
    assert_eq!(moved, size_of_all(), "no byte is counted twice");
    assert!(
        connections >= 14,
        "4 MiB in pieces of 300 kB: {connections}"
    );
}

needs!(root, registry => a_connection_that_stalls_is_replaced);
fn a_connection_that_stalls_is_replaced() {
    let (moved, pulled, _, _scratch, _) = pull_through(Fault::Stall(2_500_000));
    pulled.unwrap();
    assert_eq!(moved, size_of_all());
}

needs!(root, registry => failures_of_the_registry_are_waited_out);
fn failures_of_the_registry_are_waited_out() {
    for status in [429, 500, 503] {
        pull_through(Fault::Status(status, 3)).1.unwrap();
    }
    let error = pull_through(Fault::Status(503, 1000)).1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    let error = pull_through(Fault::Status(403, 1000)).1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

needs!(root, registry => a_changed_bit_is_found);
fn a_changed_bit_is_found() {
    let (_, pulled, store, _scratch, _) = pull_through(Fault::Flip(500_000));
    let error = pulled.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Layer),
        "{error}"
    );
    assert!(store.tags().unwrap().is_empty());
}

needs!(=> nothing_listens_there);
fn nothing_listens_there() {
    let scratch = Scratch::new();
    let mut options = options();
    options.attempts = 2;
    let name: Reference = "127.0.0.1:1/app".parse().unwrap();
    let error = pull(&scratch.store(), &name, &options).1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}
