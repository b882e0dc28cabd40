//! What goes beyond the draft: OpenSSH's extensions (its PROTOCOL, section 4), and `check-file`.

use sft_store::Space;

use super::files::{File, finished};
use super::packet::{DATA_BYTES_MAX, PACKET_BYTES_MAX, Writing};
use super::request::Check;
use super::session::{HANDLES_MAX, Shared};
use super::status::{Failed, Outcome, Status};

/// The first packet of a server: version 3, and what it can do beyond.
pub(crate) fn version() -> Vec<u8> {
    let announce = |reply: Writing, (name, version): &(&str, &str)| {
        reply.string(name.as_bytes()).string(version.as_bytes())
    };
    ANNOUNCED.iter().fold(Writing::packet(VERSION).u32(3), announce).done()
}

/// What may be asked of this server.
pub(crate) fn limits(id: u32) -> Vec<u8> {
    let data = DATA_BYTES_MAX as u64;
    let reply = Writing::reply(EXTENDED_REPLY, id).u64(PACKET_BYTES_MAX as u64).u64(data).u64(data);
    reply.u64(HANDLES_MAX as u64).done()
}

/// The file system of the store.
pub(crate) fn space(shared: &Shared, id: u32) -> Outcome<Vec<u8>> {
    let Space { total, available, files_available } = shared.paths.view.space()?;
    let (blocks, left) = (total / BLOCK_BYTES, available / BLOCK_BYTES);
    // No bound that is known: as many as there are blocks.
    let files = files_available.unwrap_or(left);
    let reply = Writing::reply(EXTENDED_REPLY, id).u64(BLOCK_BYTES).u64(BLOCK_BYTES);
    let reply = reply.u64(blocks).u64(left).u64(left).u64(files).u64(files).u64(files);
    Ok(reply.u64(0).u64(NO_SET_ID).u64(sft_base::limits::NAME_BYTES_MAX as u64).done())
}

/// Copies between two open files; 0 for up to the end.
pub(crate) fn copy(id: u32, from: &File, offset: u64, length: u64, to: &File, to_offset: u64) -> Vec<u8> {
    finished(id, copy_all(from, offset, length, to, to_offset))
}

fn copy_all(from: &File, offset: u64, length: u64, to: &File, to_offset: u64) -> Outcome<()> {
    if is_same(from, to) && length == 0 {
        return Err(Failed::new(Status::Failure, "a file cannot be copied into itself up to its end"));
    }
    let end = if length == 0 { u64::MAX } else { offset.saturating_add(length) };
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = offset;
    while at < end {
        let want = COPY_BYTES.min(usize::try_from(end - at).unwrap_or(COPY_BYTES));
        let read = from.read_at(at, &mut buffer[..want])?;
        if read == 0 {
            break;
        }
        to.write(to_offset.saturating_add(at - offset), &[&buffer[..read]])?;
        at += read as u64;
    }
    Ok(())
}

fn is_same(one: &File, other: &File) -> bool {
    match (one.stat(), other.stat()) {
        (Ok(one), Ok(other)) => one.version == other.version,
        _ => false,
    }
}

/// Hashes a part of a file, whole or block by block; no further when the client has gone.
pub(crate) fn check(shared: &Shared, id: u32, file: &File, check: &Check) -> Outcome<Vec<u8>> {
    if check.block_size != 0 && check.block_size < BLOCK_BYTES_MIN {
        let text = format!("a block of less than {BLOCK_BYTES_MIN} bytes is not hashed alone");
        return Err(Failed::new(Status::Failure, text));
    }
    let algorithm = Algorithm::preferred(&check.algorithms).ok_or_else(|| {
        Failed::new(Status::Unsupported, "of these hashes none is known: blake3 and sha256 are")
    })?;
    let size = file.stat()?.meta.size;
    let end = if check.length == 0 { size } else { check.offset.saturating_add(check.length).min(size) };
    let block = if check.block_size == 0 { u64::MAX } else { check.block_size.into() };
    let blocks = end.saturating_sub(check.offset).div_ceil(block);
    if blocks * 32 > DIGESTS_BYTES_MAX {
        return Err(Failed::new(
            Status::Failure,
            "that is more digests than one reply holds; ask for larger blocks",
        ));
    }
    let mut reply =
        Writing::reply(EXTENDED_REPLY, id).string(b"check-file").string(algorithm.name().as_bytes());
    let mut at = check.offset;
    while at < end {
        let until = at.saturating_add(block).min(end);
        reply = reply.bytes(&algorithm.digest(shared, file, at..until)?);
        at = until;
    }
    Ok(reply.done())
}

#[derive(Clone, Copy)]
enum Algorithm {
    Blake3,
    Sha256,
}

impl Algorithm {
    /// The first of a list that is known.
    fn preferred(names: &[u8]) -> Option<Self> {
        names.split(|&b| b == b',').find_map(|name| match name.trim_ascii() {
            b"blake3" => Some(Self::Blake3),
            b"sha256" => Some(Self::Sha256),
            _ => None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Sha256 => "sha256",
        }
    }

    fn digest(self, shared: &Shared, file: &File, range: std::ops::Range<u64>) -> Outcome<[u8; 32]> {
        let mut digest = [0; 32];
        match self {
            Self::Blake3 => {
                let mut hasher = blake3::Hasher::new();
                read_through(shared, file, range, |bytes| {
                    hasher.update(bytes);
                })?;
                digest = *hasher.finalize().as_bytes();
            }
            Self::Sha256 => {
                let mut hasher = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
                read_through(shared, file, range, |bytes| hasher.update(bytes))?;
                digest.copy_from_slice(hasher.finish().as_ref());
            }
        }
        Ok(digest)
    }
}

fn read_through(
    shared: &Shared,
    file: &File,
    range: std::ops::Range<u64>,
    mut take: impl FnMut(&[u8]),
) -> Outcome<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = range.start;
    while at < range.end {
        let want = COPY_BYTES.min(usize::try_from(range.end - at).unwrap_or(COPY_BYTES));
        let read = file.read_at(at, &mut buffer[..want])?;
        if read == 0 {
            break;
        }
        if shared.has_ended() {
            return Err(Failed::new(Status::Failure, "the session has ended"));
        }
        take(&buffer[..read]);
        at += read as u64;
    }
    Ok(())
}

const ANNOUNCED: &[(&str, &str)] = &[
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("hardlink@openssh.com", "1"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
    ("copy-data", "1"),
    ("home-directory", "1"),
    ("check-file", "1"),
];
const VERSION: u8 = 2;
const EXTENDED_REPLY: u8 = 201;
/// In which space is told.
const BLOCK_BYTES: u64 = 4096;
/// `SSH_FXE_STATVFS_ST_NOSUID`.
const NO_SET_ID: u64 = 2;
/// The draft's.
const BLOCK_BYTES_MIN: u32 = 256;
/// What fits the reply.
const DIGESTS_BYTES_MAX: u64 = 64 << 10;
const COPY_BYTES: usize = 256 << 10;
