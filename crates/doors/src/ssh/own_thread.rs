//! A thread of its own for each SSH connection, with all that is done for it.
//!
//! A client that waits for each answer, as all do between small files, is served as fast as requests and answers get from one
//! place to the next. Here that takes no other thread: the same one reads, decrypts, asks the file system, encrypts and writes, and
//! may wait for a disk without anybody else's waiting. It does not judge who may connect, nor how many.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::at_once::serve_one_here;

/// A thread that goes on until this is dropped and, then, all that was begun there is over.
#[derive(Debug)]
pub(super) struct OwnThread {
    runtime: Handle,
    _ends: oneshot::Sender<()>,
}

impl OwnThread {
    /// Starts a thread. What takes long is done on the pool of the runtime that this is called from.
    ///
    /// - Errors: as the system tells them, when it has no thread or no descriptor left.
    pub(super) async fn start() -> io::Result<Self> {
        let shared = Handle::current();
        let (ends, is_ending) = oneshot::channel::<()>();
        let (started, has_started) = oneshot::channel();
        thread::Builder::new().name("ssh".to_owned()).spawn(move || {
            serve_one_here(shared);
            // Built here, because a runtime cannot be dropped where others work.
            let own = match Builder::new_current_thread().enable_all().max_blocking_threads(1).build() {
                Ok(own) => own,
                // Nobody waits for it any more, if it cannot be told.
                Err(error) => return drop(started.send(Err(error))),
            };
            let _ = started.send(Ok(own.handle().clone()));
            own.block_on(async {
                // An error: nobody holds it any more.
                let _ = is_ending.await;
                nothing_is_left().await;
            });
            own.shutdown_background();
        })?;
        let runtime = has_started.await.map_err(io::Error::other)??;
        Ok(Self { runtime, _ends: ends })
    }

    /// Where to spawn what this thread is to do.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

/// Waits for every task of this thread: an upload that was cut off is kept by the last of them. They wait for disks alone, since the
/// connection has ended.
async fn nothing_is_left() {
    while Handle::current().metrics().num_alive_tasks() > 0 {
        sleep(LOOKS_AGAIN).await;
    }
}

const LOOKS_AGAIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use tokio::task::yield_now;

    #[tokio::test]
    async fn it_ends_when_all_is_over_and_not_before() {
        struct Over(mpsc::Sender<()>);
        impl Drop for Over {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        thread_local! { static AT_ITS_END: std::cell::RefCell<Option<Over>> = const { std::cell::RefCell::new(None) }; }
        let (over, is_over) = mpsc::channel();
        let own = OwnThread::start().await.unwrap();
        let (go_on, may_go_on) = oneshot::channel::<()>();
        let last = own.runtime().spawn(async move {
            AT_ITS_END.set(Some(Over(over)));
            may_go_on.await.unwrap();
            yield_now().await;
        });
        drop(own);
        sleep(5 * LOOKS_AGAIN).await;
        assert_eq!(is_over.try_recv(), Err(mpsc::TryRecvError::Empty), "a task goes on");
        go_on.send(()).unwrap();
        last.await.unwrap();
        tokio::task::spawn_blocking(move || is_over.recv().unwrap()).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn one_that_stalls_holds_up_nobody_else() {
        let (first, second) = (OwnThread::start().await.unwrap(), OwnThread::start().await.unwrap());
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let stalls = first.runtime().spawn(async move {
            crate::at_once::at_once_if(true, move || may_go_on.recv().unwrap()).await;
        });
        let other = second.runtime().spawn(async { crate::at_once::at_once_if(true, || 1).await });
        assert_eq!(other.await.unwrap() + tokio::spawn(async { 2 }).await.unwrap(), 3);
        assert!(!stalls.is_finished());
        go_on.send(()).unwrap();
        stalls.await.unwrap();
    }
}
