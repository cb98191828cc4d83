use crate::Error;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// A set of processors, written as a list: `0-3,7`.
///
/// ```
/// use ampoule_privileges::scheduling::CpuSet;
///
/// let cpus: CpuSet = "0-3,7".parse()?;
/// assert_eq!(cpus.to_mask(), [0b1000_1111, 0, 0, 0, 0, 0, 0, 0]);
/// assert_eq!(cpus.to_string(), "0-3,7");
/// # Ok::<(), ampoule_privileges::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CpuSet(BTreeSet<u32>);

/// The most processors that any kernel is built for (`CONFIG_NR_CPUS` on x86).
const MOST: u32 = 8192;

impl CpuSet {
    /// The mask that sched_setaffinity(2) takes: a bit for each processor, in whole words of 64 bits.
    pub fn to_mask(&self) -> Vec<u8> {
        let last = self.0.last().copied().unwrap_or(0);
        let mut mask = vec![0; (last as usize / 64 + 1) * 8];
        for cpu in &self.0 {
            // On a little-endian machine the bits of a word follow each other byte by byte.
            mask[*cpu as usize / 8] |= 1 << (cpu % 8);
        }
        mask
    }
}

/// Reads numbers and ranges separated by commas, as cpuset(7) lists them.
impl FromStr for CpuSet {
    type Err = Error;

    fn from_str(text: &str) -> Result<CpuSet, Error> {
        let syntax = || Error::CpuList(text.into());
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|cpu| *cpu < MOST);
        let mut cpus = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => cpus.extend(first..=last),
                _ => return Err(syntax()),
            }
        }
        Ok(CpuSet(cpus))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while cpus.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_nonsense_is_not() {
        let cpus: CpuSet = "64,0, 1,2,9-10".parse().unwrap();
        assert_eq!(cpus.to_string(), "0-2,9-10,64");
        assert_eq!(cpus.to_mask().len(), 16);
        for text in ["", "a", "3-1", "1,,2", "-1", "8192", "0-4294967295"] {
            let error = text.parse::<CpuSet>().unwrap_err().to_string();
            assert!(error.contains("0-3,7"), "{text}: {error}");
        }
    }
}
