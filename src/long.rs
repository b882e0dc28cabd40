//! Long lines of a listing: kind and permission bits as letters, times in the user's zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sft_base::Time;
use sft_client::EntryKind;

/// Ten letters such as `drwxr-xr-x`, as `ls -l` shows them.
pub(crate) fn mode_letters(kind: EntryKind, mode: u32) -> String {
    let mut letters = String::with_capacity(10);
    letters.push(match kind {
        EntryKind::File => '-',
        EntryKind::Dir | EntryKind::DirEnd => 'd',
        EntryKind::Link => 'l',
        EntryKind::Other => '?',
    });
    let special = [(0o4000, 's', 'S'), (0o2000, 's', 'S'), (0o1000, 't', 'T')];
    for (class, (bit, with_execute, without)) in special.into_iter().enumerate() {
        let bits = mode >> (6 - 3 * class);
        letters.push(if bits & 4 != 0 { 'r' } else { '-' });
        letters.push(if bits & 2 != 0 { 'w' } else { '-' });
        letters.push(match (mode & bit != 0, bits & 1 != 0) {
            (true, true) => with_execute,
            (true, false) => without,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    letters
}

/// A time to the minute, for a line of a listing.
pub(crate) fn minute(time: Time, zone: &TimeZone) -> String {
    match zoned(time, zone) {
        Some(zoned) => zoned.strftime("%Y-%m-%d %H:%M").to_string(),
        None => format!("{} s", time.secs),
    }
}

/// A time in full, with the offset of its zone.
pub(crate) fn full(time: Time, zone: &TimeZone) -> String {
    match zoned(time, zone) {
        Some(zoned) => {
            format!("{}.{:09} {}", zoned.strftime("%Y-%m-%d %H:%M:%S"), time.nanos, zoned.strftime("%z"))
        }
        None => format!("{}.{:09} s", time.secs, time.nanos),
    }
}

/// A time for programs: RFC 3339, UTC, all nine digits.
pub(crate) fn utc(time: Time) -> String {
    match zoned(time, &TimeZone::UTC) {
        Some(zoned) => format!("{}.{:09}Z", zoned.strftime("%Y-%m-%dT%H:%M:%S"), time.nanos),
        None => format!("{}.{:09}", time.secs, time.nanos),
    }
}

/// None for a time that no calendar of ours reaches, which some file systems can hold.
fn zoned(time: Time, zone: &TimeZone) -> Option<jiff::Zoned> {
    // Whole seconds only: a time before 1970 counts its nanoseconds forward, and jiff does not.
    Some(Timestamp::from_second(time.secs).ok()?.to_zoned(zone.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters() {
        let cases = [
            (EntryKind::File, 0o644, "-rw-r--r--"),
            (EntryKind::Dir, 0o755, "drwxr-xr-x"),
            (EntryKind::Link, 0o777, "lrwxrwxrwx"),
            (EntryKind::Dir, 0o1777, "drwxrwxrwt"),
            (EntryKind::File, 0o4755, "-rwsr-xr-x"),
            (EntryKind::File, 0o2644, "-rw-r-Sr--"),
            (EntryKind::Dir, 0o1770, "drwxrwx--T"),
            (EntryKind::Other, 0, "?---------"),
        ];
        for (kind, mode, letters) in cases {
            assert_eq!(mode_letters(kind, mode), letters, "{mode:o}");
        }
    }

    #[test]
    fn times() {
        let time = Time { secs: 1_800_000_000, nanos: 5 };
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(minute(time, &TimeZone::UTC), "2027-01-15 08:00");
        assert_eq!(minute(time, &east), "2027-01-15 10:00");
        assert_eq!(full(time, &east), "2027-01-15 10:00:00.000000005 +0200");
        assert_eq!(utc(time), "2027-01-15T08:00:00.000000005Z");
        assert_eq!(utc(Time { secs: -1, nanos: 500_000_000 }), "1969-12-31T23:59:59.500000000Z");
        assert_eq!(utc(Time { secs: i64::MAX, nanos: 0 }), "9223372036854775807.000000000");
    }
}
