//! Where bytes rest: one narrow trait, a directory that carries it out, and two doubles for tests (spec/store.md).
//!
//! Nothing here knows of users, grants, lanes or doors. [`FsStore`] stands on Linux alone for now, because everything it
//! does goes beneath a held directory through `openat2`; elsewhere the crate builds without it.

mod attributes;
mod claims;
// Only a directory hashes what it replaces, and has holes.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
mod content;
mod error;
mod fault;
#[cfg(target_os = "linux")]
mod fs;
mod journal;
mod mem;
mod open_file;
#[cfg(test)]
mod promises;
// Only a directory has a place for stages.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
mod reserved;
mod staged;
mod stat;
mod store;

pub use attributes::{Attribute, Attributes, Unapplied};
pub use error::StoreError;
pub use fault::{FaultStore, Op};
#[cfg(target_os = "linux")]
pub use fs::FsStore;
pub use mem::MemStore;
pub use open_file::OpenFile;
pub use staged::{Publish, StageKey, Staged};
pub use stat::{Space, Stat, Version};
pub use store::{Listing, NewDir, Source, Stage, Store};
