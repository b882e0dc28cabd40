//! Answers requests: one function for each operation, all through a view (spec/wire.md, "Requests").

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use sft_auth::{Grant, Rights};
use sft_base::{EntryPath, limits};
use sft_engine::{
    EventSink, Link, Manner, Measured, ReceiveJob, Reception, SendJob, SendSource, SessionEvent,
    TransferError, TransferPort, View, Wait, send, unapplied_on_wire, wire_error,
};
use sft_store::{Attributes, Stat};
use sft_wire::message::{Body, Entry, Op, Pull, PullSource, Push, Reply, Request, Window};
use sft_wire::{Code, WireError};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::at_once::long_place;

/// Answers requests until the session ends. Those under way then are dropped; what blocks ends by itself.
pub(super) async fn answer_all(link: &Link, view: View, mut events: mpsc::Receiver<SessionEvent>) {
    let open = Arc::new(Semaphore::new(limits::REQUESTS_OPEN_MAX));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(SessionEvent::Request(request, port)) => {
                    let Ok(permit) = open.clone().try_acquire_owned() else {
                        let error = Code::LIMIT.because("too many requests of this session wait for an answer; ask again when some have one");
                        link.send(failed(request.id, error)).await;
                        continue;
                    };
                    let (link, view) = (link.clone(), view.clone());
                    tasks.spawn(async move {
                        answer(&link, view, request, port).await;
                        drop(permit);
                    });
                }
                Some(SessionEvent::Reply(_)) => {}
                None => break,
            },
            Some(_) = tasks.join_next() => {}
            _ = link.ended() => break,
        }
    }
}

async fn answer(link: &Link, view: View, request: Request, port: Option<TransferPort>) {
    let Request { id, op } = request;
    match op {
        Op::List { path } => list(link, view, id, path).await,
        Op::Push(push) => match port {
            Some(port) => take_push(link, view, push, port).await,
            None => link.send(failed(id, too_many_transfers())).await,
        },
        Op::Pull(pull) => match port {
            Some(port) => take_pull(link, view, pull, port).await,
            None => link.send(failed(id, too_many_transfers())).await,
        },
        // Not where it may block: it is asked when the disks are slow.
        Op::Times { transfer } => {
            let body = times(link, transfer).unwrap_or_else(|error| Body::Failed { error });
            link.send(Reply { id, more: false, body }).await;
        }
        Op::Measure { down, bytes, millis } => measure(link, &view, id, down, bytes, millis).await,
        op => {
            let place = if matches!(op, Op::Hash { .. }) { Some(long_place().await) } else { None };
            let work = move || {
                let _place = place;
                answer_at_once(&view, op)
            };
            let done = tokio::task::spawn_blocking(work).await;
            let body = match done {
                Ok(Ok(body)) => body,
                Ok(Err(error)) => Body::Failed { error },
                Err(_) => Body::Failed {
                    error: Code::INTERNAL.because("the server failed at this; its log says more"),
                },
            };
            link.send(Reply { id, more: false, body }).await;
        }
    }
}

/// Operations with one answer. Blocks.
fn answer_at_once(view: &View, op: Op) -> Result<Body, WireError> {
    Ok(match op {
        Op::Stat { path } => {
            let stat = view.stat(&path)?;
            Body::Stat { entry: entry(view, path.clone(), &path, &stat) }
        }
        Op::MakeDir { path, parents: true } => view.make_dirs(&path, NEW_DIR_MODE).map(|_| Body::Ok {})?,
        Op::MakeDir { path, parents: false } => view.make_dir(&path, NEW_DIR_MODE).map(|()| Body::Ok {})?,
        Op::Remove { path, recursive } => Body::Removed { entries: view.remove(&path, recursive)? },
        Op::Rename { from, to, replace } => view.rename(&from, &to, replace).map(|()| Body::Ok {})?,
        Op::SetAttributes { path, modified, mode } => {
            let attributes = Attributes { modified: modified.map(Into::into), mode };
            let unapplied = view.set_attributes(&path, &attributes)?;
            Body::Unapplied { unapplied: unapplied.iter().map(unapplied_on_wire).collect() }
        }
        Op::Space {} => {
            let space = view.space()?;
            Body::Space { total: space.total, available: space.available }
        }
        Op::Hash { path } => Body::Hash { digest: view.hash(&path).map_err(of_request)? },
        Op::Read { path, offset, length } => {
            let source = view.open(&path).map_err(of_request)?;
            let mut content = vec![0; (length as usize).min(limits::READ_BYTES_MAX)];
            let read = source.read_at(offset, &mut content).map_err(|e| wire_error(&e))?;
            content.truncate(read);
            Body::Content { content }
        }
        Op::ReadLink { path } => Body::Content { content: view.read_link(&path).map_err(of_request)? },
        Op::Limits {} => {
            let limits = limits::ALL.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
            Body::Limits { limits }
        }
        Op::List { .. } | Op::Push(_) | Op::Pull(_) | Op::Times { .. } | Op::Measure { .. } => {
            unreachable!("`answer` takes what has more than one answer, or asks no store")
        }
    })
}

async fn measure(link: &Link, view: &View, id: u64, down: bool, bytes: u64, millis: u64) {
    let time = Duration::from_millis(millis);
    // Its place is free again before the answer, which goes out when the client reads.
    let measured = match link.begin_measure(measurer(view.grant())) {
        Ok(_turn) if down => Ok(link.send_filler(bytes, time).await),
        Ok(_turn) => count_filler(link, id, bytes, time).await,
        Err(error) => Err(error),
    };
    let body = match measured {
        Ok(Measured { bytes, took }) => Body::Measured { bytes, micros: took.as_micros() as u64 },
        Err(error) => Body::Failed { error },
    };
    link.send(Reply { id, more: false, body }).await;
}

/// Says that it is ready, and counts; a client that does not read is not waited for.
async fn count_filler(link: &Link, id: u64, bytes: u64, time: Duration) -> Result<Measured, WireError> {
    let mut counting = link.count_filler();
    let ready = link.send(Reply { id, more: true, body: Body::Ok {} });
    if tokio::time::timeout(MEASURE_GRACE, ready).await.is_err() {
        return Err(Code::BUSY.because("too many answers wait to be read before anything can be measured"));
    }
    Ok(counting.until(bytes, time + MEASURE_GRACE).await)
}

/// Whose measurement it is: those who have no right at all are one.
fn measurer(grant: &Grant) -> &str {
    if grant.rights() == Rights::NONE { "" } else { grant.identity() }
}

fn times(link: &Link, transfer: u64) -> Result<Body, WireError> {
    let counters = link.counters_of(transfer).ok_or_else(|| {
        Code::NOT_FOUND.because("that is no transfer of this session, or it began long ago")
    })?;
    let shares = counters.times.shares();
    let spent = Wait::ALL.map(|wait| (wait.number(), shares.of(wait).as_millis() as u64));
    let spent = spent.into_iter().filter(|(_, millis)| *millis > 0).collect();
    Ok(Body::Times { now: counters.times.now().number(), spent })
}

/// A source that is not there has vanished from a transfer, which listed it; a request only names it.
fn of_request(error: WireError) -> WireError {
    if error.code == Code::VANISHED { Code::NOT_FOUND.because(error.text) } else { error }
}

async fn list(link: &Link, view: View, id: u64, path: EntryPath) {
    let (out, mut pages) = mpsc::channel::<Result<Vec<Entry>, WireError>>(2);
    tokio::task::spawn_blocking(move || {
        let listed = list_pages(&view, &path, &out);
        if let Err(error) = listed {
            let _ = out.blocking_send(Err(error));
        }
    });
    while let Some(page) = pages.recv().await {
        match page {
            Ok(entries) => link.send(Reply { id, more: true, body: Body::Entries { entries } }).await,
            Err(error) => return link.send(failed(id, error)).await,
        }
    }
    link.send(Reply { id, more: false, body: Body::Entries { entries: Vec::new() } }).await;
}

/// Sends pages until the directory ends or nobody listens.
fn list_pages(
    view: &View,
    path: &EntryPath,
    out: &mpsc::Sender<Result<Vec<Entry>, WireError>>,
) -> Result<(), WireError> {
    let mut listing = view.list(path)?;
    let mut page = Vec::new();
    let mut page_bytes = 0;
    loop {
        let batch = listing.next_batch(limits::PAGE_ENTRIES_MAX).map_err(|e| wire_error(&e))?;
        if batch.is_empty() {
            let _ = out.blocking_send(Ok(page));
            return Ok(());
        }
        for (name, stat) in batch {
            let full = path.join(&name).map_err(|e| Code::NAME_NOT_ALLOWED.because(e.to_string()))?;
            let shown =
                EntryPath::root().join(&name).map_err(|e| Code::NAME_NOT_ALLOWED.because(e.to_string()))?;
            let entry = entry(view, shown, &full, &stat);
            page_bytes +=
                entry.path.as_bytes().len() + entry.target.as_ref().map_or(0, Vec::len) + ENTRY_BYTES;
            page.push(entry);
            if page.len() >= limits::PAGE_ENTRIES_MAX || page_bytes >= limits::PAGE_BYTES_SOFT {
                page_bytes = 0;
                if out.blocking_send(Ok(std::mem::take(&mut page))).is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// An entry of a listing. A link whose target may not be read is shown without it.
fn entry(view: &View, shown: EntryPath, path: &EntryPath, stat: &Stat) -> Entry {
    let mut entry = Entry::new(shown, &stat.meta);
    if stat.meta.kind == sft_base::Kind::Link {
        entry.target = view.read_link(path).ok();
    }
    entry
}

async fn take_push(link: &Link, view: View, push: Push, port: TransferPort) {
    let id = port.id;
    let keep_set_id = view.grant().set_id();
    let job = ReceiveJob {
        view,
        path: push.path,
        place: push.place,
        publish: push.publish,
        durability: push.durability,
        keep_set_id,
    };
    let reception = match Reception::prepare(job).await {
        Ok(reception) => reception,
        Err(error) => return link.send(failed(id, error)).await,
    };
    let body = Body::Accepted { window: reception.window(), into: reception.is_into() };
    link.send(Reply { id, more: false, body }).await;
    let (sink, _) = EventSink::new();
    let outcome = reception.receive(port, sink).await;
    report(link, id, outcome).await;
}

async fn take_pull(link: &Link, view: View, pull: Pull, port: TransferPort) {
    let id = port.id;
    let sources: Vec<SendSource> = pull.sources.into_iter().map(|source| source_of(&view, source)).collect();
    let body = Body::Accepted { window: pull.window, into: true };
    link.send(Reply { id, more: false, body }).await;
    let window = Window {
        bytes: pull.window.bytes.min(limits::WINDOW_BYTES_MAX),
        entries: pull.window.entries.min(limits::WINDOW_ENTRIES_MAX),
    };
    let (sink, _) = EventSink::new();
    let manner = Manner { limit: pull.limit.and_then(NonZeroU64::new), background: pull.background };
    let job = SendJob { sources, checksum: pull.checksum, manner, window: Ok(window) };
    let outcome = send(port, job, sink).await;
    report(link, id, outcome).await;
}

fn source_of(view: &View, source: PullSource) -> SendSource {
    let PullSource { path, contents } = source;
    let name = path.file_name().filter(|_| !contents);
    let landing = name.and_then(|name| EntryPath::root().join(&name).ok()).unwrap_or_default();
    SendSource { view: view.clone(), path, landing }
}

/// A transfer that could not begin is answered; how one ended that did, both ends know.
async fn report(link: &Link, id: u64, outcome: Result<sft_engine::Summary, TransferError>) {
    match outcome {
        Ok(summary) => tracing::debug!(
            committed = summary.committed,
            unchanged = summary.unchanged,
            failed = summary.failed,
            "a transfer ends"
        ),
        Err(TransferError::Local(error)) => link.send(failed(id, error)).await,
        Err(error) => tracing::debug!(%error, "a transfer ends early"),
    }
}

fn failed(id: u64, error: WireError) -> Reply {
    Reply { id, more: false, body: Body::Failed { error } }
}

fn too_many_transfers() -> WireError {
    Code::LIMIT.because(format!(
        "{} transfers are under way in this session already; wait until one has ended",
        limits::TRANSFERS_OPEN_MAX
    ))
}

/// A generous guess at what an entry takes besides its name and target.
const ENTRY_BYTES: usize = 80;
/// How long what was sent in time may take to come, and the word that all is ready to go.
const MEASURE_GRACE: Duration = Duration::from_millis(500);
/// What the process's umask narrows.
const NEW_DIR_MODE: u32 = 0o777;
