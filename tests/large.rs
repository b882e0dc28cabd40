//! Promise: a file of 8 GiB goes there and back, and comes out as it was, by the word of `cmp`.
//!
//! `SFT_TEST_FULL=1` fills all of it, and takes one transport up and the other down; without it, a piece of data stands in every
//! 64 MiB, the rest are holes, and the client chooses.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use sft_testkit::{Dice, World, args};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const MIB: u64 = 1 << 20;
const SIZE: u64 = 8 << 30;

fn is_full() -> bool {
    std::env::var_os("SFT_TEST_FULL").is_some_and(|value| value == "1")
}

/// Data at odd places, so that pieces have holes at either end.
fn plant(path: &Path) {
    let full = is_full();
    let (step, len) = if full { (MIB, MIB) } else { (64 * MIB, MIB) };
    let file = File::create(path).unwrap();
    file.set_len(SIZE).unwrap();
    let mut dice = Dice::new(8);
    for at in (0..SIZE).step_by(step as usize) {
        let shift = if full { 0 } else { 4096 * dice.below(512) };
        file.write_all_at(&dice.bytes(len as usize), at + shift).unwrap();
    }
    file.write_all_at(b"the end", SIZE - 7).unwrap();
}

#[track_caller]
fn assert_same(a: &Path, b: &Path) {
    let compared = Command::new("cmp").arg(a).arg(b).output().unwrap();
    assert!(compared.status.success() && compared.stdout.is_empty(), "{compared:?}");
    assert_eq!(a.metadata().unwrap().mtime_nsec(), b.metadata().unwrap().mtime_nsec());
}

#[test]
fn a_file_of_8_gib_goes_there_and_back() {
    let world = World::new(SFT);
    plant(&world.local("large"));
    let (up, down) = if is_full() { ("quic", "tcp") } else { ("auto", "auto") };
    world.sft(args!["cp", "-q", "--transport", up, world.local("large"), "srv:"]).done();
    world.sft(args!["cp", "-q", "--transport", down, "srv:large", world.local("back")]).done();
    // What came back had been there: one comparison shows both ways.
    assert_same(&world.local("large"), &world.local("back"));
}
