//! A short, seeded run of fuzz bodies on any compiler: bytes that were good once, with a few changes.
//!
//! `SFT_FUZZ_SEED` and `SFT_FUZZ_TURNS` choose another run; a failure prints its seed and its input.

use std::panic::catch_unwind;

/// A target's name, and what it does with the bytes it is given.
type Named = (&'static str, fn(&[u8]));

/// Runs every body on the seeds, and on so many inputs made of them.
pub(crate) fn try_all(bodies: &[Named], seeds: &[Vec<u8>], turns: u64) {
    let seed = from_environment("SFT_FUZZ_SEED", 1303);
    let turns = from_environment("SFT_FUZZ_TURNS", turns);
    for (name, body) in bodies {
        let mut random = Random(seed);
        for input in seeds {
            run(name, *body, input, seed);
        }
        for _ in 0..turns {
            run(name, *body, &mutated(seeds, &mut random), seed);
        }
    }
}

fn run(name: &str, body: fn(&[u8]), input: &[u8], seed: u64) {
    if let Err(panic) = catch_unwind(|| body(input)) {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{name} fails with SFT_FUZZ_SEED={seed} on {hex}");
        std::panic::resume_unwind(panic);
    }
}

/// One of the seeds with one to eight changes.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = TELLING[random.below(TELLING.len())],
            2 => bytes.insert(at, random.below(256) as u8),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(64)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let to = (at + random.below(64)).min(bytes.len());
                let copy = bytes[at..to].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

/// Bytes that mean much in CBOR and in heads of frames.
const TELLING: [u8; 16] =
    [0x00, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x20, 0x3b, 0x5b, 0x7b, 0x9b, 0xbb, 0xc0, 0xf4, 0xf6, 0xff];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
