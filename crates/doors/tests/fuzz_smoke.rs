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
    }

    #[test]
    fn packets_that_are_nearly_right(packets in vec(packet(), 0..30)) {
        door_bodies::sftp_session(&packets.concat());
    }
}
