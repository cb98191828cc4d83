//! Answers of the world, remembered as long as they say.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Answers by the query that they are to, all but its number.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<Vec<u8>, Entry>,
}

#[derive(Debug)]
struct Entry {
    reply: Vec<u8>,
    lifetimes: Vec<usize>,
    stored: Instant,
    lifetime: Duration,
}

/// More than a network asks for in a while, and no more than some megabytes.
const MOST: usize = 4096;
/// An answer that claims to be good for longer is asked for again.
const LONGEST: Duration = Duration::from_secs(3600);

impl Cache {
    /// The remembered answer to a query, with the query's number and what is left of the records' lifetimes.
    pub(super) fn get(&self, query: &[u8], now: Instant) -> Option<Vec<u8>> {
        let entry = self.entries.get(query.get(2..)?)?;
        let age = now.duration_since(entry.stored);
        if age >= entry.lifetime {
            return None;
        }
        let mut reply = entry.reply.clone();
        reply.get_mut(..2)?.copy_from_slice(query.get(..2)?);
        for at in &entry.lifetimes {
            let lifetime = reply.get_mut(*at..*at + 4)?;
            let seconds = u32::from_be_bytes(lifetime.try_into().ok()?);
            lifetime.copy_from_slice(&seconds.saturating_sub(age.as_secs() as u32).to_be_bytes());
        }
        Some(reply)
    }

    /// Remembers an answer, unless it is a failure, cut off, or good for no time at all.
    pub(super) fn put(&mut self, query: &[u8], reply: &[u8], now: Instant) {
        let (Some(key), Some([_, _, high, low])) = (query.get(2..), reply.first_chunk::<4>())
        else {
            return;
        };
        let (truncated, code) = (high & 2 != 0, low & 0xf);
        let Some(lifetimes) = lifetimes(reply) else {
            return;
        };
        // The shortest record's counts, the authority's of a negative answer (RFC 2308) included.
        let seconds = lifetimes
            .iter()
            .filter_map(|at| {
                reply
                    .get(*at..*at + 4)?
                    .try_into()
                    .ok()
                    .map(u32::from_be_bytes)
            })
            .min();
        let lifetime = Duration::from_secs(seconds.unwrap_or(0).into()).min(LONGEST);
        if truncated || !matches!(code, NO_ERROR | NAME_ERROR) || lifetime.is_zero() {
            return;
        }
        if self.entries.len() >= MOST {
            self.entries
                .retain(|_, entry| now.duration_since(entry.stored) < entry.lifetime);
        }
        if self.entries.len() >= MOST {
            self.entries.clear();
        }
        self.entries.insert(
            key.to_vec(),
            Entry {
                reply: reply.to_vec(),
                lifetimes,
                stored: now,
                lifetime,
            },
        );
    }
}

const NO_ERROR: u8 = 0;
const NAME_ERROR: u8 = 3;

/// Where the lifetimes of a packet's records stand; `None` if the packet does not hold what it claims (RFC 1035 section 4.1).
fn lifetimes(packet: &[u8]) -> Option<Vec<usize>> {
    let count = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let mut at = 12;
    for _ in 0..count(4)? {
        at = skip_name(packet, at)? + 4;
    }
    let records = u32::from(count(6)?) + u32::from(count(8)?) + u32::from(count(10)?);
    let mut lifetimes = Vec::new();
    for _ in 0..records {
        at = skip_name(packet, at)?;
        let kind = count(at)?;
        // EDNS has flags in that place (RFC 6891 section 6.1.3).
        if kind != OPT {
            lifetimes.push(at + 4);
        }
        at += 10 + usize::from(count(at + 8)?);
        if at > packet.len() {
            return None;
        }
    }
    Some(lifetimes)
}

const OPT: u16 = 41;

/// Where a name ends: at the root's empty label or at a pointer.
fn skip_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer to `a. IN A`, with a lifetime of 300 seconds and an EDNS record.
    fn exchange() -> (Vec<u8>, Vec<u8>) {
        let question = [1, b'a', 0, 0, 1, 0, 1];
        let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(question);
        let mut reply = vec![0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 1];
        reply.extend(question);
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1]);
        reply.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        (query, reply)
    }

    #[test]
    fn counts_lifetimes_down_and_forgets() {
        let (query, reply) = exchange();
        let start = Instant::now();
        let mut cache = Cache::default();
        cache.put(&query, &reply, start);
        let mut again = query.clone();
        again[1] = 9;
        let hit = cache.get(&again, start + Duration::from_secs(100)).unwrap();
        assert_eq!((hit[1], &hit[25..29]), (9, &[0, 0, 0, 200][..]));
        assert_eq!(
            hit[hit.len() - 11..],
            reply[reply.len() - 11..],
            "EDNS is left alone"
        );
        assert_eq!(cache.get(&again, start + Duration::from_secs(300)), None);
        again[13] = b'b';
        assert_eq!(cache.get(&again, start), None);
    }

    #[test]
    fn does_not_remember_failures() {
        let (query, reply) = exchange();
        let now = Instant::now();
        for (at, bits) in [(2, 2), (3, 2)] {
            let mut bad = reply.clone();
            bad[at] |= bits;
            let mut cache = Cache::default();
            cache.put(&query, &bad, now);
            assert_eq!(cache.get(&query, now), None);
        }
    }

    #[test]
    fn stays_bounded() {
        let (mut query, reply) = exchange();
        let mut cache = Cache::default();
        for number in 0..10_000_u32 {
            query.truncate(19);
            query.extend(number.to_be_bytes());
            cache.put(&query, &reply, Instant::now());
            assert!(cache.entries.len() <= MOST);
        }
    }

    proptest! {
        #[test]
        fn takes_any_bytes(query in proptest::collection::vec(any::<u8>(), 0..64), reply in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut cache = Cache::default();
            cache.put(&query, &reply, Instant::now());
            cache.get(&query, Instant::now());
        }
    }
}
