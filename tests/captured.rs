//! Promise: what the shipped program says on the wire is what spec/sft1.cddl describes, message by message, captured from
//! real sessions in which every verb did its work.
//!
//! The validator is an independent implementation of RFC 8610.

use std::collections::BTreeSet;
use std::fs;

use sft_base::frame::take_varint;
use sft_testkit::{Dice, Tree, Witness, World, args};
use sft_wire::message::frame;
use sft_wire::{CborFault, ControlMessage, check_cbor};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const CDDL: &str = include_str!("../spec/sft1.cddl");

/// The rule that describes a frame of this type: the specification names the type beside it.
fn rule(ty: u64) -> &'static str {
    let beside = format!("; frame {ty:#04x}, ");
    let line = CDDL.lines().find(|line| line.contains(&beside) && line.contains(" = {"));
    let line = line.unwrap_or_else(|| panic!("nothing describes frames of type {ty:#x}"));
    line.split(" = ").next().expect("a rule has a name")
}

/// What CDDL describes of a payload: all of it, or the header of a data frame.
fn described(ty: u64, payload: &[u8]) -> &[u8] {
    if ![frame::PIECE, frame::PACK].contains(&ty) {
        return payload;
    }
    let (len, taken) = take_varint(payload).expect("a data frame begins with the length of its header");
    &payload[taken..taken + len as usize]
}

fn validate(rule: &str, payload: &[u8]) -> Result<(), String> {
    // The first rule of a file is the one that counts.
    let cddl = format!("start = {rule}\n{CDDL}");
    cddl::validate_cbor_from_slice(&cddl, payload, None).map_err(|error| error.to_string())
}

/// Every verb, with entries of every kind, and failures too.
fn live_a_day(world: &World) {
    let mut tree = Tree::new(world.local("tree"));
    tree.dir("d").file("d/small", 5).file("d/none", 0).file("large", (3 << 20) + 9).link("link", "d/small");
    tree.sparse("holes", 8 << 20);
    let sft = |line| world.sft(line);
    sft(args!["mkdir", "-p", "wit:a/b"]).done();
    sft(args!["cp", tree.path(), "wit:up"]).done();
    sft(args!["cp", tree.path(), "wit:up"]).done();
    sft(args!["cp", "-n", "-c", tree.path(), "wit:up"]).done();
    fs::create_dir(world.served("up/tree/blocked")).unwrap();
    tree.file("blocked", 3);
    sft(args!["cp", tree.path(), "wit:up"]).ended(1);
    sft(args!["cp", "-c", "wit:up", world.local("down")]).done();
    fs::write(world.served("own"), "x").unwrap();
    sft(args!["cp", "wit:gone", "wit:own", world.local("")]).ended(1);
    for line in [
        args!["ls", "-l", "wit:up"],
        args!["stat", "wit:up/link", "wit:up"],
        args!["cat", "wit:up/large"],
        args!["hash", "wit:up/large"],
        args!["df", "wit:"],
        args!["mv", "wit:own", "wit:owned"],
        args!["rm", "-r", "wit:owned", "wit:a"],
    ] {
        sft(line).done();
    }
    sft(args!["ls", "wit:gone"]).ended(1);
}

#[test]
fn every_message_of_real_sessions_is_as_described() {
    let world = World::new(SFT);
    let witness = Witness::start(world.address(), &world.client.key(), &world.local("witness"));
    world.client.names("wit", witness.port());
    world.client.trusts(witness.port(), &witness.fingerprint());
    live_a_day(&world);
    // A copy that goes on: some of it is held already.
    let relay = sft_testkit::Relay::start(([127, 0, 0, 1], witness.port()).into());
    world.client.names("slow", relay.port());
    world.client.trusts(relay.port(), &witness.fingerprint());
    relay.rate(4 << 20);
    Dice::new(5).file(&world.local("long"), 24 << 20);
    let mut running = world.start(args!["cp", "--transport", "quic", world.local("long"), "slow:long"]);
    while relay.passed().0 < 6 << 20 {
        assert!(!running.is_over(), "{}", running.stderr_so_far());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    running.kill();
    running.ended();
    relay.rate(0);
    world.sft(args!["cp", "--transport", "quic", world.local("long"), "slow:long"]).done();
    let heard = witness.heard();
    let mut seen = BTreeSet::new();
    let mut held = false;
    for (ty, payload) in &heard {
        let payload = described(*ty, payload);
        assert_eq!(check_cbor(payload), Ok::<(), (usize, CborFault)>(()), "type {ty:#x}");
        let rule = rule(*ty);
        // Contents of answers to `read` are long, and all alike.
        if seen.contains(rule) && payload.len() > 20_000 {
            continue;
        }
        validate(rule, payload).unwrap_or_else(|error| panic!("{rule}: {error}: {payload:02x?}"));
        seen.insert(rule);
        if let Ok(Some(ControlMessage::Want(want))) = ControlMessage::decode(*ty, payload) {
            held |= want.partial.iter().any(|partial| !partial.held.is_empty());
        }
    }
    let all = [
        "close", "commit", "done", "finish", "got", "hello", "offer", "pack", "piece", "proof", "reply",
        "request", "want", "welcome",
    ];
    assert_eq!(seen, all.into(), "of {} messages", heard.len());
    assert!(held, "a copy that goes on says what is held");
}
