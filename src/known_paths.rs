//! What connections learned of the paths to servers, kept in the user's folder of state from one run to the next
//! (spec/auth.md, "Files").
//!
//! One line for each address: `ADDRESS RATE RTT TIME`, in bytes a second, microseconds, and seconds since 1970. It is a hint: a file
//! that is missing or spoilt, and one that cannot be written, costs a second of growing to full speed and is not worth a word.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sft_client::{KnownPath, KnownPaths};

/// The paths that a run knows, and the file they came from.
#[derive(Debug)]
pub(crate) struct PathsFile {
    file: PathBuf,
    read: String,
    paths: KnownPaths,
}

impl PathsFile {
    /// What earlier runs have left.
    pub(crate) fn read(state: &Path) -> Self {
        let file = state.join("paths");
        let read = read(&file);
        Self { file, paths: KnownPaths::new(read.lines().filter_map(parsed)), read }
    }

    /// The paths, to connect with.
    pub(crate) fn paths(&self) -> KnownPaths {
        self.paths.clone()
    }

    /// Leaves what is known now, if it is anything new.
    pub(crate) fn keep(&self) {
        let text = written(self.paths.list());
        if text == self.read {
            return;
        }
        // Other runs may have learned something meanwhile; of each path the latest word stays, unless two
        // end at one moment: it is a hint, and worth no lock.
        for (peer, path) in read(&self.file).lines().filter_map(parsed) {
            self.paths.learn(peer, path);
        }
        let text = written(self.paths.list());
        // A folder that cannot be written is no reason to complain after a copy.
        let _ = self.write(&text);
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let folder = self.file.parent().expect("it lies in a folder");
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let new = self.file.with_added_extension(std::process::id().to_string());
        let options = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new);
        options.and_then(|mut file| file.write_all(text.as_bytes()))?;
        fs::rename(new, &self.file)
    }
}

fn read(file: &Path) -> String {
    let read = fs::File::open(file).and_then(|opened| {
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(opened, BYTES_MAX), &mut text).map(|_| text)
    });
    read.unwrap_or_default()
}

fn written(mut known: Vec<(IpAddr, KnownPath)>) -> String {
    known.sort_by_key(|(peer, _)| *peer);
    known.iter().fold(String::new(), |mut text, (peer, path)| {
        let at = path.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let _ = writeln!(text, "{peer} {} {} {at}", path.rate, path.rtt.as_micros());
        text
    })
}

fn parsed(line: &str) -> Option<(IpAddr, KnownPath)> {
    let mut fields = line.split(' ');
    let peer = fields.next()?.parse().ok()?;
    let [rate, rtt, at] =
        [fields.next()?, fields.next()?, fields.next()?].map(|field| field.parse::<u64>().ok());
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(at?))?;
    Some((peer, KnownPath { rate: rate?, rtt: Duration::from_micros(rtt?), at }))
}

/// More than all lines that are ever written.
const BYTES_MAX: u64 = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_run_leaves_the_next_one_knows() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state/sft");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
        let path = KnownPath { rate: 125_000_000, rtt: Duration::from_micros(100_250), at };
        let first = PathsFile::read(&state);
        first.keep();
        assert!(!state.exists(), "nothing was learned");
        let known = ["192.0.2.7", "2001:db8::7"].map(|peer| (peer.parse().unwrap(), path));
        PathsFile { paths: KnownPaths::new(known), ..first }.keep();
        let again = PathsFile::read(&state).paths().list();
        assert!(again.len() == 2 && known.iter().all(|known| again.contains(known)), "{again:?}");
    }

    #[test]
    fn a_spoilt_file_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        for spoilt in [
            "",
            "192.0.2.7",
            "192.0.2.7 1 2",
            "x 1 2 3",
            "192.0.2.7 -1 2 3",
            "192.0.2.7 1 2 18446744073709551615",
        ] {
            fs::write(dir.path().join("paths"), spoilt).unwrap();
            assert!(PathsFile::read(dir.path()).paths().list().is_empty(), "{spoilt}");
        }
        fs::write(dir.path().join("paths"), b"\xff\n192.0.2.7 1 2 3\n").unwrap();
        PathsFile::read(dir.path()).keep();
        fs::remove_file(dir.path().join("paths")).unwrap();
        fs::create_dir(dir.path().join("paths")).unwrap();
        let unreadable = PathsFile::read(dir.path());
        unreadable.keep();
    }
}
