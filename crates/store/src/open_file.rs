//! A regular file that is open for writing as well (spec/store.md, "Writing in place" and "Drafts").

use std::any::Any;

use crate::{Attributes, Source, StoreError, Unapplied};

/// A file open for reading and writing: one that has a name and is changed in place, or a draft, which has none yet.
///
/// A draft that is dropped without having been published is gone. Once it is published, what is written is written in
/// place.
pub trait OpenFile: Source {
    /// Writes all of `content` at `offset`, whatever the size was; bytes between are zeros.
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), StoreError>;

    /// Writes parts one behind the other, the first at `offset`. When it fails, some may have been written.
    fn write_parts_at(&self, offset: u64, parts: &[&[u8]]) -> Result<(), StoreError> {
        let mut at = offset;
        for part in parts {
            self.write_at(at, part)?;
            at = at.saturating_add(part.len() as u64);
        }
        Ok(())
    }

    /// Cuts the file off, or makes it longer with zeros.
    fn set_size(&self, size: u64) -> Result<(), StoreError>;

    /// Applies attributes; those that could not be applied come back and are no error.
    fn set_attributes(&self, attributes: &Attributes) -> Result<Vec<Unapplied>, StoreError>;

    /// Returns when the content is durable; of the name nothing is said.
    fn sync(&self) -> Result<(), StoreError>;

    /// Itself, for the store that made it to know it again.
    fn as_any(&self) -> &dyn Any;
}
