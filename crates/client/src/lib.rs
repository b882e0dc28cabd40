//! The client of sft as a library: what the `sft` command uses, and what programs embed.
//!
//! [`Client::connect`] opens a session with a server, and [`Client::prepare`] leaves that to the first request, which is
//! quicker on a long path. A client's methods list, read and change what the server holds, and
//! [`Client::push`] and [`Client::pull`] copy whole trees, verified, durable, and resumed when a connection is lost.
//! Nothing here prints, draws or exits: progress is in [`Counters`] and events, decisions are asked of the caller.
//! `examples/copy.rs` shows all of it in one page.

mod client;
pub use client::{Client, Room};
mod content;
pub use content::Content;
mod error;
pub use error::{ConnectError, LocalError, RequestError, TransferError};
mod listing;
pub use listing::Listing;
mod local;
pub use local::left_out;
mod location;
pub use location::{Ending, Location, LocationError, RemoteLocation, RemotePath};
mod options;
pub use options::{
    AskPassphrase, AskTrust, ConnectOptions, LandingMemory, Locate, Locating, Passphrase, PullOptions,
    PushOptions, TransportChoice, TransportChoiceError, UnknownServer,
};
mod path;
pub use path::PathFacts;
mod target;
pub use target::Target;

mod backoff;
mod dialling;
mod landing;
mod lane_plan;
mod lanes;
mod opening;
mod session;
mod stalls;
mod transfer;

pub use sft_auth::{ClientKeys, Fingerprint, InviteLink, KeySearch, Rights, ServerName};
pub use sft_base::{Digest, EntryPath, Time};
pub use sft_engine::{Blame, Counters, Event, EventSink, Manner, Measured, Shares, Summary, Wait};
pub use sft_lane::{KnownPath, KnownPaths, QuicPath, Transport};
pub use sft_wire::message::{Durability, Entry, EntryKind, PublishMode, Stamp, Unapplied};
pub use sft_wire::{Code, WireError};
