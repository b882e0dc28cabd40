//! What is known of the way to a server, for who wants to know why it is slow.

use std::net::SocketAddr;
use std::time::Duration;

use sft_engine::{Link, Measured};
use sft_lane::{QuicPath, Transport};
use sft_wire::message::{Body, Op};
use tokio::time::timeout;

use crate::client::{Client, sorted};
use crate::error::{ConnectError, RequestError};
use crate::session::Answers;

/// The way that the control lane of a session takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathFacts {
    /// What it runs on.
    pub transport: Transport,
    /// Where the server is.
    pub address: SocketAddr,
    /// A round trip: over QUIC as it is now, over TCP as it was when the connection was made.
    pub rtt: Duration,
    /// What QUIC has found out; none over TCP.
    pub quic: Option<QuicPath>,
    /// TCP connections that carry data at present.
    pub tcp_lanes: usize,
}

impl Client {
    /// The way to the server as the session knows it; opens one if none is open.
    pub async fn path(&self) -> Result<PathFacts, ConnectError> {
        let session = self.session().await?;
        let connection = session.link().connection();
        let lanes = session.link().lanes();
        let tcp_lanes = lanes.borrow().iter().filter(|lane| lane.transport == Transport::Tcp).count();
        Ok(PathFacts {
            tcp_lanes,
            transport: connection.transport(),
            address: connection.remote_address(),
            rtt: connection.rtt(),
            quic: connection.quic_path(),
        })
    }

    /// How much the data lanes carry one way, from memory to memory: `down` to this end, else up.
    ///
    /// - Shape: what was received, and from its first byte to its last; as much as comes in `time`, at most `bytes`.
    /// - Errors: [`RequestError::Failed`] where the server does not know of it, or has done enough of it.
    /// - Source: spec/wire.md, "Requests", measure.
    pub async fn measure(&self, down: bool, bytes: u64, time: Duration) -> Result<Measured, RequestError> {
        let session = self.session().await?;
        let link = session.link();
        session.want_data();
        lanes_up(link).await;
        let mut counting = link.count_filler();
        let op = Op::Measure { down, bytes, millis: time.as_millis() as u64 };
        let mut answers = session.ask(&op).await;
        if down {
            // The last word may overtake what it is about.
            tokio::select! {
                measured = counting.until(bytes, time + ANSWER_WAIT) => return Ok(measured),
                answered = timeout(time + ANSWER_WAIT, over(&mut answers)) => {
                    answered.map_err(|_| lost())??;
                }
            }
            return Ok(counting.until(bytes, LAST_WAIT).await);
        }
        match timeout(ANSWER_WAIT, answers.next()).await {
            Ok(Some(Body::Ok {})) => {}
            Ok(Some(body)) => return Err(sorted(body).err().unwrap_or(RequestError::Misbehaved("measure"))),
            Ok(None) | Err(_) => return Err(lost()),
        }
        link.send_filler(bytes, time).await;
        timeout(ANSWER_WAIT + time, over(&mut answers)).await.map_err(|_| lost())?
    }
}

/// What the server measured.
async fn over(answers: &mut Answers) -> Result<Measured, RequestError> {
    match answers.next().await.map(sorted) {
        Some(Ok(Body::Measured { bytes, micros })) => {
            Ok(Measured { bytes, took: Duration::from_micros(micros) })
        }
        Some(Ok(_)) => Err(RequestError::Misbehaved("measure")),
        Some(Err(error)) => Err(error),
        None => Err(lost()),
    }
}

/// Waits for a data lane, and a moment more for others.
async fn lanes_up(link: &Link) {
    let mut lanes = link.lanes();
    if matches!(timeout(ANSWER_WAIT, lanes.wait_for(|lanes| !lanes.is_empty())).await, Ok(Ok(_))) {
        let _ = timeout(LAST_WAIT, lanes.wait_for(|lanes| lanes.len() > 1)).await;
    }
}

fn lost() -> RequestError {
    RequestError::Lost("the server did not answer while it was measured".into())
}

const ANSWER_WAIT: Duration = Duration::from_secs(3);
/// The last word may overtake what it is about, and a second lane the first.
const LAST_WAIT: Duration = Duration::from_millis(300);
