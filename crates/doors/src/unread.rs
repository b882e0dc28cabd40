//! What a client of a channel still sends and nobody wants is thrown away here. It has to be read all the same
//! (spec/doors.md, "The SSH door"): one task carries all channels of a connection, and it waits for ever for one whose queue is full.

use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, copy, sink};

/// Does something while all that comes is read and thrown away.
pub(crate) async fn while_unread<T>(
    reader: &mut (impl AsyncRead + Unpin),
    act: impl Future<Output = T>,
) -> T {
    let mut act = pin!(act);
    let reading = async {
        loop {
            let _ = copy(reader, &mut sink()).await;
            // An empty message looks like the end, and more may come after it.
            tokio::time::sleep(LOOKS_AGAIN).await;
        }
    };
    tokio::select! {
        done = &mut act => done,
        never = reading => never,
    }
}

const LOOKS_AGAIN: Duration = Duration::from_millis(20);
