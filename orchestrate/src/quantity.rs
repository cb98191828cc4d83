//! Amounts of resources: `250m`, `1.5Gi`, `2e3`.
//!
//! Exact: never a floating point number. The grammar and the canonical form are those of
//! `k8s.io/apimachinery/pkg/api/resource`, <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.
//!
//! ```
//! use ampoule_orchestrate::quantity::Amount;
//!
//! let memory: Amount = "1.5Gi".parse()?;
//! assert_eq!(memory.units(), 1_610_612_736);
//! assert_eq!(memory.to_string(), "1536Mi");
//! let cpu: Amount = "0.1".parse()?;
//! assert_eq!((cpu.millis(), cpu.to_string().as_str()), (100, "100m"));
//! # Ok::<(), ampoule_orchestrate::quantity::BadAmount>(())
//! ```

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::fmt;
use std::str::FromStr;

/// An exact amount, with the suffixes in which it is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Amount {
    /// In billionths of a unit, the smallest that Kubernetes knows.
    nanos: i128,
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    #[default]
    Decimal,
    Binary,
    Exponent,
}

/// A text that is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAmount {
    /// It does not follow the grammar.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Grammar,
    /// Its suffix is none of the known ones.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANOS: i128 = 1_000_000_000;
/// "No quantity may represent a number greater than 2^63-1 in magnitude … larger ones will be capped".
const CAP: i128 = i64::MAX as i128 * NANOS;

impl Amount {
    /// No amount at all.
    pub const ZERO: Amount = Amount {
        nanos: 0,
        format: Format::Decimal,
    };

    /// So many whole units, shown with decimal suffixes.
    pub const fn from_units(units: i64) -> Amount {
        Amount {
            nanos: units as i128 * NANOS,
            format: Format::Decimal,
        }
    }

    /// So many thousandths, shown with decimal suffixes.
    pub const fn from_millis(millis: i64) -> Amount {
        Amount {
            nanos: millis as i128 * (NANOS / 1_000),
            format: Format::Decimal,
        }
    }

    /// So many bytes, shown with binary suffixes.
    pub const fn from_bytes(bytes: i64) -> Amount {
        Amount {
            nanos: bytes as i128 * NANOS,
            format: Format::Binary,
        }
    }

    /// The whole units, rounded up.
    pub fn units(self) -> i64 {
        saturate(round_up(self.nanos, NANOS))
    }

    /// The thousandths, rounded up.
    pub fn millis(self) -> i64 {
        saturate(round_up(self.nanos, NANOS / 1_000))
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it is a number of whole units.
    pub fn is_whole(self) -> bool {
        self.nanos % NANOS == 0
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Amount) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Amount {}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Amount) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Amount) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl std::ops::Add for Amount {
    type Output = Amount;

    fn add(self, other: Amount) -> Amount {
        Amount {
            nanos: (self.nanos + other.nanos).clamp(-CAP, CAP),
            ..self
        }
    }
}

impl TryFrom<&Quantity> for Amount {
    type Error = BadAmount;

    fn try_from(quantity: &Quantity) -> Result<Amount, BadAmount> {
        quantity.0.parse()
    }
}

impl From<Amount> for Quantity {
    fn from(amount: Amount) -> Quantity {
        Quantity(amount.to_string())
    }
}

impl FromStr for Amount {
    type Err = BadAmount;

    fn from_str(text: &str) -> Result<Amount, BadAmount> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, suffix) = rest.split_at(end.unwrap_or(rest.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return Err(BadAmount::Grammar);
        }
        let scale = Scale::parse(suffix)?;
        let nanos = scale.apply(whole, fraction);
        Ok(Amount {
            nanos: if negative { -nanos } else { nanos },
            format: scale.format(),
        })
    }
}

/// By what a suffix multiplies.
#[derive(Clone, Copy, Debug)]
enum Scale {
    /// A power of ten, with whether it was written as an exponent.
    Ten(i32, bool),
    /// A power of two.
    Two(u32),
}

impl Scale {
    fn parse(suffix: &str) -> Result<Scale, BadAmount> {
        Ok(match suffix {
            "n" => Scale::Ten(-9, false),
            "u" => Scale::Ten(-6, false),
            "m" => Scale::Ten(-3, false),
            "" => Scale::Ten(0, false),
            "k" => Scale::Ten(3, false),
            "M" => Scale::Ten(6, false),
            "G" => Scale::Ten(9, false),
            "T" => Scale::Ten(12, false),
            "P" => Scale::Ten(15, false),
            "E" => Scale::Ten(18, false),
            "Ki" => Scale::Two(10),
            "Mi" => Scale::Two(20),
            "Gi" => Scale::Two(30),
            "Ti" => Scale::Two(40),
            "Pi" => Scale::Two(50),
            "Ei" => Scale::Two(60),
            _ => match suffix.strip_prefix(['e', 'E']).map(str::parse) {
                Some(Ok(exponent)) => Scale::Ten(exponent, true),
                _ => return Err(BadAmount::Suffix),
            },
        })
    }

    fn format(self) -> Format {
        match self {
            Scale::Ten(_, false) => Format::Decimal,
            Scale::Ten(_, true) => Format::Exponent,
            Scale::Two(_) => Format::Binary,
        }
    }

    /// The number in billionths, rounded up and capped.
    fn apply(self, whole: &str, fraction: &str) -> i128 {
        // Forty digits are more than the cap has at any scale, and fewer than overflow in what follows.
        let digits = whole.trim_start_matches('0');
        let (power, factor) = match self {
            Scale::Ten(exponent, _) => (i64::from(exponent), 1),
            Scale::Two(bits) => (0, 1_i128 << bits),
        };
        if digits.len() as i64 + power > 20 || (power == 0 && digits.len() > 20) {
            return if digits.is_empty() {
                self.fraction(fraction)
            } else {
                CAP
            };
        }
        let shift = power + 9;
        let whole = digits
            .bytes()
            .fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
        let nanos = match u32::try_from(shift) {
            Ok(shift) => whole.saturating_mul(10_i128.saturating_pow(shift)),
            Err(_) => round_up(
                whole,
                10_i128.saturating_pow(shift.unsigned_abs().min(38) as u32),
            ),
        };
        nanos
            .saturating_mul(factor)
            .saturating_add(self.fraction(fraction))
            .min(CAP)
    }

    fn fraction(self, fraction: &str) -> i128 {
        let (power, factor) = match self {
            Scale::Ten(exponent, _) => (i64::from(exponent), 1),
            Scale::Two(bits) => (0, 1_i128 << bits),
        };
        // What lies beyond eighteen digits rounds up to the last of them.
        let kept = fraction.get(..18).unwrap_or(fraction);
        let rest = fraction.get(18..).unwrap_or_default();
        let mut value = kept
            .bytes()
            .fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
        if rest.bytes().any(|digit| digit != b'0') {
            value += 1;
        }
        let value = value.saturating_mul(factor);
        let shift = power + 9 - kept.len() as i64;
        match u32::try_from(shift) {
            Ok(shift) => value.saturating_mul(10_i128.saturating_pow(shift)).min(CAP),
            Err(_) => round_up(
                value,
                10_i128.saturating_pow(shift.unsigned_abs().min(38) as u32),
            ),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut scale) = (self.nanos, -9);
        if value == 0 {
            return f.write_str("0");
        }
        // Below 1024 an amount is shown in decimal even when it was written in binary, and so is a fraction.
        let binary = self.format == Format::Binary
            && self.nanos.abs() >= 1024 * NANOS
            && self.nanos % NANOS == 0;
        if binary {
            let mut units = self.nanos / NANOS;
            let mut step = 0;
            while units % 1024 == 0 && step < 6 {
                units /= 1024;
                step += 1;
            }
            return write!(
                f,
                "{units}{}",
                ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][step]
            );
        }
        while value % 1_000 == 0 && scale < 18 {
            value /= 1_000;
            scale += 3;
        }
        match (self.format, scale) {
            (Format::Exponent, 0) => write!(f, "{value}"),
            (Format::Exponent, scale) => write!(f, "{value}e{scale}"),
            (_, scale) => {
                let suffixes = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
                write!(f, "{value}{}", suffixes[((scale + 9) / 3) as usize])
            }
        }
    }
}

fn round_up(value: i128, unit: i128) -> i128 {
    value.div_euclid(unit) + i128::from(value.rem_euclid(unit) != 0)
}

fn saturate(value: i128) -> i64 {
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        // The examples of the documentation, and of `quantity_test.go`'s behaviour.
        for (text, canonical) in [
            ("0", "0"),
            ("1.5", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("0.1", "100m"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("1.", "1"),
            (".5", "500m"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1E", "1E"),
            ("12e-1", "1200e-3"),
            ("+5", "5"),
            ("-250m", "-250m"),
            ("0.1n", "1n"),
            ("9223372036854775807", "9223372036854775807"),
            ("1000Ei", "9223372036854775807"),
            ("1000000k", "1G"),
            ("1023Ki", "1023Ki"),
            ("0.5Ki", "512"),
            ("1e100", "9223372036854775807e0"),
        ] {
            let amount: Amount = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            let shown = amount.to_string();
            assert_eq!(
                shown.trim_end_matches("e0"),
                canonical.trim_end_matches("e0"),
                "of {text}"
            );
        }
    }

    #[test]
    fn refusals() {
        for text in [
            "", "-", "Mi", "1 Gi", "1.2.3", "1ki", "1KB", "0x10", "1e", "ten", "1Gi ", "１",
        ] {
            assert!(text.parse::<Amount>().is_err(), "{text:?} is no quantity");
        }
    }

    #[test]
    fn rounding_is_up() {
        let amount: Amount = "0.1m".parse().unwrap_or_default();
        assert_eq!((amount.millis(), amount.units()), (1, 1));
        assert_eq!("1500m".parse::<Amount>().unwrap_or_default().units(), 2);
    }
}
