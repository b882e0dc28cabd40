//! Numbers as people read them: bytes, rates, durations, counts. Decimal units, as disks and networks are sold.

use std::fmt;
use std::time::Duration;

/// An amount of bytes, such as `4.29 GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub u64);

/// An amount of bytes in powers of 1024 with one letter, such as `4.0G`: what `df -h` and `ls -h` show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BinaryBytes(pub u64);

/// Bytes in a time, such as `113 MB/s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate(pub f64);

/// How long something took, such as `4.1 s` or `2 min 05 s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Took(pub Duration);

/// A time left as a clock, such as `0:25` or `1:02:03`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock(pub Duration);

/// A count with commas, such as `10,000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1000 { write!(f, "{} B", self.0) } else { f.write_str(&scaled(self.0 as f64)) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = if self.0.is_finite() { self.0 } else { 0.0 };
        if rate < 1000.0 { write!(f, "{rate:.0} B/s") } else { write!(f, "{}/s", scaled(rate)) }
    }
}

impl fmt::Display for BinaryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1023.95 && unit + 1 < BINARY_UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        match unit {
            0 => write!(f, "{}", self.0),
            // As `df -h` does: one digit after the point below ten, none above, and never less than there is.
            _ if (value * 10.0).ceil() < 100.0 => {
                write!(f, "{:.1}{}", (value * 10.0).ceil() / 10.0, BINARY_UNITS[unit])
            }
            _ => write!(f, "{:.0}{}", value.ceil(), BINARY_UNITS[unit]),
        }
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds < 0.9995 {
            return write!(f, "{:.0} ms", seconds * 1000.0);
        }
        if seconds < 59.95 {
            return write!(f, "{seconds:.1} s");
        }
        let whole = seconds.round() as u64;
        match whole / 3600 {
            0 => write!(f, "{} min {:02} s", whole / 60, whole % 60),
            hours => write!(f, "{hours} h {:02} min", whole % 3600 / 60),
        }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds / 3600 {
            0 => write!(f, "{}:{:02}", seconds / 60, seconds % 60),
            hours => write!(f, "{hours}:{:02}:{:02}", seconds % 3600 / 60, seconds % 60),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// Three digits and a unit, of a value of 1000 at least.
fn scaled(value: f64) -> String {
    let mut value = value / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
const BINARY_UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (9_999, "10.0 kB"),
            (99_960, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (4 << 30, "4.29 GB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn binary_bytes_are_those_of_df() {
        let cases = [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1025, "1.1K"),
            (10 << 10, "10K"),
            ((10 << 10) - 1, "10K"),
            (1 << 20, "1.0M"),
            (252 << 30, "252G"),
            (u64::MAX, "16E"),
        ];
        for (bytes, text) in cases {
            assert_eq!(BinaryBytes(bytes).to_string(), text, "{bytes}");
        }
    }

    #[test]
    fn rates_survive_what_division_makes() {
        assert_eq!(Rate(113_400_000.0).to_string(), "113 MB/s");
        assert_eq!(Rate(12.4).to_string(), "12 B/s");
        assert_eq!(Rate(f64::INFINITY).to_string(), "0 B/s");
        assert_eq!(Rate(f64::NAN).to_string(), "0 B/s");
    }

    #[test]
    fn times() {
        let took = |ms| Took(Duration::from_millis(ms)).to_string();
        assert_eq!(took(12), "12 ms");
        assert_eq!(took(999), "999 ms");
        assert_eq!(took(4_120), "4.1 s");
        assert_eq!(took(59_990), "1 min 00 s");
        assert_eq!(took(125_000), "2 min 05 s");
        assert_eq!(took(3_725_000), "1 h 02 min");
        let clock = |s| Clock(Duration::from_secs(s)).to_string();
        assert_eq!((clock(5), clock(65), clock(3_723)), ("0:05".into(), "1:05".into(), "1:02:03".into()));
    }

    #[test]
    fn counts_have_commas() {
        let texts = [0, 999, 1000, 10_000, 1_234_567].map(|n| Count(n).to_string());
        assert_eq!(texts, ["0", "999", "1,000", "10,000", "1,234,567"]);
    }
}
