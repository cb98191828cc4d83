//! Hardware addresses.

use crate::{Error, ErrorKind};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An Ethernet address of one station, such as `02:42:0a:05:00:07`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac([u8; 6]);

impl Mac {
    /// An address from its bytes; `None` for a multicast address and for all zeros, which no interface may have.
    pub fn new(bytes: [u8; 6]) -> Option<Mac> {
        let multicast = bytes[0] & 1 == 1;
        (!multicast && bytes != [0; 6]).then_some(Mac(bytes))
    }

    /// The address that stands for an IP address: locally administered, always the same.
    ///
    /// A neighbour that still remembers the IP address's last user is then right by chance, so that an address can
    /// be used again at once.
    pub fn of(address: IpAddr) -> Mac {
        match address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Mac([0x02, 0x42, a, b, c, d])
            }
            IpAddr::V6(v6) => {
                let o = v6.octets();
                // The halves of the interface identifier are mixed in, since either may be the one that varies.
                let mix = |i: usize| o[8 + i] ^ o[12 + i];
                Mac([0x06, o[7], mix(0), mix(1), mix(2), mix(3)])
            }
        }
    }

    /// The six bytes.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Mac, Error> {
        let invalid = |why: &str| {
            Error::new(
                ErrorKind::Invalid,
                format!("the MAC address {text:?} {why}"),
            )
        };
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = part
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| invalid("is not six pairs of hexadecimal digits"))?;
        }
        if parts.next().is_some() {
            return Err(invalid("is not six pairs of hexadecimal digits"));
        }
        Mac::new(bytes).ok_or_else(|| invalid("is not the address of one interface"))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_prints_and_nothing_else() {
        let mac: Mac = "02:42:0a:05:00:07".parse().unwrap();
        assert_eq!(mac, Mac::of("10.5.0.7".parse().unwrap()));
        assert_eq!(mac.to_string(), "02:42:0a:05:00:07");
        assert_eq!("02-42-0A-05-00-07".parse::<Mac>().unwrap(), mac);
        for bad in [
            "",
            "02:42",
            "02:42:0a:05:00:07:08",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "+2:42:0a:05:00:07",
            "g2:42:0a:05:00:07",
        ] {
            assert_eq!(
                bad.parse::<Mac>().unwrap_err().kind(),
                ErrorKind::Invalid,
                "{bad}"
            );
        }
    }
}
