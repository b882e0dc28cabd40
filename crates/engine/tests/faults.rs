//! Promise: whatever fails at either end, each entry is committed whole or told as failed, the rest goes on, and the same
//! transfer again brings what is missing (spec/wire.md, "Errors").

mod support;

use std::sync::Arc;

use sft_auth::Grant;
use sft_base::limits::PIECE_BYTES;
use sft_engine::{
    EventSink, Manner, ReceiveJob, Reception, SendJob, SendSource, Summary, TransferError, View, send,
};
use sft_store::{Attributes, FaultStore, MemStore, Op, Publish, Store, StoreError};
use sft_wire::Code;
use sft_wire::message::{Durability, Place, PublishMode};
use support::*;

const FILES: [(&str, u64); 6] = [
    ("t/a", 10),
    ("t/b", 0),
    ("t/large", 3 * PIECE_BYTES + 7),
    ("t/d/c", 70_000),
    ("t/d/larger", 5 * PIECE_BYTES),
    ("t/d/one", PIECE_BYTES),
];
/// With two directories and a link.
const ENTRIES: u64 = 9;

fn source() -> MemStore {
    let store = MemStore::new();
    ["t", "t/d"].iter().for_each(|dir| store.make_dir(&path(dir), 0o755).unwrap());
    FILES.iter().for_each(|(name, size)| put(&store, name, &pattern(*size)));
    let none = Attributes::default();
    store.publish_link(b"a", &path("t/link"), Publish::Replace, &none).unwrap();
    store
}

/// One transfer of `t`, and how each end saw its end.
async fn transfer(
    from: &FaultStore,
    to: &FaultStore,
) -> (Result<Summary, TransferError>, Result<Summary, TransferError>) {
    let (client, server, _kept) = Ends::join().await.link();
    let view = |store: &FaultStore| View::new(Arc::new(store.clone()), Arc::new(Grant::owner_local()));
    let job = ReceiveJob {
        view: view(to),
        path: path(""),
        place: Place::Into,
        publish: PublishMode::Replace,
        durability: Durability::Commit,
        keep_set_id: true,
    };
    let reception = match Reception::prepare(job).await {
        Ok(reception) => reception,
        Err(error) => {
            let untold = TransferError::Cancelled(Code::INTERNAL.because("it did not begin"));
            return (Err(untold), Err(TransferError::Local(error)));
        }
    };
    let window = reception.window();
    let receiving = tokio::spawn(reception.receive(server.transfer(1), EventSink::new().0));
    let sources = vec![SendSource { view: view(from), path: path("t"), landing: path("t") }];
    let job = SendJob { sources, checksum: false, manner: Manner::default(), window: Ok(window) };
    let sending = tokio::spawn(send(client.transfer(1), job, EventSink::new().0));
    (within(sending).await.unwrap(), within(receiving).await.unwrap())
}

fn none() -> FaultStore {
    FaultStore::new(MemStore::new())
}

fn io_error() -> StoreError {
    StoreError::Io { path: None, doing: "a test", source: std::io::Error::other("ordered") }
}

fn failures(summary: &Summary) -> Vec<(String, Code)> {
    let mut failures: Vec<_> =
        summary.failures.iter().map(|(path, error)| (path.to_string(), error.code)).collect();
    failures.sort_by(|a, b| a.0.cmp(&b.0));
    failures
}

/// Each file that shows is whole; how many show.
#[track_caller]
fn whole(store: &dyn Store) -> usize {
    let shown =
        FILES.iter().filter_map(|(name, size)| read(store, name).map(|content| (name, size, content)));
    shown.map(|(name, size, content)| assert!(content == pattern(*size), "{name} is not whole")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_read_on_the_way_fails_alone() {
    // Large files are read a piece at a time, small ones in packs: wherever it happens, one entry pays for it.
    for nth in [1, 3, 6, 9] {
        let (from, to) = (FaultStore::new(source()), none());
        from.fail(Op::ReadAt, nth, io_error);
        let (sent, received) = transfer(&from, &to).await;
        let (sent, received) = (sent.unwrap(), received.unwrap());
        let failed = failures(&sent);
        assert!(failed.len() == 1 && failed[0].1 == Code::READ, "read {nth}: {failed:?}");
        assert_eq!(failures(&received), failed, "both ends tell the same");
        assert_eq!(sent.committed + sent.failed, ENTRIES);
        assert_eq!(whole(&to), FILES.len() - 1);
        assert!(read(&to, &failed[0].0).is_none(), "{failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn room_that_runs_out_on_the_way_is_told_for_what_did_not_fit() {
    let (from, to) = (FaultStore::new(source()), none());
    to.limit_space(6 * PIECE_BYTES);
    let (sent, _) = transfer(&from, &to).await;
    let sent = sent.unwrap();
    let failed = failures(&sent);
    assert!(!failed.is_empty() && failed.iter().all(|(_, code)| *code == Code::NO_SPACE), "{failed:?}");
    assert_eq!(whole(&to), FILES.len() - failed.len());
}

/// Opens one and the same place each time.
type Opener = Box<dyn Fn() -> FaultStore>;

fn in_memory() -> Opener {
    let store = MemStore::new();
    Box::new(move || FaultStore::new(store.clone()))
}

/// Where new directories are filled before they have their names.
#[cfg(target_os = "linux")]
fn on_disk() -> Opener {
    let root = tempfile::tempdir().unwrap();
    Box::new(move || FaultStore::new(sft_store::FsStore::open(root.path()).unwrap()))
}

/// Calls of every kind, one after the other, at either end.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_fails_what_shows_is_whole_and_the_rest_can_be_had_later() {
    let here = source();
    let places = [
        (true, in_memory as fn() -> Opener),
        (false, in_memory),
        #[cfg(target_os = "linux")]
        (false, on_disk),
    ];
    for (at_source, place) in places {
        let mut mattered = 0;
        for nth in (1..).step_by(3) {
            let there = place();
            let (from, to) = (FaultStore::new(here.clone()), there());
            let faulty = if at_source { &from } else { &to };
            faulty.fail_any(nth, io_error);
            let (sent, received) = transfer(&from, &to).await;
            let shown = whole(&there());
            if let (Ok(sent), Ok(received)) = (&sent, &received) {
                assert_eq!(
                    (sent.committed, sent.failed),
                    (received.committed, received.failed),
                    "call {nth}"
                );
                assert!(shown == FILES.len() || sent.failed > 0, "call {nth}: {sent:?}");
                mattered += usize::from(sent.failed > 0);
            }
            if faulty.calls() < nth {
                assert_eq!(shown, FILES.len(), "nothing failed");
                break;
            }
            let (from, to) = (FaultStore::new(here.clone()), there());
            let sent = transfer(&from, &to).await.0.unwrap_or_else(|error| panic!("call {nth}: {error}"));
            assert_eq!((sent.failed, whole(&there())), (0, FILES.len()), "call {nth}: {:?}", sent.failures);
        }
        assert!(mattered > 5, "{mattered} of the calls mattered");
    }
}
