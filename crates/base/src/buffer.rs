//! Buffers for content in bulk: page-aligned, and used again, so that the system need not clear fresh memory for each piece.
//!
//! What a buffer held before can never be read: only what was filled since it was taken is shown. The free ones that are
//! kept are bounded; how many are in use at a time is their users' business (ARCHITECTURE.md, "Memory").

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits::PIECE_BYTES;

/// Room for bytes, and the bytes that were filled in from its beginning.
pub struct Buffer {
    /// Longer than the room by what aligning it may take.
    space: Vec<u8>,
    /// Where the room begins.
    start: usize,
    room: usize,
    filled: usize,
}

impl Buffer {
    /// What buffers are aligned to, in bytes: what direct writes ask for at most.
    pub const ALIGN: usize = 4096;

    /// An empty buffer with room for so many bytes, whose beginning is aligned.
    pub fn take(room: usize) -> Self {
        Self::take_at(room, 0)
    }

    /// The same, but it is the end of the room that is aligned: of a frame that is a header and then a piece, the piece.
    pub fn take_ending_aligned(room: usize) -> Self {
        Self::take_at(room, room.next_multiple_of(Self::ALIGN) - room)
    }

    /// `shift` is less than [`Self::ALIGN`].
    fn take_at(room: usize, shift: usize) -> Self {
        let space = if is_pooled(room) {
            lock().take().unwrap_or_else(|| vec![0; ROOM_MAX + 2 * Self::ALIGN])
        } else {
            vec![0; room + 2 * Self::ALIGN]
        };
        let start = space.as_ptr().align_offset(Self::ALIGN);
        // The documentation of `align_offset` allows it to fail; it does not where there are addresses.
        let start = if start < Self::ALIGN { start } else { 0 };
        Self { space, start: start + shift, room, filled: 0 }
    }

    /// A buffer that holds a copy.
    pub fn copy_of(content: &[u8]) -> Self {
        let mut buffer = Self::take(content.len());
        buffer.extend_from_slice(content);
        buffer
    }

    /// The room that is left. What lies in it is garbage: say with [`Self::fill`] how much was replaced.
    pub fn unfilled(&mut self) -> &mut [u8] {
        &mut self.space[self.start + self.filled..self.start + self.room]
    }

    /// The next so many bytes of the room were written.
    ///
    /// Panics when there is less room.
    pub fn fill(&mut self, bytes: usize) {
        assert!(bytes <= self.room - self.filled, "more was filled in than there is room for");
        self.filled += bytes;
    }

    /// Appends; panics when there is less room.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.unfilled()[..bytes.len()].copy_from_slice(bytes);
        self.fill(bytes.len());
    }

    /// Forgets what was filled in behind so many bytes.
    pub fn truncate(&mut self, bytes: usize) {
        self.filled = self.filled.min(bytes);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.space[self.start..self.start + self.filled]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.space[self.start..self.start + self.filled]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if is_pooled(self.room) {
            let space = std::mem::take(&mut self.space);
            // Freed outside of the lock.
            let surplus = lock().put(space);
            drop(surplus);
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} of {} bytes)", self.filled, self.room)
    }
}

/// The buffers that wait for another use.
struct Pool {
    free: Vec<Vec<u8>>,
    in_use: usize,
}

impl Pool {
    fn take(&mut self) -> Option<Vec<u8>> {
        self.in_use += 1;
        self.free.pop()
    }

    /// Keeps it, or returns what is to be freed: while nothing is in use, nearly all.
    fn put(&mut self, space: Vec<u8>) -> Vec<Vec<u8>> {
        self.in_use -= 1;
        self.free.push(space);
        let keep = if self.in_use == 0 { FREE_IDLE } else { FREE_MAX };
        self.free.split_off(self.free.len().min(keep))
    }
}

/// Smaller ones are the allocator's, which has them at hand; larger ones do not occur in bulk.
fn is_pooled(room: usize) -> bool {
    (ROOM_MIN..=ROOM_MAX).contains(&room)
}

fn lock() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

static POOL: Mutex<Pool> = Mutex::new(Pool { free: Vec::new(), in_use: 0 });
const ROOM_MIN: usize = 128 << 10;
/// A piece, and the header before it.
const ROOM_MAX: usize = PIECE_BYTES as usize + (64 << 10);
/// Free buffers that are kept while others are in use, and when none is.
const FREE_MAX: usize = 16;
const FREE_IDLE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_filled_is_shown() {
        for room in [0, 10, ROOM_MIN, 1 << 20, ROOM_MAX, ROOM_MAX + 1] {
            let mut buffer = Buffer::take(room);
            assert!(buffer.is_empty());
            assert_eq!(buffer.unfilled().len(), room);
            assert_eq!(buffer.unfilled().as_ptr() as usize % Buffer::ALIGN, 0);
            buffer.unfilled().fill(7);
            assert!(buffer.is_empty());
            buffer.fill(room / 2);
            assert_eq!((buffer.len(), buffer.unfilled().len()), (room / 2, room - room / 2));
            assert!(buffer.iter().all(|byte| *byte == 7));
            buffer.truncate(1);
            assert_eq!(buffer.len(), (room / 2).min(1));
            let mut ending = Buffer::take_ending_aligned(room);
            assert_eq!(ending.unfilled().len(), room);
            assert_eq!(ending.unfilled().as_ptr_range().end as usize % Buffer::ALIGN, 0);
        }
        assert_eq!(&*Buffer::copy_of(b"abc"), b"abc");
    }

    #[test]
    #[should_panic(expected = "more was filled in")]
    fn no_more_is_filled_than_there_is_room() {
        Buffer::take(10).fill(11);
    }

    #[test]
    fn free_ones_are_bounded() {
        let mut pool = Pool { free: Vec::new(), in_use: 0 };
        for _ in 0..2 * FREE_MAX {
            assert!(pool.take().is_none());
        }
        let mut freed = 0;
        for left in (0..2 * FREE_MAX).rev() {
            freed += pool.put(vec![0]).len();
            assert!(pool.free.len() <= if left == 0 { FREE_IDLE } else { FREE_MAX });
        }
        assert_eq!(freed, 2 * FREE_MAX - FREE_IDLE);
        assert!(pool.take().is_some());
    }
}
