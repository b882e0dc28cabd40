//! Attributes as SFTP version 3 has them (draft, section 5), and the long names of listings.
//!
//! Owners are neither told nor set: who somebody is here is not who the system says they are. The time of last access
//! is taken for that of modification, since the store keeps one.

use sft_base::{Kind, Time};
use sft_store::Stat;

use super::packet::{Fields, Incomplete, Writing};

/// What a client tells of a file, or asks to have set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileAttributes {
    /// Bytes.
    pub size: Option<u64>,
    /// User and group, by number.
    pub owner: Option<(u32, u32)>,
    /// Permission bits; a client may send the bits of the kind with them.
    pub permissions: Option<u32>,
    /// Time of modification, seconds since 1970.
    pub modified: Option<u32>,
}

impl FileAttributes {
    pub(crate) fn read(fields: &mut Fields) -> Result<Self, Incomplete> {
        let flags = fields.u32()?;
        let mut attributes = Self::default();
        if flags & SIZE != 0 {
            attributes.size = Some(fields.u64()?);
        }
        if flags & OWNER != 0 {
            attributes.owner = Some((fields.u32()?, fields.u32()?));
        }
        if flags & PERMISSIONS != 0 {
            attributes.permissions = Some(fields.u32()?);
        }
        if flags & TIMES != 0 {
            let _accessed = fields.u32()?;
            attributes.modified = Some(fields.u32()?);
        }
        if flags & EXTENDED != 0 {
            for _ in 0..fields.u32()? {
                fields.string()?;
                fields.string()?;
            }
        }
        Ok(attributes)
    }
}

impl Writing {
    /// What is known of an entry.
    pub(crate) fn stat(self, stat: &Stat) -> Self {
        let modified = seconds(stat.meta.modified);
        let mode = kind_bits(stat.meta.kind) | stat.meta.mode & 0o7777;
        self.u32(SIZE | PERMISSIONS | TIMES).u64(stat.meta.size).u32(mode).u32(modified).u32(modified)
    }
}

/// As `ls -l` would show it; clients print it as it is.
pub(crate) fn long_name(name: &[u8], stat: &Stat) -> Vec<u8> {
    let meta = &stat.meta;
    let (year, month, day) = civil(meta.modified.secs.div_euclid(86_400));
    let minutes = meta.modified.secs.rem_euclid(86_400) / 60;
    let head = format!(
        "{} {:>3} {:<8} {:<8} {:>12} {} {:>2} {:>5} ",
        mode_text(meta.kind, meta.mode),
        1,
        "-",
        "-",
        meta.size,
        MONTHS[month - 1],
        day,
        if is_recent(meta.modified) {
            format!("{:02}:{:02}", minutes / 60, minutes % 60)
        } else {
            year.to_string()
        },
    );
    [head.as_bytes(), name].concat()
}

fn is_recent(time: Time) -> bool {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (0..HALF_A_YEAR).contains(&(now.as_secs() as i64 - time.secs))
}

fn mode_text(kind: Kind, mode: u32) -> String {
    let mut text = String::from(match kind {
        Kind::File => '-',
        Kind::Dir => 'd',
        Kind::Link => 'l',
        Kind::Other => '?',
    });
    for (shift, special, set, both) in [(6, 0o4000, 'S', 's'), (3, 0o2000, 'S', 's'), (0, 0o1000, 'T', 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => both,
            (false, true) => set,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// The year, month and day of a number of days since 1970.
fn civil(days: i64) -> (i64, usize, i64) {
    // From March on, so that the day that some years have comes last.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as usize, day)
}

fn seconds(time: Time) -> u32 {
    time.secs.clamp(0, i64::from(u32::MAX)) as u32
}

fn kind_bits(kind: Kind) -> u32 {
    match kind {
        Kind::File => 0o100_000,
        Kind::Dir => 0o040_000,
        Kind::Link => 0o120_000,
        // Which of them it is the store does not tell; a socket is what clients leave alone.
        Kind::Other => 0o140_000,
    }
}

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;
const HALF_A_YEAR: i64 = 182 * 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn every_attribute_is_read_in_its_place() {
        let bytes = Writing::packet(0)
            .u32(SIZE | OWNER | PERMISSIONS | TIMES | EXTENDED)
            .u64(1 << 40)
            .u32(7)
            .u32(8)
            .u32(0o100_644)
            .u32(1)
            .u32(2)
            .u32(1)
            .string(b"a@b")
            .string(b"c")
            .done();
        let mut fields = Fields::of(Bytes::from(bytes).slice(5..));
        let read = FileAttributes::read(&mut fields).unwrap();
        let expected = FileAttributes {
            size: Some(1 << 40),
            owner: Some((7, 8)),
            permissions: Some(0o100_644),
            modified: Some(2),
        };
        assert_eq!(read, expected);
        assert!(fields.byte().is_err(), "all was taken");
        let claims = Writing::packet(0).u32(EXTENDED).u32(u32::MAX).done();
        assert_eq!(FileAttributes::read(&mut Fields::of(Bytes::from(claims).slice(5..))), Err(Incomplete));
    }

    #[test]
    fn days_have_their_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(-1), (1969, 12, 31));
    }

    #[test]
    fn modes_are_shown_as_ls_does() {
        assert_eq!(mode_text(Kind::Dir, 0o1777), "drwxrwxrwt");
        assert_eq!(mode_text(Kind::File, 0o4750), "-rwsr-x---");
        assert_eq!(mode_text(Kind::File, 0o2640), "-rw-r-S---");
    }
}
