//! A profile becomes a graph: which ABI, which span of numbers, which arguments, which action.

use super::graph::{Graph, Jump, NodeId, Word};
use super::profile::{Compare, Condition, Profile};
use super::rules::{Match, Named, Rules, SKIPPED_BY_TRACER};
use super::{Action, Arch, Filter, assemble};
use crate::Error;

/// Offsets in `struct seccomp_data`, all little-endian.
const NUMBER: Word = Word::whole(0);
const AUDIT_ARCH: Word = Word::whole(4);
const ARGUMENTS: u32 = 16;

/// Bit 30 of a number on the x86-64 entry says that the caller is an x32 program.
const X32_BIT: u32 = 0x4000_0000;

pub(super) fn compile(profile: &Profile) -> Result<Filter, Error> {
    profile.default.check()?;
    profile.bad_arch.check()?;
    require_listener(profile)?;
    let mut skipped = Vec::new();
    let named = Named::all(profile, &mut skipped)?;
    let arches = arches(profile)?.into_iter();
    let rules: Vec<Rules> = arches
        .map(|arch| Rules::of(profile, &named, arch))
        .collect();
    let mut graph = Graph::default();
    let root = entry(&mut graph, &rules, profile.bad_arch);
    let program = assemble::assemble(&graph, root)?;
    Ok(Filter::new(program, profile.flags, skipped))
}

fn require_listener(profile: &Profile) -> Result<(), Error> {
    let notify = |action: Action| action == Action::Notify;
    let mut rules = profile.rules.iter();
    let used = notify(profile.default) || rules.any(|rule| notify(rule.action));
    match used && !profile.flags.new_listener {
        true => Err(Error::NoListener),
        false => Ok(()),
    }
}

/// The profile's ABIs, each once, the program's own first: it is the one that nearly every call comes through.
fn arches(profile: &Profile) -> Result<Vec<Arch>, Error> {
    let native = Arch::native();
    let mut arches = profile.arches.clone();
    if arches.is_empty() {
        arches.push(native.ok_or(Error::NoNativeArch)?);
    }
    arches.sort_by_key(|arch| (Some(*arch) != native, *arch));
    arches.dedup();
    Ok(arches)
}

/// One test for each entry into the kernel.
fn entry(graph: &mut Graph, rules: &[Rules], bad_arch: Action) -> NodeId {
    let bad = graph.result(bad_arch.to_return_value());
    let mut audits: Vec<u32> = rules.iter().map(|rules| rules.arch.audit()).collect();
    audits.dedup();
    let mut node = bad;
    for audit in audits.into_iter().rev() {
        let through: Vec<&Rules> = rules
            .iter()
            .filter(|rules| rules.arch.audit() == audit)
            .collect();
        let spans = numbers(graph, &through, bad);
        let tree = graph.search(NUMBER, &spans);
        node = graph.test(AUDIT_ARCH, Jump::Equal, audit, tree, node);
    }
    node
}

/// What happens to every number of one entry, as spans. x86-64 and x32 share theirs, split by bit 30.
fn numbers(graph: &mut Graph, through: &[&Rules], bad: NodeId) -> Vec<(u32, NodeId)> {
    let find = |arch| through.iter().find(|rules| rules.arch == arch);
    let (lower, upper) = (find(Arch::X86_64), find(Arch::X32));
    if lower.is_none() && upper.is_none() {
        return spans(graph, through[0], 0, u32::MAX);
    }
    let mut all = match lower {
        Some(rules) => spans(graph, rules, 0, X32_BIT - 1),
        None => vec![(0, bad)],
    };
    match upper {
        Some(rules) => all.extend(spans(graph, rules, X32_BIT, u32::MAX)),
        None => {
            let none = through[0].default.to_return_value();
            all.push((X32_BIT, bad));
            all.push((SKIPPED_BY_TRACER, graph.result(none)));
        }
    }
    merged(all)
}

/// The spans of one ABI, from its first number to its last.
fn spans(graph: &mut Graph, rules: &Rules, first: u32, last: u32) -> Vec<(u32, NodeId)> {
    let mut spans = vec![(first, without_rule(graph, rules, first))];
    for (&number, matches) in &rules.by_number {
        spans.push((number, decision(graph, rules, number, matches)));
        if number < last {
            spans.push((number + 1, without_rule(graph, rules, number + 1)));
        }
    }
    if (first..last).contains(&rules.newest) {
        spans.push((
            rules.newest + 1,
            without_rule(graph, rules, rules.newest + 1),
        ));
    }
    if last == SKIPPED_BY_TRACER {
        spans.push((last, without_rule(graph, rules, last)));
    }
    merged(spans)
}

fn without_rule(graph: &mut Graph, rules: &Rules, number: u32) -> NodeId {
    graph.result(rules.without_rule(number).to_return_value())
}

/// Of several spans with one beginning the last counts; neighbours with one decision are one span.
fn merged(mut spans: Vec<(u32, NodeId)>) -> Vec<(u32, NodeId)> {
    spans.sort_by_key(|(start, _)| *start);
    let mut merged: Vec<(u32, NodeId)> = Vec::with_capacity(spans.len());
    for (start, node) in spans {
        if merged.last().is_some_and(|last| last.0 == start) {
            merged.pop();
        }
        if merged.last().is_none_or(|last| last.1 != node) {
            merged.push((start, node));
        }
    }
    merged
}

/// What the rules for one number decide.
fn decision(graph: &mut Graph, rules: &Rules, number: u32, matches: &[Match]) -> NodeId {
    let otherwise = without_rule(graph, rules, number);
    match single_argument(matches) {
        Some(argument) => by_value(graph, rules, argument, matches, otherwise),
        None => matches.iter().rev().fold(otherwise, |no, rule| {
            let yes = graph.result(rule.action.to_return_value());
            let conditions = rule.conditions.iter().rev();
            conditions.fold(yes, |yes, condition| {
                test(graph, rules.arch, condition, yes, no)
            })
        }),
    }
}

/// The argument, if all rules look at the same one and compare it by order alone.
fn single_argument(matches: &[Match]) -> Option<u32> {
    let mut conditions = matches.iter().flat_map(|rule| rule.conditions.iter());
    let first = conditions.next()?.argument;
    let same =
        |c: &Condition| c.argument == first && !matches!(c.compare, Compare::MaskedEq { .. });
    let mut all = matches.iter().flat_map(|rule| rule.conditions.iter());
    all.all(same).then_some(first)
}

/// Binary search over the values of one argument.
fn by_value(
    graph: &mut Graph,
    rules: &Rules,
    argument: u32,
    matches: &[Match],
    otherwise: NodeId,
) -> NodeId {
    let mut starts = vec![0];
    for condition in matches.iter().flat_map(|rule| rule.conditions.iter()) {
        starts.extend(borders(condition.compare));
    }
    starts.sort_unstable();
    starts.dedup();
    let decide = |graph: &mut Graph, value: u64| {
        let arguments = [value; 6];
        let found = matches.iter().find(|rule| rule.holds(&arguments));
        found.map_or(otherwise, |rule| {
            graph.result(rule.action.to_return_value())
        })
    };
    // Within one value of the high half, the low half decides; between two of them nothing changes.
    let mut highs = vec![];
    let mut at = 0;
    while at < starts.len() {
        let high = starts[at] >> 32;
        let mut lows = vec![];
        if starts[at] as u32 != 0 {
            // What held below goes on until the first border in this half.
            lows.push((0, decide(graph, high << 32)));
        }
        while at < starts.len() && starts[at] >> 32 == high {
            lows.push((starts[at] as u32, decide(graph, starts[at])));
            at += 1;
        }
        let last = lows[lows.len() - 1].1;
        let low = graph.search(low_half(argument), &merged(lows));
        highs.push((high as u32, low));
        if high < u64::from(u32::MAX) {
            highs.push((high as u32 + 1, last));
        }
    }
    match rules.arch.is_64bit() {
        true => graph.search(high_half(argument), &merged(highs)),
        false => highs[0].1,
    }
}

/// Where a comparison may change its outcome, as the first value of what follows.
fn borders(compare: Compare) -> impl Iterator<Item = u64> {
    let (first, second) = match compare {
        Compare::Eq(value) | Compare::Ne(value) => (Some(value), value.checked_add(1)),
        Compare::Lt(value) | Compare::Ge(value) => (Some(value), None),
        Compare::Le(value) | Compare::Gt(value) => (None, value.checked_add(1)),
        Compare::MaskedEq { .. } => (None, None),
    };
    first.into_iter().chain(second)
}

/// One condition, as tests of the two halves of the argument.
fn test(graph: &mut Graph, arch: Arch, condition: &Condition, yes: NodeId, no: NodeId) -> NodeId {
    let (high, low) = (high_half(condition.argument), low_half(condition.argument));
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    let mut equal = |mask: u64, value: u64, yes, no| {
        let ((high_mask, low_mask), (high_value, low_value)) = (halves(mask), halves(value & mask));
        let yes = masked(graph, low, low_mask, low_value, yes, no);
        match arch.is_64bit() {
            true => masked(graph, high, high_mask, high_value, yes, no),
            false => yes,
        }
    };
    match condition.compare {
        Compare::Eq(value) => equal(u64::MAX, value, yes, no),
        Compare::Ne(value) => equal(u64::MAX, value, no, yes),
        Compare::MaskedEq { mask, value } => equal(mask, value, yes, no),
        Compare::Gt(value) => ordered(
            graph,
            arch,
            condition.argument,
            Jump::Greater,
            value,
            yes,
            no,
        ),
        Compare::Ge(value) => ordered(
            graph,
            arch,
            condition.argument,
            Jump::GreaterOrEqual,
            value,
            yes,
            no,
        ),
        Compare::Le(value) => ordered(
            graph,
            arch,
            condition.argument,
            Jump::Greater,
            value,
            no,
            yes,
        ),
        Compare::Lt(value) => ordered(
            graph,
            arch,
            condition.argument,
            Jump::GreaterOrEqual,
            value,
            no,
            yes,
        ),
    }
}

fn masked(graph: &mut Graph, word: Word, mask: u32, value: u32, yes: NodeId, no: NodeId) -> NodeId {
    match mask {
        0 => yes,
        _ => graph.test(Word { mask, ..word }, Jump::Equal, value, yes, no),
    }
}

/// Whether an argument is greater than a value (or equal, as `low_jump` says).
fn ordered(
    graph: &mut Graph,
    arch: Arch,
    argument: u32,
    low_jump: Jump,
    value: u64,
    yes: NodeId,
    no: NodeId,
) -> NodeId {
    let high_value = (value >> 32) as u32;
    if !arch.is_64bit() && high_value > 0 {
        return no;
    }
    let low = graph.test(low_half(argument), low_jump, value as u32, yes, no);
    if !arch.is_64bit() {
        return low;
    }
    let equal = graph.test(high_half(argument), Jump::Equal, high_value, low, no);
    graph.test(high_half(argument), Jump::Greater, high_value, yes, equal)
}

fn low_half(argument: u32) -> Word {
    Word::whole(ARGUMENTS + 8 * argument)
}

fn high_half(argument: u32) -> Word {
    Word::whole(ARGUMENTS + 8 * argument + 4)
}
