//! Promise: a session can be ended whatever its peer does, also one that takes nothing and shows that it is alive
//! (spec/wire.md, `close`).

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sft_base::limits;
use sft_engine::{Link, LinkEnd, Role};
use sft_lane::Transport;
use sft_wire::Code;
use sft_wire::message::{Body, Reply, frame};
use support::*;
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_takes_nothing_does_not_hold_up_the_end() {
    let mut ends = Ends::join().await;
    let (sender, receiver) = ends.server.data.take().expect("QUIC brings data");
    let (link, _events) =
        Link::start(ends.server.reader, ends.server.writer, ends.server.handle, Role::Server);
    link.add_lane(Transport::Quic, sender, receiver);
    let lane = ends.client.data.as_ref().expect("QUIC brings data").0.clone();
    let alive = tokio::spawn(async move {
        let word = Bytes::from_static(b"I am here");
        while lane.send(frame::FILLER, Bytes::new(), word.clone(), 0).await.is_ok() {
            sleep(Duration::from_millis(200)).await;
        }
    });
    let said = Arc::new(AtomicU64::new(0));
    let (says, count) = (link.clone(), said.clone());
    let saying = tokio::spawn(async move {
        let error = Code::NOT_FOUND.because("x".repeat(limits::ERROR_TEXT_BYTES_MAX));
        while !says.has_ended() {
            says.send(Reply { id: 1, more: true, body: Body::Failed { error: error.clone() } }).await;
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    // When nothing more goes out for a moment, all that can hold some is full.
    let mut before = 0;
    while before != said.load(Ordering::Relaxed) || before == 0 {
        before = said.load(Ordering::Relaxed);
        sleep(Duration::from_millis(500)).await;
    }
    let begun = Instant::now();
    within(link.close(Some(Code::STOPPING.because("the server is stopping")))).await;
    assert!(begun.elapsed() < Duration::from_millis(limits::SILENCE_MAX_MS / 2), "{:?}", begun.elapsed());
    assert_eq!(link.ended().await, LinkEnd::Ours);
    within(saying).await.unwrap();
    within(alive).await.unwrap();
}
