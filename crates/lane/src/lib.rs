//! How bytes travel: QUIC and TLS 1.3 over TCP behind one small surface.
//!
//! A [`Listener`] hands out connections of clients, a [`Dialer`] races both transports to one. Either end
//! splits a [`Connection`] into a control lane of frames and, on QUIC, a way for data frames; a TCP connection becomes
//! a data lane with [`into_data`]. Payloads are opaque here: what a frame means is `wire`'s, who the client is `auth`'s.

mod bind;
mod certificate;
mod congestion;
mod connection;
mod control;
mod data;
mod dial;
mod early;
mod error;
mod frames;
mod listen;
mod pace;
mod paths;
mod pin;
mod quic;
mod race;
mod sending;
mod tcp;
mod tls;

pub use bind::BindOptions;
pub use connection::{Connection, ConnectionHandle, Parts, QuicPath, Transport};
pub use control::{ControlReader, ControlWriter};
pub use data::{Carried, DataReceiver, DataSender, into_data};
pub use dial::{ConnectOptions, Dialer, Later, Raced, connect};
pub use early::EarlyGuard;
pub use error::{AttemptError, BindError, ConnectError, FailedAttempt, LaneError, Misbehaviour};
pub use frames::Frame;
pub use listen::{Accepted, ByteStream, ForeignStream, Listener};
pub use pace::Pace;
pub use paths::{KnownPath, KnownPaths};
pub use pin::{Pin, fingerprint};
pub use quic::SOCKET_BUFFER_BYTES;
pub use race::{Attempt, Choice, Race};
pub use sending::Sending;
pub use tls::{ALPN, EXPORTER_LABEL};
