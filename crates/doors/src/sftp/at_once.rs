//! Where work is done that asks the file system: on the pool of blocking threads, or, when it is short, at once.
//!
//! A client that waits for every answer, as all do between small files, pays for each hop to another thread and back: a
//! tenth of a millisecond, several times what the file system takes. So what is short by its nature is done by the thread
//! that has read the request. Its nature may be mistaken, as when a disk stalls or a mount hangs: so another thread takes over
//! what this one did for others, its sockets and timers among it, before the work begins. Nobody waits for it but who asked.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{block_in_place, spawn_blocking};

/// Does something that blocks. Where the runtime has but one thread, all goes to the pool.
///
/// - Panics: when `work` does.
pub(crate) async fn at_once_if<T: Send + 'static>(
    is_short: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if is_short && Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
        return block_in_place(work);
    }
    spawn_blocking(work).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};
    use std::thread;
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_else_waits_however_many_stall() {
        let stalled = Arc::new(Barrier::new(STALLS + 1));
        let stalls: Vec<_> = (0..STALLS)
            .map(|_| {
                let stalled = stalled.clone();
                tokio::spawn(async move {
                    // Woken by the thread that has the timers, each takes that thread with it.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    at_once_if(true, move || stalled.wait()).await;
                })
            })
            .collect();
        for _ in 0..20 {
            tokio::spawn(tokio::time::sleep(Duration::from_millis(2))).await.unwrap();
        }
        assert!(!stalls.iter().any(|stall| stall.is_finished()));
        spawn_blocking(move || stalled.wait()).await.unwrap();
        for stall in stalls {
            stall.await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_only_thread_never_blocks() {
        let here = thread::current().id();
        assert_ne!(at_once_if(true, || thread::current().id()).await, here);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_short_is_done_here_and_the_rest_in_the_pool() {
        for is_short in [true, false] {
            let task = tokio::spawn(async move {
                let here = thread::current().id();
                at_once_if(is_short, || thread::current().id()).await == here
            });
            assert_eq!(task.await.unwrap(), is_short);
        }
    }

    const STALLS: usize = 8;
}
