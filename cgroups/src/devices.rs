//! Which devices may be used: the rules, and what they become on v1 (a list) and on v2 (a program).

use crate::bpf;
use crate::dir::Dir;
use crate::{Error, Result};
use bitflags::bitflags;
use std::fmt;

bitflags! {
    /// What is done to a device node.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Access: u8 {
        /// Make a node of it: `m`.
        const MKNOD = 1;
        /// Open it for reading: `r`.
        const READ = 2;
        /// Open it for writing: `w`.
        const WRITE = 4;
    }
}

/// The type of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// Both: `a`.
    All,
    /// A character device: `c`.
    Char,
    /// A block device: `b`.
    Block,
}

/// One rule about devices; of several that fit, the last decides, for each kind of access by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceRule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// The type.
    pub kind: DeviceKind,
    /// The major number; `None` for every one.
    pub major: Option<u32>,
    /// The minor number; `None` for every one.
    pub minor: Option<u32>,
    /// The kinds of access that it is about.
    pub access: Access,
}

impl DeviceRule {
    /// A rule that allows, as v1 writes it: `c 1:3 rwm`, `b 8:* r`, `a *:* rwm`, or `a` alone.
    ///
    /// # Errors
    /// [`Error::InvalidResources`] where it is none.
    ///
    /// # Examples
    /// ```
    /// use ampoule_cgroups::DeviceRule;
    ///
    /// let tty = DeviceRule::parse("c 5:0 rw")?;
    /// assert_eq!(tty.to_string(), "c 5:0 rw");
    /// # Ok::<(), ampoule_cgroups::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<DeviceRule> {
        parse(text).ok_or_else(|| {
            let problem = format!("device rule {text:?}: must be such as \"c 1:3 rwm\"");
            Error::InvalidResources(vec![problem])
        })
    }

    /// The same rule, denying.
    pub fn deny(self) -> DeviceRule {
        DeviceRule {
            allow: false,
            ..self
        }
    }

    /// What containers usually get: null, zero, full, random, urandom, tty, console, ptmx and pseudo-terminals, and
    /// the making of nodes that cannot be opened (the OCI runtime specification's default devices).
    pub fn standard() -> Vec<DeviceRule> {
        let rule = |kind, major, minor, access| DeviceRule {
            allow: true,
            kind,
            major,
            minor,
            access,
        };
        let mut rules = vec![
            rule(DeviceKind::Char, None, None, Access::MKNOD),
            rule(DeviceKind::Block, None, None, Access::MKNOD),
        ];
        let nodes = [
            (1, 3),
            (1, 5),
            (1, 7),
            (1, 8),
            (1, 9),
            (5, 0),
            (5, 1),
            (5, 2),
        ];
        let char = |major, minor| rule(DeviceKind::Char, Some(major), minor, Access::all());
        rules.extend(nodes.map(|(major, minor)| char(major, Some(minor))));
        rules.push(char(136, None));
        rules
    }

    fn is_everything(&self) -> bool {
        let DeviceRule {
            kind,
            major,
            minor,
            access,
            ..
        } = *self;
        (kind, major, minor, access) == (DeviceKind::All, None, None, Access::all())
    }

    fn subject(&self) -> (DeviceKind, Option<u32>, Option<u32>) {
        (self.kind, self.major, self.minor)
    }

    fn overlaps(&self, other: &DeviceRule) -> bool {
        let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        let kinds = self.kind == other.kind || [self.kind, other.kind].contains(&DeviceKind::All);
        kinds
            && meet(self.major, other.major)
            && meet(self.minor, other.minor)
            && self.access.intersects(other.access)
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::All => 'a',
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        let number = |n: Option<u32>| n.map_or("*".into(), |n| n.to_string());
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        for (access, letter) in LETTERS {
            if self.access.contains(access) {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

const LETTERS: [(Access, char); 3] = [
    (Access::READ, 'r'),
    (Access::WRITE, 'w'),
    (Access::MKNOD, 'm'),
];

fn parse(text: &str) -> Option<DeviceRule> {
    let mut words = text.split_ascii_whitespace();
    let kind = match words.next()? {
        "a" => DeviceKind::All,
        "c" => DeviceKind::Char,
        "b" => DeviceKind::Block,
        _ => return None,
    };
    let numbers = match (words.next(), kind) {
        (Some(numbers), _) => numbers,
        (None, DeviceKind::All) => "*:*",
        (None, _) => return None,
    };
    let (major, minor) = numbers.split_once(':')?;
    let access = words
        .next()
        .unwrap_or("rwm")
        .chars()
        .try_fold(Access::empty(), |set, char| {
            let (access, _) = LETTERS.iter().find(|(_, letter)| *letter == char)?;
            Some(set | *access)
        })?;
    let rule = DeviceRule {
        allow: true,
        kind,
        major: number(major, MOST_MAJOR)?,
        minor: number(minor, MOST_MINOR)?,
        access,
    };
    words.next().is_none().then_some(rule)
}

/// A dev_t has 12 bits of major and 20 of minor number.
const MOST_MAJOR: u32 = (1 << 12) - 1;
const MOST_MINOR: u32 = (1 << 20) - 1;

fn number(text: &str, most: u32) -> Option<Option<u32>> {
    match text {
        "*" => Some(None),
        digits => digits.parse().ok().filter(|n| *n <= most).map(Some),
    }
}

/// The rules as v1's files take them, which know `a` only as a switch for everything.
pub(crate) fn for_v1(rules: &[DeviceRule]) -> Result<Vec<DeviceRule>> {
    let mut expanded = Vec::new();
    for rule in rules {
        if rule.kind == DeviceKind::All && !rule.is_everything() {
            for kind in [DeviceKind::Char, DeviceKind::Block] {
                expanded.push(DeviceRule { kind, ..*rule });
            }
        } else {
            expanded.push(*rule);
        }
    }
    check_v1(&expanded)?;
    Ok(expanded)
}

/// Refuses what v1 would quietly do otherwise: it keeps one default and a list of exceptions, and takes back only an
/// exception of exactly the same device, so "allow c 1:*, deny c 1:3" leaves 1:3 allowed.
fn check_v1(rules: &[DeviceRule]) -> Result<()> {
    let mut default = false;
    let mut exceptions: Vec<&DeviceRule> = Vec::new();
    for rule in rules {
        if rule.is_everything() {
            default = rule.allow;
            exceptions.clear();
        } else if rule.allow != default {
            exceptions.push(rule);
        } else if let Some(wider) = exceptions
            .iter()
            .find(|earlier| earlier.overlaps(rule) && earlier.subject() != rule.subject())
        {
            return Err(Error::Unsupported {
                what: format!("device rule \"{rule}\" after \"{wider}\""),
                reason: "cgroup v1 takes a rule back only for exactly the same device: list the devices one by one".into(),
            });
        }
    }
    Ok(())
}

/// Puts the rules' program on a v2 cgroup, in the place of an earlier one.
pub(crate) fn attach(dir: &Dir, rules: &[DeviceRule]) -> Result<()> {
    let failed = |action: &str, errno: rustix::io::Errno| {
        match errno {
        rustix::io::Errno::PERM => Error::Unsupported {
            what: "device rules on cgroup v2".into(),
            reason: "they are an eBPF program, which needs CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN) in the initial \
                     user namespace: run as root, or leave the rules out, since an ordinary user cannot make device \
                     nodes anyway"
                .into(),
        },
        errno => Error::kernel(action, dir.path(), errno),
    }
    };
    let earlier = bpf::attached(dir).map_err(|e| failed("query the device programs of", e))?;
    let program =
        bpf::load(&program(rules)).map_err(|e| failed("load the device program of", e))?;
    bpf::attach(dir, &program).map_err(|e| failed("attach the device program to", e))?;
    // All programs of a cgroup must agree, so between these two steps it is stricter, never looser.
    for id in earlier {
        bpf::detach(dir, id).map_err(|e| failed("detach the earlier device program of", e))?;
    }
    Ok(())
}

/// Compiles the rules. From the last to the first, each decides those kinds of access that no later one has.
///
/// The program is called with `struct bpf_cgroup_dev_ctx`: access type (access in the upper half, type in the lower),
/// major, minor; it returns 1 to allow.
fn program(rules: &[DeviceRule]) -> Vec<bpf::Insn> {
    use bpf::{Insn, Reg};
    const KIND: Reg = Reg(2);
    const UNDECIDED: Reg = Reg(3);
    const MAJOR: Reg = Reg(4);
    const MINOR: Reg = Reg(5);
    const DENIED: Reg = Reg(6);

    let mut program = vec![
        Insn::load32(KIND, 0),
        Insn::copy(UNDECIDED, KIND),
        Insn::shift_right(UNDECIDED, 16),
        Insn::and(KIND, 0xffff),
        Insn::load32(MAJOR, 4),
        Insn::load32(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        let kind = match rule.kind {
            DeviceKind::All => None,
            DeviceKind::Block => Some(1),
            DeviceKind::Char => Some(2),
        };
        let verdict = [Insn::set(Reg(0), i32::from(rule.allow)), Insn::exit()];
        let mut body = match (rule.allow, rule.access == Access::all()) {
            (_, true) => Vec::new(),
            (true, false) => vec![
                Insn::and(UNDECIDED, i32::from((!rule.access).bits())),
                Insn::skip_unless_equal(UNDECIDED, 0, verdict.len()),
            ],
            (false, false) => vec![
                Insn::copy(DENIED, UNDECIDED),
                Insn::and(DENIED, i32::from(rule.access.bits())),
                Insn::skip_if_equal(DENIED, 0, verdict.len()),
            ],
        };
        body.extend(verdict);
        let tests = [(KIND, kind), (MAJOR, rule.major), (MINOR, rule.minor)];
        let tests: Vec<_> = tests
            .iter()
            .filter_map(|(reg, value)| Some((*reg, (*value)?)))
            .collect();
        for (done, (reg, value)) in tests.iter().enumerate() {
            let rest = tests.len() - done - 1 + body.len();
            program.push(Insn::skip_unless_equal(*reg, *value as i32, rest));
        }
        program.extend(body);
        if rule.is_everything() {
            // It decides all that is left; the kernel refuses instructions that cannot be reached.
            return program;
        }
    }
    program.extend([Insn::set(Reg(0), 0), Insn::exit()]);
    program
}

#[cfg(test)]
mod tests;
