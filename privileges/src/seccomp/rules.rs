//! Which rules a profile has for each number of an ABI, and what they decide: the meaning of a profile, without any BPF.

use super::profile::{Compare, Condition, Newer, Profile, Unknown};
use super::{Action, Arch, syscalls};
use crate::Error;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// One rule for one number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Match {
    pub action: Action,
    /// Sorted by argument.
    pub conditions: Vec<Condition>,
}

/// What a profile says about one ABI.
#[derive(Debug)]
pub(super) struct Rules {
    pub arch: Arch,
    pub default: Action,
    /// What happens above `newest`.
    pub newer: Action,
    /// The highest number that the profile names.
    pub newest: u32,
    /// The rules for each number, the deciding ones first; a rule without conditions stands alone.
    pub by_number: BTreeMap<u32, Vec<Match>>,
}

/// The number that a tracer sets to skip a call: it is no call, so it is never a newer one either.
pub(super) const SKIPPED_BY_TRACER: u32 = u32::MAX;

impl Rules {
    /// Sorts a profile's rules by number; names that Linux does not know are added to `skipped`, or refused.
    pub fn of(profile: &Profile, arch: Arch, skipped: &mut Vec<String>) -> Result<Rules, Error> {
        let enosys = profile.newer == Newer::Enosys && !profile.default.permits();
        let mut rules = Rules {
            arch,
            default: profile.default,
            newer: if enosys {
                Action::Errno(38)
            } else {
                profile.default
            },
            newest: 0,
            by_number: BTreeMap::new(),
        };
        for rule in &profile.rules {
            rule.action.check()?;
            check(&rule.conditions)?;
            for name in &rule.syscalls {
                if !syscalls::known(name) {
                    refuse_or_skip(profile.unknown, name, skipped)?;
                    continue;
                }
                if let Some(number) = syscalls::number(arch, name) {
                    rules.newest = rules.newest.max(number);
                }
                if rule.action != profile.default {
                    rules.add(name, rule.action, &rule.conditions);
                }
            }
        }
        for matches in rules.by_number.values_mut() {
            settle(matches);
        }
        Ok(rules)
    }

    fn add(&mut self, name: &str, action: Action, conditions: &[Condition]) {
        let mut conditions: Vec<Condition> = conditions
            .iter()
            .map(|condition| self.fitted(*condition))
            .filter(|condition| !condition.compare.always_holds())
            .collect();
        conditions.sort_by_key(|condition| condition.argument);
        if self.arch == Arch::X86
            && let Some((through, call)) = syscalls::multiplexed(name)
            && let Some(number) = syscalls::number(self.arch, through)
        {
            // The call's own arguments are behind a pointer there; only which call it is can be seen.
            let mut conditions = conditions.clone();
            conditions.retain(|condition| condition.argument != 0);
            conditions.insert(
                0,
                Condition {
                    argument: 0,
                    compare: Compare::Eq(call),
                },
            );
            self.push(number, Match { action, conditions });
        }
        if let Some(number) = syscalls::number(self.arch, name) {
            self.push(number, Match { action, conditions });
        }
    }

    fn push(&mut self, number: u32, rule: Match) {
        self.by_number.entry(number).or_default().push(rule);
    }

    fn fitted(&self, condition: Condition) -> Condition {
        match self.arch.is_64bit() {
            true => condition,
            false => Condition {
                compare: condition.compare.narrowed(),
                ..condition
            },
        }
    }

    /// What happens to a number when no argument is looked at: the action of a rule without conditions, or no rule's.
    pub fn without_rule(&self, number: u32) -> Action {
        match number > self.newest && number != SKIPPED_BY_TRACER {
            true => self.newer,
            false => self.default,
        }
    }
}

impl Match {
    pub fn holds(&self, arguments: &[u64; 6]) -> bool {
        let mut conditions = self.conditions.iter();
        conditions.all(|c| c.compare.holds(arguments[c.argument as usize]))
    }
}

fn check(conditions: &[Condition]) -> Result<(), Error> {
    match conditions.iter().find(|condition| condition.argument > 5) {
        Some(condition) => Err(Error::ArgumentIndex(condition.argument)),
        None => Ok(()),
    }
}

fn refuse_or_skip(unknown: Unknown, name: &str, skipped: &mut Vec<String>) -> Result<(), Error> {
    match unknown {
        Unknown::Refuse => Err(Error::UnknownSyscall {
            name: name.into(),
            similar: syscalls::nearest(name),
        }),
        Unknown::Skip => {
            if !skipped.iter().any(|other| other == name) {
                skipped.push(name.into());
            }
            Ok(())
        }
    }
}

/// Puts the rules for one number into the order in which they decide.
fn settle(matches: &mut Vec<Match>) {
    if let Some(at) = matches.iter().position(|rule| rule.conditions.is_empty()) {
        matches.swap(0, at);
        matches.truncate(1);
    }
    matches.sort_by_key(|rule| rule.conditions.iter().map(specificity).collect::<Vec<_>>());
}

/// Where a condition stands among others: libseccomp's order of the nodes on one level of its tree.
fn specificity(condition: &Condition) -> (Reverse<u32>, u8, u64) {
    let (class, value) = match condition.compare {
        Compare::Eq(value) | Compare::Ne(value) | Compare::MaskedEq { value, .. } => (0, !value),
        Compare::Lt(value) | Compare::Le(value) => (1, value),
        Compare::Ge(value) | Compare::Gt(value) => (2, !value),
    };
    (Reverse(condition.argument), class, value)
}
