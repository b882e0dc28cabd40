//! Data frames: `piece` and `pack` (spec/wire.md, "Data frames").
//!
//! A payload is the length of the header, the header, and the content to the end of the frame. The content is neither
//! copied nor hashed here.

use minicbor::Encode;
use sft_base::frame::{put_varint, take_varint};
use sft_base::limits::{DATA_HEADER_BYTES_MAX, PIECE_BYTES};

use crate::bounds::Bounded;
use crate::codec::{decode, encode};
use crate::error::Misbehaved;
use crate::message::{PackHeader, PieceHeader};

/// The start of the payload of a `piece` frame; the content follows it.
pub fn encode_piece(header: &PieceHeader) -> Vec<u8> {
    encode_head(header)
}

/// The start of the payload of a `pack` frame; the contents follow it, in the order of the files.
pub fn encode_pack(header: &PackHeader) -> Vec<u8> {
    encode_head(header)
}

/// Reads the payload of a `piece` frame: the header, and the offset in `payload` at which the content begins.
///
/// Errors: what of it is not as it must be. Whether the content is what the header says is not looked at.
pub fn decode_piece(payload: &[u8]) -> Result<(PieceHeader, usize), Misbehaved> {
    let (header, at): (PieceHeader, usize) = decode_head(payload)?;
    match (payload.len() - at) as u64 {
        0 => Err(Misbehaved::Data("a piece has no content")),
        len if len > PIECE_BYTES => Err(Misbehaved::Data("a piece has more content than a piece may have")),
        _ => Ok((header, at)),
    }
}

/// Reads the payload of a `pack` frame: the header, and the offset in `payload` at which the first content begins.
///
/// Errors: what of it is not as it must be. Whether contents are what the header says is not looked at.
pub fn decode_pack(payload: &[u8]) -> Result<(PackHeader, usize), Misbehaved> {
    let (header, at): (PackHeader, usize) = decode_head(payload)?;
    let claimed: u64 = header.files.iter().map(|file| u64::from(file.size)).sum();
    if claimed == (payload.len() - at) as u64 {
        Ok((header, at))
    } else {
        Err(Misbehaved::Data("the sizes of a pack do not add up to its content"))
    }
}

fn encode_head<T: Encode<()>>(header: &T) -> Vec<u8> {
    let header = encode(header);
    let mut head = Vec::with_capacity(header.len() + 4);
    put_varint(&mut head, header.len() as u64);
    head.extend_from_slice(&header);
    head
}

fn decode_head<T: Bounded>(payload: &[u8]) -> Result<(T, usize), Misbehaved> {
    let (len, start) = take_varint(payload).ok_or(Misbehaved::Data("it ends inside its header's length"))?;
    let len = usize::try_from(len).ok().filter(|len| *len <= DATA_HEADER_BYTES_MAX);
    let len = len.ok_or(Misbehaved::Data("its header is longer than a header may be"))?;
    let header = payload[start..].get(..len).ok_or(Misbehaved::Data("it ends inside its header"))?;
    Ok((decode(header)?, start + len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::message::PackedFile;
    use sft_base::Digest;

    fn piece(offset: u64) -> PieceHeader {
        PieceHeader { transfer: 1, unit: 2, entry: 3, offset, cv: [7; 32] }
    }

    fn pack(sizes: &[u32]) -> PackHeader {
        let file = |(entry, size): (usize, &u32)| PackedFile {
            entry: entry as u64,
            size: *size,
            digest: Some(Digest([1; 32])),
            error: None,
        };
        PackHeader { transfer: 1, unit: 2, files: sizes.iter().enumerate().map(file).collect() }
    }

    fn framed(head: Vec<u8>, content: usize) -> Vec<u8> {
        [head, vec![9; content]].concat()
    }

    #[test]
    fn pieces_come_back_with_their_content() {
        let header = piece(PIECE_BYTES);
        let payload = framed(encode_piece(&header), 5);
        let (read, at) = decode_piece(&payload).unwrap();
        assert_eq!((read, &payload[at..]), (header, &[9; 5][..]));
    }

    #[test]
    fn pieces_without_or_with_too_much_content_are_refused() {
        let head = encode_piece(&piece(0));
        assert!(decode_piece(&framed(head.clone(), PIECE_BYTES as usize)).is_ok());
        for content in [0, PIECE_BYTES as usize + 1] {
            let refused = decode_piece(&framed(head.clone(), content)).unwrap_err();
            assert_eq!(refused.name(), "data", "{refused}");
        }
        let askew = decode_piece(&framed(encode_piece(&piece(1)), 5)).unwrap_err();
        assert_eq!(askew.name(), "rule", "{askew}");
    }

    #[test]
    fn sizes_of_a_pack_add_up() {
        let head = encode_pack(&pack(&[3, 0, 2]));
        assert!(decode_pack(&framed(head.clone(), 5)).is_ok());
        for content in [0, 4, 6] {
            assert!(decode_pack(&framed(head.clone(), content)).is_err());
        }
        let heavy = framed(encode_pack(&pack(&[PIECE_BYTES as u32, 1])), PIECE_BYTES as usize + 1);
        assert_eq!(decode_pack(&heavy).unwrap_err().code(), Code::LIMIT);
    }

    #[test]
    fn failures_in_a_pack_have_no_content() {
        let mut header = pack(&[0]);
        header.files[0].digest = None;
        assert!(decode_pack(&encode_pack(&header)).is_err(), "neither digest nor error");
        header.files[0].error = Some(Code::READ.because("no"));
        assert_eq!(decode_pack(&encode_pack(&header)).unwrap().0, header);
        header.files[0].size = 1;
        assert!(decode_pack(&framed(encode_pack(&header), 1)).is_err(), "content beside an error");
    }

    #[test]
    fn headers_longer_than_they_may_be_are_refused_before_they_are_read() {
        let mut payload = Vec::new();
        put_varint(&mut payload, DATA_HEADER_BYTES_MAX as u64 + 1);
        payload.resize(DATA_HEADER_BYTES_MAX + 100, 0);
        assert_eq!(decode_piece(&payload).unwrap_err().name(), "data");
    }
}
