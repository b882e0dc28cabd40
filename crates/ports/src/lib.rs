//! Which port is whose: IANA's whole registry of service names and ports, and the sockets that listen on this machine.
//!
//! Usable by itself. It asks nobody: no look-up leaves this machine. What another host has open is not asked here.
//!
//! ```
//! let https = sft_ports::lookup(&"https/tcp".parse().unwrap());
//! assert_eq!(https[0].ports().unwrap().to_string(), "443");
//! ```

mod listeners;
mod query;
mod range;
mod registry;
mod transport;

pub use listeners::{Holder, Listener, Survey, SurveyError, listeners};
pub use query::{Query, QueryError, Subject};
pub use range::PortRange;
pub use registry::{Entry, SOURCE, lookup, neighbours, people, search};
pub use transport::{Ports, Transport, Transports};
