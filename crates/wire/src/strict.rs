//! One pass over a payload that decides whether it is the deterministic CBOR of spec/wire.md, "CBOR".
//!
//! It knows no message. It allocates nothing that grows with what the payload claims, and reads every byte once. What it
//! lets through has one map at the top, integer keys in ascending order, the shortest form of everything, and no tag,
//! float, null or undefined. It refuses rather than repairs.

use sft_base::limits::CBOR_DEPTH_MAX;

/// Why a payload is not the CBOR that SFT/1 speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborFault {
    /// It ends inside an item.
    #[error("it ends inside an item")]
    Truncated,
    /// Bytes follow the map.
    #[error("bytes follow the message")]
    Trailing,
    /// The first item is not a map.
    #[error("a message is a map")]
    NotAMap,
    /// An integer or a length longer than it needs to be.
    #[error("a number is longer than it needs to be")]
    NotShortest,
    /// An item without a length, or the `break` that ends one.
    #[error("an item has no definite length")]
    Indefinite,
    /// A length of a form that CBOR reserves.
    #[error("a form that is reserved")]
    Reserved,
    /// A key that is not an integer.
    #[error("a key is not an integer")]
    KeyType,
    /// A key that is less than the one before it.
    #[error("keys are not in ascending order")]
    KeyOrder,
    /// A key twice.
    #[error("a key stands twice")]
    KeyTwice,
    /// A key below zero: critical, and SFT/1 defines none.
    #[error("critical key {0} is not known")]
    KeyCritical(i128),
    /// More arrays and maps within one another than [`CBOR_DEPTH_MAX`].
    #[error("arrays and maps are nested more than {CBOR_DEPTH_MAX} deep")]
    TooDeep,
    /// A tag.
    #[error("tags are not used")]
    Tag,
    /// A float, null, undefined or another simple value than false and true.
    #[error("only false and true are used of the simple values")]
    Simple,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
}

impl CborFault {
    /// The name in spec/wire.md, "Refusals".
    pub fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Trailing => "trailing",
            Self::NotAMap => "not-a-map",
            Self::NotShortest => "not-shortest",
            Self::Indefinite => "indefinite",
            Self::Reserved => "reserved",
            Self::KeyType => "key-type",
            Self::KeyOrder => "key-order",
            Self::KeyTwice => "key-twice",
            Self::KeyCritical(_) => "key-critical",
            Self::TooDeep => "too-deep",
            Self::Tag => "tag",
            Self::Simple => "simple",
            Self::NotUtf8 => "not-utf8",
        }
    }
}

/// Checks one payload: whether it is one deterministic map from the first byte to the last.
///
/// Errors: the offset of the item at fault, and what is wrong with it.
pub fn check(payload: &[u8]) -> Result<(), (usize, CborFault)> {
    let mut walk = Walk { payload, at: 0, levels: Vec::with_capacity(CBOR_DEPTH_MAX) };
    let (at, major, _) = walk.item()?;
    if major != MAP {
        return Err((at, CborFault::NotAMap));
    }
    while walk.next_place()? {
        walk.item()?;
    }
    if walk.at < payload.len() { Err((walk.at, CborFault::Trailing)) } else { Ok(()) }
}

/// Where the walk stands.
struct Walk<'a> {
    payload: &'a [u8],
    at: usize,
    levels: Vec<Level>,
}

/// An array or map that is open.
struct Level {
    /// Elements or pairs that have not begun.
    left: u64,
    /// For a map: the greatest key so far.
    keys: Option<Option<u64>>,
}

impl<'a> Walk<'a> {
    /// Closes what is full and reads the key if a pair begins; whether another item follows.
    fn next_place(&mut self) -> Result<bool, (usize, CborFault)> {
        while self.levels.last().is_some_and(|level| level.left == 0) {
            self.levels.pop();
        }
        let Some(level) = self.levels.last_mut() else { return Ok(false) };
        level.left -= 1;
        if let Some(before) = level.keys {
            let key = self.key(before)?;
            if let Some(level) = self.levels.last_mut() {
                level.keys = Some(Some(key));
            }
        }
        Ok(true)
    }

    /// Reads a key of a map.
    fn key(&mut self, before: Option<u64>) -> Result<u64, (usize, CborFault)> {
        let (at, major, value) = self.head()?;
        let fault = match (major, before) {
            (NEGATIVE, _) => CborFault::KeyCritical(-1 - i128::from(value)),
            (UNSIGNED, _) if value > i64::MAX as u64 => CborFault::KeyType,
            (UNSIGNED, Some(before)) if value == before => CborFault::KeyTwice,
            (UNSIGNED, Some(before)) if value < before => CborFault::KeyOrder,
            (UNSIGNED, _) => return Ok(value),
            _ => CborFault::KeyType,
        };
        Err((at, fault))
    }

    /// Reads one item: a whole scalar or string, or the head of an array or map, which it opens.
    fn item(&mut self) -> Result<(usize, u8, u64), (usize, CborFault)> {
        let (at, major, value) = self.head()?;
        match major {
            BYTES => drop(self.take(at, value)?),
            TEXT => {
                let text = self.take(at, value)?;
                std::str::from_utf8(text).map_err(|_| (at, CborFault::NotUtf8))?;
            }
            ARRAY => self.open(at, Level { left: value, keys: None })?,
            MAP => self.open(at, Level { left: value, keys: Some(None) })?,
            TAG => return Err((at, CborFault::Tag)),
            SIMPLE if value != FALSE && value != TRUE => return Err((at, CborFault::Simple)),
            _ => {}
        }
        Ok((at, major, value))
    }

    fn open(&mut self, at: usize, level: Level) -> Result<(), (usize, CborFault)> {
        if self.levels.len() == CBOR_DEPTH_MAX {
            return Err((at, CborFault::TooDeep));
        }
        self.levels.push(level);
        Ok(())
    }

    /// Reads the head of an item: its offset, its major type, and its value, length or count.
    fn head(&mut self) -> Result<(usize, u8, u64), (usize, CborFault)> {
        let at = self.at;
        let initial = self.take(at, 1)?[0];
        let (major, info) = (initial >> 5, initial & 0x1f);
        let (bytes, least) = match info {
            0..=23 => return Ok((at, major, u64::from(info))),
            _ if major == SIMPLE => return Err((at, simple_fault(info))),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            31 if major != UNSIGNED && major != NEGATIVE && major != TAG => {
                return Err((at, CborFault::Indefinite));
            }
            _ => return Err((at, CborFault::Reserved)),
        };
        let value = self.take(at, bytes)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        if value < least { Err((at, CborFault::NotShortest)) } else { Ok((at, major, value)) }
    }

    /// Takes `count` bytes of the item that begins at `item`.
    fn take(&mut self, item: usize, count: u64) -> Result<&'a [u8], (usize, CborFault)> {
        let rest = &self.payload[self.at..];
        let count = usize::try_from(count).ok().filter(|count| *count <= rest.len());
        let count = count.ok_or((item, CborFault::Truncated))?;
        self.at += count;
        Ok(&rest[..count])
    }
}

fn simple_fault(info: u8) -> CborFault {
    match info {
        24..=27 => CborFault::Simple,
        31 => CborFault::Indefinite,
        _ => CborFault::Reserved,
    }
}

/// Major types of RFC 8949, section 3.1.
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;
/// Simple values.
const FALSE: u64 = 20;
const TRUE: u64 = 21;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(payload: &[u8]) -> Option<(usize, CborFault)> {
        check(payload).err()
    }

    #[test]
    fn what_is_deterministic_passes() {
        let passes: [&[u8]; 6] = [
            &[0xa0],
            &[0xa1, 0x00, 0xf5],
            &[0xa2, 0x00, 0x18, 0x18, 0x01, 0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xa1, 0x00, 0x82, 0xa1, 0x05, 0x80, 0x41, 0xff],
            &[0xa2, 0x17, 0x00, 0x18, 0x18, 0x00],
            &[0xa1, 0x00, 0x62, 0xc3, 0xa9],
        ];
        for payload in passes {
            assert_eq!(fault(payload), None, "{payload:02x?}");
        }
    }

    #[test]
    fn every_fault_is_found_where_it_is() {
        let cases: [(&[u8], usize, CborFault); 24] = [
            (&[], 0, CborFault::Truncated),
            (&[0xa1], 1, CborFault::Truncated),
            (&[0xa1, 0x00], 2, CborFault::Truncated),
            (&[0xa1, 0x00, 0x42, 0x00], 2, CborFault::Truncated),
            (&[0xa1, 0x00, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 11, CborFault::Truncated),
            (&[0xa1, 0x00, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 2, CborFault::Truncated),
            (&[0xa0, 0x00], 1, CborFault::Trailing),
            (&[0x80], 0, CborFault::NotAMap),
            (&[0xa1, 0x00, 0x18, 0x17], 2, CborFault::NotShortest),
            (&[0xa1, 0x18, 0x00, 0x00], 1, CborFault::NotShortest),
            (&[0xb8, 0x00], 0, CborFault::NotShortest),
            (&[0xbf, 0xff], 0, CborFault::Indefinite),
            (&[0xa1, 0x00, 0x5f, 0xff], 2, CborFault::Indefinite),
            (&[0xa1, 0x00, 0xff], 2, CborFault::Indefinite),
            (&[0xa1, 0x00, 0x1c], 2, CborFault::Reserved),
            (&[0xa1, 0x60, 0x00], 1, CborFault::KeyType),
            (&[0xa2, 0x01, 0x00, 0x00, 0x00], 3, CborFault::KeyOrder),
            (&[0xa2, 0x01, 0x00, 0x01, 0x00], 3, CborFault::KeyTwice),
            (&[0xa1, 0x21, 0x00], 1, CborFault::KeyCritical(-2)),
            (&[0xa1, 0x00, 0xc0, 0x00], 2, CborFault::Tag),
            (&[0xa1, 0x00, 0xf6], 2, CborFault::Simple),
            (&[0xa1, 0x00, 0xf9, 0x00, 0x00], 2, CborFault::Simple),
            (&[0xa1, 0x00, 0x61, 0xff], 2, CborFault::NotUtf8),
            (&[0xa1, 0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0, 0], 1, CborFault::KeyType),
        ];
        for (payload, at, expected) in cases {
            assert_eq!(fault(payload), Some((at, expected)), "{payload:02x?}");
        }
    }

    #[test]
    fn nesting_ends_where_the_limit_says() {
        let nested = |depth: usize| {
            let mut payload = [0xa1, 0x00].repeat(depth - 1);
            payload.push(0xa0);
            payload
        };
        assert_eq!(fault(&nested(CBOR_DEPTH_MAX)), None);
        assert_eq!(fault(&nested(CBOR_DEPTH_MAX + 1)), Some((2 * CBOR_DEPTH_MAX, CborFault::TooDeep)));
        assert_eq!(fault(&nested(100_000)).map(|(_, fault)| fault), Some(CborFault::TooDeep));
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_answer(mut payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&payload);
            payload.splice(0..0, [0xa1, 0x00]);
            if let Err((at, _)) = check(&payload) {
                prop_assert!(at <= payload.len());
            }
        }
    }
}
