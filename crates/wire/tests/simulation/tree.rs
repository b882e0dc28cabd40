//! What a simulated transfer offers: directories of files, small ones and large ones, a few of which go wrong.

use std::collections::BTreeMap;

use sft_base::limits::PIECE_BYTES;
use sft_base::{Digest, EntryPath, Kind, Meta, Time};
use sft_wire::message::{Entry, EntryKind};

use crate::rng::Rng;

/// What is offered.
pub(crate) struct Tree {
    pub(crate) entries: Vec<Entry>,
    pub(crate) files: BTreeMap<EntryPath, File>,
    pub(crate) dirs: Vec<EntryPath>,
}

pub(crate) struct File {
    pub(crate) content: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Sound,
    /// The sender cannot read it.
    Unreadable,
    /// It changes while it is read.
    Changes,
    /// The receiver may not write it.
    Unwritable,
}

impl Tree {
    pub(crate) fn grow(rng: &mut Rng) -> Self {
        let mut tree = Self { entries: Vec::new(), files: BTreeMap::new(), dirs: Vec::new() };
        let dirs = 1 + rng.below(4);
        for d in 0..dirs {
            let dir = path(&format!("d{d}"));
            tree.dirs.push(dir.clone());
            tree.entries.push(entry(dir.clone(), EntryKind::Dir, 0));
            for f in 0..rng.below(60) {
                let size = match rng.below(30) {
                    0 => PIECE_BYTES + 1 + rng.below(3 * PIECE_BYTES),
                    1 => PIECE_BYTES * (1 + rng.below(3)),
                    2 => 0,
                    _ => rng.below(3000),
                };
                let file = path(&format!("d{d}/f{f}"));
                tree.entries.push(entry(file.clone(), EntryKind::File, size));
                tree.files.insert(file, File::grow(size, rng));
            }
            tree.entries.push(entry(dir, EntryKind::DirEnd, 0));
        }
        tree
    }
}

impl File {
    fn grow(size: u64, rng: &mut Rng) -> Self {
        let salt = rng.next();
        let content: Vec<u8> = (0..size).map(|i| (i ^ (i >> 9) ^ salt) as u8).collect();
        let fate = match rng.below(25) {
            0 => Fate::Unreadable,
            1 => Fate::Changes,
            2 => Fate::Unwritable,
            _ => Fate::Sound,
        };
        Self { digest: Digest::of(&content), content, fate }
    }
}

pub(crate) fn path(text: &str) -> EntryPath {
    EntryPath::from_typed(text.as_bytes()).expect("a plain path")
}

fn entry(path: EntryPath, kind: EntryKind, size: u64) -> Entry {
    let meta = Meta { kind: Kind::File, size, modified: Time { secs: 1, nanos: 2 }, mode: 0o644 };
    Entry { kind, ..Entry::new(path, &meta) }
}
