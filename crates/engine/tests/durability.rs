//! Promise: what was said to be committed is on disk, content and name; and nothing is said of what is not (spec/store.md,
//! "Durability").

mod support;

use std::sync::Arc;

use sft_auth::Grant;
use sft_base::limits::PIECE_BYTES;
use sft_base::{Digest, Time};
use sft_engine::{EventSink, Link, ReceiveJob, Reception, Role, View};
use sft_lane::{Parts, Transport};
use sft_store::{Attributes, FaultStore, MemStore, Op, Publish, Store, StoreError};
use sft_wire::message::{
    Commit, Durability, Entry, EntryKind, Finish, Finished, Offer, PackHeader, PackedFile, PieceHeader,
    Place, PublishMode, Stamp, frame,
};
use sft_wire::{ControlMessage, encode_pack, encode_piece};
use support::*;

const SMALL: &[u8] = b"small content";

fn entry(name: &str, kind: EntryKind, size: u64) -> Entry {
    let target = (kind == EntryKind::Link).then(|| b"elsewhere".to_vec());
    let modified = Stamp { secs: 1, nanos: 0 };
    Entry { path: path(name), kind, size, modified, mode: 0o644, target, digest: None, occupied: None }
}

fn large() -> Vec<u8> {
    pattern(2 * PIECE_BYTES + 5)
}

/// What a sender offers in one of these transfers.
fn entries(what: &str) -> Vec<Entry> {
    match what {
        "small" | "in place" => vec![entry("small", EntryKind::File, SMALL.len() as u64)],
        "large" => vec![entry("large", EntryKind::File, large().len() as u64)],
        _ => vec![entry("dir", EntryKind::Dir, 0), entry("link", EntryKind::Link, 0)],
    }
}

/// A receiver onto `store` at work; a sender, by hand, that has offered `what` and sent all of it.
async fn offered(store: Arc<dyn Store>, durability: Durability, what: &str) -> (Parts, impl Send) {
    let mut ends = Ends::join().await;
    let data = ends.server.data.take().expect("QUIC brings data");
    let (link, events) =
        Link::start(ends.server.reader, ends.server.writer, ends.server.handle, Role::Server);
    link.add_lane(Transport::Quic, data.0, data.1);
    let job = ReceiveJob {
        view: View::new(store, Arc::new(Grant::owner_local())),
        path: path(""),
        place: Place::Into,
        publish: PublishMode::Replace,
        durability,
        keep_set_id: false,
    };
    let reception = Reception::prepare(job).await.unwrap();
    let receiving = tokio::spawn(reception.receive(link.transfer(1), EventSink::new().0));
    let mut client = ends.client;
    say(&mut client, Offer { transfer: 1, first: 0, entries: entries(what), failures: vec![], last: true })
        .await;
    if ["small", "large"].contains(&what) {
        while !matches!(hear(&mut client).await, ControlMessage::Want(_)) {}
        send_content(&mut client, what).await;
    }
    (client, (link, events, receiving))
}

async fn send_content(client: &mut Parts, what: &str) {
    let lane = client.data.as_ref().expect("QUIC brings data").0.clone();
    if what == "small" {
        let digest = Some(Digest::of(SMALL));
        let files = vec![PackedFile { entry: 0, size: SMALL.len() as u32, digest, error: None }];
        let header = encode_pack(&PackHeader { transfer: 1, unit: 0, files });
        return lane.send(frame::PACK, header.into(), SMALL.to_vec().into(), 0).await.unwrap();
    }
    let content = large();
    for unit in 0..3 {
        let (node, bytes) = piece(&content, unit);
        let header = PieceHeader { transfer: 1, unit, entry: 0, offset: node.offset, cv: node.cv };
        lane.send(frame::PIECE, encode_piece(&header).into(), bytes.to_vec().into(), 0).await.unwrap();
    }
    let digest = Some(Digest::of(&content));
    let finished = Finished { entry: 0, digest, error: None, sent: content.len() as u64 };
    say(client, Finish { transfer: 1, files: vec![finished] }).await;
}

async fn say(client: &mut Parts, message: impl Into<ControlMessage>) {
    let message = message.into();
    client.writer.write_frame(message.frame_type(), &message.encode()).await.unwrap();
}

async fn hear(client: &mut Parts) -> ControlMessage {
    let frame = within(client.reader.read_frame(1 << 18)).await.unwrap().expect("the receiver goes on");
    ControlMessage::decode(frame.ty, &frame.payload).unwrap().expect("it is no extension")
}

/// The first commit.
async fn committed(client: &mut Parts) -> Commit {
    loop {
        if let ControlMessage::Commit(commit) = hear(client).await {
            return commit;
        }
    }
}

/// Whether the first `committed` entries of it are there, whole.
fn is_there(disk: &MemStore, what: &str, committed: u64) -> bool {
    match what {
        "small" => read(disk, "small").as_deref() == Some(SMALL),
        "large" => read(disk, "large") == Some(large()),
        _ => {
            let names = ["dir", "link"].iter().take(committed as usize);
            names.map(|name| disk.stat(&path(name))).all(|stat| stat.is_ok())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_survives_a_crash_at_that_very_moment() {
    for crash in [MemStore::crash, MemStore::crash_keeping_names] {
        for durability in [Durability::Commit, Durability::Each] {
            for what in ["small", "large", "names"] {
                let disk = MemStore::new();
                let (mut client, _kept) = offered(Arc::new(disk.clone()), durability, what).await;
                let commit = committed(&mut client).await;
                crash(&disk);
                let count: u64 = commit.committed.iter().map(|run| run.count).sum();
                assert!(count > 0 && commit.failed.is_empty(), "{commit:?}");
                assert!(is_there(&disk, what, count), "{what}, {durability:?}: it was said to be committed");
            }
        }
    }
}

/// An attempt that was killed between naming and flushing leaves names that only memory has.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_in_place_is_durable_when_all_is_done() {
    for (durability, stays) in [(Durability::Commit, true), (Durability::None, false)] {
        let disk = MemStore::new();
        let attributes = Attributes { modified: Some(Time { secs: 1, nanos: 0 }), mode: Some(0o644) };
        let staged = disk.stage_small(SMALL, &attributes).unwrap();
        disk.publish(staged, verified(SMALL), &path("small"), Publish::Replace, &attributes).unwrap();
        let (mut client, _kept) = offered(Arc::new(disk.clone()), durability, "in place").await;
        let done = loop {
            if let ControlMessage::Done(done) = hear(&mut client).await {
                break done;
            }
        };
        assert_eq!((done.unchanged, done.committed), (1, 0));
        disk.crash();
        assert_eq!(is_there(&disk, "small", 1), stays, "{durability:?}");
    }
}

/// This is what the flushes are for: the test above would find out if they were left out.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_asked_to_be_durable_may_be_lost() {
    for what in ["small", "large", "names"] {
        let disk = MemStore::new();
        let (mut client, _kept) = offered(Arc::new(disk.clone()), Durability::None, what).await;
        let commit = committed(&mut client).await;
        disk.crash();
        assert!(!is_there(&disk, what, commit.committed.iter().map(|run| run.count).sum()), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_committed_when_a_flush_fails() {
    let failed =
        || StoreError::Io { path: None, doing: "flushing", source: std::io::Error::other("ordered") };
    for nth in [1, 2] {
        for what in ["small", "large"] {
            let store = FaultStore::new(MemStore::new());
            store.fail(Op::Flush, nth, failed);
            let (mut client, _kept) = offered(Arc::new(store), Durability::Commit, what).await;
            let commit = committed(&mut client).await;
            assert!(commit.committed.is_empty() && commit.failed.len() == 1, "flush {nth}: {commit:?}");
        }
    }
}
