//! A short run of the doors' fuzz targets on any compiler: bytes thrown at random, and packets that are nearly right.

#[path = "../../../fuzz/door_bodies.rs"]
mod door_bodies;

use proptest::collection::vec;
use proptest::prelude::*;

/// A packet as `sftp_session` takes it: two bytes of length, a kind, a number, and fields that mean something.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![1u8..21, Just(200u8), any::<u8>()];
    let field = prop_oneof![
        prop::sample::select(vec![
            "a",
            "b",
            "a/b",
            "/",
            "..",
            "posix-rename@openssh.com",
            "copy-data",
            "check-file-name"
        ])
        .prop_map(|name| string(name.as_bytes())),
        (0u32..3).prop_map(|handle| string(&handle.to_be_bytes())),
        prop_oneof![0u32..64, any::<u32>()].prop_map(|value| value.to_be_bytes().to_vec()),
        prop_oneof![0u64..4096, any::<u64>()].prop_map(|value| value.to_be_bytes().to_vec()),
        vec(any::<u8>(), 0..40).prop_map(|bytes| string(&bytes)),
    ];
    (kind, any::<u32>(), vec(field, 0..5)).prop_map(|(kind, id, fields)| {
        let body = [&[kind][..], &id.to_be_bytes(), &fields.concat()].concat();
        [&(body.len() as u16).to_be_bytes()[..], &body].concat()
    })
}

/// A record of the old scp, with what may follow it.
fn record() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(vec!["a", "b", "..", "a/b", ".sft", ""]);
    let sizes = prop_oneof![0u64..5, any::<u64>()];
    let record = (prop::sample::select(vec!["C", "D", "T", "E"]), 0u32..0o10000, sizes, names);
    (record, vec(any::<u8>(), 0..5)).prop_map(|((kind, mode, size, name), content)| {
        let line = match kind {
            "T" => format!("T{size} 0 {size} 0\n"),
            "E" => "E\n".to_owned(),
            kind => format!("{kind}{mode:04o} {size} {name}\n"),
        };
        let is_file = kind == "C" && content.len() as u64 == size;
        [line.as_bytes(), if is_file { &content } else { &[] }, if is_file { b"\0" } else { b"" }].concat()
    })
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_at_all(bytes in vec(any::<u8>(), 0..200)) {
        door_bodies::mux(&bytes);
        door_bodies::sftp_packet(&bytes);
        door_bodies::sftp_session(&bytes);
        door_bodies::scp_session(&bytes);
    }

    #[test]
    fn records_that_are_nearly_right(records in vec(record(), 0..30)) {
        door_bodies::scp_session(&[b"scp -r -p -t .\n".as_slice(), &records.concat()].concat());
    }

    #[test]
    fn packets_that_are_nearly_right(packets in vec(packet(), 0..30)) {
        door_bodies::sftp_session(&packets.concat());
    }
}
