//! What this machine allows containers.

mod identity;
mod kernel;
mod limits;

use crate::container::Container;

/// How well a feature can be used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Containers start, but with less: fewer limits, fewer ids, more time.
    Degraded,
    /// Without it no container starts.
    Missing,
}

/// One thing that [`doctor()`] looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What it is about.
    pub topic: &'static str,
    /// How well it can be used.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// Why it is not as it should be.
    pub cause: Option<String>,
    /// What a person can do about that.
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(topic: &'static str, what: impl Into<String>) -> Finding {
        Finding::new(topic, Level::Ok, what)
    }

    fn new(topic: &'static str, level: Level, what: impl Into<String>) -> Finding {
        let (what, cause, remedy) = (what.into(), None, None);
        Finding {
            topic,
            level,
            what,
            cause,
            remedy,
        }
    }

    fn cause(mut self, text: impl Into<String>) -> Finding {
        self.cause = Some(text.into());
        self
    }

    fn remedy(mut self, text: impl Into<String>) -> Finding {
        self.remedy = Some(text.into());
        self
    }
}

/// Looks at everything that containers of this process need: the kernel's features, the user's privileges, limits. At the end
/// it starts a container.
///
/// Nothing of the machine is changed. What it costs is some milliseconds.
///
/// # Examples
/// ```no_run
/// use ampoule::{Level, doctor};
///
/// for finding in doctor().iter().filter(|finding| finding.level != Level::Ok) {
///     println!("{}: {}", finding.topic, finding.what);
///     println!("  {}", finding.remedy.as_deref().unwrap_or("nothing is known to help"));
/// }
/// ```
pub fn doctor() -> Vec<Finding> {
    let mut findings = kernel::findings();
    findings.extend(identity::findings());
    findings.extend(limits::findings());
    findings.push(container());
    findings
}

/// All of it together, in earnest.
fn container() -> Finding {
    match Container::new("true").output() {
        Ok(output) if output.report.success() => Finding::ok(
            "container",
            format!("starts and ends in {:.1?}", output.report.wall),
        ),
        Ok(output) => Finding::new(
            "container",
            Level::Missing,
            "starts, but `true` fails in it",
        )
        .cause(output.report.ending.to_string()),
        Err(error) => Finding::new("container", Level::Missing, "does not start")
            .cause(error.to_string())
            .remedy("see what else is missing here; else please report it"),
    }
}
