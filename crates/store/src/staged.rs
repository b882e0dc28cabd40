//! The way of content to its name: the key of a stage, content that is staged, and what publishing may replace.

use std::any::Any;
use std::fmt;

use sft_base::Digest;

/// What a large stage is found by again. Whoever sends the same file to the same place computes the same key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StageKey(pub [u8; 32]);

/// What publishing may find at the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// Nothing; else it fails with [`crate::StoreError::AlreadyExists`].
    CreateOnly,
    /// Nothing, or anything but a directory.
    Replace,
    /// A file with this digest, or a link whose target has it; else it fails with [`crate::StoreError::Changed`].
    ReplaceIf(Digest),
}

/// Complete content without a name, which only the store that made it can publish.
///
/// Dropping it removes the content of a small file, and leaves that of a large one for resumption.
pub struct Staged {
    size: u64,
    held: Box<dyn Any + Send>,
}

impl Staged {
    /// What a store stages: `held` is its own business, and does on drop what dropping a `Staged` promises.
    pub fn new(size: u64, held: impl Any + Send) -> Self {
        Self { size, held: Box::new(held) }
    }

    /// Bytes of content.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What the store kept in it; itself back if a store of another type made it.
    pub fn into_held<T: Any>(self) -> Result<T, Self> {
        let Self { size, held } = self;
        held.downcast().map(|held| *held).map_err(|held| Self { size, held })
    }
}

impl fmt::Display for StageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged").field("size", &self.size).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_maker_can_look_inside() {
        let staged = Staged::new(3, 7u8);
        let staged = staged.into_held::<u16>().unwrap_err();
        assert_eq!(staged.size(), 3);
        assert_eq!(staged.into_held::<u8>().unwrap(), 7);
    }

    #[test]
    fn a_key_is_shown_in_hex() {
        assert_eq!(StageKey([0xa5; 32]).to_string(), "a5".repeat(32));
    }
}
