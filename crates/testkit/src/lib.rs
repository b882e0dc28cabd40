//! A server, a client and the network between them, for tests of promises.
//!
//! Everything here drives the shipped binary from outside, as a user would, or speaks the protocol to it by hand. It
//! decides nothing about the protocol itself, and leaves nothing behind: no process, no mount, no file.

mod command;
pub use command::{Ran, Running};
mod openssh;
pub use openssh::write_sftp_server;
mod person;
pub use person::Person;
mod server;
pub use server::Server;
mod world;
pub use world::World;

mod relay;
pub use relay::{Fate, Relay};
mod gatekeeper;
mod liar;
mod raw_peer;
mod relay_tcp;
mod relay_udp;
mod witness;
pub use gatekeeper::Gatekeeper;
pub use liar::Liar;
pub use raw_peer::RawPeer;
pub use witness::Witness;

mod content;
pub use content::Dice;
mod tree;
pub use tree::{Tree, remove_tree};
mod compare;
pub use compare::{assert_same_content, assert_same_tree, assert_same_tree_by_find, snapshot};
mod mounted;
pub use mounted::Mounted;
mod root;
pub use root::is_root_or_known_not;

/// Words of a command line, of whatever type each is.
#[macro_export]
macro_rules! args {
    ($($word:expr),* $(,)?) => {
        vec![$(::std::ffi::OsString::from(&$word)),*]
    };
}
