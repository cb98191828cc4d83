//! A started process has the privileges that were asked for, as it sees them itself.

use crate::container::{output, try_output};
use ampoule_privileges::capabilities::{Capabilities, Capability, CapabilitySet};
use ampoule_privileges::scheduling::{IoPriority, Policy, Scheduler};
use ampoule_privileges::seccomp::{
    Action, Arch, Filter, Host, Profile, Rule, Template, syscall_number,
};
use ampoule_privileges::{Label, Privileges, Securebits, User};
use needs::needs;

/// A line of `/proc/self/status`, from the output of `cat`.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}"))
        .trim()
}

fn set(status: &str, name: &str) -> CapabilitySet {
    CapabilitySet::from_bits(u64::from_str_radix(field(status, name), 16).unwrap())
}

fn docker_filter() -> Filter {
    let host = Host::here(CapabilitySet::DOCKER).unwrap();
    Template::docker().resolve(&host).compile().unwrap()
}

fn nobody() -> User {
    User {
        uid: 65534,
        gid: 65533,
        groups: vec![7, 9],
    }
}

const STATUS: &str = "exec cat /proc/self/status";

needs!(root => root_gets_docker_s_capabilities_and_filter);
fn root_gets_docker_s_capabilities_and_filter() {
    let mut privileges = Privileges::new();
    privileges
        .capabilities(Capabilities::of(CapabilitySet::DOCKER))
        .no_new_privs()
        .seccomp(docker_filter());
    let status = output(&privileges, STATUS);
    for name in ["CapBnd", "CapPrm", "CapEff"] {
        assert_eq!(set(&status, name), CapabilitySet::DOCKER, "{name}");
    }
    for name in ["CapInh", "CapAmb"] {
        assert_eq!(set(&status, name), CapabilitySet::EMPTY, "{name}");
    }
    assert_eq!(
        (field(&status, "NoNewPrivs"), field(&status, "Seccomp")),
        ("1", "2")
    );
}

needs!(root => an_ordinary_user_keeps_ambient_capabilities);
fn an_ordinary_user_keeps_ambient_capabilities() {
    let kept = [Capability::NetAdmin, Capability::Kill].into();
    let mut privileges = Privileges::new();
    privileges
        .capabilities(Capabilities::kept(kept))
        .user(nobody())
        .no_new_privs();
    let status = output(&privileges, STATUS);
    for name in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(set(&status, name), kept, "{name}");
    }
    assert_eq!(field(&status, "Uid"), "65534\t65534\t65534\t65534");
    assert_eq!(field(&status, "Gid"), "65533\t65533\t65533\t65533");
    assert_eq!(field(&status, "Groups"), "7 9");
}

needs!(root => an_ordinary_user_loses_what_is_not_ambient);
fn an_ordinary_user_loses_what_is_not_ambient() {
    let mut privileges = Privileges::new();
    privileges
        .capabilities(Capabilities::of(CapabilitySet::DOCKER))
        .user(nobody());
    let status = output(&privileges, STATUS);
    assert_eq!(set(&status, "CapBnd"), CapabilitySet::DOCKER);
    assert_eq!(set(&status, "CapEff"), CapabilitySet::EMPTY);
}

needs!(root => without_no_new_privs_the_filter_comes_before_the_drop);
fn without_no_new_privs_the_filter_comes_before_the_drop() {
    let mut privileges = Privileges::new();
    let mut filtered = docker_filter();
    privileges
        .capabilities(Capabilities::of(CapabilitySet::EMPTY))
        .user(nobody())
        .seccomp(filtered);
    let status = output(&privileges, STATUS);
    assert_eq!(
        (field(&status, "NoNewPrivs"), field(&status, "Seccomp")),
        ("0", "2")
    );
    assert_eq!(set(&status, "CapBnd"), CapabilitySet::EMPTY);

    // A filter that keeps privileges from being dropped is refused before anything is started.
    filtered = Profile::new(Action::Allow)
        .rule(Rule::new(Action::Errno(1), ["capset"]))
        .compile()
        .unwrap();
    privileges.seccomp(filtered);
    let error = try_output(&privileges, "true").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the seccomp filter does not allow capset, which is still needed after it is loaded; set no_new_privs, or allow it"
    );
    privileges.no_new_privs();
    assert_eq!(output(&privileges, "echo in"), "in\n");
}

/// A copy of id(1) that is set-user-ID root; gone when dropped.
struct SetUserId(std::path::PathBuf);

impl SetUserId {
    fn new() -> SetUserId {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("ampoule-set-user-id-{}", std::process::id()));
        let program = SetUserId(path);
        std::fs::copy("/usr/bin/id", &program.0).unwrap();
        std::fs::set_permissions(&program.0, PermissionsExt::from_mode(0o4755)).unwrap();
        program
    }
}

impl Drop for SetUserId {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

needs!(root => set_user_id_programs_give_nothing_under_no_new_privs);
fn set_user_id_programs_give_nothing_under_no_new_privs() {
    let program = SetUserId::new();
    let script = format!("exec {} -u", program.0.display());
    let mut privileges = Privileges::new();
    privileges
        .capabilities(Capabilities::of(CapabilitySet::DOCKER))
        .user(nobody());
    assert_eq!(output(&privileges, &script), "0\n");
    privileges.no_new_privs();
    assert_eq!(output(&privileges, &script), "65534\n");
}

needs!(root => limits_and_scheduling_are_as_asked);
fn limits_and_scheduling_are_as_asked() {
    let mut privileges = Privileges::new();
    privileges
        .rlimit("nofile=100:200".parse().unwrap())
        .rlimit("core=0".parse().unwrap())
        .oom_score_adj(500)
        .nice(5)
        .scheduler(Scheduler {
            nice: 7,
            ..Scheduler::new(Policy::Batch)
        })
        .io_priority(IoPriority::BestEffort(6))
        .cpus("0".parse().unwrap());
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj; nice; ionice; \
                  chrt -p $$ | head -n 1 | grep -o SCHED_.*; grep Cpus_allowed_list /proc/self/status";
    let expected = "100\n200\n0\n500\n7\nbest-effort: prio 6\nSCHED_BATCH\nCpus_allowed_list:\t0\n";
    assert_eq!(output(&privileges, script), expected);
}

needs!(root => a_deadline_is_kept_and_an_impossible_one_refused);
fn a_deadline_is_kept_and_an_impossible_one_refused() {
    let mut scheduler = Scheduler::new(Policy::Fifo { priority: 3 });
    scheduler.reset_on_fork = true;
    let mut privileges = Privileges::new();
    privileges.scheduler(scheduler);
    let told = output(&privileges, "chrt -p $$");
    assert!(
        told.contains("SCHED_FIFO|SCHED_RESET_ON_FORK") && told.contains(": 3"),
        "{told}"
    );

    privileges
        .scheduler(Scheduler::new(Policy::Deadline {
            runtime: 9,
            deadline: 1,
            period: 1,
        }))
        .nice(20);
    let error = try_output(&privileges, "true").unwrap_err().to_string();
    assert!(
        error.contains("a deadline needs") && error.contains("nice value 20"),
        "{error}"
    );
}

needs!(root => personality_keyring_and_secure_bits_are_as_asked);
fn personality_keyring_and_secure_bits_are_as_asked() {
    let mut privileges = Privileges::new();
    let bits = Securebits::NOROOT | Securebits::NOROOT_LOCKED;
    privileges
        .personality(8)
        .session_keyring("ampoule-test")
        .securebits(bits);
    let told = output(
        &privileges,
        "cat /proc/self/personality; setpriv --dump; cat /proc/keys",
    );
    assert!(told.starts_with("00000008\n"), "{told}");
    assert!(told.contains("Securebits: noroot,noroot_locked"), "{told}");
    assert!(told.contains("ampoule-test"), "{told}");

    let ambient = Capabilities::kept([Capability::Kill].into());
    privileges
        .securebits(Securebits::NO_CAP_AMBIENT_RAISE)
        .capabilities(ambient);
    let error = try_output(&privileges, "true").unwrap_err().to_string();
    assert!(error.contains("NO_CAP_AMBIENT_RAISE"), "{error}");
}

/// A kernel that runs AppArmor.
fn apparmor() -> Result<(), String> {
    match std::fs::read_to_string("/sys/module/apparmor/parameters/enabled") {
        Ok(text) if text.trim() == "Y" => Ok(()),
        _ => Err("this kernel does not run AppArmor".into()),
    }
}

/// A kernel that does not.
fn no_apparmor() -> Result<(), String> {
    match apparmor() {
        Ok(()) => Err("this kernel runs AppArmor".into()),
        Err(_) => Ok(()),
    }
}

/// A kernel that does not run SELinux.
fn no_selinux() -> Result<(), String> {
    match std::fs::exists("/sys/fs/selinux/enforce") {
        Ok(false) => Ok(()),
        _ => Err("this kernel runs SELinux".into()),
    }
}

fn refused(label: Label) -> String {
    let mut privileges = Privileges::new();
    privileges.label(label);
    try_output(&privileges, "true").unwrap_err().to_string()
}

needs!(root, no_apparmor => an_apparmor_profile_without_apparmor_is_an_error);
fn an_apparmor_profile_without_apparmor_is_an_error() {
    let error = refused(Label::AppArmor("docker-default".into()));
    assert!(
        error.contains(r#""docker-default" needs AppArmor"#),
        "{error}"
    );
}

needs!(root, no_selinux => an_selinux_context_without_selinux_is_an_error);
fn an_selinux_context_without_selinux_is_an_error() {
    let error = refused(Label::SeLinux("system_u:system_r:container_t:s0".into()));
    assert!(error.contains("needs SELinux"), "{error}");
}

needs!(root, apparmor => an_apparmor_profile_that_is_not_loaded_is_an_error);
fn an_apparmor_profile_that_is_not_loaded_is_an_error() {
    let error = refused(Label::AppArmor("ampoule-no-such-profile".into()));
    assert!(error.contains("write"), "{error}");
    let mut privileges = Privileges::new();
    privileges.label(Label::AppArmor("unconfined".into()));
    assert_eq!(
        output(&privileges, "cat /proc/self/attr/current"),
        "unconfined\n"
    );
}

needs!(root => a_set_beyond_the_kernel_s_is_found);
fn a_set_beyond_the_kernel_s_is_found() {
    let supported = CapabilitySet::supported().unwrap();
    let mut privileges = Privileges::new();
    privileges.capabilities(Capabilities::of(CapabilitySet::ALL));
    assert_eq!(privileges.check().is_ok(), supported == CapabilitySet::ALL);
}

needs!(root => a_listener_decides_for_the_process);
fn a_listener_decides_for_the_process() {
    let mut profile = Profile::new(Action::Allow);
    profile.rule(Rule::new(Action::Notify, ["sethostname"]));
    profile.flags.new_listener = true;
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut privileges = Privileges::new();
    privileges
        .no_new_privs()
        .seccomp(profile.compile().unwrap());
    privileges.listener(move |listener| sender.send(listener).map_err(std::io::Error::other));
    // The supervisor answers once. The process is root, so the kernel itself would let it.
    let supervisor = std::thread::spawn(move || {
        let listener = receiver.recv().unwrap();
        seccomp_oracle::answer(&listener, 1).unwrap()
    });
    let told = output(&privileges, "hostname ampoule; hostname");
    assert!(
        told.contains("must be root") && !told.contains("ampoule"),
        "{told}"
    );
    let number = syscall_number(Arch::native().unwrap(), "sethostname");
    assert_eq!(supervisor.join().unwrap(), number.unwrap());
}
