//! Points in time as text, in UTC: the form of our own files, and that of `expiry-time` in `authorized_keys`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-12-31T23:59:59Z`; whole seconds, rounded down. Times before 1970 are shown as 1970.
pub(crate) fn format(time: SystemTime) -> String {
    let secs = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil_of_day(secs / DAY);
    let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Reads exactly what [`format`] writes.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
    if bytes.len() != 20 || marks.iter().any(|&(at, mark)| bytes[at] != mark) {
        return None;
    }
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | 'T' | ':' | 'Z')).collect();
    from_digits(&digits)
}

/// The latest moment at which `expiry-time` of sshd(8) surely has not passed: `YYYYMMDD`, `YYYYMMDDHHMM[SS]`, then `Z`
/// for UTC. Without `Z` sshd means its own time zone, which we do not know: the earliest of all is taken, UTC+14, so
/// that no key works longer here than there.
pub(crate) fn parse_expiry(text: &str) -> Option<SystemTime> {
    match text.strip_suffix(['Z', 'z']) {
        Some(digits) => from_digits(digits),
        None => from_digits(text)?.checked_sub(Duration::from_secs(14 * 3600)),
    }
}

fn from_digits(digits: &str) -> Option<SystemTime> {
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let field = |at: usize, len: usize| digits.get(at..at + len).map_or(Ok(0), str::parse::<u64>).ok();
    let (year, month, day) = (field(0, 4)?, field(4, 2)?, field(6, 2)?);
    let (hour, minute, second) = (field(8, 2)?, field(10, 2)?, field(12, 2)?);
    if year < 1970 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = day_of_civil(year, month, day);
    // Only a day that exists comes back as itself.
    if !(1..=12).contains(&month) || civil_of_day(days) != (year, month, day) {
        return None;
    }
    UNIX_EPOCH.checked_add(Duration::from_secs(days * DAY + hour * 3600 + minute * 60 + second))
}

/// Days since 1970-01-01 of a date from 1970 on. Years begin in March, so that the leap day is their last.
fn day_of_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day;
    (365 * year + year / 4 - year / 100 + year / 400 + day_of_year).saturating_sub(EPOCH_FROM_MARCH_0)
}

fn civil_of_day(days: u64) -> (u64, u64, u64) {
    // Howard Hinnant, "chrono-compatible low-level date algorithms".
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

const DAY: u64 = 86_400;
/// Days from 1 March of the year 0 to 1 January 1970, and one, as days of a month count from one.
const EPOCH_FROM_MARCH_0: u64 = 719_469;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs)
    }

    #[test]
    fn known_moments() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(format(at(secs)), text);
            assert_eq!(parse(text), Some(at(secs)));
        }
        for day in (0..80_000).step_by(7) {
            assert_eq!(parse(&format(at(day * DAY + 5))), Some(at(day * DAY + 5)));
        }
    }

    #[test]
    fn moments_that_are_none() {
        for text in [
            "",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00",
            "1969-12-31T00:00:00Z",
            "2026-0é-1T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn expiry_without_zone_ends_where_the_day_begins_first() {
        assert_eq!(parse_expiry("20000229Z"), Some(at(951_782_400)));
        assert_eq!(parse_expiry("200002290001Z"), Some(at(951_782_460)));
        assert_eq!(parse_expiry("20000229000102z"), Some(at(951_782_462)));
        assert_eq!(parse_expiry("20000229"), Some(at(951_782_400 - 14 * 3600)));
        for text in ["", "Z", "2000", "20000230Z", "2000022900Z", "20000229+1", "tomorrow"] {
            assert_eq!(parse_expiry(text), None, "{text}");
        }
    }
}
