//! spec/sft1.cddl describes the messages that this crate writes, and none that it would refuse.
//!
//! The validator is an independent implementation of RFC 8610.

mod samples;

use cddl::validate_cbor_from_slice;
use sft_wire::{ControlMessage, encode};

const CDDL: &str = include_str!("../../../spec/sft1.cddl");

#[test]
fn every_message_is_as_described() {
    for (name, _, message) in samples::control() {
        validate(rule(&message), &message.encode()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    validate("piece", &encode(&samples::piece().2.0)).unwrap();
    validate("pack", &encode(&samples::pack().2.0)).unwrap();
}

#[test]
fn messages_are_not_described_by_the_rules_of_others() {
    for (name, _, message) in samples::control() {
        // An empty map of later keys alone describes much: what has no required keys is left out.
        for other in ["hello", "attach", "offer", "pack"] {
            if other != rule(&message) {
                assert!(validate(other, &message.encode()).is_err(), "{name} is described by {other}");
            }
        }
    }
}

#[test]
fn broken_messages_are_neither_described_nor_read() {
    let cases: [(&str, u64, &[u8]); 10] = [
        ("ping", 0x06, &[0xa0]),
        ("ping", 0x06, &[0xa1, 0x00, 0x20]),
        ("ping", 0x06, &[0xa1, 0x00, 0x61, b'a']),
        ("hello", 0x01, &[0xa2, 0x00, 0x80, 0x01, 0x60]),
        ("hello", 0x01, &[0xa2, 0x00, 0x81, 0x1a, 0x00, 0x01, 0x00, 0x00, 0x01, 0x60]),
        ("close", 0x05, &[0xa1, 0x00, 0xa2, 0x00, 0x01, 0x01, 0x60]),
        ("request", 0x10, &[0xa2, 0x00, 0x01, 0x01, 0x82, 0x00, 0xa1, 0x00, 0x81, 0x40]),
        ("request", 0x10, &[0xa2, 0x00, 0x01, 0x01, 0x82, 0x0f, 0xa0]),
        (
            "got",
            0x23,
            &[0xa3, 0x00, 0x01, 0x01, 0x81, 0x83, 0x00, 0x01, 0x01, 0x02, 0xa2, 0x00, 0x01, 0x01, 0x01],
        ),
        ("done", 0x25, &[0xa3, 0x00, 0x01, 0x01, 0x00, 0x02, 0x00]),
    ];
    for (rule, ty, payload) in cases {
        assert!(validate(rule, payload).is_err(), "{rule} describes {payload:02x?}");
        assert!(ControlMessage::decode(ty, payload).is_err(), "{rule} reads {payload:02x?}");
    }
}

#[test]
fn a_later_key_is_described() {
    validate("ping", &[0xa2, 0x00, 0x01, 0x18, 0x40, 0x81, 0x05]).unwrap();
}

#[test]
fn every_frame_type_stands_beside_its_rule() {
    for (ty, name) in ControlMessage::TYPES {
        let rule = name.to_lowercase();
        let line = CDDL.lines().find(|line| line.starts_with(&format!("{rule} = {{")));
        let line = line.unwrap_or_else(|| panic!("no rule for {rule}"));
        assert!(line.contains(&format!("; frame {ty:#04x}, ")), "{line}");
    }
}

/// The first rule of a file is the one that counts.
fn validate(rule: &str, payload: &[u8]) -> Result<(), String> {
    let cddl = format!("start = {rule}\n{CDDL}");
    validate_cbor_from_slice(&cddl, payload, None).map_err(|error| error.to_string())
}

fn rule(message: &ControlMessage) -> &'static str {
    match message {
        ControlMessage::Hello(_) => "hello",
        ControlMessage::Welcome(_) => "welcome",
        ControlMessage::Attach(_) => "attach",
        ControlMessage::Attached(_) => "attached",
        ControlMessage::Close(_) => "close",
        ControlMessage::Ping(_) => "ping",
        ControlMessage::Pong(_) => "pong",
        ControlMessage::Proof(_) => "proof",
        ControlMessage::Denied(_) => "denied",
        ControlMessage::Request(_) => "request",
        ControlMessage::Reply(_) => "reply",
        ControlMessage::Offer(_) => "offer",
        ControlMessage::Want(_) => "want",
        ControlMessage::Finish(_) => "finish",
        ControlMessage::Got(_) => "got",
        ControlMessage::Commit(_) => "commit",
        ControlMessage::Done(_) => "done",
        ControlMessage::Cancel(_) => "cancel",
    }
}
