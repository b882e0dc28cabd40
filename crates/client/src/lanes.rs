//! The data lanes of a session: brought up when the first transfer begins, and made good when one is lost (spec/wire.md,
//! "Data lanes").

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sft_base::limits;
use sft_engine::Link;
use sft_lane::{Connection, DataReceiver, DataSender, Dialer, Later, Pin, Transport, into_data};
use sft_wire::message::{Attach, Close, Ping, Welcome};
use sft_wire::{Code, ControlMessage};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::lane_plan::{LanePlan, Paths, plan};
use crate::options::TransportChoice;

/// The lanes of one session: what they can be made of, and whether they are doubted.
#[derive(Debug)]
pub(crate) struct Lanes {
    means: Mutex<Option<Means>>,
    doubt: Arc<Doubt>,
}

/// That nothing comes through the lanes that are up.
#[derive(Debug, Default)]
struct Doubt {
    at: Mutex<Option<Instant>>,
    raised: Notify,
}

/// Taken when the first transfer begins.
#[derive(Debug)]
pub(crate) struct Means {
    /// Dials TCP connections.
    pub dialer: Dialer,
    /// The server's name, for the handshake.
    pub host: String,
    /// The server's key.
    pub pin: Pin,
    /// Where the control lane goes.
    pub address: SocketAddr,
    /// What it runs on.
    pub transport: Transport,
    /// Its round trip.
    pub rtt: Duration,
    /// Data beside the control lane, on QUIC.
    pub data: Option<(DataSender, DataReceiver)>,
    /// The other transport, which was slower to come up.
    pub later: Option<Later>,
    /// What the caller allows.
    pub choice: TransportChoice,
    /// How many TCP lanes the caller wants.
    pub wanted: Option<usize>,
}

impl Lanes {
    /// Lanes that are not there yet.
    pub(crate) fn new(means: Means) -> Self {
        Self { means: Mutex::new(Some(means)), doubt: Arc::default() }
    }

    /// Brings them up, the first time that this is called; they end with the link.
    pub(crate) fn begin(&self, link: &Link, welcome: &Welcome) {
        let means = self.means.lock().expect("no holder of this lock panics").take();
        if let Some(means) = means {
            let Means { dialer, host, pin, address, transport, rtt, data, later, choice, wanted } = means;
            let (session, secret) = (welcome.session, welcome.attach_secret);
            let joiner = Joiner { link: link.clone(), session, secret, dialer, host, pin, address };
            let doubt = self.doubt.clone();
            let keeper = Keeper { joiner, transport, rtt, data, later, choice, wanted, doubt };
            let lanes_max = (welcome.lanes_max as usize).min(limits::LANES_MAX);
            tokio::spawn(keeper.keep(lanes_max));
        }
    }

    /// Nothing comes through those that are up: brings up another one over TCP beside them, on which what they carry can be sent
    /// again. If that comes through, whoever sends knows which of them are silent.
    pub(crate) fn doubt(&self) {
        self.doubt.raise();
    }
}

impl Doubt {
    /// Transfers that stand still together are one reason, not several.
    fn raise(&self) {
        let mut at = self.at.lock().expect("no holder of this lock panics");
        if at.is_none_or(|at| at.elapsed() >= DOUBTS_APART) {
            *at = Some(Instant::now());
            self.raised.notify_one();
        }
    }

    /// Waits for the next one; what was raised while nobody waited may be settled by now.
    async fn recent(&self) {
        loop {
            self.raised.notified().await;
            let at = *self.at.lock().expect("no holder of this lock panics");
            if at.is_some_and(|at| at.elapsed() < DOUBT_RECENT) {
                return;
            }
        }
    }
}

/// Keeps as many lanes up as the plan wants.
struct Keeper {
    joiner: Joiner,
    transport: Transport,
    rtt: Duration,
    data: Option<(DataSender, DataReceiver)>,
    later: Option<Later>,
    choice: TransportChoice,
    wanted: Option<usize>,
    doubt: Arc<Doubt>,
}

/// Lets connections join the session.
#[derive(Clone)]
struct Joiner {
    link: Link,
    session: [u8; 16],
    secret: [u8; 32],
    dialer: Dialer,
    host: String,
    pin: Pin,
    address: SocketAddr,
}

/// Why a connection did not become a lane.
#[derive(Debug, thiserror::Error)]
enum AttachError {
    #[error(transparent)]
    Dial(#[from] sft_lane::ConnectError),
    #[error(transparent)]
    Lane(#[from] sft_lane::LaneError),
    #[error("the server did not let it join: {0}")]
    Refused(String),
}

impl Keeper {
    async fn keep(self, lanes_max: usize) {
        let link = self.joiner.link.clone();
        tokio::select! {
            () = self.run(lanes_max) => {}
            _ = link.ended() => {}
        }
    }

    async fn run(mut self, lanes_max: usize) {
        // The server may send on it from the start; whether this end does, the engine decides by what else is up.
        self.use_own_quic();
        let second = self.await_second().await;
        let (quic, tcp) = self.available(second.as_ref());
        // The server counts the lane on QUIC too.
        let tcp_lanes_max = lanes_max.saturating_sub(usize::from(quic));
        let paths = Paths { quic, tcp, rtt: self.rtt, tcp_lanes_max };
        let plan = plan(paths, self.choice, self.wanted);
        tracing::debug!(?paths, ?plan, "data lanes are planned");
        self.begin(plan, second).await;
        self.make_good(plan, lanes_max).await;
    }

    /// The second connection, when it comes soon. A longer wait would delay the first byte more than a lane is worth.
    async fn await_second(&mut self) -> Option<Connection> {
        let later = self.later.as_mut()?;
        let patience = (3 * self.rtt).clamp(SECOND_WAIT_MIN, SECOND_WAIT_MAX);
        match tokio::time::timeout(patience, later.wait()).await {
            Ok(Ok(connection)) => {
                self.later = None;
                Some(connection)
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "only one transport is there");
                self.later = None;
                None
            }
            Err(_) => None,
        }
    }

    fn available(&self, second: Option<&Connection>) -> (bool, bool) {
        let stands = |transport| {
            self.transport == transport || second.is_some_and(|second| second.transport() == transport)
        };
        (stands(Transport::Quic), stands(Transport::Tcp))
    }

    async fn begin(&mut self, plan: LanePlan, second: Option<Connection>) {
        if plan.quic {
            self.use_own_quic();
        }
        let mut tcp_missing = plan.tcp;
        if let Some(second) = second {
            let is_tcp = second.transport() == Transport::Tcp;
            if if is_tcp { plan.tcp > 0 } else { plan.quic } {
                let joined = self.joiner.attach(second).await;
                tcp_missing -= usize::from(is_tcp && joined.is_ok());
                note(&joined);
            }
        }
        self.add_tcp(tcp_missing).await;
    }

    /// Replaces lanes that are lost, less and less often while that fails.
    async fn make_good(&mut self, plan: LanePlan, lanes_max: usize) {
        let mut lanes = self.joiner.link.lanes();
        let mut wait = REPLACE_WAIT_MIN;
        loop {
            let (quic, tcp) = count(&lanes.borrow_and_update());
            if quic + tcp == 0 {
                // Whatever the plan says, some lane is better than none.
                self.use_own_quic();
            }
            if tcp >= plan.tcp {
                wait = REPLACE_WAIT_MIN;
                tokio::select! {
                    changed = lanes.changed() => {
                        if changed.is_err() {
                            return;
                        }
                    }
                    () = self.doubt.recent(), if plan.tcp > 0 => {
                        if quic + tcp >= lanes_max || tcp >= plan.tcp + DOUBT_LANES_MAX {
                            self.give_up_oldest();
                        }
                        self.add_tcp(1).await;
                    }
                }
                continue;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(REPLACE_WAIT_MAX);
            self.add_tcp(plan.tcp - tcp).await;
        }
    }

    /// Ends the TCP lane that has been up for longest, to make room for another.
    fn give_up_oldest(&self) {
        let link = &self.joiner.link;
        let oldest =
            link.lanes().borrow().iter().find(|lane| lane.transport == Transport::Tcp).map(|lane| lane.id);
        oldest.into_iter().for_each(|id| link.give_up_lane(id));
    }

    /// Data beside the control lane, where that is QUIC and not in use yet.
    fn use_own_quic(&mut self) {
        if let Some((sender, receiver)) = self.data.take() {
            self.joiner.link.add_lane(Transport::Quic, sender, receiver);
        }
    }

    /// Dials so many TCP connections side by side, and lets them join.
    async fn add_tcp(&self, lanes: usize) {
        let mut joining = JoinSet::new();
        for _ in 0..lanes {
            joining.spawn(self.joiner.clone().dial_and_attach());
        }
        while let Some(joined) = next(&mut joining).await {
            note(&joined);
        }
    }
}

/// What the next task brings that ends, or none. When the program ends, its runtime cancels tasks while others still wait
/// for them: what was cancelled brings nothing.
async fn next<T: 'static>(tasks: &mut JoinSet<T>) -> Option<T> {
    loop {
        match tasks.join_next().await? {
            Ok(brought) => return Some(brought),
            Err(cancelled) if cancelled.is_cancelled() => {}
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

impl Joiner {
    async fn dial_and_attach(self) -> Result<(), AttachError> {
        let options = sft_lane::ConnectOptions::default();
        let connection = self.dialer.dial_data(self.address, &self.host, self.pin, &options).await?;
        self.attach(connection).await
    }

    /// Lets a connection join the session as a data lane.
    async fn attach(&self, connection: Connection) -> Result<(), AttachError> {
        let joined = tokio::time::timeout(ATTACH_MAX, self.join(connection)).await;
        joined.unwrap_or_else(|_| Err(AttachError::Refused("no answer came".into())))
    }

    async fn join(&self, connection: Connection) -> Result<(), AttachError> {
        let transport = connection.transport();
        let parts = connection.split();
        let (mut reader, mut writer) = (parts.reader, parts.writer);
        let mac = attach_mac(&self.secret, &parts.handle.exporter());
        let attach = ControlMessage::from(Attach { session: self.session, mac });
        writer.write_frame(attach.frame_type(), &attach.encode()).await?;
        let refused = |text: &str| AttachError::Refused(text.to_owned());
        let frame = reader.read_frame(limits::EARLY_FRAME_BYTES_MAX).await?;
        let frame = frame.ok_or_else(|| refused("it ended the connection"))?;
        match ControlMessage::decode(frame.ty, &frame.payload) {
            Ok(Some(ControlMessage::Attached(_))) => {}
            Ok(Some(ControlMessage::Close(Close { error: Some(error) })))
                if error.code == Code::NO_SESSION =>
            {
                // A server that was started anew: the control lane would learn of it by its silence alone. Or one that
                // takes no more lanes, and answers there.
                if !self.is_heard().await {
                    self.link.give_up("the server does not know the session any more");
                }
                return Err(AttachError::Refused(error.to_string()));
            }
            Ok(Some(ControlMessage::Close(close))) => {
                let text =
                    close.error.map_or_else(|| "it closed the connection".into(), |error| error.to_string());
                return Err(AttachError::Refused(text));
            }
            _ => return Err(refused("it answered with something else")),
        }
        if let Some((sender, receiver)) = parts.data {
            self.link.add_lane(transport, sender, receiver);
            // The stream on which the connection joined stays open, and idle, as long as the lane shall live.
            let link = self.link.clone();
            tokio::spawn(async move {
                let _ = tokio::join!(link.ended(), reader.read_frame(limits::EARLY_FRAME_BYTES_MAX));
                drop(writer);
            });
        } else if let Some((sender, receiver)) = into_data(reader, writer) {
            self.link.add_lane(transport, sender, receiver);
        }
        Ok(())
    }

    /// Whether the control lane answers, which it does not where the server does not know the session.
    async fn is_heard(&self) -> bool {
        let asked = Instant::now();
        let heard = async {
            self.link.send(Ping { number: 0 }).await;
            while self.link.silence() >= asked.elapsed() {
                tokio::time::sleep(HEARD_LOOK).await;
            }
        };
        tokio::time::timeout(HEARD_WAIT, heard).await.is_ok()
    }
}

/// Proves to the server that who opened the session lets this connection join it.
fn attach_mac(secret: &[u8; 32], exporter: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(ATTACH_CONTEXT).update(exporter);
    *hasher.finalize().as_bytes()
}

fn count(lanes: &[sft_engine::LaneInfo]) -> (usize, usize) {
    let tcp = lanes.iter().filter(|lane| lane.transport == Transport::Tcp).count();
    (lanes.len() - tcp, tcp)
}

fn note(joined: &Result<(), AttachError>) {
    if let Err(error) = joined {
        tracing::debug!(%error, "a data lane did not come up");
    }
}

const ATTACH_CONTEXT: &[u8] = b"sft/1 attach\0";
const ATTACH_MAX: Duration = Duration::from_secs(10);
const SECOND_WAIT_MIN: Duration = Duration::from_millis(50);
const SECOND_WAIT_MAX: Duration = Duration::from_millis(600);
const REPLACE_WAIT_MIN: Duration = Duration::from_millis(250);
const REPLACE_WAIT_MAX: Duration = Duration::from_secs(5);
/// How many lanes may be up beyond the plan because those that are up are doubted.
const DOUBT_LANES_MAX: usize = 4;
/// Less than one transfer lets pass between two doubts.
const DOUBTS_APART: Duration = Duration::from_secs(5);
const DOUBT_RECENT: Duration = Duration::from_secs(5);
/// How long a server that knows the session takes to answer a ping, at most.
const HEARD_WAIT: Duration = Duration::from_secs(4);
const HEARD_LOOK: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_doubt_that_is_old_brings_up_nothing() {
        let doubt = Doubt::default();
        let waits = || tokio::time::timeout(Duration::from_millis(1), doubt.recent());
        doubt.raise();
        assert!(waits().await.is_ok());
        assert!(waits().await.is_err(), "it is dealt with");
        doubt.raise();
        assert!(waits().await.is_err(), "another transfer has the same");
        let long_ago = || *doubt.at.lock().unwrap() = Instant::now().checked_sub(2 * DOUBT_RECENT);
        long_ago();
        doubt.raise();
        long_ago();
        assert!(waits().await.is_err(), "it was raised long ago");
        doubt.raise();
        assert!(waits().await.is_ok());
    }

    #[test]
    fn the_mac_binds_secret_and_connection() {
        let mac = attach_mac(&[1; 32], &[2; 32]);
        let message = [&b"sft/1 attach\0"[..], &[2; 32]].concat();
        assert_eq!(mac, *blake3::keyed_hash(&[1; 32], &message).as_bytes());
        assert_ne!(mac, attach_mac(&[1; 32], &[3; 32]));
        assert_ne!(mac, attach_mac(&[3; 32], &[2; 32]));
    }

    #[test]
    fn lanes_that_are_cancelled_at_the_end_of_the_program_are_no_panic() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            tasks.spawn(std::future::pending::<u8>()).abort();
            tasks.spawn(async { 7 });
            assert_eq!(next(&mut tasks).await, Some(7));
            assert_eq!(next(&mut tasks).await, None);
        });
    }
}
