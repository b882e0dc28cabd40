//! The proof of `attach` (spec/wire.md, "Attaching").

/// Shows that whoever attaches a connection knows the session's secret: a keyed hash over that very connection's
/// exporter, so that it is worth nothing on another.
pub fn attach_mac(secret: &[u8; 32], exporter: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(b"sft/1 attach\0").update(exporter);
    *hasher.finalize().as_bytes()
}
