//! What small profiles decide, and what is refused.

use super::*;
use crate::Error;
use crate::capabilities::CapabilitySet;

fn on(arch: Arch, default: Action, rules: &[Rule]) -> Filter {
    let mut profile = Profile::new(default);
    profile.arch(arch);
    profile.rules.extend(rules.iter().cloned());
    profile.compile().unwrap()
}

fn docker(capabilities: CapabilitySet) -> Filter {
    let host = Host {
        arch: Arch::X86_64,
        capabilities,
        kernel: KernelVersion { major: 6, minor: 1 },
    };
    Template::docker().resolve(&host).compile().unwrap()
}

fn action(filter: &Filter, name: &str, first: u64) -> Action {
    filter
        .explain(Arch::X86_64, name, [first, 0, 0, 0, 0, 0])
        .unwrap()
        .action
}

#[test]
fn docker_s_profile_knows_the_capabilities() {
    let filter = docker(CapabilitySet::DOCKER);
    assert_eq!(action(&filter, "openat", 0), Action::Allow);
    assert_eq!(action(&filter, "chroot", 0), Action::Allow);
    assert_eq!(action(&filter, "mount", 0), Action::Errno(1));
    assert_eq!(action(&filter, "clone", 0x11), Action::Allow);
    assert_eq!(action(&filter, "clone", 0x1000_0000), Action::Errno(1));
    assert_eq!(action(&filter, "clone3", 0), Action::Errno(38));
    assert_eq!(action(&filter, "socket", 2), Action::Allow);
    assert_eq!(action(&filter, "socket", 38), Action::Errno(1));
    assert_eq!(action(&filter, "socket", 40), Action::Errno(1));
    // A high half that the kernel would cut off does not get past the filter.
    assert_eq!(action(&filter, "socket", 1 << 32 | 38), Action::Errno(1));
    assert!(filter.skipped().is_empty(), "{:?}", filter.skipped());

    let admin = docker(CapabilitySet::ALL);
    assert_eq!(action(&admin, "mount", 0), Action::Allow);
    assert_eq!(action(&admin, "clone3", 0), Action::Allow);
    assert_eq!(action(&admin, "kexec_load", 0), Action::Errno(1));
}

#[test]
fn a_call_younger_than_the_profile_does_not_exist() {
    let filter = docker(CapabilitySet::DOCKER);
    let decide = |number| filter.decide(Arch::X86_64, number, [0; 6]).action;
    assert_eq!(decide(467), Action::Errno(38));
    assert_eq!(decide(5000), Action::Errno(38));
    // A call skipped by a tracer is none.
    assert_eq!(decide(u32::MAX), Action::Errno(1));
}

#[test]
fn another_abi_is_killed() {
    let filter = on(Arch::X86_64, Action::Allow, &[]);
    assert_eq!(
        filter.decide(Arch::X86, 1, [0; 6]).action,
        Action::KillThread
    );
    assert_eq!(
        filter.decide(Arch::X32, 0x4000_0001, [0; 6]).action,
        Action::KillThread
    );
    assert_eq!(filter.decide(Arch::X86_64, 1, [0; 6]).action, Action::Allow);
}

#[test]
fn a_rule_without_conditions_decides_alone() {
    let conditional = Rule::new(Action::Errno(5), ["write"]).when(0, Compare::Eq(1));
    let plain = Rule::new(Action::Errno(6), ["write"]);
    for rules in [[conditional.clone(), plain.clone()], [plain, conditional]] {
        let filter = on(Arch::X86_64, Action::Allow, &rules);
        assert_eq!(action(&filter, "write", 1), Action::Errno(6));
    }
}

#[test]
fn two_conditions_on_one_argument_are_a_range() {
    let rule = Rule::new(Action::Errno(5), ["write"])
        .when(0, Compare::Ge(3))
        .when(0, Compare::Lt(1 << 40));
    let filter = on(Arch::X86_64, Action::Allow, &[rule]);
    for (value, expected) in [
        (2, Action::Allow),
        (3, Action::Errno(5)),
        ((1 << 40) - 1, Action::Errno(5)),
        (1 << 40, Action::Allow),
        (u64::MAX, Action::Allow),
    ] {
        assert_eq!(action(&filter, "write", value), expected, "{value}");
    }
}

#[test]
fn what_has_no_meaning_is_refused() {
    fn check(rule: Rule, expected: &str) {
        let mut profile = Profile::new(Action::Allow);
        let error = profile.arch(Arch::X86_64).rule(rule).compile().unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
    }
    check(
        Rule::new(Action::KillProcess, ["chrot"]),
        r#"unknown system call "chrot"; did you mean chroot?"#,
    );
    check(
        Rule::new(Action::KillProcess, ["write"]).when(6, Compare::Eq(0)),
        "a condition names argument 6, but a system call has arguments 0 to 5",
    );
    check(
        Rule::new(Action::Errno(4096), ["write"]),
        "errno 4096 is above 4095, the kernel's highest",
    );
    check(
        Rule::new(Action::Notify, ["write"]),
        "the profile uses SCMP_ACT_NOTIFY, but has no listener: set the flag new_listener",
    );
    let error = Arch::parse("SCMP_ARCH_VAX").unwrap_err();
    assert!(error.to_string().contains("SCMP_ARCH_VAX"));
    assert!(matches!(
        Action::parse("SCMP_ACT_ALOW", None),
        Err(Error::UnknownAction(_))
    ));
}

#[test]
fn a_call_of_another_architecture_is_no_mistake() {
    let rule = Rule::new(
        Action::KillProcess,
        ["s390_runtime_instr", "swapcontext", "open"],
    );
    let filter = on(Arch::Aarch64, Action::Allow, &[rule]);
    assert_eq!(filter.program().instructions().len(), 4);
}

#[test]
fn the_disassembly_can_be_read() {
    let filter = on(
        Arch::X86_64,
        Action::Allow,
        &[Rule::new(Action::Errno(1), ["ptrace"])],
    );
    let expected = "   0  load arch
   1  if arch == 0xc000003e (x86_64) then 2 else 8
   2  load number
   3  if number >= 0x40000000 then 4 else 5
   4  if number >= 0xffffffff then 7 else 8
   5  if number == 0x65 (ptrace) then 6 else 7
   6  return errno 1 (EPERM)
   7  return allow
   8  return kill thread
";
    assert_eq!(filter.to_string(), expected);
}
