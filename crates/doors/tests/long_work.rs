//! Promise: what goes through all of a large file takes no more threads than others can spare, and ends with whoever asked for it
//! (spec/doors.md, "SFTP").

mod support;

use std::path::Path;
use std::time::Duration;

use support::*;
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// A session that has asked for the digest of a file of which nobody sees the end.
async fn hashing(dir: &Path) -> Raw {
    let mut raw = Raw::new(dir).await;
    let handle = raw.open("large", RD).await.handle();
    let fields = [string(b"check-file-handle"), string(&handle), string(b"sha256"), vec![0; 20]].concat();
    raw.send(EXTENDED, &[&fields]).await;
    raw
}

#[test]
fn digests_leave_threads_to_others_and_end_with_their_session() {
    let dir = folder();
    std::fs::File::create(dir.path().join("large")).unwrap().set_len(8 << 40).unwrap();
    let pool =
        Builder::new_multi_thread().worker_threads(2).max_blocking_threads(THREADS).enable_all().build();
    pool.unwrap().block_on(async {
        let mut sessions = Vec::new();
        for _ in 0..2 * THREADS {
            sessions.push(hashing(dir.path()).await);
        }
        timeout(PATIENCE, spawn_blocking(|| ())).await.expect("there is a thread for others").unwrap();
        for session in sessions {
            // How it ended says nothing: the connection was lost.
            let _ = timeout(PATIENCE, session.lose()).await.expect("the digest is given up");
        }
    });
}

/// A few more than digests may have.
const THREADS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);
