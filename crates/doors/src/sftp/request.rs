//! What a client asks for (draft, section 6; OpenSSH's PROTOCOL, section 4; draft-ietf-secsh-filexfer-extensions-00).

use bytes::Bytes;

use super::attributes::FileAttributes;
use super::packet::{Fields, Incomplete};

/// A request. Paths are as the client wrote them; handles are numbers, given or not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Request {
    Init {
        version: u32,
    },
    Open {
        path: Bytes,
        flags: u32,
        attributes: FileAttributes,
    },
    Close {
        handle: u32,
    },
    Read {
        handle: u32,
        offset: u64,
        length: u32,
    },
    Write {
        handle: u32,
        offset: u64,
        content: Bytes,
    },
    LinkStat {
        path: Bytes,
    },
    HandleStat {
        handle: u32,
    },
    SetStat {
        path: Bytes,
        attributes: FileAttributes,
    },
    HandleSetStat {
        handle: u32,
        attributes: FileAttributes,
    },
    OpenDir {
        path: Bytes,
    },
    ReadDir {
        handle: u32,
    },
    Remove {
        path: Bytes,
    },
    MakeDir {
        path: Bytes,
        attributes: FileAttributes,
    },
    RemoveDir {
        path: Bytes,
    },
    RealPath {
        path: Bytes,
    },
    Stat {
        path: Bytes,
    },
    Rename {
        from: Bytes,
        to: Bytes,
    },
    ReadLink {
        path: Bytes,
    },
    /// In the order in which OpenSSH sends them, which is not that of the draft.
    MakeLink {
        target: Bytes,
        path: Bytes,
    },
    PosixRename {
        from: Bytes,
        to: Bytes,
    },
    HardLink {
        from: Bytes,
        to: Bytes,
    },
    Sync {
        handle: u32,
    },
    StatFileSystem {
        path: Bytes,
    },
    HandleStatFileSystem {
        handle: u32,
    },
    LinkSetStat {
        path: Bytes,
        attributes: FileAttributes,
    },
    Limits,
    Copy {
        from: u32,
        offset: u64,
        length: u64,
        to: u32,
        to_offset: u64,
    },
    ExpandPath {
        path: Bytes,
    },
    HomeDirectory {
        user: Bytes,
    },
    CheckName {
        path: Bytes,
        check: Check,
    },
    CheckHandle {
        handle: u32,
        check: Check,
    },
    /// A kind of packet, or an extension, that is not known.
    Unknown {
        name: String,
    },
}

/// What is to be hashed, and how (`check-file`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Check {
    /// Names with commas between them, the one preferred first.
    pub algorithms: Bytes,
    pub offset: u64,
    /// 0 for up to the end.
    pub length: u64,
    /// 0 for one digest of all.
    pub block_size: u32,
}

/// A packet that is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Which request it would have been, if that can be told.
    pub id: Option<u32>,
}

/// Takes a packet apart: the number of the request, 0 for the first packet of a session, and what it asks for.
///
/// What stands behind the last field is ignored, as every server does.
pub fn decode(packet: Bytes) -> Result<(u32, Request), Malformed> {
    let mut fields = Fields::of(packet);
    let kind = fields.byte().map_err(|_| Malformed { id: None })?;
    let first = fields.u32().map_err(|_| Malformed { id: None })?;
    if kind == kinds::INIT {
        return Ok((0, Request::Init { version: first }));
    }
    match read(kind, &mut fields) {
        Ok(request) => Ok((first, request)),
        Err(Incomplete) => Err(Malformed { id: Some(first) }),
    }
}

fn read(kind: u8, f: &mut Fields) -> Result<Request, Incomplete> {
    Ok(match kind {
        kinds::OPEN => {
            Request::Open { path: f.string()?, flags: f.u32()?, attributes: FileAttributes::read(f)? }
        }
        kinds::CLOSE => Request::Close { handle: f.handle()? },
        kinds::READ => Request::Read { handle: f.handle()?, offset: f.u64()?, length: f.u32()? },
        kinds::WRITE => Request::Write { handle: f.handle()?, offset: f.u64()?, content: f.string()? },
        kinds::LSTAT => Request::LinkStat { path: f.string()? },
        kinds::FSTAT => Request::HandleStat { handle: f.handle()? },
        kinds::SETSTAT => Request::SetStat { path: f.string()?, attributes: FileAttributes::read(f)? },
        kinds::FSETSTAT => {
            Request::HandleSetStat { handle: f.handle()?, attributes: FileAttributes::read(f)? }
        }
        kinds::OPENDIR => Request::OpenDir { path: f.string()? },
        kinds::READDIR => Request::ReadDir { handle: f.handle()? },
        kinds::REMOVE => Request::Remove { path: f.string()? },
        kinds::MKDIR => Request::MakeDir { path: f.string()?, attributes: FileAttributes::read(f)? },
        kinds::RMDIR => Request::RemoveDir { path: f.string()? },
        kinds::REALPATH => Request::RealPath { path: f.string()? },
        kinds::STAT => Request::Stat { path: f.string()? },
        kinds::RENAME => Request::Rename { from: f.string()?, to: f.string()? },
        kinds::READLINK => Request::ReadLink { path: f.string()? },
        kinds::SYMLINK => Request::MakeLink { target: f.string()?, path: f.string()? },
        kinds::EXTENDED => return extended(f),
        other => Request::Unknown { name: format!("packets of type {other}") },
    })
}

fn extended(f: &mut Fields) -> Result<Request, Incomplete> {
    let name = f.string()?;
    Ok(match &*name {
        b"posix-rename@openssh.com" => Request::PosixRename { from: f.string()?, to: f.string()? },
        b"hardlink@openssh.com" => Request::HardLink { from: f.string()?, to: f.string()? },
        b"fsync@openssh.com" => Request::Sync { handle: f.handle()? },
        b"statvfs@openssh.com" => Request::StatFileSystem { path: f.string()? },
        b"fstatvfs@openssh.com" => Request::HandleStatFileSystem { handle: f.handle()? },
        b"lsetstat@openssh.com" => {
            Request::LinkSetStat { path: f.string()?, attributes: FileAttributes::read(f)? }
        }
        b"limits@openssh.com" => Request::Limits,
        b"copy-data" => Request::Copy {
            from: f.handle()?,
            offset: f.u64()?,
            length: f.u64()?,
            to: f.handle()?,
            to_offset: f.u64()?,
        },
        b"expand-path@openssh.com" => Request::ExpandPath { path: f.string()? },
        b"home-directory" => Request::HomeDirectory { user: f.string()? },
        b"check-file-name" => Request::CheckName { path: f.string()?, check: Check::read(f)? },
        // The first is the draft's, the second what paramiko sends.
        b"check-file-handle" | b"check-file" => {
            Request::CheckHandle { handle: f.handle()?, check: Check::read(f)? }
        }
        other => Request::Unknown { name: format!("the extension {}", sft_base::Shown(shortened(other))) },
    })
}

impl Request {
    /// Whether the file system answers it from what it has in memory, as a rule, or adds one name.
    pub(crate) fn is_short(&self) -> bool {
        match self {
            Self::Init { .. }
            | Self::Open { .. }
            | Self::Close { .. }
            | Self::LinkStat { .. }
            | Self::Stat { .. }
            | Self::HandleStat { .. }
            | Self::OpenDir { .. }
            | Self::ReadDir { .. }
            | Self::MakeDir { .. }
            | Self::RealPath { .. }
            | Self::ExpandPath { .. }
            | Self::HomeDirectory { .. }
            | Self::ReadLink { .. }
            | Self::MakeLink { .. }
            | Self::Limits
            | Self::Unknown { .. } => true,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::SetStat { .. }
            | Self::LinkSetStat { .. }
            | Self::HandleSetStat { .. }
            | Self::Remove { .. }
            | Self::RemoveDir { .. }
            | Self::Rename { .. }
            | Self::PosixRename { .. }
            | Self::HardLink { .. }
            | Self::Sync { .. }
            | Self::StatFileSystem { .. }
            | Self::HandleStatFileSystem { .. }
            | Self::Copy { .. }
            | Self::CheckName { .. }
            | Self::CheckHandle { .. } => false,
        }
    }
}

impl Check {
    fn read(f: &mut Fields) -> Result<Self, Incomplete> {
        Ok(Self { algorithms: f.string()?, offset: f.u64()?, length: f.u64()?, block_size: f.u32()? })
    }
}

fn shortened(name: &[u8]) -> &[u8] {
    &name[..name.len().min(64)]
}

/// The kinds of packets, client to server.
pub(crate) mod kinds {
    pub(crate) const INIT: u8 = 1;
    pub(crate) const OPEN: u8 = 3;
    pub(crate) const CLOSE: u8 = 4;
    pub(crate) const READ: u8 = 5;
    pub(crate) const WRITE: u8 = 6;
    pub(crate) const LSTAT: u8 = 7;
    pub(crate) const FSTAT: u8 = 8;
    pub(crate) const SETSTAT: u8 = 9;
    pub(crate) const FSETSTAT: u8 = 10;
    pub(crate) const OPENDIR: u8 = 11;
    pub(crate) const READDIR: u8 = 12;
    pub(crate) const REMOVE: u8 = 13;
    pub(crate) const MKDIR: u8 = 14;
    pub(crate) const RMDIR: u8 = 15;
    pub(crate) const REALPATH: u8 = 16;
    pub(crate) const STAT: u8 = 17;
    pub(crate) const RENAME: u8 = 18;
    pub(crate) const READLINK: u8 = 19;
    pub(crate) const SYMLINK: u8 = 20;
    pub(crate) const EXTENDED: u8 = 200;
}

#[cfg(test)]
mod tests {
    use super::super::packet::{NO_HANDLE, Writing};
    use super::*;

    fn packet(writing: Writing) -> Bytes {
        Bytes::from(writing.done()).slice(4..)
    }

    #[test]
    fn requests_are_taken_apart() {
        let write = Writing::reply(kinds::WRITE, 9).string(&5u32.to_be_bytes()).u64(77).string(b"content");
        let expected = Request::Write { handle: 5, offset: 77, content: Bytes::from_static(b"content") };
        assert_eq!(decode(packet(write)), Ok((9, expected)));
        let first = Writing::packet(kinds::INIT).u32(3);
        assert_eq!(decode(packet(first)), Ok((0, Request::Init { version: 3 })));
        let copy = Writing::reply(kinds::EXTENDED, 1)
            .string(b"copy-data")
            .string(&1u32.to_be_bytes())
            .u64(2)
            .u64(3)
            .string(&4u32.to_be_bytes())
            .u64(5);
        let expected = Request::Copy { from: 1, offset: 2, length: 3, to: 4, to_offset: 5 };
        assert_eq!(decode(packet(copy)), Ok((1, expected)));
    }

    #[test]
    fn what_is_cut_off_still_has_its_number() {
        let read = packet(Writing::reply(kinds::READ, 3).string(b"h"));
        assert_eq!(decode(read), Err(Malformed { id: Some(3) }));
        assert_eq!(decode(Bytes::from_static(&[5, 0])), Err(Malformed { id: None }));
    }

    #[test]
    fn foreign_handles_name_nothing_and_foreign_words_are_told() {
        let close = packet(Writing::reply(kinds::CLOSE, 1).string(b"abcdefg"));
        assert_eq!(decode(close), Ok((1, Request::Close { handle: NO_HANDLE })));
        let unknown = packet(Writing::reply(kinds::EXTENDED, 1).string(b"x@y\x1b"));
        let name = "the extension x@y\\u{1b}".to_owned();
        assert_eq!(decode(unknown), Ok((1, Request::Unknown { name })));
    }
}
