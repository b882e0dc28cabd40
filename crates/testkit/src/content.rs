//! Content that looks random and is the same for the same seed.

use std::io::Write;
use std::path::Path;

/// Dice that fall the same way for the same seed. A failing test prints the seed.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The seed that the environment names, or another one each time; it is printed.
    pub fn thrown() -> Self {
        let named = std::env::var("SFT_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = named.unwrap_or_else(|| now.map_or(0, |now| now.as_nanos() as u64));
        // Shown by the test's runner when the test fails.
        let _ = writeln!(std::io::stderr(), "SFT_TEST_SEED={seed}");
        Self::new(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % end.max(1)
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        blake3::Hasher::new().update(&self.below(u64::MAX).to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    /// Writes a file of so many bytes.
    pub fn file(&mut self, path: &Path, size: u64) {
        let mut file = std::fs::File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut left = size;
        while left > 0 {
            let bytes = self.bytes(left.min(4 << 20) as usize);
            file.write_all(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            left -= bytes.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_again() {
        let (mut a, mut b) = (Dice::new(7), Dice::new(7));
        assert_eq!(a.bytes(1000), b.bytes(1000));
        assert_ne!(a.bytes(1000), Dice::new(7).bytes(1000), "and then goes on");
        assert!((0..1000).all(|_| a.below(3) < 3));
    }
}
