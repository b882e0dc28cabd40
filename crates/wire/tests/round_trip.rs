//! Whatever may be said comes back as it was said; whatever else a peer sends is refused and never ends the process.

mod strategies;

use proptest::prelude::*;
use sft_base::limits::CONTROL_FRAME_BYTES_MAX;
use sft_wire::message::frame;
use sft_wire::{Code, ControlMessage, check_cbor, decode_pack, decode_piece, encode_pack, encode_piece};

proptest! {
    #[test]
    fn control_messages_come_back(message in strategies::control_message()) {
        let payload = message.encode();
        prop_assert_eq!(check_cbor(&payload), Ok(()));
        let read = ControlMessage::decode(message.frame_type(), &payload);
        prop_assert_eq!(read, Ok(Some(message)));
    }

    #[test]
    fn every_truncation_of_a_message_is_refused(message in strategies::control_message()) {
        let payload = message.encode();
        for cut in 0..payload.len() {
            let refused = ControlMessage::decode(message.frame_type(), &payload[..cut]).unwrap_err();
            prop_assert_eq!(refused.name(), "truncated");
        }
    }

    #[test]
    fn a_key_of_a_later_version_is_ignored_and_a_critical_one_is_not(message in strategies::control_message()) {
        let payload = message.encode();
        prop_assert!(payload[0] & 0x1f < 23, "a map of few keys");
        let mut longer = payload.clone();
        longer[0] += 1;
        let critical = [&longer[..], &[0x20, 0x00]].concat();
        longer.extend([0x18, 0xff, 0x82, 0x01, 0xa1, 0x00, 0x63, b'n', b'e', b'w']);
        let read = ControlMessage::decode(message.frame_type(), &longer);
        prop_assert_eq!(read, Ok(Some(message.clone())));
        let refused = ControlMessage::decode(message.frame_type(), &critical).unwrap_err();
        prop_assert_eq!((refused.name(), refused.code()), ("key-critical", Code::UNSUPPORTED));
    }

    #[test]
    fn one_byte_changed_is_read_or_refused_and_never_read_as_the_same(
        message in strategies::control_message(), place in any::<prop::sample::Index>(), change in 1..=255u8,
    ) {
        let mut payload = message.encode();
        let place = place.index(payload.len());
        payload[place] ^= change;
        if let Ok(Some(read)) = ControlMessage::decode(message.frame_type(), &payload) {
            prop_assert_ne!(read, message);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(ty in 0..0x50u64, payload in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(Some(message)) = ControlMessage::decode(ty, &payload) {
            prop_assert_eq!(message.frame_type(), ty);
            prop_assert!(message.encode().len() <= payload.len());
        }
        let _ = decode_piece(&payload);
        let _ = decode_pack(&payload);
    }

    #[test]
    fn pieces_come_back(header in strategies::piece_header(), content in prop::collection::vec(any::<u8>(), 1..2000)) {
        let head = encode_piece(&header);
        let payload = [&head[..], &content[..]].concat();
        prop_assert_eq!(decode_piece(&payload), Ok((header, head.len())));
        for cut in 0..=head.len() {
            prop_assert!(decode_piece(&payload[..cut]).is_err());
        }
    }

    #[test]
    fn packs_come_back((header, content) in strategies::pack()) {
        let head = encode_pack(&header);
        let payload = [&head[..], &vec![7; content][..]].concat();
        prop_assert_eq!(decode_pack(&payload), Ok((header, head.len())));
        for cut in (0..head.len()).chain([payload.len().saturating_sub(1)]) {
            prop_assert!(decode_pack(&payload[..cut]).is_err(), "cut at {}", cut);
        }
    }
}

#[test]
fn what_claims_to_be_huge_costs_nothing() {
    // `want`, with a list that claims 2^40 runs: refused at the end of the few bytes that are there.
    let mut payload = vec![0xa2, 0x00, 0x01, 0x01, 0x9b, 0, 0, 1, 0, 0, 0, 0, 0];
    let refused = ControlMessage::decode(frame::WANT, &payload).unwrap_err();
    assert_eq!(refused.name(), "truncated");
    payload.resize(CONTROL_FRAME_BYTES_MAX, 0);
    let refused = ControlMessage::decode(frame::WANT, &payload).unwrap_err();
    assert_eq!(refused.name(), "truncated");
}

#[test]
fn refusals_tell_the_peer_where_and_why() {
    let refused = ControlMessage::decode(frame::PING, &[0xa1, 0x00, 0x18, 0x05]).unwrap_err();
    assert_eq!(refused.to_string(), "`ping` is not valid at byte 2: a number is longer than it needs to be");
    assert_eq!(refused.to_wire().code, Code::PROTOCOL);
    let refused = ControlMessage::decode(frame::PING, &[0xa0]).unwrap_err();
    assert_eq!(refused.name(), "shape");
    assert!(refused.to_string().starts_with("`ping` does not have its shape: "), "{refused}");
}
