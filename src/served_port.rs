//! On which port the server of a state folder listens: `sft serve` writes it down, and `sft invite`, which runs beside
//! it, puts it into links (spec/auth.md, "Files"). A hint and no more: what cannot be read counts for nothing.

use std::io;
use std::path::Path;

use sft_auth::DEFAULT_PORT;

/// Keeps the port in the state folder, which is there.
pub(crate) fn write(state: &Path, port: u16) -> io::Result<()> {
    let new = state.join(format!("{NAME}.new"));
    std::fs::write(&new, format!("{port}\n"))?;
    std::fs::rename(new, state.join(NAME))
}

/// The port on which the server listens, or listened last; the default if none ever did.
pub(crate) fn read(state: &Path) -> u16 {
    let text = std::fs::read_to_string(state.join(NAME)).unwrap_or_default();
    text.trim().parse().ok().filter(|port| *port > 0).unwrap_or(DEFAULT_PORT)
}

const NAME: &str = "port";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_last_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), 1303, "nobody served yet");
        for port in [4711, 65535] {
            write(dir.path(), port).unwrap();
            assert_eq!(read(dir.path()), port);
        }
        for nonsense in ["", "0", "65536", "x"] {
            std::fs::write(dir.path().join(NAME), nonsense).unwrap();
            assert_eq!(read(dir.path()), 1303, "{nonsense:?}");
        }
    }
}
