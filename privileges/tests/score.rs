//! The steps of a container's privileges, word for word.

use ampoule_plan::{Draft, Part};
use ampoule_privileges::capabilities::{Capabilities, Capability, CapabilitySet};
use ampoule_privileges::scheduling::{Policy, Scheduler};
use ampoule_privileges::seccomp::{Action, Arch, Profile};
use ampoule_privileges::{Privileges, User};

/// Phase and call of each step of the child, without the plan's numbers, columns and reasons.
fn score(privileges: &Privileges) -> String {
    let mut draft = Draft::new();
    privileges.contribute(&mut draft).unwrap();
    let text = draft.finish().unwrap().to_string();
    let phases = ["limits", "session", "drop", "filter"];
    let step = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        phases
            .contains(words.first()?)
            .then(|| words.join(" ") + "\n")
    };
    text.lines().filter_map(step).collect()
}

#[test]
fn privileges_go_in_this_order() {
    let filter = Profile::new(Action::Allow)
        .arch(Arch::X86_64)
        .compile()
        .unwrap();
    // All but one stays in the bounding set, so that the score is short. Kernels know at least the first 41.
    let bounding = CapabilitySet::supported().unwrap() - [Capability::SysModule].into();
    let kept = [Capability::NetBindService].into();
    let mut privileges = Privileges::new();
    privileges
        .capabilities(Capabilities {
            bounding,
            ..Capabilities::kept(kept)
        })
        .user(User {
            uid: 1000,
            gid: 100,
            groups: vec![],
        })
        .no_new_privs()
        .seccomp(filter)
        .rlimit("nofile=1024:2048".parse().unwrap())
        .scheduler(Scheduler::new(Policy::Batch));
    let expected = "\
limits sched_setattr(0, SCHED_BATCH, nice 0, 0)
drop prlimit64(0, RLIMIT_NOFILE, {1024, 2048}, NULL)
drop prctl(PR_CAPBSET_DROP, 16, 0, 0, 0)
drop prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
drop setgroups(0, [])
drop setresgid(100, 100, 100)
drop setresuid(1000, 1000, 1000)
drop capset(_LINUX_CAPABILITY_VERSION_3, {effective=0x400, permitted=0x400, inheritable=0x400})
drop prctl(PR_CAP_AMBIENT, 4, 0, 0, 0)
drop prctl(PR_CAP_AMBIENT, 2, 10, 0, 0)
drop prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
filter seccomp(SECCOMP_SET_MODE_FILTER, 0, {7 instructions})
";
    assert_eq!(score(&privileges), expected);

    // Without no_new_privs, the filter comes first of what drops something.
    let mut early = Privileges::new();
    let filter = Profile::new(Action::Allow)
        .arch(Arch::X86_64)
        .compile()
        .unwrap();
    early.seccomp(filter).user(User {
        uid: 1000,
        gid: 100,
        groups: vec![],
    });
    let text = score(&early);
    assert!(
        text.find("seccomp(").unwrap() < text.find("setgroups(").unwrap(),
        "{text}"
    );
}
