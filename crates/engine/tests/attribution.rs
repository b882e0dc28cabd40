//! Promise: a transfer knows at both ends what it waited for.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sft_auth::Grant;
use sft_base::limits::PIECE_BYTES;
use sft_engine::{EventSink, Manner, ReceiveJob, Reception, SendJob, SendSource, Shares, View, Wait, send};
use sft_store::{FaultStore, MemStore, Op, Store};
use sft_wire::message::{Durability, Place, PublishMode};
use support::*;

fn view(store: impl Store) -> View {
    View::new(Arc::new(store), Arc::new(Grant::owner_local()))
}

/// Sends a file of eight pieces from one store to another: what the sender waited for, the receiver, and how long it took.
async fn waits(from: FaultStore, to: FaultStore) -> (Shares, Shares, Duration) {
    put(&from, "it", &pattern(8 * PIECE_BYTES));
    let (client, server, _up) = Ends::join().await.link();
    let job = ReceiveJob {
        view: view(to),
        path: path(""),
        place: Place::Into,
        publish: PublishMode::Replace,
        durability: Durability::Commit,
        keep_set_id: false,
    };
    let begun = Instant::now();
    let reception = Reception::prepare(job).await.unwrap();
    let window = reception.window();
    let receiving = tokio::spawn(reception.receive(server.transfer(1), EventSink::new().0));
    let sources = vec![SendSource { view: view(from), path: path("it"), landing: path("it") }];
    let job = SendJob { sources, checksum: false, manner: Manner::default(), window: Ok(window) };
    let sent = within(send(client.transfer(1), job, EventSink::new().0)).await.unwrap();
    within(receiving).await.unwrap().unwrap();
    assert_eq!(sent.committed, 1);
    let of = |link: &sft_engine::Link| link.counters_of(1).expect("it began a moment ago").times.shares();
    assert!(client.counters_of(2).is_none(), "there is no such transfer");
    (of(&client), of(&server), begun.elapsed())
}

fn stores() -> (FaultStore, FaultStore) {
    (FaultStore::new(MemStore::new()), FaultStore::new(MemStore::new()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_reads_slowly_is_told_from_one_that_writes_slowly() {
    let slow = Duration::from_millis(150);
    let (from, to) = stores();
    from.slow_down(Op::ReadAt, slow);
    let (sender, receiver, took) = waits(from, to).await;
    let (reading, idle) = (sender.of(Wait::Reading), receiver.of(Wait::Peer));
    assert!(reading >= slow / 2, "{sender:?} of {took:?}");
    assert!(Wait::ALL.iter().all(|wait| sender.of(*wait) <= reading), "{sender:?}");
    assert!(idle >= slow, "{receiver:?} of {took:?}");

    let (from, to) = stores();
    to.slow_down(Op::WriteAt, slow);
    let (sender, receiver, took) = waits(from, to).await;
    let writing = receiver.of(Wait::Writing);
    assert!(writing >= slow / 2, "{receiver:?} of {took:?}");
    assert!(Wait::ALL.iter().all(|wait| receiver.of(*wait) <= writing), "{receiver:?}");
    assert!(sender.of(Wait::Peer) + sender.of(Wait::Lanes) >= slow / 2, "{sender:?} of {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_flushes_slowly_is_waited_for_at_the_end() {
    let slow = Duration::from_millis(300);
    let (from, to) = stores();
    to.slow_down(Op::Flush, slow);
    let (sender, receiver, took) = waits(from, to).await;
    assert!(receiver.of(Wait::Flushing) >= slow, "{receiver:?} of {took:?}");
    assert!(sender.of(Wait::Peer) >= slow, "{sender:?} of {took:?}");
    for shares in [sender, receiver] {
        assert!(shares.total() <= took, "{shares:?} of {took:?}");
    }
}
