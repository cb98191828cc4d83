//! Arguments as the kernel takes them: numbers, names of flags, and the bytes of its structures.

use crate::flags::{MountAttributes, OpenFlags, Propagation, Resolve};
use crate::syscall::Arg;
use linux_raw_sys::general as raw;
use std::borrow::Cow;
use std::ffi::CString;

pub(crate) fn named(name: &'static str, bits: u64) -> Arg<'static> {
    Arg::Named(bits, Cow::Borrowed(name))
}

pub(crate) fn length(text: &CString) -> Arg<'static> {
    Arg::Int(text.as_bytes().len() as i64)
}

/// Real, effective and saved id.
pub(crate) fn three(id: u32) -> [Arg<'static>; 3] {
    [id, id, id].map(|id| Arg::Int(id.into()))
}

pub(crate) fn text_bytes(bytes: &[u8]) -> Arg<'_> {
    Arg::Bytes(
        bytes.into(),
        format!("{:?}", String::from_utf8_lossy(bytes)).into(),
    )
}

/// Flags by their names, `A|B` as strace writes them.
pub(crate) fn flag_names<F: bitflags::Flags>(flags: &F) -> String {
    let names: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
    if names.is_empty() {
        "0".to_string()
    } else {
        names.join("|")
    }
}

pub(crate) fn flags<F: bitflags::Flags>(flags: &F, bits: u64) -> Arg<'static> {
    Arg::Named(bits, flag_names(flags).into())
}

/// Flags, and one more that is always set.
pub(crate) fn also<F: bitflags::Flags>(name: &str, bit: u64, flags: &F, bits: u64) -> Arg<'static> {
    match bits {
        0 => Arg::Named(bit, name.to_string().into()),
        _ => Arg::Named(bit | bits, format!("{}|{name}", flag_names(flags)).into()),
    }
}

pub(crate) fn open_flags(how: OpenFlags) -> Arg<'static> {
    also("O_CLOEXEC", raw::O_CLOEXEC.into(), &how, how.bits().into())
}

/// `struct open_how`: flags, mode, resolve.
pub(crate) fn open_how(how: OpenFlags, mode: u32, resolve: Resolve) -> Arg<'static> {
    let flags = u64::from(how.bits() | raw::O_CLOEXEC);
    let bytes = [
        flags.to_ne_bytes(),
        u64::from(mode).to_ne_bytes(),
        resolve.bits().to_ne_bytes(),
    ]
    .concat();
    let mode = if mode == 0 {
        String::new()
    } else {
        format!("0{mode:o}, ")
    };
    Arg::Bytes(
        bytes.into(),
        format!("{{{}, {mode}{}}}", flag_names(&how), flag_names(&resolve)).into(),
    )
}

/// `struct mount_attr`: set, clear, propagation, and a user namespace that is not used here.
pub(crate) fn mount_attr(
    set: MountAttributes,
    clear: MountAttributes,
    propagation: Option<Propagation>,
) -> Arg<'static> {
    let (name, flag) = propagation.map_or(("", 0), Propagation::flag);
    let bytes = [set.bits(), clear.bits(), flag, 0]
        .map(u64::to_ne_bytes)
        .concat();
    let mut shows = Vec::new();
    if !set.is_empty() {
        shows.push(format!("set {}", flag_names(&set)));
    }
    if !clear.is_empty() {
        shows.push(format!("clear {}", flag_names(&clear)));
    }
    if !name.is_empty() {
        shows.push(name.to_string());
    }
    Arg::Bytes(bytes.into(), format!("{{{}}}", shows.join(", ")).into())
}

/// `struct __user_cap_header_struct` and two `struct __user_cap_data_struct`: capset(2).
pub(crate) fn capability_data(
    effective: u64,
    permitted: u64,
    inheritable: u64,
) -> (Arg<'static>, Arg<'static>) {
    const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;
    let header = [LINUX_CAPABILITY_VERSION_3, 0]
        .map(u32::to_ne_bytes)
        .concat();
    let low = [effective, permitted, inheritable].map(|set| set as u32);
    let high = [effective, permitted, inheritable].map(|set| (set >> 32) as u32);
    let data = [low, high]
        .concat()
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect::<Vec<u8>>();
    let shows = format!(
        "{{effective={effective:#x}, permitted={permitted:#x}, inheritable={inheritable:#x}}}"
    );
    (
        Arg::Bytes(header.into(), "_LINUX_CAPABILITY_VERSION_3".into()),
        Arg::Bytes(data.into(), shows.into()),
    )
}

pub(crate) fn limit(value: u64) -> String {
    if value == u64::MAX {
        "RLIM_INFINITY".to_string()
    } else {
        value.to_string()
    }
}
