//! Signals by their names.

/// The kernel's name of a signal, such as `SIGKILL`; real-time ones as `SIG34`.
pub fn name(signal: i32) -> String {
    let known = NAMES
        .get(usize::try_from(signal).unwrap_or(0))
        .copied()
        .unwrap_or("");
    if known.is_empty() {
        format!("SIG{signal}")
    } else {
        format!("SIG{known}")
    }
}

/// The number of a signal by its name, with or without `SIG`, or by its number.
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = NAMES
        .iter()
        .position(|name| !name.is_empty() && *name == short)?;
    i32::try_from(number).ok()
}

/// The signals that this process ignores, and that a child would ignore as well.
pub(crate) fn ignored() -> impl Iterator<Item = i32> {
    (1..=64).filter(|signal| {
        let mut action = [0usize; 4];
        // SAFETY: reads the action into a buffer of the kernel's `struct sigaction`, 32 bytes; libc's wrapper hides the two
        // signals that it uses itself.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                *signal,
                std::ptr::null::<u8>(),
                action.as_mut_ptr(),
                8,
            )
        };
        result == 0 && action[0] == libc::SIG_IGN
    })
}

/// By number; the same on x86-64 and aarch64: signal(7).
const NAMES: [&str; 32] = [
    "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

#[cfg(test)]
mod tests {
    use super::{name, parse};

    #[test]
    fn names_and_numbers_go_both_ways() {
        assert_eq!(name(9), "SIGKILL");
        assert_eq!(name(40), "SIG40");
        for text in ["9", "KILL", "SIGKILL", "sigkill"] {
            assert_eq!(parse(text), Some(9), "{text}");
        }
        for text in ["0", "65", "-1", "", "SIG", "KILLER"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
