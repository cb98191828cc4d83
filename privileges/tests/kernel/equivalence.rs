//! Our programs decide as libseccomp's do: both are run on every number and on the arguments that matter.

use ampoule_privileges::capabilities::{Capability, CapabilitySet};
use ampoule_privileges::seccomp::{
    Action, Arch, Compare, Condition, Data, Host, KernelVersion, Newer, Profile, Program, Rule,
    Template, syscall_name, syscall_number,
};
use needs::needs;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use seccomp_oracle::{Comparison, Context, resolve};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// libseccomp, which Debian has as `libseccomp2`.
fn libseccomp() -> Result<(), String> {
    seccomp_oracle::available()
}

/// The token of `seccomp.h`: x32 has one of its own there.
fn token(arch: Arch) -> u32 {
    match arch {
        Arch::X32 => 0x4000_003e,
        arch => arch.audit(),
    }
}

/// The action as `seccomp.h` numbers it: as the kernel does.
fn comparison(condition: &Condition) -> Comparison {
    let (operator, a, b) = match condition.compare {
        Compare::Ne(value) => (1, value, 0),
        Compare::Lt(value) => (2, value, 0),
        Compare::Le(value) => (3, value, 0),
        Compare::Eq(value) => (4, value, 0),
        Compare::Ge(value) => (5, value, 0),
        Compare::Gt(value) => (6, value, 0),
        Compare::MaskedEq { mask, value } => (7, mask, value),
    };
    Comparison {
        argument: condition.argument,
        operator,
        a,
        b,
    }
}

/// libseccomp's program for a profile, made as runc makes it; none if libseccomp refuses a rule.
fn theirs(profile: &Profile) -> Option<Program> {
    let tokens: Vec<u32> = profile.arches.iter().map(|arch| token(*arch)).collect();
    let mut context = Context::new(profile.default.to_return_value(), &tokens);
    for rule in profile
        .rules
        .iter()
        .filter(|rule| rule.action != profile.default)
    {
        let arguments: Vec<Comparison> = rule.conditions.iter().map(comparison).collect();
        for name in &rule.syscalls {
            match context.rule(rule.action.to_return_value(), name, &arguments) {
                // A name that this libseccomp is too old for: its numbers are not compared.
                Ok(()) | Err(None) => {}
                Err(Some(_)) => return None,
            }
        }
    }
    Program::from_bytes(&context.export())
}

/// The numbers, by entry, that the two tables do not agree on: this libseccomp is older than ours.
fn disputed() -> &'static BTreeSet<(u32, u32)> {
    static DISPUTED: LazyLock<BTreeSet<(u32, u32)>> = LazyLock::new(|| {
        let names: BTreeSet<&str> = Arch::ALL
            .into_iter()
            .flat_map(|arch| numbers().filter_map(move |number| syscall_name(arch, number)))
            .collect();
        let all = Arch::ALL
            .into_iter()
            .flat_map(|arch| names.iter().map(move |name| (arch, *name)));
        all.filter_map(|(arch, name)| {
            let number = syscall_number(arch, name)?;
            let agreed = match resolve(token(arch), name) {
                Some(theirs @ 0..) => theirs as u32 == number,
                // What socketcall and ipc stand for has numbers of libseccomp's own on x86.
                Some(-224..=-100) => arch == Arch::X86,
                _ => false,
            };
            (!agreed).then_some((arch.audit(), number))
        })
        .collect()
    });
    &DISPUTED
}

/// Values on both sides of everything that a profile compares an argument with.
fn interesting(profile: &Profile) -> Vec<u64> {
    let mut values = BTreeSet::from([0, 1, 0xffff_ffff, 1 << 32, u64::MAX]);
    for condition in profile.rules.iter().flat_map(|rule| &rule.conditions) {
        let (a, b) = match condition.compare {
            Compare::Ne(a) | Compare::Lt(a) | Compare::Le(a) => (a, a),
            Compare::Eq(a) | Compare::Ge(a) | Compare::Gt(a) => (a, a),
            Compare::MaskedEq { mask, value } => (value & mask, value | !mask),
        };
        for value in [a, b] {
            let around = [
                value,
                value.wrapping_add(1),
                value.wrapping_sub(1),
                value ^ (1 << 32),
            ];
            values.extend(around);
            values.insert(value & 0xffff_ffff);
        }
    }
    values.into_iter().collect()
}

/// Every number that an ABI may have, and those around its edges.
fn numbers() -> impl Iterator<Item = u32> {
    let x32 = 0x4000_0000;
    let edges = [
        0x3fff_ffff,
        0x7fff_ffff,
        0x8000_0000,
        u32::MAX - 1,
        u32::MAX,
    ];
    let arm = 0xf0000..0xf0010;
    (0..700).chain(x32..x32 + 700).chain(arm).chain(edges)
}

/// Runs both programs on every number, and on the arguments given for the numbers that have conditions.
fn compare(profile: &Profile, arguments: &[[u64; 6]]) -> Result<(), TestCaseError> {
    let Some(theirs) = theirs(profile) else {
        return Err(TestCaseError::reject("libseccomp refuses it"));
    };
    let filter = profile.compile().unwrap();
    let conditional = |arch: Arch| -> BTreeSet<u32> {
        let rules = profile
            .rules
            .iter()
            .filter(|rule| !rule.conditions.is_empty());
        let names = rules.flat_map(|rule| &rule.syscalls).map(String::as_str);
        let through = ["socketcall", "ipc"];
        names
            .chain(through)
            .filter_map(|name| syscall_number(arch, name))
            .collect()
    };
    for arch in Arch::ALL {
        let conditional = conditional(arch);
        // Nothing depends on the number where the whole entry is refused: samples are enough there.
        let step = if profile.arches.contains(&arch) {
            1
        } else {
            50
        };
        for number in numbers().step_by(step) {
            if disputed().contains(&(arch.audit(), number)) {
                continue;
            }
            let few = if conditional.contains(&number) {
                arguments
            } else {
                &arguments[..1]
            };
            for arguments in few {
                let data = Data::new(arch, number, *arguments);
                let (our, their) = (filter.program().run(&data), theirs.run(&data));
                prop_assert_eq!(
                    our,
                    their,
                    "{} {:?} {:x?}",
                    arch,
                    syscall_name(arch, number),
                    data
                );
            }
        }
    }
    Ok(())
}

/// Every interesting value in every place, the others being 0, and some mixtures.
fn arguments(profile: &Profile) -> Vec<[u64; 6]> {
    let values = interesting(profile);
    let mut all = vec![[0; 6]];
    for &value in &values {
        all.push([value; 6]);
        for at in 0..6 {
            let mut arguments = [0; 6];
            arguments[at] = value;
            all.push(arguments);
        }
    }
    // A fixed generator: a failure can be repeated.
    let mut state = 1_u64;
    for _ in 0..60 {
        all.push(std::array::from_fn(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            values[(state >> 33) as usize % values.len()]
        }));
    }
    all
}

needs!(libseccomp => docker_s_profile_decides_the_same);
fn docker_s_profile_decides_the_same() {
    let sets = [
        CapabilitySet::EMPTY,
        CapabilitySet::DOCKER,
        CapabilitySet::DOCKER | [Capability::SysAdmin].into(),
        CapabilitySet::ALL,
    ];
    for capabilities in sets {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let kernel = KernelVersion { major: 6, minor: 1 };
            let mut profile = Template::docker().resolve(&Host {
                arch,
                capabilities,
                kernel,
            });
            // libseccomp has no notion of newer calls.
            profile.newer = Newer::Default;
            compare(&profile, &arguments(&profile)).unwrap();
        }
    }
}

needs!(libseccomp => numbers_are_libseccomp_s);
fn numbers_are_libseccomp_s() {
    for arch in Arch::ALL {
        let known = numbers()
            .filter(|number| syscall_name(arch, *number).is_some())
            .count();
        let disputed: Vec<&str> = disputed()
            .iter()
            .filter_map(|(audit, number)| {
                syscall_name(arch, *number).filter(|_| *audit == arch.audit())
            })
            .collect();
        assert!(known > 300, "{arch}: {known}");
        assert!(disputed.len() < 30, "{arch}: {disputed:?}");
    }
}

/// Calls of all kinds: everywhere, multiplexed on x86, missing on some ABI, private to one.
const NAMES: &[&str] = &[
    "read",
    "write",
    "openat",
    "execve",
    "clone",
    "personality",
    "ioctl",
    "prctl",
    "mount",
    "kill",
    "ptrace",
    "getpid",
    "socket",
    "bind",
    "accept4",
    "sendmsg",
    "recvmmsg",
    "semget",
    "semop",
    "shmat",
    "msgctl",
    "open",
    "fork",
    "stat",
    "mmap2",
    "_llseek",
    "fcntl64",
    "arch_prctl",
    "clone3",
    "faccessat2",
];

const ACTIONS: &[Action] = &[
    Action::Allow,
    Action::Errno(1),
    Action::Errno(38),
    Action::Errno(4094),
    Action::KillProcess,
    Action::KillThread,
    Action::Trap,
    Action::Trace(7),
    Action::Log,
];

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..4_u64,
        2 => Just(0x7e02_0000),
        1 => Just(0xffff_ffff),
        1 => any::<u32>().prop_map(u64::from),
    ]
}

/// Also with a high half; on 32-bit ABIs an order cannot be compared with it as libseccomp does (it cuts the value off).
fn wide_value() -> impl Strategy<Value = u64> {
    prop_oneof![
        value(),
        (1..3_u64, value()).prop_map(|(high, low)| high << 32 | low)
    ]
}

fn equality() -> impl Strategy<Value = Compare> {
    prop_oneof![
        wide_value().prop_map(Compare::Eq),
        wide_value().prop_map(Compare::Ne),
        (wide_value(), wide_value()).prop_map(|(mask, value)| Compare::MaskedEq { mask, value }),
    ]
}

fn order(value: BoxedStrategy<u64>) -> impl Strategy<Value = Compare> {
    (value, 0..4).prop_map(|(value, kind)| match kind {
        0 => Compare::Lt(value),
        1 => Compare::Le(value),
        2 => Compare::Ge(value),
        _ => Compare::Gt(value),
    })
}

fn any_compare(wide: bool) -> BoxedStrategy<Compare> {
    let bound = if wide {
        wide_value().boxed()
    } else {
        value().boxed()
    };
    prop_oneof![
        3 => equality(),
        4 => order(bound),
    ]
    .boxed()
}

/// The ABIs of a machine, and whether all have 64 bits.
fn machine() -> impl Strategy<Value = (Vec<Arch>, bool)> {
    prop_oneof![
        Just((vec![Arch::X86_64], true)),
        Just((vec![Arch::X86_64, Arch::X86, Arch::X32], false)),
        Just((vec![Arch::X86_64, Arch::X32], false)),
        Just((vec![Arch::X32], false)),
        Just((vec![Arch::X86], false)),
        Just((vec![Arch::Aarch64], true)),
        Just((vec![Arch::Aarch64, Arch::Arm], false)),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop::sample::select(ACTIONS)
}

/// Rules of which each call has one, with conditions on several arguments.
fn one_rule_each(wide: bool) -> impl Strategy<Value = Vec<Rule>> {
    let names = prop::sample::subsequence(NAMES, 0..NAMES.len());
    names.prop_flat_map(move |names| {
        let rules: Vec<_> = names
            .into_iter()
            .map(move |name| one_rule(name, wide))
            .collect();
        rules
    })
}

fn one_rule(name: &'static str, wide: bool) -> impl Strategy<Value = Rule> {
    let arguments = prop::sample::subsequence((0..6).collect::<Vec<u32>>(), 0..4);
    let compares = prop::collection::vec(any_compare(wide), 4);
    (action(), arguments, compares).prop_map(move |(action, arguments, compares)| {
        let conditions = arguments.into_iter().zip(compares);
        conditions.fold(Rule::new(action, [name]), |rule, (argument, compare)| {
            rule.when(argument, compare)
        })
    })
}

/// Rules of which a call may have several: all on one argument, with one action.
fn alternatives(compare: BoxedStrategy<Compare>) -> impl Strategy<Value = Vec<Rule>> {
    let names = prop::sample::subsequence(NAMES, 1..8);
    names.prop_flat_map(move |names| {
        let compare = compare.clone();
        let rules: Vec<_> = names
            .into_iter()
            .map(move |name| {
                let compares = prop::collection::vec(compare.clone(), 1..6);
                (action(), 0..6_u32, compares).prop_map(move |(action, argument, compares)| {
                    let rule = |compare| Rule::new(action, [name]).when(argument, compare);
                    compares.into_iter().map(rule).collect::<Vec<_>>()
                })
            })
            .collect();
        rules.prop_map(|rules| rules.concat())
    })
}

/// Rules like these, each with an action of its own.
fn conflicting(rules: impl Strategy<Value = Vec<Rule>>) -> impl Strategy<Value = Vec<Rule>> {
    let with_actions = |rules: Vec<Rule>| {
        let actions = prop::collection::vec(action(), rules.len());
        (Just(rules), actions)
    };
    rules
        .prop_flat_map(with_actions)
        .prop_map(|(rules, actions)| {
            let pairs = rules.into_iter().zip(actions);
            pairs
                .map(|(rule, action)| Rule { action, ..rule })
                .collect()
        })
}

/// Compares random profiles with libseccomp's, on all arguments or on those below 2^32.
fn check<S: Strategy<Value = Vec<Rule>>>(rules: impl Fn(bool) -> S, high_halves: bool) {
    let cases = (machine(), action())
        .prop_flat_map(|((arches, wide), default)| (Just(arches), Just(default), rules(wide)));
    let config = Config {
        cases: 60,
        max_global_rejects: 3000,
        failure_persistence: None,
        ..Config::default()
    };
    let compared = TestRunner::new(config).run(&cases, |(arches, default, rules)| {
        let mut profile = Profile::new(default);
        profile.arches = arches;
        // Without a plain rule at its head, libseccomp 2.5 forgets to load the number on some ABIs.
        let head = match default {
            Action::Allow => Action::Errno(2),
            _ => Action::Allow,
        };
        profile.rule(Rule::new(head, ["getppid"]));
        profile.rules.extend(rules);
        let mut arguments = arguments(&profile);
        arguments.retain(|arguments| high_halves || arguments.iter().all(|value| value >> 32 == 0));
        compare(&profile, &arguments)
    });
    compared.unwrap();
}

needs!(libseccomp => conditions_on_several_arguments_decide_the_same);
fn conditions_on_several_arguments_decide_the_same() {
    check(one_rule_each, true);
}

needs!(libseccomp => alternatives_decide_the_same);
fn alternatives_decide_the_same() {
    // Orders with values of 2^32 and more are left out: libseccomp's tree of halves loses alternatives among them.
    let narrow = prop_oneof![
        value().prop_map(Compare::Eq),
        value().prop_map(Compare::Ne),
        (value(), value()).prop_map(|(mask, value)| Compare::MaskedEq { mask, value }),
        order(value().boxed()),
    ];
    let narrow = narrow.boxed();
    check(|_| alternatives(narrow.clone()), true);
    let wide = prop_oneof![
        wide_value().prop_map(Compare::Eq),
        wide_value().prop_map(Compare::Ne)
    ]
    .boxed();
    check(|_| alternatives(wide.clone()), true);
}

needs!(libseccomp => conflicts_are_settled_the_same);
fn conflicts_are_settled_the_same() {
    let from_above = |value| {
        prop_oneof![
            Just(Compare::Lt(value)),
            Just(Compare::Le(value)),
            Just(Compare::Eq(value))
        ]
    };
    let from_above = value().prop_flat_map(from_above).boxed();
    check(|_| conflicting(alternatives(from_above.clone())), true);
    // Above 2^32 libseccomp decides by the order in which the rules came.
    let from_below = |value| {
        prop_oneof![
            Just(Compare::Gt(value)),
            Just(Compare::Ge(value)),
            Just(Compare::Eq(value))
        ]
    };
    let from_below = value().prop_flat_map(from_below).boxed();
    check(|_| conflicting(alternatives(from_below.clone())), false);
}
