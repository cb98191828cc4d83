use super::*;

/// What the rules mean, said without a program.
fn allowed(rules: &[DeviceRule], kind: DeviceKind, major: u32, minor: u32, asked: Access) -> bool {
    asked.iter().all(|access| {
        rules
            .iter()
            .rev()
            .find(|rule| {
                [DeviceKind::All, kind].contains(&rule.kind)
                    && rule.major.is_none_or(|n| n == major)
                    && rule.minor.is_none_or(|n| n == minor)
                    && rule.access.contains(access)
            })
            .is_some_and(|rule| rule.allow)
    })
}

/// Runs a program as the kernel would; the instructions are those of this crate.
fn interpret(program: &[bpf::Insn], context: [u32; 3]) -> bool {
    let mut regs = [0u64; 11];
    let mut at = 0;
    loop {
        let bpf::Insn(insn) = program[at];
        let (to, from) = ((insn >> 8 & 15) as usize, (insn >> 12 & 15) as usize);
        let (offset, value) = ((insn >> 16) as u16 as usize, insn >> 32);
        at += 1;
        match insn as u8 {
            0x61 => regs[to] = context[offset / 4].into(),
            0xbf => regs[to] = regs[from],
            0xb7 => regs[to] = value,
            0x57 => regs[to] &= value,
            0x77 => regs[to] >>= value,
            0x55 => at += if regs[to] != value { offset } else { 0 },
            0x15 => at += if regs[to] == value { offset } else { 0 },
            0x95 => return regs[0] == 1,
            other => panic!("opcode {other:#x}"),
        }
    }
}

/// The kernel's verifier refuses a program with instructions that no path reaches.
fn all_reachable(program: &[bpf::Insn]) -> bool {
    let mut reached = vec![false; program.len()];
    let mut paths = vec![0];
    while let Some(at) = paths.pop() {
        if std::mem::replace(&mut reached[at], true) {
            continue;
        }
        let bpf::Insn(insn) = program[at];
        if insn as u8 != 0x95 {
            paths.push(at + 1);
        }
        if [0x15, 0x55].contains(&(insn as u8)) {
            paths.push(at + 1 + (insn >> 16) as u16 as usize);
        }
    }
    reached.iter().all(|reached| *reached)
}

/// Every request about a few devices gets the same answer from the program and from the meaning.
fn check(rules: &[DeviceRule]) {
    let program = program(rules);
    assert!(all_reachable(&program), "{rules:?}");
    for (kind, code) in [(DeviceKind::Block, 1), (DeviceKind::Char, 2)] {
        for (major, minor) in [(1, 3), (1, 5), (5, 3), (9, 9)] {
            for bits in 1..8u8 {
                let asked = Access::from_bits_truncate(bits);
                let context = [u32::from(bits) << 16 | code, major, minor];
                assert_eq!(
                    interpret(&program, context),
                    allowed(rules, kind, major, minor, asked),
                    "{kind:?} {major}:{minor} {asked:?} by {rules:?}"
                );
            }
        }
    }
}

fn rules(texts: &[&str]) -> Vec<DeviceRule> {
    texts
        .iter()
        .map(|text| match text.strip_prefix('!') {
            Some(text) => DeviceRule::parse(text).unwrap().deny(),
            None => DeviceRule::parse(text).unwrap(),
        })
        .collect()
}

#[test]
fn the_program_means_what_the_rules_mean() {
    check(&[]);
    check(&DeviceRule::standard());
    check(&rules(&["a", "!c 1:3 rwm"]));
    check(&rules(&[
        "c 1:* r",
        "c 1:3 w",
        "!c *:3 m",
        "b *:5 rw",
        "!a *:* w",
        "c 5:3 rwm",
    ]));
}

#[test]
fn every_short_list_of_rules_means_the_same() {
    let parts = [
        "a",
        "!a",
        "c 1:3 r",
        "!c 1:* w",
        "c *:3 rw",
        "!b 1:5 rwm",
        "b *:* m",
        "!c 1:3 rm",
    ];
    let parts = rules(&parts);
    for first in &parts {
        for second in &parts {
            for third in &parts {
                check(&[*first, *second, *third]);
            }
        }
    }
}

#[test]
fn rules_print_as_they_parse() {
    for text in ["c 1:3 rwm", "b 8:* r", "a *:* rwm", "c *:5 wm"] {
        assert_eq!(DeviceRule::parse(text).unwrap().to_string(), text);
    }
    for text in [
        "",
        "c",
        "x 1:3 r",
        "c 1 r",
        "c 1:3 rx",
        "c 1:3 r z",
        "c 4096:0 r",
        "b 1:1048576 r",
        "c -1:0 r",
    ] {
        assert!(DeviceRule::parse(text).is_err(), "{text}");
    }
}

#[test]
fn what_v1_would_ignore_is_refused() {
    let refused = |texts: &[&str]| for_v1(&rules(texts)).is_err();
    assert!(refused(&["c 1:* rw", "!c 1:3 w"]));
    assert!(refused(&["c 1:3 rw", "!c 1:* w"]));
    assert!(refused(&["a", "!c 1:* w", "c 1:3 w"]));
    assert!(!refused(&["c 1:* rw", "!c 1:* w"]));
    assert!(!refused(&["c 1:* r", "!c 1:3 w"]));
    assert!(!refused(&["c 1:* rw", "!a", "c 1:3 w"]));
    assert!(!refused(&["!a", "a", "!c 1:3 w"]));
}

#[test]
fn v1_has_no_partial_a() {
    let lines: Vec<_> = for_v1(&rules(&["a *:* m", "a"])).unwrap();
    let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["c *:* m", "b *:* m", "a *:* rwm"]);
}
