//! The kernel does with a call what the filter says it does.

use ampoule_privileges::capabilities::CapabilitySet;
use ampoule_privileges::seccomp::{Action, Arch, Compare, Filter, Host, Profile, Rule, Template};
use needs::needs;
use seccomp_oracle::{Call, Outcome, attempt};

/// A machine whose calls are known to the filter compiler.
fn native_arch() -> Result<(), String> {
    match Arch::native() {
        Some(_) => Ok(()),
        None => Err("filters cannot be compiled for this architecture".into()),
    }
}

/// A kernel that runs 32-bit x86 programs.
#[cfg(target_arch = "x86_64")]
fn x86() -> Result<(), String> {
    let mut everything = Profile::new(Action::Allow);
    everything.arch(Arch::X86_64).arch(Arch::X86);
    let getpid = Call::X86(20, [0; 3]);
    match outcome(&everything.compile().unwrap(), getpid) {
        Outcome::Returned(1..) => Ok(()),
        outcome => Err(format!("a 32-bit getpid is {outcome:?}")),
    }
}

fn number(name: &str) -> u32 {
    ampoule_privileges::seccomp::syscall_number(Arch::native().unwrap(), name).unwrap()
}

fn outcome(filter: &Filter, call: Call) -> Outcome {
    attempt(&filter.words(), filter.flags().bits(), call).unwrap()
}

fn native(filter: &Filter, name: &str, arguments: [u64; 6]) -> Outcome {
    outcome(filter, Call::Native(number(name), arguments))
}

const SIGSYS: i32 = 31;
const ENOSYS: i64 = -38;
const EBADF: i64 = -9;

needs!(native_arch => every_action_is_taken);
fn every_action_is_taken() {
    for (action, expected) in [
        (Action::Allow, Outcome::Returned(EBADF)),
        (Action::Log, Outcome::Returned(EBADF)),
        (Action::Errno(1), Outcome::Returned(-1)),
        (Action::Errno(4095), Outcome::Returned(-4095)),
        (Action::Errno(0), Outcome::Returned(0)),
        (Action::Trap, Outcome::Killed(SIGSYS)),
        (Action::KillThread, Outcome::Killed(SIGSYS)),
        (Action::KillProcess, Outcome::Killed(SIGSYS)),
        // Nobody traces the child.
        (Action::Trace(5), Outcome::Returned(ENOSYS)),
    ] {
        let mut profile = Profile::new(if action == Action::Allow {
            Action::Log
        } else {
            Action::Allow
        });
        let filter = profile
            .rule(Rule::new(action, ["fsync"]))
            .compile()
            .unwrap();
        assert_eq!(
            native(&filter, "fsync", [u64::MAX; 6]),
            expected,
            "{action}"
        );
    }
}

needs!(native_arch => arguments_are_compared_with_all_their_bits);
fn arguments_are_compared_with_all_their_bits() {
    let value = 0x1234_5678_9abc_def0;
    let compares = [
        Compare::Eq(value),
        Compare::Ne(value),
        Compare::Lt(value),
        Compare::Le(value),
        Compare::Ge(value),
        Compare::Gt(value),
        Compare::MaskedEq {
            mask: 0xff00_0000_0000_0f00,
            value,
        },
    ];
    let arguments = [
        0,
        value - 1,
        value,
        value + 1,
        value ^ 1 << 60,
        value ^ 1 << 8,
        u64::MAX,
    ];
    for compare in compares {
        let rule = Rule::new(Action::Errno(77), ["fsync"]).when(5, compare);
        let filter = Profile::new(Action::Allow).rule(rule).compile().unwrap();
        for argument in arguments {
            // fsync(2) ignores all arguments but the first, which is no file descriptor here.
            let outcome = native(&filter, "fsync", [u64::MAX, 0, 0, 0, 0, argument]);
            let expected = if compare.holds(argument) { -77 } else { EBADF };
            assert_eq!(
                outcome,
                Outcome::Returned(expected),
                "{compare:?} {argument:#x}"
            );
        }
    }
}

fn docker() -> Filter {
    let host = Host::here(CapabilitySet::DOCKER).unwrap();
    Template::docker().resolve(&host).compile().unwrap()
}

needs!(native_arch => docker_s_profile_is_enforced);
fn docker_s_profile_is_enforced() {
    let filter = docker();
    for (name, arguments, expected) in [
        ("fsync", [u64::MAX; 6], EBADF),
        ("keyctl", [0; 6], -1),
        ("unshare", [0x1000_0000, 0, 0, 0, 0, 0], -1),
        ("clone3", [0; 6], ENOSYS),
        ("socket", [38, 5, 0, 0, 0, 0], -1),
        ("socket", [40, 1, 0, 0, 0, 0], -1),
        // The family beyond all others is unknown to the kernel too, but the filter is asked first.
        ("socket", [1000, 1, 0, 0, 0, 0], -1),
        ("personality", [0xffff_ffff, 0, 0, 0, 0, 0], 0),
        ("personality", [1, 0, 0, 0, 0, 0], -1),
    ] {
        let outcome = native(&filter, name, arguments);
        assert_eq!(outcome, Outcome::Returned(expected), "{name} {arguments:?}");
    }
    assert_eq!(
        outcome(&filter, Call::Native(5000, [0; 6])),
        Outcome::Returned(ENOSYS)
    );
}

#[cfg(target_arch = "x86_64")]
needs!(x86 => a_32_bit_call_meets_its_own_rules);
#[cfg(target_arch = "x86_64")]
fn a_32_bit_call_meets_its_own_rules() {
    let filter = docker();
    let x86 = |name| ampoule_privileges::seccomp::syscall_number(Arch::X86, name).unwrap();
    let bad_fd = [u32::MAX, 0, 0];
    assert_eq!(
        outcome(&filter, Call::X86(x86("fsync"), bad_fd)),
        Outcome::Returned(EBADF)
    );
    assert_eq!(
        outcome(&filter, Call::X86(x86("keyctl"), [0; 3])),
        Outcome::Returned(-1)
    );
    assert_eq!(
        outcome(&filter, Call::X86(x86("socket"), [38, 5, 0])),
        Outcome::Returned(-1)
    );

    let only_64 = Profile::new(Action::Allow).compile().unwrap();
    let killed = outcome(&only_64, Call::X86(x86("fsync"), bad_fd));
    assert_eq!(killed, Outcome::Killed(SIGSYS));
}

#[cfg(target_arch = "x86_64")]
needs!(native_arch => the_x32_door_is_closed_unless_asked_for);
#[cfg(target_arch = "x86_64")]
fn the_x32_door_is_closed_unless_asked_for() {
    let call = Call::Native(0x4000_0000 | number("fsync"), [u64::MAX; 6]);
    let only_64 = Profile::new(Action::Allow).compile().unwrap();
    assert_eq!(outcome(&only_64, call), Outcome::Killed(SIGSYS));
}
