//! How much of what a client sent may wait: bytes of content, and requests with their replies.
//!
//! Reading stops while too much waits, so that a disk slows the client down and not the memory up. It goes on, up to a hard
//! bound, while a reply cannot be written: beneath an SSH channel the same task reads and writes, and a reader that
//! waited for the writer there would wait for itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What waits in one session.
#[derive(Debug, Default)]
pub(crate) struct Credit {
    counts: Mutex<Counts>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    content: usize,
    all: usize,
    /// A reply is on its way out and not taken.
    writing: bool,
}

/// The client sends on and on, and takes none of the replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests whose replies are not taken")]
pub(crate) struct TooMuch;

/// What one request takes, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Cost {
    credit: Arc<Credit>,
    content: usize,
}

impl Credit {
    /// Waits until a request with so much content may be taken.
    pub(crate) async fn take(self: &Arc<Self>, content: usize) -> Result<Cost, TooMuch> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(taken) = self.try_take(content) {
                return taken.map(|()| Cost { credit: self.clone(), content });
            }
            changed.await;
        }
    }

    /// A reply is being written, or was.
    pub(crate) fn set_writing(&self, writing: bool) {
        self.locked().writing = writing;
        if writing {
            self.changed.notify_waiters();
        }
    }

    fn try_take(&self, content: usize) -> Option<Result<(), TooMuch>> {
        let mut counts = self.locked();
        let (content, all) = (counts.content + content, counts.all + content + REQUEST_BYTES);
        let fits = counts.all == 0 || content <= CONTENT_BYTES_SOFT && all <= ALL_BYTES_SOFT;
        if !fits && !counts.writing {
            return None;
        }
        if all > ALL_BYTES_HARD {
            return Some(Err(TooMuch));
        }
        (counts.content, counts.all) = (content, all);
        Some(Ok(()))
    }

    fn give_back(&self, content: usize, requests: usize) {
        let mut counts = self.locked();
        counts.content -= content;
        counts.all -= content + requests * REQUEST_BYTES;
        drop(counts);
        self.changed.notify_waiters();
    }

    fn locked(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cost {
    /// The content was written to the file; the reply still waits.
    pub(crate) fn content_is_done(&mut self) {
        let content = std::mem::take(&mut self.content);
        if content > 0 {
            self.credit.give_back(content, 0);
        }
    }
}

impl Drop for Cost {
    fn drop(&mut self) {
        self.credit.give_back(self.content, 1);
    }
}

/// Content that waits to be written before reading stops.
const CONTENT_BYTES_SOFT: usize = 4 << 20;
/// The same with all requests and their replies.
const ALL_BYTES_SOFT: usize = 8 << 20;
/// What ends the session. A client that asks for 10 GiB in pieces of 32 KiB all at once stays below.
const ALL_BYTES_HARD: usize = 64 << 20;
/// A generous guess at what a request and its reply take besides content.
const REQUEST_BYTES: usize = 192;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reading_waits_for_room() {
        let credit = Arc::new(Credit::default());
        let mut first = credit.take(CONTENT_BYTES_SOFT).await.unwrap();
        let (waiting, there) = (credit.clone(), credit.clone());
        let task = tokio::spawn(async move { waiting.take(1).await });
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        first.content_is_done();
        drop((task.await.unwrap().unwrap(), first));
        let left = there.locked();
        assert_eq!((left.content, left.all), (0, 0));
    }

    #[tokio::test]
    async fn a_reply_that_is_not_taken_lets_reading_go_on_up_to_a_bound() {
        let credit = Arc::new(Credit::default());
        let mut held = vec![credit.take(CONTENT_BYTES_SOFT).await.unwrap()];
        let waiting = credit.clone();
        let task = tokio::spawn(async move { waiting.take(1).await });
        tokio::task::yield_now().await;
        credit.set_writing(true);
        held.push(task.await.unwrap().unwrap());
        let too_much = loop {
            match credit.take(1 << 20).await {
                Ok(cost) => held.push(cost),
                Err(too_much) => break too_much,
            }
            assert!(held.len() < 100);
        };
        assert_eq!(too_much, TooMuch);
        drop(held);
        assert_eq!(credit.locked().all, 0);
    }
}
