//! From the OCI runtime specification's types.

use super::template::split;
use super::{Action, Arch, Compare, Condition, Flags, Newer, Profile, Rule, Unknown};
use crate::Error;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};

/// Converts `linux.seccomp` of a bundle's `config.json`, with the meaning that runc gives it: newer calls get ENOSYS, names
/// that Linux does not know are skipped, and of an entry with two conditions on one argument either one is enough.
///
/// A profile that uses `SCMP_ACT_NOTIFY` is loaded with a listener. Where it goes (`listenerPath`, `listenerMetadata`) is
/// the caller's business.
///
/// # Errors
/// [`Error::UnknownArch`], [`Error::ErrnoRange`], [`Error::ArgumentIndex`].
impl TryFrom<&LinuxSeccomp> for Profile {
    type Error = Error;

    fn try_from(seccomp: &LinuxSeccomp) -> Result<Profile, Error> {
        let default = action(seccomp.default_action(), seccomp.default_errno_ret())?;
        let mut profile = Profile::new(default);
        profile.newer = Newer::Enosys;
        profile.unknown = Unknown::Skip;
        for arch in seccomp.architectures().iter().flatten() {
            profile.arches.push(Arch::parse(&arch.to_string())?);
        }
        // libseccomp filters the native ABI whether or not it is listed.
        profile.arches.extend(Arch::native());
        for flag in seccomp.flags().iter().flatten() {
            raise(&mut profile.flags, *flag);
        }
        for syscall in seccomp.syscalls().iter().flatten() {
            profile.rules.extend(split(rule(syscall)?));
        }
        let notify = |rule: &Rule| rule.action == Action::Notify;
        profile.flags.new_listener |= default == Action::Notify || profile.rules.iter().any(notify);
        Ok(profile)
    }
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<Action, Error> {
    Action::parse(&action.to_string(), errno)
}

fn raise(flags: &mut Flags, flag: LinuxSeccompFilterFlag) {
    match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => flags.log = true,
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => flags.tsync = true,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => flags.spec_allow = true,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
            flags.wait_killable_recv = true;
        }
    }
}

fn rule(syscall: &LinuxSyscall) -> Result<Rule, Error> {
    let arguments = syscall.args().iter().flatten();
    Ok(Rule {
        syscalls: syscall.names().clone(),
        action: action(syscall.action(), syscall.errno_ret())?,
        conditions: arguments.map(condition).collect::<Result<_, _>>()?,
    })
}

fn condition(argument: &LinuxSeccompArg) -> Result<Condition, Error> {
    let value = argument.value();
    let compare = match argument.op() {
        LinuxSeccompOperator::ScmpCmpNe => Compare::Ne(value),
        LinuxSeccompOperator::ScmpCmpLt => Compare::Lt(value),
        LinuxSeccompOperator::ScmpCmpLe => Compare::Le(value),
        LinuxSeccompOperator::ScmpCmpEq => Compare::Eq(value),
        LinuxSeccompOperator::ScmpCmpGe => Compare::Ge(value),
        LinuxSeccompOperator::ScmpCmpGt => Compare::Gt(value),
        LinuxSeccompOperator::ScmpCmpMaskedEq => Compare::MaskedEq {
            mask: value,
            value: argument.value_two().unwrap_or(0),
        },
    };
    let index = argument.index();
    Ok(Condition {
        argument: u32::try_from(index).map_err(|_| Error::ArgumentIndex(u32::MAX))?,
        compare,
    })
}
