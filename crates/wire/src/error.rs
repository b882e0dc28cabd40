//! Error codes as they travel (spec/wire.md, "Errors"): one table. And what a peer does that it must not.

use minicbor::{Decode, Encode};

use crate::bounds::Broken;
use crate::strict::CborFault;

/// What went wrong, as a number that never changes meaning.
///
/// The scope of an error is where it stands: in `close` the session, in `reply` the request, in `cancel` the transfer,
/// beside an entry number the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub u16);

/// An error as it travels: a code, a sentence for people, and whether trying again may help.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("{text}")]
#[cbor(map)]
pub struct WireError {
    /// Stable code.
    #[n(0)]
    pub code: Code,
    /// A sentence for people, at most [`sft_base::limits::ERROR_TEXT_BYTES_MAX`] bytes; never parsed.
    #[n(1)]
    pub text: String,
    /// Whether the same again, later, may succeed.
    #[n(2)]
    pub retry: bool,
}

/// The peer broke the protocol, or speaks a part of it that this end does not know. The session ends with
/// [`Misbehaved::to_wire`]; an [`Misbehaved::UnknownOperation`] alone may be answered and the session go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaved {
    /// The payload is not deterministic CBOR.
    #[error("`{message}` is not valid at byte {at}: {fault}")]
    Cbor {
        /// Which message.
        message: &'static str,
        /// Offset of the item at fault.
        at: usize,
        /// What is wrong.
        fault: CborFault,
    },
    /// The map does not have the keys and types of the message.
    #[error("`{message}` does not have its shape: {why}")]
    Shape {
        /// Which message.
        message: &'static str,
        /// What is missing or of another type.
        why: String,
    },
    /// A number that stands for a choice stands for none that is known.
    #[error("`{message}` makes a choice that is not known")]
    UnknownValue {
        /// Which message.
        message: &'static str,
        /// Offset in the payload.
        at: Option<usize>,
    },
    /// A request for an operation, or with a choice, that is not known: it can be answered, and nothing else is wrong.
    #[error("request {request} asks for what is not known")]
    UnknownOperation {
        /// Number of the request.
        request: u64,
    },
    /// A rule or a limit of the message is broken.
    #[error("`{message}`: {broken}")]
    Bound {
        /// Which message.
        message: &'static str,
        /// Which rule.
        broken: Broken,
    },
    /// Header and contents of a data frame do not fit one another.
    #[error("a data frame: {0}")]
    Data(&'static str),
    /// A frame of a type that is not known, or has no place where it stands.
    #[error("a frame of type {0:#x} has no place here")]
    FrameType(u64),
    /// A message that is well formed and has no sense where it stands.
    #[error("{0}")]
    OutOfTurn(String),
}

impl Misbehaved {
    /// The code the peer is told.
    pub fn code(&self) -> Code {
        match self {
            Self::Cbor { fault: CborFault::KeyCritical(_), .. } => Code::UNSUPPORTED,
            Self::UnknownValue { .. } | Self::UnknownOperation { .. } => Code::UNSUPPORTED,
            Self::Bound { broken: Broken::Limit { .. }, .. } => Code::LIMIT,
            Self::Cbor { .. } | Self::Shape { .. } | Self::Bound { .. } => Code::PROTOCOL,
            Self::Data(_) | Self::FrameType(_) | Self::OutOfTurn(_) => Code::PROTOCOL,
        }
    }

    /// The name of the refusal in spec/wire.md, "Refusals".
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cbor { fault, .. } => fault.name(),
            Self::Shape { .. } => "shape",
            Self::UnknownValue { .. } => "unknown-value",
            Self::UnknownOperation { .. } => "unknown-operation",
            Self::Bound { broken: Broken::Limit { .. }, .. } => "limit",
            Self::Bound { broken: Broken::Rule(_), .. } => "rule",
            Self::Data(_) => "data",
            Self::FrameType(_) => "frame-type",
            Self::OutOfTurn(_) => "out-of-turn",
        }
    }

    /// What the peer is told.
    pub fn to_wire(&self) -> WireError {
        self.code().because(self.to_string())
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal retry $retry:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Every code of SFT/1 with its name in the specification and whether a retry may help.
            pub const ALL: &'static [(Self, &'static str, bool)] = &[$((Self($number), $text, $retry)),*];
        }
    };
}

codes! {
    /// The peer broke the protocol.
    PROTOCOL = 1 "protocol" retry false;
    /// A version, a critical key or an operation this end does not know.
    UNSUPPORTED = 2 "unsupported" retry false;
    /// A named limit was exceeded.
    LIMIT = 3 "limit" retry false;
    /// Too much to do at present.
    BUSY = 4 "busy" retry true;
    /// The server is stopping.
    STOPPING = 5 "stopping" retry true;
    /// No proof was accepted yet.
    UNAUTHENTICATED = 6 "unauthenticated" retry false;
    /// The grant has no such right here.
    DENIED = 7 "denied" retry false;
    /// The session is not known (any more).
    NO_SESSION = 8 "no-session" retry true;
    /// The one who asked took it back.
    CANCELLED = 9 "cancelled" retry true;
    /// Nothing came for too long.
    TIMEOUT = 10 "timeout" retry true;
    /// A fault of this end's own.
    INTERNAL = 11 "internal" retry false;
    /// No entry of that name.
    NOT_FOUND = 16 "not-found" retry false;
    /// There is an entry of that name already.
    ALREADY_EXISTS = 17 "already-exists" retry false;
    /// A directory was needed.
    NOT_A_DIRECTORY = 18 "not-a-directory" retry false;
    /// Something else than a directory was needed.
    IS_A_DIRECTORY = 19 "is-a-directory" retry false;
    /// The directory has entries.
    DIRECTORY_NOT_EMPTY = 20 "directory-not-empty" retry false;
    /// The file system does not permit it.
    PERMISSION = 21 "permission" retry false;
    /// Not enough room.
    NO_SPACE = 22 "no-space" retry true;
    /// The store does not take that name.
    NAME_NOT_ALLOWED = 23 "name-not-allowed" retry false;
    /// The path leads out of the store, or through a link where none is followed.
    LEADS_OUTSIDE = 24 "leads-outside" retry false;
    /// A socket, pipe or device.
    SPECIAL_FILE = 25 "special-file" retry false;
    /// The store takes no changes.
    READ_ONLY = 26 "read-only" retry false;
    /// The source changed while it was read.
    CHANGED = 32 "changed" retry true;
    /// The source was there when listed and is gone.
    VANISHED = 33 "vanished" retry true;
    /// The source could not be read.
    READ = 34 "read" retry false;
    /// The destination could not be written.
    WRITE = 35 "write" retry false;
    /// Content does not have the digest that was promised.
    INTEGRITY = 36 "integrity" retry true;
    /// A newer transfer took this entry over.
    SUPERSEDED = 37 "superseded" retry true;
    /// What is there is not what the sender said it replaces.
    CONFLICT = 38 "conflict" retry false;
}

/// The peer broke the protocol.
pub(crate) fn broken(text: impl Into<String>) -> WireError {
    Code::PROTOCOL.because(text)
}

impl Code {
    /// The name in the specification; `unknown` for a code of a later version.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(code, ..)| *code == self).map_or("unknown", |(_, name, _)| name)
    }

    /// This code with a sentence.
    pub fn because(self, text: impl Into<String>) -> WireError {
        let retry = Self::ALL.iter().any(|(code, _, retry)| *code == self && *retry);
        let mut text = text.into();
        while text.len() > sft_base::limits::ERROR_TEXT_BYTES_MAX {
            text.pop();
        }
        WireError { code: self, text, retry }
    }
}

impl<C> Encode<C> for Code {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u16(self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Code {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.u16().map(Self)
    }
}
