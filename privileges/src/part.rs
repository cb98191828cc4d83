//! The steps of [`Privileges`], in the order that its documentation gives.

use crate::Error;
use crate::capabilities::CapabilitySet;
use crate::privileges::Privileges;
use crate::securebits::KEEP_CAPS;
use ampoule_plan as plan;
use ampoule_plan::{Call, Draft, Fd, OpenFlags, Part, Phase, SeccompFlags, Slot, Undo, path};
use rustix::fs::{Mode, OFlags, fstatfs, open};
use std::borrow::Cow;
use std::io;

impl Part for Privileges {
    fn contribute(&self, draft: &mut Draft) -> Result<(), plan::Error> {
        self.check().map_err(invalid)?;
        let proc = self.proc(draft)?;
        self.limit(draft, proc)?;
        self.session(draft)?;
        self.label_next(draft, proc)?;
        if !self.no_new_privs {
            self.filter(draft, Phase::Drop);
        }
        self.limit_resources(draft);
        self.drop_bounding(draft)?;
        self.change_user(draft);
        self.drop_capabilities(draft);
        if self.no_new_privs {
            let why = "executing a program never gives privileges again";
            prctl(draft, (38, "PR_SET_NO_NEW_PRIVS"), [1, 0, 0, 0], why);
        }
        #[cfg(feature = "landlock")]
        self.restrict(draft)?;
        if self.no_new_privs {
            self.filter(draft, Phase::Filter);
        }
        Ok(())
    }
}

fn invalid(error: Error) -> plan::Error {
    match error {
        Error::Read { path, source } => plan::Error::prepare(format!("read {path}"), source),
        error => plan::Error::Invalid(error.to_string()),
    }
}

impl Privileges {
    /// The host's `/proc`, if something is written there. The child gets it as a file descriptor, so that no `/proc` of the
    /// container's making can stand in for it (CVE-2019-16884, CVE-2025-52881).
    fn proc(&self, draft: &mut Draft) -> Result<Option<Slot>, plan::Error> {
        const PROC_SUPER_MAGIC: i64 = 0x9fa0;
        if self.oom_score_adj.is_none() && self.label.is_none() {
            return Ok(None);
        }
        let cannot = |error: io::Error| plan::Error::prepare("open /proc", error);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = open("/proc", flags, Mode::empty()).map_err(|e| cannot(e.into()))?;
        match fstatfs(&proc).map_err(|e| cannot(e.into()))?.f_type as i64 {
            PROC_SUPER_MAGIC => Ok(Some(draft.hold("the host's /proc", proc))),
            _ => Err(plan::Error::Invalid("/proc is no proc file system".into())),
        }
    }

    fn limit(&self, draft: &mut Draft, proc: Option<Slot>) -> Result<(), plan::Error> {
        if let Some(adjustment) = self.oom_score_adj {
            let text = adjustment.to_string().into_bytes();
            let why = "how likely it is killed when memory runs out";
            write(draft, Phase::Limits, proc, "self/oom_score_adj", text, why)?;
        }
        if let Some(cpus) = &self.cpus {
            let (mask, shows) = (cpus.to_mask(), cpus.to_string());
            draft.child(
                Phase::Limits,
                Call::SchedSetaffinity { mask, shows },
                "the processors that it may run on",
            );
        }
        if let Some(nice) = self.nice {
            draft.child(
                Phase::Limits,
                Call::Setpriority { nice },
                "its share of the processor",
            );
        }
        if let Some(scheduler) = &self.scheduler {
            let (attr, shows) = (scheduler.to_bytes(), scheduler.to_string());
            draft.child(
                Phase::Limits,
                Call::SchedSetattr { attr, shows },
                "how it is scheduled",
            );
        }
        if let Some(priority) = self.io_priority {
            let value = priority.value();
            draft.child(
                Phase::Limits,
                Call::IoprioSet { value },
                "when its I/O is done",
            );
        }
        Ok(())
    }

    /// Late, because few open files or little memory would be in the way of the rest of the start; while CAP_SYS_RESOURCE is
    /// there.
    fn limit_resources(&self, draft: &mut Draft) {
        for limit in &self.rlimits {
            let call = Call::Setrlimit {
                resource: (limit.resource as u32, limit.resource.name()),
                soft: limit.soft,
                hard: limit.hard,
            };
            draft.child(Phase::Drop, call, "limit a resource");
        }
    }

    fn session(&self, draft: &mut Draft) -> Result<(), plan::Error> {
        if let Some(name) = &self.session_keyring {
            let call = Call::JoinSessionKeyring {
                name: Some(path(name)?),
            };
            draft.child(Phase::Session, call, "the caller's keys are out of reach");
        }
        if let Some(persona) = self.personality {
            draft.child(
                Phase::Session,
                Call::Personality { persona },
                "the execution domain",
            );
        }
        Ok(())
    }

    fn label_next(&self, draft: &mut Draft, proc: Option<Slot>) -> Result<(), plan::Error> {
        let Some(label) = &self.label else {
            return Ok(());
        };
        let file = label.file().map_err(invalid)?;
        let why = "the label that confines the next program; before no_new_privs, which forbids some changes of it";
        write(draft, Phase::Drop, proc, file, label.text(), why)
    }

    fn drop_bounding(&self, draft: &mut Draft) -> Result<(), plan::Error> {
        let Some(capabilities) = &self.capabilities else {
            return Ok(());
        };
        let known = CapabilitySet::supported().map_err(invalid)?;
        for capability in (known - capabilities.bounding).iter() {
            let why = format!("no program can give it {capability}");
            prctl(
                draft,
                (24, "PR_CAPBSET_DROP"),
                [capability as u64, 0, 0, 0],
                why,
            );
        }
        Ok(())
    }

    fn change_user(&self, draft: &mut Draft) {
        let keep = self.user.is_some() && self.capabilities.is_some();
        match self.securebits {
            Some(bits) => {
                let bits = bits.bits() | if keep { KEEP_CAPS } else { 0 };
                let why = "how user 0 is treated; while CAP_SETPCAP is there";
                prctl(
                    draft,
                    (28, "PR_SET_SECUREBITS"),
                    [bits.into(), 0, 0, 0],
                    why,
                );
            }
            None if keep => {
                let why =
                    "capabilities outlast the change of user; executing a program clears this";
                prctl(draft, (8, "PR_SET_KEEPCAPS"), [1, 0, 0, 0], why);
            }
            None => {}
        }
        let Some(user) = &self.user else {
            return;
        };
        let gids = user.groups.clone();
        draft.child(
            Phase::Drop,
            Call::Setgroups { gids },
            "the caller's groups are let go, while CAP_SETGID is there",
        );
        draft.child(
            Phase::Drop,
            Call::Setresgid { gid: user.gid },
            "the group, before the user: that takes CAP_SETGID",
        );
        draft.child(Phase::Drop, Call::Setresuid { uid: user.uid }, "the user");
    }

    fn drop_capabilities(&self, draft: &mut Draft) {
        let Some(capabilities) = &self.capabilities else {
            return;
        };
        let call = Call::Capset {
            effective: capabilities.effective.bits(),
            permitted: capabilities.permitted.bits(),
            inheritable: capabilities.inheritable.bits(),
        };
        draft.child(
            Phase::Drop,
            call,
            format!("keep {}", capabilities.effective),
        );
        let ambient = (47, "PR_CAP_AMBIENT");
        const RAISE: u64 = 2;
        const CLEAR_ALL: u64 = 4;
        prctl(
            draft,
            ambient,
            [CLEAR_ALL, 0, 0, 0],
            "an ordinary program keeps nothing of the caller's",
        );
        for capability in capabilities.ambient.iter() {
            let why = format!("an ordinary program keeps {capability}");
            prctl(draft, ambient, [RAISE, capability as u64, 0, 0], why);
        }
    }

    #[cfg(feature = "landlock")]
    fn restrict(&self, draft: &mut Draft) -> Result<(), plan::Error> {
        let Some(landlock) = &self.landlock else {
            return Ok(());
        };
        let (ruleset, status) = landlock.prepare().map_err(invalid)?;
        if let Some(ruleset) = ruleset {
            let ruleset = draft.hold("Landlock rule set", ruleset).into();
            let why = format!("files and ports: {status}");
            draft.child(Phase::Drop, Call::LandlockRestrictSelf { ruleset }, why);
        }
        Ok(())
    }

    fn filter(&self, draft: &mut Draft, phase: Phase) {
        let Some(filter) = &self.seccomp else {
            return;
        };
        let flags = filter.flags();
        let out = flags.new_listener.then(|| draft.slot("seccomp listener"));
        let why = match phase {
            Phase::Filter => "which system calls there are; last, because it also filters us",
            _ => {
                "which system calls there are; while CAP_SYS_ADMIN is there, since no_new_privs is not set"
            }
        };
        let call = Call::Seccomp {
            filter: filter.words(),
            flags: SeccompFlags::from_bits_retain(flags.bits()),
            out,
        };
        draft.child(phase, call, why);
        if let (Some(slot), Some(take)) = (out, self.listener.clone()) {
            draft.host(phase, "take the filter's listener", move |child| {
                take(child.fetch(slot)?)?;
                Ok(Undo::nothing())
            });
        }
    }
}

fn prctl(
    draft: &mut Draft,
    option: (u32, &'static str),
    args: [u64; 4],
    why: impl Into<Cow<'static, str>>,
) {
    draft.child(Phase::Drop, Call::Prctl { option, args }, why);
}

/// Opens a file below the host's `/proc`, and writes to it.
fn write(
    draft: &mut Draft,
    phase: Phase,
    proc: Option<Slot>,
    file: &'static str,
    bytes: Vec<u8>,
    why: &'static str,
) -> Result<(), plan::Error> {
    let out = draft.slot(file);
    let open = Call::Openat {
        dir: proc.map_or(Fd::Cwd, Fd::Slot),
        path: path(file)?,
        flags: OpenFlags::O_WRONLY,
        mode: 0,
        out,
    };
    draft.child(
        phase,
        open,
        "in the host's /proc, which the container cannot forge",
    );
    draft.child(
        phase,
        Call::Write {
            fd: out.into(),
            bytes,
        },
        why,
    );
    draft.child(phase, Call::Close { fd: out.into() }, "it is written");
    Ok(())
}
