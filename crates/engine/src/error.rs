//! The one mapping from what a store, a grant or a path says to what travels.

use sft_base::EntryPath;
use sft_store::{Attribute, StoreError};
use sft_wire::message::Unapplied;
use sft_wire::{Code, WireError};

/// A store's error as it travels: its code, and its sentence with the system's word after it.
pub fn wire_error(error: &StoreError) -> WireError {
    let code = match error {
        StoreError::NotFound { .. } => Code::NOT_FOUND,
        StoreError::AlreadyExists { .. } => Code::ALREADY_EXISTS,
        StoreError::NotADirectory { .. } | StoreError::NotALink { .. } => Code::NOT_A_DIRECTORY,
        StoreError::IsADirectory { .. } => Code::IS_A_DIRECTORY,
        StoreError::DirectoryNotEmpty { .. } => Code::DIRECTORY_NOT_EMPTY,
        StoreError::PermissionDenied { .. } => Code::PERMISSION,
        StoreError::NoSpace { .. } => Code::NO_SPACE,
        StoreError::NameNotAllowed { .. } | StoreError::IntoItself { .. } => Code::NAME_NOT_ALLOWED,
        StoreError::LeadsOutside { .. } | StoreError::ThroughLink { .. } => Code::LEADS_OUTSIDE,
        StoreError::Special { .. } => Code::SPECIAL_FILE,
        StoreError::OtherFileSystem { .. } => Code::UNSUPPORTED,
        StoreError::Changed { .. } => Code::CHANGED,
        StoreError::Superseded => Code::SUPERSEDED,
        StoreError::Busy => Code::BUSY,
        StoreError::ReadOnly { .. } => Code::READ_ONLY,
        StoreError::Corrupt { .. } => Code::INTEGRITY,
        StoreError::Io { .. } => Code::WRITE,
    };
    code.because(sentence(error))
}

/// An attribute that a store could not set, as it travels.
pub fn unapplied_on_wire(unapplied: &sft_store::Unapplied) -> Unapplied {
    let attribute = match unapplied.attribute {
        Attribute::Modified => "modified",
        Attribute::Mode => "mode",
    };
    Unapplied { attribute: attribute.into(), error: Code::PERMISSION.because(unapplied.to_string()) }
}

/// The same for content that is being read: what is gone has vanished, and what the system cannot do is a read error.
pub(crate) fn source_error(error: &StoreError) -> WireError {
    let code = match error {
        StoreError::NotFound { .. } => Code::VANISHED,
        StoreError::Io { .. } => Code::READ,
        _ => return reading_error(error),
    };
    code.because(sentence(error))
}

/// The same for what is only looked into. Whoever reads of a denial has to know at which end it was.
pub(crate) fn reading_error(error: &StoreError) -> WireError {
    match error {
        StoreError::PermissionDenied { .. } => {
            Code::PERMISSION.because(format!("{} to read it", sentence(error)))
        }
        _ => wire_error(error),
    }
}

/// The same for a name that is given. There has to be a directory to hold it; the store says only what is not there.
pub(crate) fn naming_error(error: &StoreError, name: &EntryPath) -> WireError {
    match error {
        StoreError::NotFound { .. } => {
            Code::NOT_FOUND.because(format!("{name}: the directory that it is to stand in is not there"))
        }
        StoreError::PermissionDenied { .. } => {
            Code::PERMISSION.because(format!("{name}: the system denies permission to put it there"))
        }
        _ => wire_error(error),
    }
}

/// The same for content that is staged, in a folder that its user never named.
pub(crate) fn staging_error(error: &StoreError) -> WireError {
    match error {
        StoreError::PermissionDenied { .. } => Code::PERMISSION.because(
            "the system denies permission to keep unfinished files at the destination, in the folder .sft",
        ),
        _ => wire_error(error),
    }
}

/// Every layer's sentence, from this one down to the system's.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
