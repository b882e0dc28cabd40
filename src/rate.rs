//! Bytes a second as people type them: a number and a unit, such as `10MB`, `500k` or `80Mbit`.

use std::num::NonZeroU64;

use sft_base::limits::RATE_MIN;

/// Reads a rate. `k`, `M` and `G` are powers of 1000, `Ki`, `Mi` and `Gi` of 1024; what is counted is bytes unless it says `bit`.
///
/// - Errors: a sentence that says what to type, also for a rate below [`RATE_MIN`].
pub(crate) fn rate(text: &str) -> Result<NonZeroU64, String> {
    let parsed = parsed(text).ok_or("write a number and a unit, such as 10MB, 500kB or 80Mbit (a second)")?;
    let rate = NonZeroU64::new(parsed as u64).filter(|rate| rate.get() >= RATE_MIN);
    rate.ok_or_else(|| format!("{} bytes a second is too slow; 10kB is the least", parsed as u64))
}

fn parsed(text: &str) -> Option<f64> {
    let text = text.strip_suffix("/s").unwrap_or(text);
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let (unit, bits) = match unit.strip_suffix("bit") {
        Some(unit) => (unit, 8.0),
        None => (unit.strip_suffix('B').unwrap_or(unit), 1.0),
    };
    let factor = match unit {
        "" if bits > 1.0 || !text.ends_with('B') => return None,
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" | "m" => 1e6,
        "G" | "g" => 1e9,
        "Ki" | "ki" => 1024.0,
        "Mi" | "mi" => 1024f64.powi(2),
        "Gi" | "gi" => 1024f64.powi(3),
        _ => return None,
    };
    Some(number * factor / bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_as_people_write_them() {
        let read = |text| rate(text).map(NonZeroU64::get);
        for (text, expected) in [
            ("10MB", 10_000_000),
            ("10M", 10_000_000),
            ("10MB/s", 10_000_000),
            ("1.5MiB", 1_572_864),
            ("500k", 500_000),
            ("80Mbit", 10_000_000),
            ("80Mbit/s", 10_000_000),
            ("1G", 1_000_000_000),
            ("20000B", 20_000),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for wrong in ["", "10", "M", "-1M", "1X", "1MM", "1.2.3M", "inf", "10 M", "0M", "9k", "10bit", "1e3M"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(rate("9k").unwrap_err().contains("10kB is the least"));
    }
}
