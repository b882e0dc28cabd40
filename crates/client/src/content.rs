//! The content of a file on a server, read ahead so that a long path does not slow it down.

use std::collections::VecDeque;

use sft_base::{EntryPath, limits};
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::error::RequestError;

/// A file being read from its start to its end.
#[derive(Debug)]
pub struct Content {
    client: Client,
    path: EntryPath,
    /// Where the next part begins that is not asked for yet.
    offset: u64,
    ahead: VecDeque<JoinHandle<Result<Vec<u8>, RequestError>>>,
    ended: bool,
}

impl Content {
    pub(crate) fn new(client: Client, path: EntryPath) -> Self {
        Self { client, path, offset: 0, ahead: VecDeque::new(), ended: false }
    }

    /// The next part; none at the end.
    ///
    /// A file that grows while it is read is read as far as it went when its end was met.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, RequestError> {
        if self.ended {
            return Ok(None);
        }
        self.read_ahead();
        let Some(reading) = self.ahead.pop_front() else { return Ok(None) };
        let part = reading.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        if part.len() < PART_BYTES as usize {
            self.end();
        }
        Ok((!part.is_empty()).then_some(part))
    }

    fn read_ahead(&mut self) {
        // The first part alone: most files end in it, and what lies behind the end need not be asked for.
        let wanted = if self.offset == 0 { 1 } else { PARTS_AHEAD };
        while self.ahead.len() < wanted {
            let (client, path, offset) = (self.client.clone(), self.path.clone(), self.offset);
            self.ahead.push_back(tokio::spawn(async move { client.read(&path, offset, PART_BYTES).await }));
            self.offset += u64::from(PART_BYTES);
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.ahead.drain(..).for_each(|reading| reading.abort());
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.end();
    }
}

const PART_BYTES: u32 = limits::READ_BYTES_MAX as u32;
/// Four megabytes on their way: more than a connection of 100 Mbit/s and 300 ms holds.
const PARTS_AHEAD: usize = 32;
