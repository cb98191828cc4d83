//! Which rules a profile has for each number of an ABI, and what they decide: the meaning of a profile, without any BPF.

use super::profile::{Compare, Condition, Newer, Profile, Rule, Unknown};
use super::syscalls::{self, Syscall};
use super::{Action, Arch};
use crate::Error;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;

/// One rule for one number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Match {
    pub action: Action,
    /// Sorted by argument.
    pub conditions: Rc<[Condition]>,
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

/// A profile's rule, with its names looked up.
#[derive(Debug)]
pub(super) struct Named<'a> {
    rule: &'a Rule,
    syscalls: Vec<&'static Syscall>,
}

impl Named<'_> {
    /// Looks up the names of a profile; those that Linux does not know are added to `skipped`, or refused.
    pub fn all<'a>(
        profile: &'a Profile,
        skipped: &mut Vec<String>,
    ) -> Result<Vec<Named<'a>>, Error> {
        let mut all = Vec::with_capacity(profile.rules.len());
        for rule in &profile.rules {
            rule.action.check()?;
            check(&rule.conditions)?;
            let mut syscalls = Vec::with_capacity(rule.syscalls.len());
            for name in &rule.syscalls {
                match syscalls::find(name) {
                    Some(syscall) => syscalls.push(syscall),
                    None => refuse_or_skip(profile.unknown, name, skipped)?,
                }
            }
            all.push(Named { rule, syscalls });
        }
        Ok(all)
    }
}

impl Rules {
    /// Sorts a profile's rules by number.
    pub fn of(profile: &Profile, named: &[Named], arch: Arch) -> Rules {
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
        for Named { rule, syscalls } in named {
            let numbers = syscalls.iter().filter_map(|syscall| syscall.number(arch));
            rules.newest = numbers.fold(rules.newest, u32::max);
            if rule.action != profile.default {
                let conditions = rules.fitted(&rule.conditions);
                for syscall in syscalls {
                    rules.add(syscall, rule.action, &conditions);
                }
            }
        }
        for matches in rules.by_number.values_mut() {
            settle(matches);
        }
        rules
    }

    fn add(&mut self, syscall: &Syscall, action: Action, conditions: &Rc<[Condition]>) {
        if self.arch == Arch::X86
            && let Some((through, call)) = syscalls::multiplexed(syscall.name)
            && let Some(number) = syscalls::number(self.arch, through)
        {
            // The call's own arguments are behind a pointer there; only which call it is can be seen.
            let others = conditions
                .iter()
                .filter(|condition| condition.argument != 0);
            let which = Condition {
                argument: 0,
                compare: Compare::Eq(call),
            };
            let conditions = std::iter::once(&which).chain(others).copied().collect();
            self.push(number, Match { action, conditions });
        }
        if let Some(number) = syscall.number(self.arch) {
            let conditions = conditions.clone();
            self.push(number, Match { action, conditions });
        }
    }

    fn push(&mut self, number: u32, rule: Match) {
        self.by_number.entry(number).or_default().push(rule);
    }

    /// The conditions as they are on this ABI, sorted by argument.
    fn fitted(&self, conditions: &[Condition]) -> Rc<[Condition]> {
        let fitted = conditions.iter().map(|condition| Condition {
            compare: match self.arch.is_64bit() {
                true => condition.compare,
                false => condition.compare.narrowed(),
            },
            ..*condition
        });
        let mut conditions: Vec<Condition> = fitted
            .filter(|condition| !condition.compare.always_holds())
            .collect();
        conditions.sort_by_key(|condition| condition.argument);
        conditions.into()
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
    matches.sort_by_cached_key(|rule| rule.conditions.iter().map(specificity).collect::<Vec<_>>());
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
