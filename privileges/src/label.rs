use crate::Error;
use std::fmt;
use std::fs;

/// The label under which a Linux security module confines the program, from its start on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Label {
    /// An AppArmor profile that is loaded: `process.apparmorProfile` of OCI.
    AppArmor(String),
    /// An SELinux context: `process.selinuxLabel` of OCI.
    SeLinux(String),
}

impl Label {
    /// The file below `/proc/self` that takes the label for the next program.
    ///
    /// # Errors
    /// [`Error::NoSecurityModule`] if this kernel does not run the module: a label that confines nothing would be silence.
    pub(crate) fn file(&self) -> Result<&'static str, Error> {
        let absent = |module| Error::NoSecurityModule {
            module,
            label: self.to_string(),
        };
        match self {
            Label::AppArmor(_) if !reads("/sys/module/apparmor/parameters/enabled", "Y") => {
                Err(absent("AppArmor"))
            }
            // Since Linux 5.8 each module has a directory; before, they shared one file.
            Label::AppArmor(_) if fs::exists("/proc/self/attr/apparmor/exec").unwrap_or(false) => {
                Ok("self/attr/apparmor/exec")
            }
            Label::SeLinux(_) if !fs::exists("/sys/fs/selinux/enforce").unwrap_or(false) => {
                Err(absent("SELinux"))
            }
            _ => Ok("self/attr/exec"),
        }
    }

    /// What is written there.
    pub(crate) fn text(&self) -> Vec<u8> {
        match self {
            Label::AppArmor(profile) => format!("exec {profile}").into_bytes(),
            Label::SeLinux(context) => context.clone().into_bytes(),
        }
    }
}

fn reads(path: &str, expected: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.trim() == expected)
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Label::AppArmor(label) | Label::SeLinux(label) => f.write_str(label),
        }
    }
}
