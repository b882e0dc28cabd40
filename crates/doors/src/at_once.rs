//! Where work is done that asks the file system: on the pool of blocking threads, or, when it is short, at once.
//!
//! A client that waits for every answer, as all do between small files, pays for each hop to another thread and back: a
//! tenth of a millisecond, several times what the file system takes. So what is short by its nature is done by the thread
//! that has read the request. Its nature may be mistaken, as when a disk stalls or a mount hangs. Where a thread serves one
//! connection (`ssh/own_thread.rs`), nobody waits for it but who asked. Elsewhere another thread takes over what this one
//! did for others, its sockets and timers among it, before the work begins; that costs a wakeup for each.

use std::cell::OnceCell;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::{JoinError, block_in_place};

thread_local! {
    /// Of a thread that serves one connection: the runtime whose pool all those share.
    static POOL: OnceCell<Handle> = const { OnceCell::new() };
}

/// This thread serves one connection from now on, and may block for it. What takes longer goes to the pool of `shared`.
pub(crate) fn serve_one_here(shared: Handle) {
    POOL.with(|pool| pool.set(shared)).expect("a thread serves one connection and ends");
}

/// Does something that blocks. Where the runtime has but one thread, and that is for all, everything goes to the pool.
///
/// - Panics: when `work` does.
pub(crate) async fn at_once_if<T: Send + 'static>(
    is_short: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if is_short && POOL.with(|pool| pool.get().is_some()) {
        return work();
    }
    if is_short && Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
        return block_in_place(work);
    }
    in_pool(work).await
}

/// Does something that blocks on a thread that is for such work.
///
/// - Panics: when `work` does.
pub(crate) async fn in_pool<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let shared = POOL.with(|pool| pool.get().cloned()).unwrap_or_else(Handle::current);
    match shared.spawn_blocking(work).await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The pool is gone: the process ends.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Waits for one of few places for work that goes on for as long as a file is large. Whoever asks for much of it has not all
/// threads of the pool then, without which nobody else is let in or served.
pub(crate) async fn long_place() -> SemaphorePermit<'static> {
    LONG_PLACES.acquire().await.expect("nobody closes it")
}

static LONG_PLACES: Semaphore = Semaphore::const_new(LONG_MAX);
/// A quarter of the pool of a server.
const LONG_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};
    use std::thread;
    use std::time::Duration;
    use tokio::task::spawn_blocking;

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

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_thread_of_its_own_does_what_is_short_itself_and_the_rest_in_the_pool_of_all() {
        let shared = Handle::current();
        let of_all = shared.id();
        let (here, short, long, pool) = spawn_blocking(move || {
            thread::spawn(move || {
                serve_one_here(shared);
                let alone = tokio::runtime::Builder::new_current_thread().build().unwrap();
                alone.block_on(async {
                    let id = || thread::current().id();
                    let pool = in_pool(|| Handle::current().id()).await;
                    (id(), at_once_if(true, id).await, at_once_if(false, id).await, pool)
                })
            })
            .join()
            .unwrap()
        })
        .await
        .unwrap();
        assert!(short == here && long != here && pool == of_all);
    }

    const STALLS: usize = 8;
}
