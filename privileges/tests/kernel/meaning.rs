//! Programs decide what the documentation of `Profile` says, also where libseccomp cannot be asked.

use ampoule_privileges::seccomp::{Action, Arch, Compare, Condition, Profile, Rule};
use needs::needs;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// The documentation, for one call with rules of one action: any rule all of whose conditions hold.
fn expected(profile: &Profile, arch: Arch, arguments: &[u64; 6]) -> Action {
    let seen = |argument: u64| match arch.is_64bit() {
        true => argument,
        false => argument & 0xffff_ffff,
    };
    let fitted = |compare| match (arch.is_64bit(), compare) {
        (false, Compare::Eq(value)) => Compare::Eq(value & 0xffff_ffff),
        (false, Compare::Ne(value)) => Compare::Ne(value & 0xffff_ffff),
        (false, Compare::MaskedEq { mask, value }) => Compare::MaskedEq {
            mask: mask & 0xffff_ffff,
            value,
        },
        (_, compare) => compare,
    };
    let holds = |c: &Condition| fitted(c.compare).holds(seen(arguments[c.argument as usize]));
    let matching = profile
        .rules
        .iter()
        .find(|rule| rule.conditions.iter().all(holds));
    matching.map_or(profile.default, |rule| rule.action)
}

fn value() -> impl Strategy<Value = u64> {
    let half = prop_oneof![
        0..3_u64,
        Just(0x8000_0000),
        Just(0xffff_fffe),
        Just(0xffff_ffff)
    ];
    (prop_oneof![Just(0_u64), half.clone()], half).prop_map(|(high, low)| high << 32 | low)
}

fn condition() -> impl Strategy<Value = Condition> {
    let compare = (0..7, value(), value()).prop_map(|(kind, value, mask)| match kind {
        0 => Compare::Ne(value),
        1 => Compare::Lt(value),
        2 => Compare::Le(value),
        3 => Compare::Eq(value),
        4 => Compare::Ge(value),
        5 => Compare::Gt(value),
        _ => Compare::MaskedEq { mask, value },
    });
    (0..3_u32, compare).prop_map(|(argument, compare)| Condition { argument, compare })
}

needs!( => any_matching_rule_decides);
fn any_matching_rule_decides() {
    let rules = prop::collection::vec(prop::collection::vec(condition(), 1..4), 1..6);
    let calls = prop::collection::vec([value(), value(), value()], 100);
    let config = Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    };
    let compared = TestRunner::new(config).run(&(rules, calls), |(rules, calls)| {
        for arch in Arch::ALL {
            let mut profile = Profile::new(Action::Errno(1));
            profile.arch(arch);
            for conditions in &rules {
                let mut rule = Rule::new(Action::Allow, ["read"]);
                rule.conditions.clone_from(conditions);
                profile.rule(rule);
            }
            let filter = profile.compile().unwrap();
            for &[a, b, c] in &calls {
                let arguments = [a, b, c, 0, 0, 0];
                let decision = filter.explain(arch, "read", arguments).unwrap();
                prop_assert_eq!(
                    decision.action,
                    expected(&profile, arch, &arguments),
                    "{} {:x?}",
                    arch,
                    arguments
                );
            }
        }
        Ok(())
    });
    compared.unwrap();
}

needs!( => a_long_filter_bridges_its_jumps);
fn a_long_filter_bridges_its_jumps() {
    // 300 values of one argument and masks of another: far more than a conditional jump reaches.
    let mut profile = Profile::new(Action::Errno(1));
    profile.arch(Arch::X86_64);
    for at in 0..300 {
        let rule = Rule::new(Action::Errno(2 + (at % 50) as u16), ["read"]);
        profile.rule(rule.when(0, Compare::Eq(at * 7)).when(
            1,
            Compare::MaskedEq {
                mask: 0xff,
                value: at,
            },
        ));
    }
    let filter = profile.compile().unwrap();
    assert!(filter.program().instructions().len() > 900);
    for at in 0..300 {
        let found = filter
            .explain(Arch::X86_64, "read", [at * 7, at | 0x100, 0, 0, 0, 0])
            .unwrap();
        assert_eq!(found.action, Action::Errno(2 + (at % 50) as u16), "{at}");
        let missed = filter
            .explain(Arch::X86_64, "read", [at * 7, at + 1, 0, 0, 0, 0])
            .unwrap();
        assert_eq!(missed.action, Action::Errno(1), "{at}");
    }
}
