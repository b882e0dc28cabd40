//! One open session: requests go out with numbers, and answers find who asked.
//!
//! It does not dial again; who owns it does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sft_base::limits;
use sft_engine::{Link, LinkEnd, SessionEvent, TransferPort};
use sft_wire::Code;
use sft_wire::message::{Body, Entry, Op, Reply, Request, Welcome};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::lanes::Lanes;

/// A session, as long as its control lane lives.
#[derive(Debug)]
pub(crate) struct Session {
    link: Link,
    welcome: Welcome,
    waiting: Waiting,
    number_next: AtomicU64,
    slots: Arc<Semaphore>,
    lanes: Lanes,
}

/// The answers to one request.
#[derive(Debug)]
pub(crate) struct Answers {
    /// The request's number, which is that of the transfer it begins.
    pub number: u64,
    bodies: mpsc::UnboundedReceiver<Answer>,
    /// Whether the last one came.
    complete: bool,
    waiting: Waiting,
    _slot: OwnedSemaphorePermit,
}

/// A transfer that was asked for.
#[derive(Debug)]
pub(crate) struct Begun {
    /// The answers to its request.
    pub answers: Answers,
    /// What it hears and says.
    pub port: TransferPort,
}

/// Who waits for answers, by number of the request.
///
/// Only a listing has more than one answer. If a full queue of them held the session up, who lists and asks about each entry
/// would wait for ever; so the queues have one bound together, [`ANSWERS_BYTES_MAX`], and a session that goes beyond it ends.
///
/// None at all once the session has ended: who asks then would wait for an answer that nobody brings.
type Waiting = Arc<Mutex<Option<HashMap<u64, Answering>>>>;
type Answering = mpsc::UnboundedSender<Answer>;

/// An answer on its way to who asked, whether more follow, and what it weighs until it is taken.
type Answer = (Body, bool, Weight);

impl Session {
    /// Begins with what opening it brought; if [`FIRST_REQUEST`] was `asked` meanwhile, with the answers to that.
    pub(crate) fn begin(
        link: Link,
        events: mpsc::Receiver<SessionEvent>,
        welcome: Welcome,
        lanes: Lanes,
        asked: bool,
    ) -> (Self, Option<Answers>) {
        let waiting = Waiting::new(Mutex::new(Some(HashMap::new())));
        let slots = Arc::new(Semaphore::new(limits::REQUESTS_OPEN_MAX));
        let session =
            Self { link, welcome, waiting, number_next: AtomicU64::new(FIRST_REQUEST), slots, lanes };
        let slot = asked.then(|| session.slots.clone().try_acquire_owned().expect("nobody else has one yet"));
        // It is known who waits before anything is handed out.
        let answers = slot.map(|slot| session.await_answers(slot));
        let (link, waiting) = (session.link.clone(), session.waiting.clone());
        tokio::spawn(async move {
            if let Err(error) = hand_out(events, waiting, ANSWERS_BYTES_MAX).await {
                link.close(Some(Code::LIMIT.because(error.to_string()))).await;
            }
        });
        (session, answers)
    }

    /// What the server said when the session was opened.
    pub(crate) fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Its lanes and its end.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Brings the data lanes up, the first time that this is called.
    pub(crate) fn want_data(&self) {
        self.lanes.begin(&self.link, &self.welcome);
    }

    /// Says that nothing comes through the data lanes there are, though both ends wait for it.
    pub(crate) fn doubt_lanes(&self) {
        self.lanes.doubt();
    }

    /// Asks for a transfer. Its port is open before the other side hears of it.
    pub(crate) async fn begin_transfer(&self, op: &Op) -> Begun {
        let answers = self.number().await;
        let port = self.link.transfer(answers.number);
        self.send(answers.number, op.clone()).await;
        Begun { answers, port }
    }

    async fn number(&self) -> Answers {
        let slot = self.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        self.await_answers(slot)
    }

    fn await_answers(&self, slot: OwnedSemaphorePermit) -> Answers {
        let number = self.number_next.fetch_add(1, Ordering::Relaxed);
        let bodies = wait_for(number, &self.waiting);
        Answers { number, bodies, complete: false, waiting: self.waiting.clone(), _slot: slot }
    }

    /// Sends a request under its number.
    async fn send(&self, number: u64, op: Op) {
        self.link.send(Request { id: number, op }).await;
    }

    /// Asks, and gives the answers as they come.
    pub(crate) async fn ask(&self, op: &Op) -> Answers {
        let answers = self.number().await;
        self.send(answers.number, op.clone()).await;
        answers
    }

    /// Why the session ended, once nothing more comes.
    pub(crate) async fn end(&self) -> LinkEnd {
        self.link.ended().await
    }
}

impl Drop for Session {
    /// Nobody can ask anything any more: the server need not wait for more.
    fn drop(&mut self) {
        if !self.link.has_ended()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let link = self.link.clone();
            runtime.spawn(async move { link.close(None).await });
        }
    }
}

impl Answers {
    /// The next answer; none when there is no more, or when the session has ended.
    pub(crate) async fn next(&mut self) -> Option<Body> {
        let (body, more, _) = self.bodies.recv().await?;
        self.complete = !more;
        Some(body)
    }

    /// Whether all answers came.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if let Some(waiting) = &mut *lock(&self.waiting) {
            waiting.remove(&self.number);
        }
    }
}

/// The number of a request that travels with the proof.
pub(crate) const FIRST_REQUEST: u64 = 1;

/// More answers wait than may.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("answers come faster than they are taken")]
struct TooMany;

/// Hands answers to those who wait, until the session ends or they weigh more than `most` together. An answer nobody waits
/// for is dropped: who asked has gone.
async fn hand_out(
    mut events: mpsc::Receiver<SessionEvent>,
    waiting: Waiting,
    most: usize,
) -> Result<(), TooMany> {
    let held = Arc::new(AtomicUsize::new(0));
    let mut outcome = Ok(());
    while let Some(event) = events.recv().await {
        if let SessionEvent::Reply(Reply { id, more, body }) = event {
            let mut waiting = lock(&waiting);
            let Some(waiting) = &mut *waiting else { break };
            if let Some(sender) = waiting.get(&id) {
                let weight = Weight::of(&body, &held);
                if held.load(Ordering::Relaxed) > most {
                    outcome = Err(TooMany);
                    break;
                }
                let _ = sender.send((body, more, weight));
            }
            if !more {
                waiting.remove(&id);
            }
        }
    }
    // Whoever waits learns of the end by this, and so does who asks from now on.
    *lock(&waiting) = None;
    outcome
}

/// Bytes that a waiting answer takes, counted for as long as it waits.
#[derive(Debug)]
struct Weight {
    bytes: usize,
    held: Arc<AtomicUsize>,
}

impl Weight {
    fn of(body: &Body, held: &Arc<AtomicUsize>) -> Self {
        let bytes = match body {
            Body::Entries { entries } => {
                let texts = |entry: &Entry| {
                    entry.path.as_bytes().len() + entry.target.as_ref().map_or(0, |target| target.len())
                };
                entries.iter().map(|entry| size_of::<Entry>() + texts(entry)).sum()
            }
            _ => size_of::<Answer>(),
        };
        held.fetch_add(bytes, Ordering::Relaxed);
        Self { bytes, held: held.clone() }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Pages of a listing that may wait: of a directory of a million entries, all.
const ANSWERS_BYTES_MAX: usize = 256 << 20;

/// Where the answers to a request come; in a session that has ended, nowhere.
fn wait_for(number: u64, waiting: &Waiting) -> mpsc::UnboundedReceiver<Answer> {
    let (sender, bodies) = mpsc::unbounded_channel();
    if let Some(waiting) = &mut *lock(waiting) {
        waiting.insert(number, sender);
    }
    bodies
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, Option<HashMap<u64, Answering>>> {
    waiting.lock().expect("no holder of this lock panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_waits_in_a_session_that_has_ended() {
        let waiting = Waiting::new(Mutex::new(Some(HashMap::new())));
        let (events, heard) = mpsc::channel(1);
        let mut before = wait_for(1, &waiting);
        drop(events);
        hand_out(heard, waiting.clone(), 0).await.unwrap();
        let mut after = wait_for(2, &waiting);
        assert!(before.recv().await.is_none() && after.recv().await.is_none());
    }

    #[tokio::test]
    async fn answers_that_nobody_takes_have_a_bound() {
        let waiting = Waiting::new(Mutex::new(Some(HashMap::new())));
        let (events, heard) = mpsc::channel(100);
        let mut taken = wait_for(1, &waiting);
        let _left = wait_for(2, &waiting);
        let handing = tokio::spawn(hand_out(heard, waiting.clone(), 2 * size_of::<Answer>()));
        let answer = |id| SessionEvent::Reply(Reply { id, more: true, body: Body::Ok {} });
        for _ in 0..100 {
            events.send(answer(1)).await.unwrap();
            taken.recv().await.unwrap();
        }
        for _ in 0..3 {
            events.send(answer(2)).await.unwrap();
        }
        let told = handing.await.unwrap().unwrap_err().to_string();
        assert_eq!(told, "answers come faster than they are taken");
        assert!(taken.recv().await.is_none(), "the session is over for all");
    }
}
