//! A short run of the fuzz targets of what a store finds when it begins, on any compiler.
//!
//! `SFT_FUZZ_SEED` and `SFT_FUZZ_TURNS` choose another run; a failure prints its seed and its input.

#![cfg(target_os = "linux")]

#[path = "../../../fuzz/store_bodies.rs"]
mod bodies;
#[path = "../../../fuzz/mutation.rs"]
mod mutation;

const VECTORS: &str = include_str!("../../../spec/vectors/journal.txt");

#[test]
fn no_body_fails_on_bytes_like_good_ones() {
    let hex = |name: &str| {
        let line = VECTORS.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        let text = line.unwrap_or_else(|| panic!("{name} has a vector"));
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("it is hexadecimal");
        (0..text.len()).step_by(2).map(digit).collect::<Vec<u8>>()
    };
    let seeds = vec![
        [hex("header"), hex("record")].concat(),
        [bodies::header(), hex("record"), hex("record")].concat(),
        [0, 2, 0, 4, 2, 0, 8, 2, 1, 12, 2, 0, 0, 4, 0].to_vec(),
        format!("d/.sft-{}.tmp", "0f".repeat(16)).into_bytes(),
        b"../outside".to_vec(),
        b"a".to_vec(),
    ];
    mutation::try_all(bodies::ALL, &seeds, 1_500);
}
