//! SFTP's words for what the rooms behind this door say: one mapping, and a sentence with each.

use sft_wire::{Code, WireError};

use super::packet::Writing;

/// Status codes of version 3 (draft, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok = 0,
    End = 1,
    NoSuchFile = 2,
    PermissionDenied = 3,
    Failure = 4,
    BadMessage = 5,
    Unsupported = 8,
}

/// Why a request is answered with a status and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) status: Status,
    pub(crate) text: String,
}

/// What a request comes to.
pub(crate) type Outcome<T> = Result<T, Failed>;

impl Failed {
    pub(crate) fn new(status: Status, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// Nothing more is there: the end of a file, or of a directory.
    pub(crate) fn end() -> Self {
        Self::new(Status::End, "there is no more")
    }

    pub(crate) fn no_handle() -> Self {
        Self::new(Status::Failure, "this handle is not open")
    }

    pub(crate) fn reply(&self, id: u32) -> Vec<u8> {
        status(id, self.status, &self.text)
    }
}

impl From<WireError> for Failed {
    fn from(error: WireError) -> Self {
        let status = match error.code {
            Code::NOT_FOUND | Code::VANISHED => Status::NoSuchFile,
            Code::DENIED | Code::PERMISSION | Code::READ_ONLY | Code::LEADS_OUTSIDE => {
                Status::PermissionDenied
            }
            Code::NAME_NOT_ALLOWED => Status::PermissionDenied,
            Code::UNSUPPORTED => Status::Unsupported,
            // Version 3 has no word for any of these; the sentence says which it is.
            _ => Status::Failure,
        };
        Self { status, text: error.text }
    }
}

/// The reply that says how a request ended.
pub(crate) fn status(id: u32, status: Status, text: &str) -> Vec<u8> {
    Writing::reply(STATUS, id).u32(status as u32).string(text.as_bytes()).string(b"en").done()
}

/// All went well.
pub(crate) fn ok(id: u32) -> Vec<u8> {
    status(id, Status::Ok, "done")
}

const STATUS: u8 = 101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_act_upon_has_its_own_code() {
        let status = |code: Code| Failed::from(code.because("x")).status;
        assert_eq!(status(Code::NOT_FOUND), Status::NoSuchFile);
        assert_eq!(status(Code::VANISHED), Status::NoSuchFile);
        assert_eq!(status(Code::DENIED), Status::PermissionDenied);
        assert_eq!(status(Code::NO_SPACE), Status::Failure);
    }

    #[test]
    fn a_status_carries_its_sentence() {
        let reply = Failed::end().reply(7);
        assert_eq!(reply[4..13], [101, 0, 0, 0, 7, 0, 0, 0, 1]);
        assert!(reply.windows(16).any(|text| text == b"there is no more"));
    }
}
