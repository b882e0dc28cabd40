//! Push and pull: whole trees from here to a server and back, begun anew in another session when one is lost.
//!
//! Beginning anew with the same arguments is all there is to resuming: what was published is found unchanged, and what
//! was staged goes on from there (spec/wire.md, "Lost lanes").

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sft_auth::{Right, Rights};
use sft_base::EntryPath;
use sft_engine::{Counters, Event, EventSink, LinkEnd, Manner, ReceiveJob, Reception, SendJob, Summary};
use sft_wire::message::{Body, Cancel, EntryKind, Op, Place, Pull, PullSource, Push, Window};
use sft_wire::{Code, WireError};
use tokio::sync::oneshot;

use crate::backoff::{self, Backoff};
use crate::client::Client;
use crate::error::{ConnectError, LocalError, RequestError, TransferError};
use crate::landing::{may_be_new_name, push_place};
use crate::local::{self, Destination};
use crate::location::{Ending, RemotePath};
use crate::options::{LandingMemory, PullOptions, PushOptions};
use crate::session::{Answers, Begun, Session};
use crate::stalls;

impl Client {
    /// Copies local files and trees to the server.
    ///
    /// - Shape: what lands where is as with `cp -r`: see [`Ending`]. Several sources, or a destination that ends with a
    ///   slash, land inside the destination, which becomes a directory.
    /// - Errors: [`TransferError`] for the whole; an entry that fails is in the [`Summary`], and the others go on.
    /// - Cancelling: dropping the future cancels the transfer; what was staged stays for another time.
    pub async fn push(
        &self,
        sources: &[PathBuf],
        destination: &RemotePath,
        options: PushOptions,
        events: EventSink,
    ) -> Result<Summary, TransferError> {
        let endings: Vec<Ending> = sources.iter().map(|source| local::ending(source)).collect();
        let memory = Memory(options.memory);
        let mut push = Push {
            path: destination.entry.clone(),
            place: push_place(&endings, destination.ending),
            publish: options.publish,
            durability: options.durability,
            checksum: options.checksum,
        };
        let paths = sources.to_vec();
        let open =
            move || local::open_sources(&paths).map(|all| (all, paths.iter().all(|p| local::is_dir(p))));
        let (local::Sources { opened: sources, failed }, is_dir) = blocking(open).await?;
        if push.place == Place::Auto && is_dir && memory.recall().await {
            push.place = Place::Exact;
            memory.remember().await;
        }
        for (path, error) in &failed {
            events.tell(Event::Failed { path: path.clone(), error: error.clone() });
        }
        let mut attempts = Attempts::new(self.backoff(), events);
        loop {
            let (session, begun) = attempts.begin(self, Op::Push(push.clone())).await?;
            // A directory that is offered may be made, and be found by the next attempt: first the server decides.
            let deciding = (push.place == Place::Auto && is_dir).then_some(&memory);
            let job = |window| SendJob {
                sources: sources.clone(),
                checksum: push.checksum,
                manner: options.manner,
                window: Err(window),
            };
            let (events, explain) = (attempts.events.clone(), options.explain);
            let (placed, outcome) = push_once(&session, begun, job, deciding, explain, events).await;
            // The first attempt may have made the directory that the next would then land inside.
            push.place = placed.unwrap_or(push.place);
            let may_look = Rights::from_bits(session.welcome().rights).has(Right::List);
            let told = |error| if may_look { told_as_destination(error, &push) } else { error };
            let judged = attempts.judge(outcome).map_err(told);
            if let Some(summary) = judged? {
                return Ok(with_failed(summary, failed));
            }
        }
    }

    /// Copies files and trees from the server to this machine.
    ///
    /// - Shape, errors, cancelling: as [`Client::push`].
    pub async fn pull(
        &self,
        sources: &[RemotePath],
        destination: &Path,
        options: PullOptions,
        events: EventSink,
    ) -> Result<Summary, TransferError> {
        let endings: Vec<Ending> = sources.iter().map(|source| source.ending).collect();
        let contents = |source: &RemotePath| source.ending == Ending::Contents || source.entry.is_root();
        let sources = sources
            .iter()
            .map(|source| PullSource { path: source.entry.clone(), contents: contents(source) });
        let sources: Vec<PullSource> = sources.collect();
        for (source, ending) in sources.iter().zip(&endings) {
            if *ending == Ending::Slash {
                self.must_be_dir(&source.path).await?;
            }
        }
        let memory = Memory(options.memory.clone());
        let recalled = may_be_new_name(&endings, local::ending(destination))
            && memory.recall().await
            && self.is_dir(&sources[0].path, endings[0]).await?;
        let path = destination.to_owned();
        let destination = blocking(move || local::open_destination(&path, &endings, recalled)).await?;
        let mut attempts = Attempts::new(self.backoff(), events);
        loop {
            if destination.place == Place::Into && !destination.path.is_root() {
                // No directory is made for what a server has not let in yet.
                attempts.open(self).await?;
            }
            let reception = Reception::prepare(receive_job(&destination, &options)).await;
            let reception =
                reception.map_err(|error| final_error(sft_engine::TransferError::Local(error)))?;
            let (sources, window) = (sources.clone(), reception.window());
            let Manner { limit, background } = options.manner;
            let (checksum, limit) = (options.checksum, limit.map(NonZeroU64::get));
            let pull = Op::Pull(Pull { sources, checksum, window, limit, background });
            let (session, begun) = attempts.begin(self, pull).await?;
            if destination.place == Place::Exact {
                // Not before: what a server never let begin lands nowhere.
                memory.remember().await;
            }
            let outcome =
                pull_once(&session, begun, reception, options.explain, attempts.events.clone()).await;
            if let Some(summary) = attempts.judge(outcome)? {
                return Ok(summary);
            }
        }
    }
}

impl Client {
    /// Whether a source of a pull is a directory; what is not there is none.
    async fn is_dir(&self, source: &EntryPath, ending: Ending) -> Result<bool, TransferError> {
        Ok(ending == Ending::Slash || self.kind(source).await? == Some(EntryKind::Dir))
    }

    /// Refuses what was named as a directory and is something else. What is not there fails by itself.
    async fn must_be_dir(&self, source: &EntryPath) -> Result<(), TransferError> {
        if self.kind(source).await?.is_some_and(|kind| kind != EntryKind::Dir) {
            let text = format!("{source}: it is not a directory, as the `/` after its name says");
            return Err(TransferError::Refused(Code::NOT_A_DIRECTORY.because(text)));
        }
        Ok(())
    }

    /// What a source of a pull is; none if it cannot be looked at.
    async fn kind(&self, source: &EntryPath) -> Result<Option<EntryKind>, TransferError> {
        let begun = Instant::now();
        match self.stat(source).await {
            Ok(entry) => Ok(Some(entry.kind)),
            Err(RequestError::Failed(_)) => Ok(None),
            Err(RequestError::Connect(error)) => Err(error.into()),
            Err(error @ (RequestError::Lost(_) | RequestError::Unknown { .. })) => {
                Err(TransferError::Lost { reason: error.to_string(), silent: begun.elapsed() })
            }
            Err(RequestError::Misbehaved(what)) => Err(TransferError::Misbehaved(what.into())),
        }
    }
}

/// A server that cannot make the destination a directory speaks of an entry that exists; what is meant is said here.
fn told_as_destination(error: TransferError, push: &Push) -> TransferError {
    match error {
        TransferError::Refused(error) if push.place == Place::Into && error.code == Code::ALREADY_EXISTS => {
            let text =
                format!("{} is not a directory, and what was named can only be put into one", push.path);
            TransferError::Refused(WireError { text, ..error })
        }
        error => error,
    }
}

/// A summary with the sources that could not be opened.
fn with_failed(mut summary: Summary, failed: Vec<(EntryPath, WireError)>) -> Summary {
    summary.failed += failed.len() as u64;
    summary.failures.splice(0..0, failed);
    summary.failures.truncate(Summary::FAILURES_KEPT);
    summary
}

/// What is known of the same transfer from before.
struct Memory(Option<Arc<dyn LandingMemory>>);

impl Memory {
    async fn recall(&self) -> bool {
        let Some(memory) = self.0.clone() else { return false };
        blocking(move || memory.recall()).await
    }

    async fn remember(&self) {
        if let Some(memory) = self.0.clone() {
            blocking(move || memory.remember()).await;
        }
    }
}

/// One transfer over as many sessions as it takes.
struct Attempts {
    events: EventSink,
    backoff: Backoff,
    /// Counts when the last attempt began.
    mark: u64,
    /// Bytes that attempts which were cut short moved.
    moved: u64,
    /// How the last session was lost.
    lost: Option<String>,
    /// Whether there ever was one.
    connected: bool,
}

type Outcome = Result<Summary, sft_engine::TransferError>;

impl Attempts {
    fn new(backoff: Backoff, events: EventSink) -> Self {
        Self { events, backoff, mark: 0, moved: 0, lost: None, connected: false }
    }

    /// A session to try in.
    async fn open(&mut self, client: &Client) -> Result<(), TransferError> {
        self.dial(client, None).await.map(drop)
    }

    /// The transfer, asked for in a session to try in.
    async fn begin(&mut self, client: &Client, op: Op) -> Result<(Arc<Session>, Begun), TransferError> {
        let begun = self.dial(client, Some(&op)).await?.expect("what is asked for is begun");
        if !std::mem::replace(&mut self.connected, true) {
            // A person may have been asked: only now it counts how long nothing comes.
            let at = Instant::now();
            self.backoff = self.backoff.anew(at);
            self.events.tell(Event::Connected { at });
        }
        Ok(begun)
    }

    /// At once the first time, after some waiting when a session was lost.
    async fn dial(
        &mut self,
        client: &Client,
        op: Option<&Op>,
    ) -> Result<Option<(Arc<Session>, Begun)>, TransferError> {
        let Some(mut reason) = self.lost.take() else {
            return Ok(dial_once(client, op).await?);
        };
        loop {
            let silent = self.backoff.silent(Instant::now());
            let wait = self.backoff.next(Instant::now());
            let wait = wait.ok_or_else(|| TransferError::Lost { reason: reason.clone(), silent })?;
            self.events.tell(Event::Reconnecting { silent, reason: reason.clone() });
            tokio::time::sleep(wait).await;
            let patience = self.backoff.patience(Instant::now());
            match tokio::time::timeout(patience, dial_once(client, op)).await {
                Ok(Ok(dialled)) => {
                    self.events.tell(Event::Reconnected);
                    return Ok(dialled);
                }
                Ok(Err(error)) if error.may_pass() => reason = error.to_string(),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {}
            }
        }
    }

    /// Whether the transfer has ended; nothing when it is to be tried again.
    fn judge(&mut self, outcome: Outcome) -> Result<Option<Summary>, TransferError> {
        let error = match outcome {
            Ok(summary) => return Ok(Some(self.of_all(summary))),
            Err(error) => error,
        };
        let Some(reason) = passing(&error) else { return Err(final_error(error)) };
        let counters = self.events.counters();
        if progress(counters) > self.mark {
            self.backoff = self.backoff.anew(Instant::now());
        }
        self.moved += counters.bytes_moved.load(Ordering::Relaxed);
        begin_anew(counters);
        self.mark = progress(counters);
        self.lost = Some(reason);
        Ok(None)
    }

    /// What all attempts did together: what an earlier one had published and moved, the last one found in place.
    ///
    /// What the server published without a chance to say so counts as found.
    fn of_all(&self, last: Summary) -> Summary {
        let counters = self.events.counters();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let committed = read(&counters.entries_committed);
        let kept = read(&counters.bytes_kept).saturating_sub(self.moved);
        counters.bytes_kept.store(kept, Ordering::Relaxed);
        counters.bytes_moved.fetch_add(self.moved, Ordering::Relaxed);
        let unchanged = last.unchanged.saturating_sub(committed - last.committed);
        Summary { committed, unchanged, unapplied: read(&counters.unapplied), ..last }
    }
}

/// Why another session may bring the transfer further; none when it may not.
fn passing(error: &sft_engine::TransferError) -> Option<String> {
    use sft_engine::TransferError as E;
    match error {
        E::Link(end) => backoff::may_pass(end),
        E::Cancelled(error) | E::Refused(error) if error.code == Code::STOPPING => Some(error.to_string()),
        E::Cancelled(_) | E::Refused(_) | E::Local(_) => None,
    }
}

fn final_error(error: sft_engine::TransferError) -> TransferError {
    use sft_engine::TransferError as E;
    match error {
        E::Link(LinkEnd::Misbehaved(error)) => TransferError::Misbehaved(error.to_string()),
        E::Link(LinkEnd::Closed(Some(error))) | E::Cancelled(error) => TransferError::GivenUp(error),
        E::Link(end) => TransferError::GivenUp(Code::CANCELLED.because(end.to_string())),
        E::Refused(error) => TransferError::Refused(error),
        E::Local(error) => {
            TransferError::Local { path: PathBuf::from("."), source: LocalError::Refused(error) }
        }
    }
}

/// Opens a session unless one stands, and asks for the transfer if there is one to ask for.
async fn dial_once(client: &Client, op: Option<&Op>) -> Result<Option<(Arc<Session>, Begun)>, ConnectError> {
    match op {
        Some(op) => client.transfer(op).await.map(Some),
        None => client.open().await.map(|()| None),
    }
}

/// What counts as getting on, apart from finding things.
fn progress(counters: &Counters) -> u64 {
    [&counters.entries_settled, &counters.bytes_quic, &counters.bytes_tcp]
        .iter()
        .fold(0, |sum: u64, counter| sum.saturating_add(counter.load(Ordering::Relaxed)))
}

/// A transfer that begins anew counts anew; only what went over the lanes stays counted.
fn begin_anew(counters: &Counters) {
    let anew = [
        &counters.entries_offered,
        &counters.bytes_offered,
        &counters.offers_complete,
        &counters.entries_settled,
        &counters.bytes_kept,
        &counters.bytes_moved,
    ];
    anew.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
}

/// One attempt; and where the sources turned out to land, once the server has said so. While that is being decided,
/// nothing is offered.
async fn push_once(
    session: &Session,
    begun: Begun,
    job: impl FnOnce(oneshot::Receiver<Result<Window, WireError>>) -> SendJob,
    deciding: Option<&Memory>,
    explain: bool,
    events: EventSink,
) -> (Option<Place>, Outcome) {
    session.want_data();
    let Begun { mut answers, port } = begun;
    let cancel = CancelOnDrop::new(session, answers.number);
    let (window, awaited) = oneshot::channel();
    let mut first = None;
    if let Some(memory) = deciding {
        let body = answers.next().await;
        if let Some(Body::Accepted { into: false, .. }) = &body {
            memory.remember().await;
        }
        first = Some(body);
    }
    let mut placed = None;
    let answer = async {
        let body = match first {
            Some(body) => body,
            None => answers.next().await,
        };
        let (said, place) = accepted(body);
        placed = place;
        if let Some(said) = said {
            let _ = window.send(said);
        } else {
            // The session has ended, which the sender hears from the link.
            std::future::pending::<()>().await;
        }
    };
    let sending = with(answer, sft_engine::send(port, job(awaited), events.clone()));
    let outcome = watched(session, cancel.transfer, explain, &events, sending).await;
    cancel.disarm();
    (placed, outcome)
}

fn accepted(body: Option<Body>) -> (Option<Result<Window, WireError>>, Option<Place>) {
    match body {
        Some(Body::Accepted { window, into }) => {
            (Some(Ok(window)), Some(if into { Place::Into } else { Place::Exact }))
        }
        Some(Body::Failed { error }) => (Some(Err(error)), None),
        Some(_) => (Some(Err(no_answer_to("push"))), None),
        None => (None, None),
    }
}

fn receive_job(destination: &Destination, options: &PullOptions) -> ReceiveJob {
    ReceiveJob {
        view: destination.view.clone(),
        path: destination.path.clone(),
        place: destination.place,
        publish: options.publish,
        durability: options.durability,
        keep_set_id: options.keep_setid,
    }
}

async fn pull_once(
    session: &Session,
    begun: Begun,
    reception: Reception,
    explain: bool,
    events: EventSink,
) -> Outcome {
    session.want_data();
    let Begun { mut answers, port } = begun;
    let cancel = CancelOnDrop::new(session, answers.number);
    let receiving = async {
        tokio::select! {
            outcome = reception.receive(port, events.clone()) => outcome,
            refused = refusal(&mut answers) => Err(sft_engine::TransferError::Refused(refused)),
        }
    };
    let outcome = watched(session, cancel.transfer, explain, &events, receiving).await;
    cancel.disarm();
    outcome
}

/// Runs a transfer to its end; tells when it stands still, and at the end, if that is wanted, what the server waited for.
async fn watched(
    session: &Session,
    transfer: u64,
    explain: bool,
    events: &EventSink,
    running: impl Future<Output = Outcome>,
) -> Outcome {
    let outcome = with(stalls::watch(session, transfer, events), running).await;
    if explain && outcome.is_ok() {
        events.tell(Event::Over { at: Instant::now() });
        stalls::tell_far_times(session, transfer, events).await;
    }
    outcome
}

/// Waits until the server refuses, which it may never do.
async fn refusal(answers: &mut Answers) -> WireError {
    match answers.next().await {
        Some(Body::Failed { error }) => error,
        Some(Body::Accepted { .. }) | None => std::future::pending().await,
        Some(_) => no_answer_to("pull"),
    }
}

fn no_answer_to(what: &str) -> WireError {
    let text =
        format!("its answer is none that a {what} can have; bring both ends to the same version of sft");
    Code::PROTOCOL.because(text)
}

/// Runs `main` to its end, and `beside` along with it as far as that goes.
async fn with<T>(beside: impl Future<Output = ()>, main: impl Future<Output = T>) -> T {
    let mut main = std::pin::pin!(main);
    tokio::select! {
        value = &mut main => value,
        () = beside => main.await,
    }
}

/// Tells the server when a transfer's future is dropped before its end.
struct CancelOnDrop {
    link: Option<sft_engine::Link>,
    transfer: u64,
}

impl CancelOnDrop {
    fn new(session: &Session, transfer: u64) -> Self {
        Self { link: Some(session.link().clone()), transfer }
    }

    fn disarm(mut self) {
        self.link = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let (Some(link), Ok(runtime)) = (self.link.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let error = Code::CANCELLED.because("the client gave the transfer up");
        let cancel = Cancel { transfer: self.transfer, error };
        runtime.spawn(async move { link.send(cancel).await });
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        use sft_engine::TransferError as E;
        let stopping = Code::STOPPING.because("stopping");
        let again = [
            E::Link(LinkEnd::Lost("x".into())),
            E::Link(LinkEnd::Closed(None)),
            E::Link(LinkEnd::Closed(Some(stopping.clone()))),
            E::Cancelled(stopping),
        ];
        assert!(again.iter().all(|error| passing(error).is_some()));
        let denied = Code::DENIED.because("no");
        let over = [
            E::Link(LinkEnd::Ours),
            E::Link(LinkEnd::Closed(Some(denied.clone()))),
            E::Link(LinkEnd::Misbehaved(denied.clone())),
            E::Cancelled(denied.clone()),
            E::Refused(denied.clone()),
            E::Local(denied),
        ];
        assert!(over.iter().all(|error| passing(error).is_none()));
    }

    #[test]
    fn a_lost_attempt_counts_anew_but_for_the_lanes() {
        let (events, _heard) = EventSink::new();
        let mut attempts =
            Attempts::new(Backoff::new(Instant::now(), std::time::Duration::MAX), events.clone());
        let counters = events.counters();
        counters.bytes_moved.store(7, Ordering::Relaxed);
        counters.bytes_tcp.store(7, Ordering::Relaxed);
        counters.offers_complete.store(1, Ordering::Relaxed);
        let lost = Err(sft_engine::TransferError::Link(LinkEnd::Lost("gone".into())));
        assert!(attempts.judge(lost).unwrap().is_none());
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((read(&counters.bytes_moved), read(&counters.offers_complete)), (0, 0));
        assert_eq!((read(&counters.bytes_tcp), attempts.mark), (7, 7));
        let refused = Err(sft_engine::TransferError::Refused(Code::DENIED.because("no")));
        assert!(matches!(attempts.judge(refused), Err(TransferError::Refused(_))));
    }
    #[test]
    fn all_attempts_are_counted_as_one() {
        let (events, _heard) = EventSink::new();
        let mut attempts =
            Attempts::new(Backoff::new(Instant::now(), std::time::Duration::MAX), events.clone());
        let counters = events.counters();
        let add = |counter: &AtomicU64, amount| counter.fetch_add(amount, Ordering::Relaxed);
        // The first found 3 in place and published 5, of 50 bytes.
        add(&counters.entries_committed, 5);
        add(&counters.bytes_moved, 50);
        add(&counters.bytes_kept, 30);
        let lost = Err(sft_engine::TransferError::Link(LinkEnd::Lost("gone".into())));
        assert!(attempts.judge(lost).unwrap().is_none());
        // The second finds these 8, and publishes the 2 that are left, of 20 bytes.
        add(&counters.entries_committed, 2);
        add(&counters.unapplied, 1);
        add(&counters.bytes_moved, 20);
        add(&counters.bytes_kept, 80);
        let last = Summary { committed: 2, unchanged: 8, ..Summary::default() };
        let all = attempts.judge(Ok(last)).unwrap().unwrap();
        assert_eq!((all.committed, all.unchanged, all.unapplied), (7, 3, 1));
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((read(&counters.bytes_moved), read(&counters.bytes_kept)), (70, 30));
    }
}
