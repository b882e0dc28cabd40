//! The head of every frame: a type and a length, both variable-length integers of RFC 9000, section 16.
//!
//! Pure: bytes in, numbers out. What a type means is `wire`'s, how long a payload may be is the reader's
//! (spec/wire.md, "Frames"). Integers longer than they need to be are accepted and never written.

/// The largest number a variable-length integer can carry.
pub const VARINT_MAX: u64 = (1 << 62) - 1;
/// The longest variable-length integer.
pub const VARINT_BYTES_MAX: usize = 8;
/// The longest head of a frame: its type and its length.
pub const FRAME_HEADER_BYTES_MAX: usize = 2 * VARINT_BYTES_MAX;

/// The header of a frame; `len` payload bytes follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame is (spec/wire.md, "Frame types"); at most [`VARINT_MAX`].
    pub ty: u64,
    /// Bytes of payload that follow; at most [`VARINT_MAX`].
    pub len: u64,
}

impl FrameHeader {
    /// Appends the head in its shortest form.
    ///
    /// Panics if a field is above [`VARINT_MAX`]: types are constants and lengths are sizes of memory.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.ty);
        put_varint(out, self.len);
    }

    /// Reads a head from the start of `input`: the head and the bytes it took, or nothing when more bytes are needed.
    pub fn decode(input: &[u8]) -> Option<(Self, usize)> {
        let (ty, ty_bytes) = take_varint(input)?;
        let (len, len_bytes) = take_varint(&input[ty_bytes..])?;
        Some((Self { ty, len }, ty_bytes + len_bytes))
    }
}

/// Appends `value` in the shortest of the four forms: 1, 2, 4 or 8 bytes.
///
/// Panics if `value` is above [`VARINT_MAX`].
pub fn put_varint(out: &mut Vec<u8>, value: u64) {
    match varint_bytes(value) {
        1 => out.push(value as u8),
        2 => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        4 => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Reads an integer from the start of `input`: its value and the bytes it took, or nothing when more bytes are needed.
pub fn take_varint(input: &[u8]) -> Option<(u64, usize)> {
    let bytes = 1usize << (input.first()? >> 6);
    let encoded = input.get(..bytes)?;
    let first = u64::from(encoded[0] & 0x3f);
    let value = encoded[1..].iter().fold(first, |value, byte| value << 8 | u64::from(*byte));
    Some((value, bytes))
}

/// Bytes of the shortest form of `value`.
///
/// Panics if `value` is above [`VARINT_MAX`].
pub const fn varint_bytes(value: u64) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        0x4000_0000..=VARINT_MAX => 8,
        _ => panic!("a variable-length integer carries at most 62 bits"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_rfc_9000_appendix_a() {
        let cases: [(&[u8], u64); 5] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (encoded, value) in cases {
            assert_eq!(take_varint(encoded), Some((value, encoded.len())));
        }
    }

    #[test]
    fn every_form_begins_and_ends_where_it_should() {
        let cases = [
            (0, 1),
            (63, 1),
            (64, 2),
            (16_383, 2),
            (16_384, 4),
            ((1 << 30) - 1, 4),
            (1 << 30, 8),
            (VARINT_MAX, 8),
        ];
        for (value, bytes) in cases {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), bytes, "{value}");
            assert_eq!(take_varint(&out), Some((value, bytes)));
        }
    }

    #[test]
    #[should_panic(expected = "62 bits")]
    fn a_number_that_does_not_fit_is_a_bug() {
        put_varint(&mut Vec::new(), VARINT_MAX + 1);
    }

    proptest! {
        #[test]
        fn heads_survive_and_are_never_read_early(ty in 0..=VARINT_MAX, len in 0..=VARINT_MAX, tail in any::<[u8; 3]>()) {
            let head = FrameHeader { ty, len };
            let mut out = Vec::new();
            head.encode(&mut out);
            for cut in 0..out.len() {
                prop_assert_eq!(FrameHeader::decode(&out[..cut]), None);
            }
            let bytes = out.len();
            prop_assert!(bytes <= FRAME_HEADER_BYTES_MAX);
            out.extend_from_slice(&tail);
            prop_assert_eq!(FrameHeader::decode(&out), Some((head, bytes)));
        }

        #[test]
        fn any_bytes_decode_or_ask_for_more(input in proptest::collection::vec(any::<u8>(), 0..32)) {
            match FrameHeader::decode(&input) {
                Some((head, bytes)) => {
                    prop_assert!(bytes <= input.len());
                    prop_assert!(head.ty <= VARINT_MAX && head.len <= VARINT_MAX);
                }
                None => prop_assert!(input.len() < FRAME_HEADER_BYTES_MAX),
            }
        }
    }
}
