//! What is known of the way to a server, for who wants to know why it is slow.

use std::net::SocketAddr;
use std::time::Duration;

use sft_lane::{QuicPath, Transport};

use crate::client::Client;
use crate::error::ConnectError;

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
}

impl Client {
    /// The way to the server as the session knows it; opens one if none is open.
    pub async fn path(&self) -> Result<PathFacts, ConnectError> {
        let session = self.session().await?;
        let connection = session.link().connection();
        Ok(PathFacts {
            transport: connection.transport(),
            address: connection.remote_address(),
            rtt: connection.rtt(),
            quic: connection.quic_path(),
        })
    }
}
