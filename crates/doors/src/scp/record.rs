//! The lines by which the sending end of the old scp says what comes: a pure parser.
//!
//! A name is one name: what could lead anywhere else is no record. So are numbers that are not plainly numbers.

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Record {
    /// `T`: the time of modification of what comes next, seconds since 1970.
    Times { modified: i64 },
    /// `C`: a file of `size` bytes, which follow.
    File { mode: u32, size: u64, name: Vec<u8> },
    /// `D`: a directory; what follows is in it, until its end.
    Dir { mode: u32, name: Vec<u8> },
    /// `E`: the end of a directory.
    End,
    /// 1: the other end could not do something, and goes on.
    Warning,
    /// 2: it could not, and gives up.
    Fatal,
}

/// A line that is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Unexpected {
    #[error("expected control record")]
    Kind,
    #[error("bad mode")]
    Mode,
    #[error("bad size")]
    Size,
    #[error("bad times")]
    Times,
    #[error("unexpected filename")]
    Name,
}

/// Takes one line apart, without its newline.
pub fn parse(line: &[u8]) -> Result<Record, Unexpected> {
    match line.split_first() {
        Some((b'C', rest)) => {
            let (mode, size, name) = described(rest)?;
            Ok(Record::File { mode, size, name })
        }
        Some((b'D', rest)) => {
            let (mode, _, name) = described(rest)?;
            Ok(Record::Dir { mode, name })
        }
        Some((b'T', rest)) => times(rest),
        Some((b'E', [])) => Ok(Record::End),
        Some((1, _)) => Ok(Record::Warning),
        Some((2, _)) => Ok(Record::Fatal),
        _ => Err(Unexpected::Kind),
    }
}

/// `MODE SIZE NAME`: the name is all of the rest.
fn described(rest: &[u8]) -> Result<(u32, u64, Vec<u8>), Unexpected> {
    let mut fields = rest.splitn(3, |&b| b == b' ');
    let mut field = || fields.next().unwrap_or_default();
    let (mode, size, name) = (field(), field(), field());
    if mode.len() != 4 || !mode.iter().all(|b| (b'0'..=b'7').contains(b)) {
        return Err(Unexpected::Mode);
    }
    let mode = mode.iter().fold(0, |mode, digit| mode << 3 | u32::from(digit - b'0'));
    let size = number(size).filter(|size| *size <= i64::MAX as u64).ok_or(Unexpected::Size)?;
    if matches!(name, b"" | b"." | b"..") || name.iter().any(|b| matches!(b, b'/' | 0)) {
        return Err(Unexpected::Name);
    }
    Ok((mode, size, name.to_vec()))
}

/// `MODIFIED MICROSECONDS ACCESSED MICROSECONDS`
fn times(rest: &[u8]) -> Result<Record, Unexpected> {
    let fields: Option<Vec<u64>> = rest.split(|&b| b == b' ').map(number).collect();
    match fields.as_deref() {
        Some(&[modified, 0..1_000_000, _, 0..1_000_000]) => {
            Ok(Record::Times { modified: modified.try_into().map_err(|_| Unexpected::Times)? })
        }
        _ => Err(Unexpected::Times),
    }
}

/// Digits and nothing else: no sign, no space.
fn number(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| all)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_are_taken_apart() {
        let file = Record::File { mode: 0o4755, size: 12, name: b"a b".to_vec() };
        assert_eq!(parse(b"C4755 12 a b"), Ok(file));
        assert_eq!(parse(b"D0700 0 d"), Ok(Record::Dir { mode: 0o700, name: b"d".to_vec() }));
        assert_eq!(parse(b"T1700000000 5 1 0"), Ok(Record::Times { modified: 1_700_000_000 }));
        assert_eq!(parse(b"E"), Ok(Record::End));
        assert_eq!(parse(b"\x01scp: no"), Ok(Record::Warning));
        assert_eq!(parse(b"\x02"), Ok(Record::Fatal));
    }

    #[test]
    fn what_is_hostile_is_no_record() {
        for name in ["..", ".", "", "../a", "/etc/passwd", "a/b", "a\0b"] {
            assert_eq!(parse(format!("C0644 1 {name}").as_bytes()), Err(Unexpected::Name), "{name}");
            assert_eq!(parse(format!("D0755 0 {name}").as_bytes()), Err(Unexpected::Name), "{name}");
        }
        for size in ["-1", "+1", " 1", "", "0x10", "1e3", "9223372036854775808", "99999999999999999999999"] {
            let error = parse(format!("C0644 {size} a").as_bytes()).unwrap_err();
            assert!(matches!(error, Unexpected::Size | Unexpected::Name), "{size}");
        }
        for mode in ["-644", "0888", "644", "00644", "", "77777"] {
            assert_eq!(parse(format!("C{mode} 1 a").as_bytes()), Err(Unexpected::Mode), "{mode}");
        }
        for times in ["1 0 1", "1 0 1 0 1", "-1 0 1 0", "1 1000000 1 0", "18446744073709551615 0 1 0", ""] {
            assert_eq!(parse(format!("T{times}").as_bytes()), Err(Unexpected::Times), "{times}");
        }
        for line in ["", "X", "Ex", "c0644 1 a"] {
            assert_eq!(parse(line.as_bytes()), Err(Unexpected::Kind), "{line}");
        }
    }

    proptest! {
        #[test]
        fn a_name_never_leads_anywhere(line in prop::collection::vec(any::<u8>(), 0..40)) {
            let line = [b"C0644 1 ".as_slice(), &line].concat();
            if let Ok(Record::File { name, .. }) = parse(&line) {
                prop_assert!(!name.contains(&b'/') && name != b".." && name != b"." && !name.is_empty());
            }
        }
    }
}
