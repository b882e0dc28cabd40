//! Promise: the hot paths take no more instructions than they did: hashing, framing, offering, packing, settling.
//!
//! Time depends on the machine and its mood; instructions do not. Each case runs in a process of its own under callgrind, which counts,
//! and the counts are compared with those below. Who makes one cheaper lowers its number, who must make one dearer says why.
//! They are counts of the test profile, so compare them with each other and not with a release.

use std::hint::black_box;
use std::process::{Command, ExitCode};

use sft_base::frame::FrameHeader;
use sft_base::{Digest, EntryPath, node_cv};
use sft_wire::message::{Commit, Entry, EntryKind, Offer, PackHeader, PackedFile, Run, Stamp};
use sft_wire::{decode, decode_pack, encode, encode_pack};

/// A case, what it does, and thousands of instructions on x86-64 with AVX2, which is what callgrind knows of.
const CASES: &[Case] = &[
    ("hash: a piece of 1 MiB", hash_piece, 2630),
    ("hash: 256 files of 4 KiB", hash_files, 4171),
    ("frame: 10,000 headers, there and back", frames, 1656),
    ("offer: a page of 512 entries, there and back", offers, 4339),
    ("pack: the header of 256 files, there and back", packs, 639),
    ("commit: 512 entries in runs and by themselves, there and back", commits, 289),
];

/// Per cent that a count may be off: compilers differ a little, and so do allocators.
const TOLERANCE: u64 = 15;

type Case = (&'static str, fn() -> Ready, u64);
/// What a case does, made ready.
type Ready = Box<dyn FnOnce()>;

fn hash_piece() -> Ready {
    let content = content();
    Box::new(move || {
        black_box(node_cv(black_box(1 << 20), black_box(&content)));
    })
}

fn hash_files() -> Ready {
    let content = content();
    Box::new(move || {
        for file in content.chunks(4096) {
            black_box(Digest::of(black_box(file)));
        }
    })
}

fn frames() -> Ready {
    Box::new(|| {
        let mut out = Vec::with_capacity(16);
        for len in 0..10_000 {
            out.clear();
            FrameHeader { ty: 0x20, len }.encode(&mut out);
            assert!(FrameHeader::decode(black_box(&out)).is_some());
        }
    })
}

fn offers() -> Ready {
    let entries = (0..512).map(|number| Entry {
        path: EntryPath::from_typed(format!("some/directory/file-{number}").as_bytes())
            .expect("it is a path"),
        kind: EntryKind::File,
        size: 4096,
        modified: Stamp { secs: 1_800_000_000, nanos: number },
        mode: 0o644,
        target: None,
        digest: None,
        occupied: None,
    });
    let offer =
        Offer { transfer: 1, first: 0, entries: entries.collect(), failures: Vec::new(), last: false };
    Box::new(move || {
        let payload = encode(black_box(&offer));
        assert!(decode::<Offer>(black_box(&payload)).is_ok());
    })
}

fn packs() -> Ready {
    let file = |entry| PackedFile { entry, size: 4096, digest: Some(Digest::of(b"")), error: None };
    let header = PackHeader { transfer: 1, unit: 7, files: (0..256).map(file).collect() };
    let mut payload = encode_pack(&header);
    payload.resize(payload.len() + (1 << 20), 0);
    Box::new(move || {
        black_box(encode_pack(black_box(&header)));
        assert!(decode_pack(black_box(&payload)).is_ok());
    })
}

fn commits() -> Ready {
    let every_second = (0..256).map(|number| Run { first: 1000 + 2 * number, count: 1 });
    let mut committed = vec![Run { first: 0, count: 256 }];
    committed.extend(every_second);
    let (failed, unapplied) = (Vec::new(), Vec::new());
    let commit = Commit { transfer: 1, committed, unchanged: Vec::new(), failed, unapplied };
    Box::new(move || {
        let payload = encode(black_box(&commit));
        assert!(decode::<Commit>(black_box(&payload)).is_ok());
    })
}

fn content() -> Vec<u8> {
    black_box(vec![7; 1 << 20])
}

fn main() -> ExitCode {
    let named = std::env::args().skip_while(|arg| arg != "--case").nth(1);
    if let Some(name) = named {
        let case = CASES.iter().find(|(case, ..)| *case == name).expect("the parent names those there are");
        let ready = (case.1)();
        if std::env::args().all(|arg| arg != "--make-ready") {
            ready();
        }
        return ExitCode::SUCCESS;
    }
    if !cfg!(target_arch = "x86_64") || !std::arch::is_x86_feature_detected!("avx2") {
        println!("test instructions ... NOT TESTED HERE: the counts are of x86-64 with AVX2");
        return ExitCode::SUCCESS;
    }
    let failed = CASES.iter().filter(|(name, _, known)| !is_kept(name, *known)).count();
    let (passed, result) = (CASES.len() - failed, if failed == 0 { "ok" } else { "FAILED" });
    println!("\ntest result: {result}. {passed} passed; {failed} failed; instructions counted by callgrind");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_kept(name: &str, known: u64) -> bool {
    let thousands =
        counted(&["--case", name]).saturating_sub(counted(&["--case", name, "--make-ready"])) / 1000;
    let kept = thousands.abs_diff(known) * 100 <= known * TOLERANCE;
    let result = if kept { "ok" } else { "FAILED: put it right, or the number in this file" };
    println!("test {name} ... {thousands} thousand, known are {known}: {result}");
    kept
}

/// Instructions of a process of this program.
fn counted(line: &[&str]) -> u64 {
    let own = std::env::current_exe().expect("a process knows its program");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(own).args(line);
    let ran = valgrind.output().expect("valgrind is installed: tests/run does that");
    let said = String::from_utf8_lossy(&ran.stderr);
    let count = said.lines().filter_map(|line| line.split_once("Collected : ")).next();
    let count = count.and_then(|(_, count)| count.trim().parse().ok());
    count.unwrap_or_else(|| panic!("callgrind does not say how many: {said}"))
}
