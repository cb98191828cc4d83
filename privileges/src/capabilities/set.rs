use super::Capability;
use crate::Error;
use std::fmt;
use std::fs;
use std::ops::{BitAnd, BitOr, Sub};
use std::str::FromStr;
use std::sync::OnceLock;

/// A set of capabilities: a bit for each.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// None.
    pub const EMPTY: CapabilitySet = CapabilitySet(0);

    /// All 41.
    pub const ALL: CapabilitySet = CapabilitySet((1 << Capability::ALL.len()) - 1);

    /// The fourteen that Docker gives a container.
    ///
    /// Source: moby, `daemon/pkg/oci/caps/defaults.go`.
    pub const DOCKER: CapabilitySet = CapabilitySet::of(&[
        Capability::Chown,
        Capability::DacOverride,
        Capability::Fsetid,
        Capability::Fowner,
        Capability::Mknod,
        Capability::NetRaw,
        Capability::Setgid,
        Capability::Setuid,
        Capability::Setfcap,
        Capability::Setpcap,
        Capability::NetBindService,
        Capability::SysChroot,
        Capability::Kill,
        Capability::AuditWrite,
    ]);

    /// The set of these.
    pub const fn of(capabilities: &[Capability]) -> CapabilitySet {
        let mut bits = 0;
        let mut at = 0;
        while at < capabilities.len() {
            bits |= 1 << capabilities[at] as u8;
            at += 1;
        }
        CapabilitySet(bits)
    }

    /// The set with these bits, as in `/proc/self/status`; bits beyond the known 41 are dropped.
    pub const fn from_bits(bits: u64) -> CapabilitySet {
        CapabilitySet(bits & CapabilitySet::ALL.0)
    }

    /// The bits, as in `/proc/self/status`.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// What the running kernel knows, from `/proc/sys/kernel/cap_last_cap`; read once.
    ///
    /// # Errors
    /// [`Error::Read`] if that file cannot be read.
    pub fn supported() -> Result<CapabilitySet, Error> {
        static KNOWN: OnceLock<CapabilitySet> = OnceLock::new();
        if let Some(known) = KNOWN.get() {
            return Ok(*known);
        }
        let path = "/proc/sys/kernel/cap_last_cap";
        let text = fs::read_to_string(path).map_err(|source| Error::Read { path, source })?;
        let last = text.trim().parse().unwrap_or(0_u32).min(62);
        Ok(*KNOWN.get_or_init(|| CapabilitySet::from_bits((1 << (last + 1)) - 1)))
    }

    /// Whether it is in.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u8) != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Those in the set, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        let all = Capability::ALL.iter().copied();
        all.filter(move |capability| self.contains(*capability))
    }

    /// The set after `--cap-add` and `--cap-drop`, as Docker understands them: adding all, minus what is dropped; dropping
    /// all, plus what is added; else first dropped, then added.
    ///
    /// ```
    /// use ampoule_privileges::capabilities::CapabilitySet;
    ///
    /// let base = CapabilitySet::DOCKER;
    /// let set = base.adjusted("NET_ADMIN".parse()?, "MKNOD,CAP_NET_RAW".parse()?);
    /// assert_eq!(set.len(), 13);
    /// assert_eq!(base.adjusted("CHOWN".parse()?, "ALL".parse()?).to_string(), "CAP_CHOWN");
    /// # Ok::<(), ampoule_privileges::Error>(())
    /// ```
    #[must_use]
    pub fn adjusted(self, add: CapabilitySet, drop: CapabilitySet) -> CapabilitySet {
        match (add, drop) {
            (CapabilitySet::ALL, _) => CapabilitySet::ALL - drop,
            (_, CapabilitySet::ALL) => add,
            _ => (self - drop) | add,
        }
    }
}

/// Reads `ALL`, or names separated by commas.
impl FromStr for CapabilitySet {
    type Err = Error;

    fn from_str(text: &str) -> Result<CapabilitySet, Error> {
        if text.eq_ignore_ascii_case("all") {
            return Ok(CapabilitySet::ALL);
        }
        let names = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        names.map(Capability::from_str).collect()
    }
}

impl<const N: usize> From<[Capability; N]> for CapabilitySet {
    fn from(capabilities: [Capability; N]) -> CapabilitySet {
        CapabilitySet::of(&capabilities)
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> CapabilitySet {
        let bits = capabilities
            .into_iter()
            .fold(0, |bits, capability| bits | 1 << capability as u8);
        CapabilitySet(bits)
    }
}

impl BitOr for CapabilitySet {
    type Output = CapabilitySet;

    fn bitor(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 | other.0)
    }
}

impl BitAnd for CapabilitySet {
    type Output = CapabilitySet;

    fn bitand(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 & other.0)
    }
}

impl Sub for CapabilitySet {
    type Output = CapabilitySet;

    fn sub(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 & !other.0)
    }
}

/// The names, separated by commas; `none` for the empty set and `all` for the full one.
impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            CapabilitySet::EMPTY => f.write_str("none"),
            CapabilitySet::ALL => f.write_str("all"),
            set => {
                let names: Vec<&str> = set.iter().map(Capability::name).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CapabilitySet({self})")
    }
}
