//! Room and speed of a directory's disk: what can be written there and made durable in two seconds, in a file that has no
//! name wherever the file system knows such files, and no name for longer than a moment where not.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Access, Mode, OFlags};

use crate::amount::{Bytes, Rate};
use crate::checkup::Finding;
use crate::names::shown;

/// Looks at a directory that is to be served: whether it can be, how much room there is, and how fast it is.
pub(crate) fn examine(dir: &Path) -> Vec<Finding> {
    if let Err(error) = std::fs::read_dir(dir) {
        return vec![Finding::problem("directory", format!("{} cannot be served: {error}", shown(dir)))];
    }
    let mut findings = vec![room(dir)];
    if let Err(error) = rustix::fs::access(dir, Access::WRITE_OK) {
        let text = format!("{} cannot be written ({error}): clients can only read", shown(dir));
        findings.push(
            Finding::warning("directory", text).mended_by("sft serve --read-only says so to everybody"),
        );
        return findings;
    }
    // Whoever serves or writes here meanwhile must not run out of room.
    let Ok(disk) = rustix::fs::statvfs(dir) else { return findings };
    let most = disk.f_bavail.saturating_mul(disk.f_frsize) / ROOM_SHARE;
    if most < BLOCK_BYTES as u64 {
        findings.push(Finding::warning("disk", "not measured: there is too little room".to_owned()));
        return findings;
    }
    findings.push(match write(dir, most.min(BYTES_MAX), TIME_MAX) {
        Ok(Written { bytes, took }) => {
            let rate = Rate(bytes as f64 / took.as_secs_f64().max(1e-9));
            Finding::ok("disk", format!("{rate}: {} written and flushed", Bytes(bytes)))
        }
        Err(error) => Finding::problem("disk", format!("{} cannot be written: {error}", shown(dir))),
    });
    findings
}

fn room(dir: &Path) -> Finding {
    match rustix::fs::statvfs(dir) {
        Ok(disk) => {
            room_of(disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize))
        }
        Err(error) => Finding::warning("room", error.to_string()),
    }
}

fn room_of(available: u64, total: u64) -> Finding {
    let text = format!("{} of {} may be used", Bytes(available), Bytes(total));
    if available < ROOM_LITTLE { Finding::warning("room", text) } else { Finding::ok("room", text) }
}

struct Written {
    bytes: u64,
    took: Duration,
}

/// Writes for three quarters of the time at most, so that the flush has some as well.
fn write(dir: &Path, most: u64, at_most: Duration) -> io::Result<Written> {
    let mut file = nameless(dir)?;
    // Not zeros, which some file systems do not write.
    let block: Vec<u8> =
        (0..BLOCK_BYTES).map(|at: usize| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let begun = Instant::now();
    let mut bytes = 0;
    while bytes < most && begun.elapsed() < at_most * 3 / 4 {
        file.write_all(&block)?;
        bytes += BLOCK_BYTES as u64;
        if bytes % FLUSH_BYTES == 0 {
            // Else a slow disk would have much more to flush than it can in the time that is left.
            file.sync_data()?;
        }
    }
    file.sync_all()?;
    Ok(Written { bytes, took: begun.elapsed() })
}

/// A file that is gone when it is closed, whatever happens.
fn nameless(dir: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    if let Ok(file) =
        rustix::fs::open(dir, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
    {
        return Ok(file.into());
    }
    let path = dir.join(format!(".sft-doctor-{}", std::process::id()));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?;
    std::fs::remove_file(&path)?;
    Ok(file.into())
}

const BYTES_MAX: u64 = 256 << 20;
const TIME_MAX: Duration = Duration::from_secs(2);
const BLOCK_BYTES: usize = 1 << 20;
const FLUSH_BYTES: u64 = 32 << 20;
const ROOM_LITTLE: u64 = 1 << 30;
/// A measurement takes one part of so many of the room there is.
const ROOM_SHARE: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkup::Level;

    #[test]
    fn a_disk_is_measured_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let findings = examine(dir.path());
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[1].level == Level::Ok && findings[1].text.contains("B/s: "), "{findings:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let written = write(dir.path(), 3 << 20, Duration::from_secs(60)).unwrap();
        assert_eq!(written.bytes, 3 << 20, "no more than was allowed");
    }

    #[test]
    fn what_is_no_directory_cannot_be_served() {
        let dir = tempfile::tempdir().unwrap();
        let findings = examine(&dir.path().join("missing"));
        assert_eq!((findings.len(), findings[0].level), (1, Level::Problem));
        assert_eq!(room_of(1, 1 << 40).level, Level::Warning);
        assert_eq!(room_of(1 << 30, 1 << 40).level, Level::Ok);
    }
}
