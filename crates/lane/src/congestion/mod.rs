//! How fast QUIC sends: a congestion controller that follows a model of the path, in the manner of BBR. What it does and
//! why stands in `README.md` beside this file.
//!
//! - [`FollowPath`]: what quinn is given.
//! - `steering`: the phases and the window, without clock, socket or type of quinn's.
//! - `yielding`: the window of what runs in the background.
//! - `path`, `deliveries`, `rounds`: what is known, and how it is measured.

mod adapter;
mod deliveries;
mod path;
mod rounds;
#[cfg(test)]
mod simulation;
mod steering;
mod yielding;

pub(crate) use adapter::{FollowPath, learned, yield_to_others};
