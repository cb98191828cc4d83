//! Namespaces are new, usable at once, and gone with their owner.

use ampoule_net::{Namespace, Pool};
use needs::needs;
use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

fn inode(namespace: &Namespace) -> u64 {
    rustix::fs::fstat(namespace.as_fd()).unwrap().st_ino
}

fn interfaces() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let names = table.lines().filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_string()).collect()
}

needs!(root => a_new_one_has_its_own_working_loopback);
fn a_new_one_has_its_own_working_loopback() {
    let namespace = Namespace::create().unwrap();
    assert_ne!(inode(&namespace), inode(&Namespace::current().unwrap()));
    assert_eq!(namespace.run(interfaces).unwrap(), ["lo"]);
    for host in ["127.0.0.1", "::1"] {
        let server = namespace
            .run(|| TcpListener::bind((host, 80)))
            .unwrap()
            .unwrap();
        let mut client = namespace
            .run(|| TcpStream::connect((host, 80)))
            .unwrap()
            .unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        let mut heard = String::new();
        server
            .accept()
            .unwrap()
            .0
            .read_to_string(&mut heard)
            .unwrap();
        assert_eq!(heard, "hello");
    }
}

needs!(root => the_caller_stays_where_it_is);
fn the_caller_stays_where_it_is() {
    let before = inode(&Namespace::current().unwrap());
    let namespace = Namespace::create().unwrap();
    let inside = namespace
        .run(|| inode(&Namespace::current().unwrap()))
        .unwrap();
    assert_eq!(inside, inode(&namespace));
    assert_eq!(before, inode(&Namespace::current().unwrap()));
}

needs!(root => sockets_keep_the_namespace_they_were_made_in);
fn sockets_keep_the_namespace_they_were_made_in() {
    let (one, two) = (Namespace::create().unwrap(), Namespace::create().unwrap());
    // The same port in both, and used from a third place: each hears its own sender only.
    let server = |ns: &Namespace| ns.run(|| UdpSocket::bind("127.0.0.1:53")).unwrap().unwrap();
    let (first, second) = (server(&one), server(&two));
    second.set_nonblocking(true).unwrap();
    let sender = one.run(|| UdpSocket::bind("127.0.0.1:0")).unwrap().unwrap();
    sender.send_to(b"ping", "127.0.0.1:53").unwrap();
    let mut buffer = [0; 8];
    assert_eq!(first.recv(&mut buffer).unwrap(), 4);
    assert_eq!(
        second.recv(&mut buffer).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

needs!(root => a_file_that_is_no_namespace_is_refused);
fn a_file_that_is_no_namespace_is_refused() {
    let error = Namespace::open("/proc/self/ns/uts")
        .unwrap()
        .run(|| ())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "enter a network namespace: Invalid argument (os error 22)"
    );
    let error = Namespace::open("/proc/self/ns/nonesuch").unwrap_err();
    assert!(
        error.to_string().starts_with("open the network namespace"),
        "{error}"
    );
}

needs!(root => a_panic_inside_goes_on_outside);
fn a_panic_inside_goes_on_outside() {
    let namespace = Namespace::create().unwrap();
    let caught = std::panic::catch_unwind(|| namespace.run(|| panic!("inside")));
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "inside");
}

needs!(root => without_privilege_the_remedy_is_named);
fn without_privilege_the_remedy_is_named() {
    let error = thread::spawn(|| {
        rustix::thread::set_capabilities(
            None,
            rustix::thread::CapabilitySets {
                effective: rustix::thread::CapabilitySet::empty(),
                permitted: rustix::thread::CapabilitySet::empty(),
                inheritable: rustix::thread::CapabilitySet::empty(),
            },
        )
        .unwrap();
        Namespace::create().unwrap_err()
    })
    .join()
    .unwrap();
    assert_eq!(error.kind(), ampoule_net::ErrorKind::Denied);
    assert!(error.to_string().contains("CAP_SYS_ADMIN"), "{error}");
}

needs!(root => a_pool_gives_each_taker_a_new_one);
fn a_pool_gives_each_taker_a_new_one() {
    let pool = Pool::namespaces(4).unwrap();
    assert!(pool.wait_full(Duration::from_secs(10)));
    let taken: Vec<Namespace> = (0..32).map(|_| pool.take().unwrap()).collect();
    let distinct: HashSet<u64> = taken.iter().map(inode).collect();
    assert_eq!(distinct.len(), 32);
    assert!(!distinct.contains(&inode(&Namespace::current().unwrap())));
    assert!(pool.stats().hits >= 4, "{:?}", pool.stats());
    assert_eq!(pool.stats().hits + pool.stats().misses, 32);
    assert_eq!(taken[31].run(interfaces).unwrap(), ["lo"]);
}

needs!(root => a_dropped_pool_leaves_nothing);
fn a_dropped_pool_leaves_nothing() {
    let pool = Pool::namespaces(8).unwrap();
    assert!(pool.wait_full(Duration::from_secs(10)));
    let kept = pool.take().unwrap();
    drop(pool);
    // `kept` holds its namespace, so that its number cannot be that of another one meanwhile.
    let name = format!("net:[{}]", inode(&kept));
    let entries = |directory: &str| {
        fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
    };
    let leads_there = |path: &PathBuf| {
        fs::read_link(path).is_ok_and(|target| target.as_os_str() == name.as_str())
    };
    let threads = entries("/proc/self/task")
        .map(|path| path.join("ns/net"))
        .filter(leads_there);
    assert_eq!(threads.count(), 0, "no thread is left in it");
    assert_eq!(
        entries("/proc/self/fd").filter(leads_there).count(),
        1,
        "nobody else holds it"
    );
}
