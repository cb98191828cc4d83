//! CVE-2024-21626: a descriptor of the host that leaks, or a working directory that leads out by way of one.

use super::{said, sh};
use ampoule::{Container, ErrorKind};
use needs::needs;
use rustix::fs::{Mode, OFlags, open};
use std::time::Duration;

needs!(user_namespaces => a_descriptor_of_the_host_as_working_directory);
fn a_descriptor_of_the_host_as_working_directory() {
    // Not even close-on-exec: the mistake of a host that wants to be attacked.
    let leak = open("/", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let child = Container::new("sleep").arg("60").spawn().unwrap();
    for number in 0..40 {
        for place in ["self", "thread-self", "1"] {
            let directory = format!("/proc/{place}/fd/{number}");
            let mut container = Container::new("true");
            container.timeout(Duration::from_secs(20));
            let error = container.current_dir(&directory).spawn().unwrap_err();
            let refused = [ErrorKind::Invalid, ErrorKind::NotFound, ErrorKind::Refused];
            assert!(refused.contains(&error.kind()), "{directory}: {error}");
            let error = child
                .exec("true")
                .current_dir(&directory)
                .spawn()
                .unwrap_err();
            assert!(refused.contains(&error.kind()), "exec {directory}: {error}");
        }
    }
    drop(leak);
}

needs!(user_namespaces => a_program_by_way_of_a_descriptor_of_the_host);
fn a_program_by_way_of_a_descriptor_of_the_host() {
    let leak = open("/", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let child = Container::new("sleep").arg("60").spawn().unwrap();
    for number in 0..40 {
        let program = format!("/proc/self/fd/{number}/bin/true");
        let mut container = Container::new(&program);
        let error = container
            .timeout(Duration::from_secs(20))
            .spawn()
            .unwrap_err();
        let refused = [ErrorKind::ProgramNotFound, ErrorKind::ProgramNotExecutable];
        assert!(refused.contains(&error.kind()), "{program}: {error}");
        let error = child.exec(&program).spawn().unwrap_err();
        assert!(refused.contains(&error.kind()), "exec {program}: {error}");
    }
    drop(leak);
}

needs!(user_namespaces => nothing_but_the_streams_is_open);
fn nothing_but_the_streams_is_open() {
    let leak = open("/", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let list = "ls /proc/self/fd | tr '\\n' ' '";
    for init in [false, true] {
        // The last is that of ls itself.
        assert_eq!(said(sh(list).init(init)), "0 1 2 3 ");
    }
    let child = sh("sleep 60").init(true).spawn().unwrap();
    let output = child.exec("sh").args(["-c", list]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0 1 2 3 ");
    drop(leak);
}
