//! The client of sft as a library: what the `sft` command uses and what programs embed.
#![allow(dead_code)]

mod backoff;
mod landing;
mod lane_plan;
mod location;
mod options;
mod target;

pub use location::{Ending, Location, LocationError, RemoteLocation, RemotePath};
pub use options::{PullOptions, PushOptions, TransportChoice, TransportChoiceError};
pub use target::Target;
