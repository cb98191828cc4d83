//! Docker's JSON profiles: the OCI specification's `linux.seccomp`, with conditions on the container and the machine.

use super::template::{Guard, Section, Template, split};
use super::{Action, Arch, Compare, Condition, Flags, Rule};
use crate::Error;
use crate::capabilities::{Capability, CapabilitySet};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<ArchEntry>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    syscalls: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchEntry {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<When>,
    #[serde(default)]
    excludes: Option<When>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct When {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Template {
    /// Reads a profile as `docker run --security-opt seccomp=FILE` takes it, with the meaning that Docker and runc give it.
    /// Of an entry with two conditions on one argument, either one is enough.
    ///
    /// # Errors
    /// [`Error::Json`] with line and column; [`Error::UnknownAction`], [`Error::UnknownOperator`], [`Error::UnknownFlag`],
    /// [`Error::UnknownArch`], [`Error::UnknownCapability`], [`Error::KernelVersion`], [`Error::ErrnoRange`];
    /// [`Error::Ambiguous`] where two keys contradict.
    pub fn from_json(text: &str) -> Result<Template, Error> {
        let document: Document = serde_json::from_str(text).map_err(Error::Json)?;
        let mut sections = Vec::new();
        for entry in &document.syscalls {
            sections.extend(entry.sections()?);
        }
        let mut flags = Flags::default();
        for flag in &document.flags {
            raise(&mut flags, flag)?;
        }
        let notify = |section: &Section| section.rule.action == Action::Notify;
        let default = Action::parse(&document.default_action, document.default_errno_ret)?;
        flags.new_listener |= default == Action::Notify || sections.iter().any(notify);
        Ok(Template {
            default,
            arches: document.arches()?,
            sections,
            flags,
        })
    }
}

impl Document {
    /// A plain list counts on every machine; of a map, the machines that we do not know are left out.
    fn arches(&self) -> Result<Vec<(Arch, Vec<Arch>)>, Error> {
        if !self.architectures.is_empty() && !self.arch_map.is_empty() {
            return Err(Error::Ambiguous("it has both architectures and archMap"));
        }
        let listed = self.architectures.iter().map(|name| Arch::parse(name));
        let listed: Vec<Arch> = listed.collect::<Result<_, _>>()?;
        if !listed.is_empty() {
            return Ok(Arch::ALL
                .iter()
                .map(|arch| (*arch, listed.clone()))
                .collect());
        }
        let known = |entry: &ArchEntry| {
            let others = entry.sub_architectures.iter().flatten();
            let others = others.filter_map(|name| Arch::parse(name).ok()).collect();
            Some((Arch::parse(&entry.architecture).ok()?, others))
        };
        Ok(self.arch_map.iter().filter_map(known).collect())
    }
}

impl Entry {
    fn sections(&self) -> Result<Vec<Section>, Error> {
        let syscalls = match (self.name.is_empty(), self.names.is_empty()) {
            (true, _) => self.names.clone(),
            (false, true) => vec![self.name.clone()],
            (false, false) => return Err(Error::Ambiguous("a rule has both name and names")),
        };
        let arguments = self.args.iter().flatten();
        let rule = Rule {
            syscalls,
            action: Action::parse(&self.action, self.errno_ret)?,
            conditions: arguments
                .map(Argument::condition)
                .collect::<Result<_, _>>()?,
        };
        let (includes, excludes) = (guard(&self.includes)?, guard(&self.excludes)?);
        let section = |rule| Section {
            rule,
            includes: includes.clone(),
            excludes: excludes.clone(),
        };
        Ok(split(rule).into_iter().map(section).collect())
    }
}

impl Argument {
    fn condition(&self) -> Result<Condition, Error> {
        let value = self.value;
        let compare = match self.op.as_str() {
            "SCMP_CMP_NE" => Compare::Ne(value),
            "SCMP_CMP_LT" => Compare::Lt(value),
            "SCMP_CMP_LE" => Compare::Le(value),
            "SCMP_CMP_EQ" => Compare::Eq(value),
            "SCMP_CMP_GE" => Compare::Ge(value),
            "SCMP_CMP_GT" => Compare::Gt(value),
            "SCMP_CMP_MASKED_EQ" => Compare::MaskedEq {
                mask: value,
                value: self.value_two,
            },
            other => return Err(Error::UnknownOperator(other.into())),
        };
        Ok(Condition {
            argument: self.index,
            compare,
        })
    }
}

fn guard(when: &Option<When>) -> Result<Guard, Error> {
    let Some(when) = when else {
        return Ok(Guard::default());
    };
    let caps = when.caps.iter().flatten();
    Ok(Guard {
        arches: when
            .arches
            .as_deref()
            .filter(|names| !names.is_empty())
            .map(machines),
        capabilities: caps
            .map(|name| name.parse::<Capability>())
            .collect::<Result<CapabilitySet, _>>()?,
        kernel: when
            .min_kernel
            .as_ref()
            .map(|text| text.parse())
            .transpose()?,
    })
}

/// The machines of ours among Docker's names for them.
fn machines(names: &[String]) -> Vec<Arch> {
    let machine = |name: &String| match name.as_str() {
        "amd64" => Some(Arch::X86_64),
        "x86" => Some(Arch::X86),
        "x32" => Some(Arch::X32),
        "arm64" => Some(Arch::Aarch64),
        "arm" => Some(Arch::Arm),
        _ => None,
    };
    names.iter().filter_map(machine).collect()
}

fn raise(flags: &mut Flags, flag: &str) -> Result<(), Error> {
    match flag {
        "SECCOMP_FILTER_FLAG_LOG" => flags.log = true,
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => flags.spec_allow = true,
        "SECCOMP_FILTER_FLAG_TSYNC" => flags.tsync = true,
        "SECCOMP_FILTER_FLAG_NEW_LISTENER" => flags.new_listener = true,
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => flags.wait_killable_recv = true,
        other => return Err(Error::UnknownFlag(other.into())),
    }
    Ok(())
}
