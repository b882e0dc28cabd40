//! Every message of a control lane with its frame type: the one table (spec/wire.md, "Frame types").
//!
//! It does not know which message may come when: sessions and transfers do.

use crate::codec::{decode, encode};
use crate::error::Misbehaved;
use crate::message::{
    Attach, Attached, Cancel, Close, Commit, Denied, Done, Finish, Got, Hello, Offer, Ping, Proof, Reply,
    Request, Want, Welcome, frame,
};

macro_rules! control_messages {
    ($($name:ident($body:ident) = $ty:ident $role:literal;)*) => {
        /// A message of a control lane.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum ControlMessage {
            $(#[doc = $role] $name($body),)*
        }

        impl ControlMessage {
            /// Every frame type of a control lane with the name of its message.
            pub const TYPES: &'static [(u64, &'static str)] = &[$((frame::$ty, stringify!($name))),*];

            /// The type of the frame that carries it.
            pub fn frame_type(&self) -> u64 {
                match self { $(Self::$name(_) => frame::$ty,)* }
            }

            /// The payload of the frame that carries it.
            pub fn encode(&self) -> Vec<u8> {
                match self { $(Self::$name(message) => encode(message),)* }
            }

            fn decode_known(frame_type: u64, payload: &[u8]) -> Result<Self, Misbehaved> {
                match frame_type {
                    $(frame::$ty => decode(payload).map(Self::$name),)*
                    other => Err(Misbehaved::FrameType(other)),
                }
            }
        }

        $(control_messages!(@from $name $body);)*
    };
    (@from Pong $body:ident) => {};
    (@from $name:ident $body:ident) => {
        impl From<$body> for ControlMessage {
            fn from(message: $body) -> Self {
                Self::$name(message)
            }
        }
    };
}

control_messages! {
    Hello(Hello) = HELLO "Opens a session.";
    Welcome(Welcome) = WELCOME "The session is open.";
    Attach(Attach) = ATTACH "A connection joins a session.";
    Attached(Attached) = ATTACHED "It has joined.";
    Close(Close) = CLOSE "The session ends.";
    Ping(Ping) = PING "Is anyone there.";
    Pong(Ping) = PONG "Yes.";
    Proof(Proof) = PROOF "Who the client is.";
    Denied(Denied) = DENIED "The proof was not accepted.";
    Request(Request) = REQUEST "What the client asks.";
    Reply(Reply) = REPLY "The answer.";
    Offer(Offer) = OFFER "Entries.";
    Want(Want) = WANT "What is lacking.";
    Finish(Finish) = FINISH "Files read to their ends.";
    Got(Got) = GOT "Data units received, and credit.";
    Commit(Commit) = COMMIT "Entries settled.";
    Done(Done) = DONE "All is settled.";
    Cancel(Cancel) = CANCEL "The transfer is given up.";
}

impl ControlMessage {
    /// Reads a frame of a control lane; nothing for an extension, which is to be ignored.
    ///
    /// Errors: [`Misbehaved::FrameType`] for a type below [`frame::EXTENSIONS`] that is not of a control lane,
    /// [`Misbehaved::UnknownOperation`] for a request that can be answered `unsupported`, else what of the payload is not
    /// as it must be.
    pub fn decode(frame_type: u64, payload: &[u8]) -> Result<Option<Self>, Misbehaved> {
        if frame_type >= frame::EXTENSIONS {
            return Ok(None);
        }
        match Self::decode_known(frame_type, payload) {
            Err(Misbehaved::UnknownValue { .. }) if frame_type == frame::REQUEST => {
                Err(unknown_operation(payload))
            }
            read => read.map(Some),
        }
    }

    /// The number of the transfer it belongs to; none for messages of the session and for requests.
    pub fn transfer(&self) -> Option<u64> {
        match self {
            Self::Offer(message) => Some(message.transfer),
            Self::Want(message) => Some(message.transfer),
            Self::Finish(message) => Some(message.transfer),
            Self::Got(message) => Some(message.transfer),
            Self::Commit(message) => Some(message.transfer),
            Self::Done(message) => Some(message.transfer),
            Self::Cancel(message) => Some(message.transfer),
            _ => None,
        }
    }
}

/// What of any request can be read whatever it asks.
#[derive(minicbor::Decode)]
#[cbor(map)]
struct RequestNumber {
    #[n(0)]
    id: u64,
}

fn unknown_operation(payload: &[u8]) -> Misbehaved {
    match minicbor::decode::<RequestNumber>(payload) {
        Ok(RequestNumber { id }) => Misbehaved::UnknownOperation { request: id },
        Err(error) => Misbehaved::Shape { message: "request", why: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_ascending_and_extensions_are_ignored() {
        assert!(ControlMessage::TYPES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(ControlMessage::decode(frame::EXTENSIONS, b"anything"), Ok(None));
        assert_eq!(ControlMessage::decode(frame::EXTENSIONS - 1, &[0xa0]), Err(Misbehaved::FrameType(0xfff)));
        assert_eq!(ControlMessage::decode(frame::PIECE, &[0xa0]), Err(Misbehaved::FrameType(frame::PIECE)));
    }

    #[test]
    fn an_operation_of_a_later_version_can_be_answered() {
        let payload = [0xa2, 0x00, 0x18, 0x63, 0x01, 0x82, 0x18, 0x7b, 0xa0];
        let refused = ControlMessage::decode(frame::REQUEST, &payload);
        assert_eq!(refused, Err(Misbehaved::UnknownOperation { request: 99 }));
    }
}
