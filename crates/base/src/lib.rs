//! The nouns that several rooms share: entry paths, digests, byte ranges, metadata, limits, buffers.
//!
//! Nothing here does I/O, reads a clock or draws a random number.

pub mod frame;
pub mod limits;

mod buffer;
mod digest;
mod hashing;
mod meta;
mod path;
mod ranges;

pub use buffer::Buffer;
pub use digest::{ChainingValue, CvTree, Digest, Node, Verified, node_cv};
pub use hashing::{FileHashing, NodeHashing};
pub use meta::{Kind, Meta, Time};
pub use path::{EntryPath, Name, PathError, Shown};
pub use ranges::ByteRanges;
