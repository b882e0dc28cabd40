//! Where work is done that asks the file system: on the pool of blocking threads, or, when it is short, at once.
//!
//! A client that waits for every answer, as all do between small files, pays for each hop to another thread and back: a
//! tenth of a millisecond, several times what the file system takes. So what is short by its nature is done by the thread
//! that has read the request. Its nature may be mistaken, as when a disk stalls: therefore one thread of the runtime is
//! always left to everybody else, and where there is but one, all goes to the pool.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

/// Does something that blocks.
///
/// - Panics: when `work` does.
pub(crate) async fn at_once_if<T: Send + 'static>(
    is_short: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if let Some(_place) = is_short.then(Place::take).flatten() {
        return work();
    }
    spawn_blocking(work).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// A thread of the runtime that may block for a moment.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let most = Handle::current().metrics().num_workers() - 1;
        let more = |taken: usize| (taken < most).then_some(taken + 1);
        TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Of all runtimes of this process, of which a server has one.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_thread_is_left_to_everybody_else_however_many_stall() {
        let (go, stalled) = mpsc::channel::<()>();
        let stalled = std::sync::Arc::new(std::sync::Mutex::new(stalled));
        let stalls: Vec<_> = (0..8)
            .map(|_| {
                let stalled = stalled.clone();
                tokio::spawn(at_once_if(true, move || stalled.lock().unwrap().recv_timeout(LONG)))
            })
            .collect();
        // Another task is run all the same, and so is a timer.
        for _ in 0..20 {
            tokio::spawn(tokio::time::sleep(Duration::from_millis(1))).await.unwrap();
        }
        assert!(!stalls.iter().any(|stall| stall.is_finished()));
        (0..8).for_each(|_| go.send(()).unwrap());
        for stall in stalls {
            stall.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn the_only_thread_never_blocks() {
        let here = thread::current().id();
        assert_ne!(at_once_if(true, || thread::current().id()).await, here);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_may_take_long_goes_to_the_pool() {
        let task = tokio::spawn(async {
            let here = thread::current().id();
            at_once_if(false, || thread::current().id()).await != here
        });
        assert!(task.await.unwrap());
    }

    /// No test takes so long.
    const LONG: Duration = Duration::from_secs(600);
}
