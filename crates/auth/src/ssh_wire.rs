//! The SSH wire encoding (RFC 4251, section 5), as far as keys, signatures and agents need it.
//!
//! Reading never looks past the bytes given and never allocates.

/// Appends a `string`: its length as four bytes, then its bytes.
pub(crate) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("no string of ours comes near 4 GiB");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a positive number as `mpint`, from big-endian bytes that may have leading zeros.
pub(crate) fn put_positive(out: &mut Vec<u8>, bytes: &[u8]) {
    let digits = &bytes[bytes.iter().take_while(|&&byte| byte == 0).count()..];
    let sign: &[u8] = if digits.first().is_some_and(|&byte| byte >= 0x80) { &[0] } else { &[] };
    put_string(out, &[sign, digits].concat());
}

/// Takes SSH values off the front of a message; `None` when it is too short.
pub(crate) struct SshReader<'a>(&'a [u8]);

impl<'a> SshReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(usize::try_from(len).ok()?)
    }

    /// A positive `mpint`, without leading zeros; none if it is negative, zero or not minimal.
    pub(crate) fn positive(&mut self) -> Option<&'a [u8]> {
        match self.string()? {
            [0, rest @ ..] if rest.first().is_some_and(|&b| b >= 0x80) => Some(rest),
            bytes @ [1..=0x7f, ..] => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// How many bytes are left.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back_and_short_ones_do_not() {
        let mut bytes = Vec::new();
        put_string(&mut bytes, b"abc");
        put_string(&mut bytes, b"");
        let mut reader = SshReader::new(&bytes);
        assert_eq!(reader.string(), Some(&b"abc"[..]));
        assert_eq!(reader.string(), Some(&b""[..]));
        assert!(reader.is_empty());
        assert_eq!(reader.string(), None);
        assert_eq!(SshReader::new(&[0, 0, 0, 9, 1]).string(), None);
        assert_eq!(SshReader::new(&[0xff, 0xff, 0xff, 0xff]).string(), None);
    }

    #[test]
    fn only_minimal_positive_numbers_are_numbers() {
        let number = |bytes: &[u8]| {
            let mut out = Vec::new();
            put_string(&mut out, bytes);
            SshReader::new(&out).positive().map(<[u8]>::to_vec)
        };
        for bytes in [&[0, 0, 0x80][..], &[0x7f], &[1, 0], &[0, 1]] {
            let mut out = Vec::new();
            put_positive(&mut out, bytes);
            let digits: Vec<u8> = bytes.iter().copied().skip_while(|&byte| byte == 0).collect();
            assert_eq!(SshReader::new(&out).positive(), Some(&digits[..]));
        }
        assert_eq!(number(&[0x7f, 1]), Some(vec![0x7f, 1]));
        assert_eq!(number(&[0, 0x80]), Some(vec![0x80]));
        assert_eq!(number(&[0, 0x7f]), None);
        assert_eq!(number(&[0x80]), None);
        assert_eq!(number(&[]), None);
        assert_eq!(number(&[0]), None);
    }
}
