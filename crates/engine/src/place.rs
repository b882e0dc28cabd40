//! Where what is offered lands (spec/wire.md, "Place").

use sft_base::{EntryPath, Kind};
use sft_wire::message::Place;
use sft_wire::{Code, WireError};

use crate::View;

/// The destination of a transfer, resolved.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    path: EntryPath,
    into: bool,
}

impl Destination {
    /// Looks at what is there: a directory takes sources inside under `auto`. Reads the store; run it where that may
    /// block.
    pub(crate) fn resolve(view: &View, path: EntryPath, place: Place) -> Result<Self, WireError> {
        let into = match place {
            Place::Exact => false,
            Place::Into => {
                let mode = 0o777;
                match view.make_dir(&path, mode) {
                    Ok(()) => {}
                    Err(_) if path.is_root() => {}
                    // Who may not look takes what is there for a directory: that is how a drop box is used.
                    Err(error) => match is_dir(view, &path)? {
                        Some(true) => {}
                        None if error.code == Code::ALREADY_EXISTS => {}
                        _ => return Err(error),
                    },
                }
                true
            }
            Place::Auto => path.is_root() || is_dir(view, &path)? == Some(true),
        };
        Ok(Self { path, into })
    }

    /// Whether sources keep their own names below the destination.
    pub(crate) fn is_into(&self) -> bool {
        self.into
    }

    /// Where an offered path lands.
    pub(crate) fn of(&self, offered: &EntryPath) -> Result<EntryPath, WireError> {
        let below = if self.into { offered.clone() } else { offered.without_first() };
        self.path.append(&below).map_err(|e| Code::NAME_NOT_ALLOWED.because(format!("{offered}: {e}")))
    }
}

/// Whether a path is a directory; none when nothing is there. Someone who may not look is told nothing, and a transfer
/// then takes the path by its word.
fn is_dir(view: &View, path: &EntryPath) -> Result<Option<bool>, WireError> {
    match view.stat(path) {
        Ok(stat) => Ok(Some(stat.meta.kind == Kind::Dir)),
        Err(error) if error.code == Code::NOT_FOUND || error.code == Code::DENIED => Ok(None),
        Err(error) => Err(error),
    }
}
