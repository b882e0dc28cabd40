//! From a message to its bytes and back, and how values travel that CBOR itself has no word for: paths, digests.
//!
//! What is decoded was found deterministic, complete and within every bound first. It does not know what order messages
//! may come in (spec/wire.md, "CBOR").

use minicbor::decode::Error as DecodeError;
use minicbor::{Decode, Decoder, Encode};

use crate::bounds::Bounded;
use crate::error::Misbehaved;
use crate::message::{HeldNode, Run, Stamp};
use crate::strict;

/// The payload of a message: one deterministic CBOR map.
pub fn encode<T: Encode<()>>(message: &T) -> Vec<u8> {
    minicbor::to_vec(message).expect("writing to memory cannot fail, and no message refuses to be written")
}

/// Reads the payload of a frame as a message.
///
/// - Errors: what of the payload is not as spec/wire.md says. Memory is proportional to the payload, whatever it claims.
/// - Source: spec/wire.md, "CBOR" and "Messages".
pub fn decode<T: Bounded>(payload: &[u8]) -> Result<T, Misbehaved> {
    strict::check(payload).map_err(|(at, fault)| Misbehaved::Cbor { message: T::NAME, at, fault })?;
    let message: T = minicbor::decode(payload).map_err(|error| not_shaped(T::NAME, &error))?;
    message.check().map_err(|broken| Misbehaved::Bound { message: T::NAME, broken })?;
    Ok(message)
}

fn not_shaped(message: &'static str, error: &DecodeError) -> Misbehaved {
    if error.is_unknown_variant() {
        Misbehaved::UnknownValue { message, at: error.position() }
    } else {
        Misbehaved::Shape { message, why: error.to_string() }
    }
}

impl<'b, C> Decode<'b, C> for Stamp {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        expect_array(d, 2)?;
        Ok(Self { secs: d.i64()?, nanos: d.u32()? })
    }
}

impl<'b, C> Decode<'b, C> for Run {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        expect_array(d, 2)?;
        Ok(Self { first: d.u64()?, count: d.u64()? })
    }
}

impl<'b, C> Decode<'b, C> for HeldNode {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        expect_array(d, 3)?;
        let (offset, log2, cv) = (d.u64()?, d.u8()?, d.bytes()?);
        let cv = cv.try_into().map_err(|_| DecodeError::message("a chaining value has 32 bytes"))?;
        Ok(Self { offset, log2, cv })
    }
}

/// Arrays of a fixed shape have exactly their elements; a derived reader would skip what is too much.
fn expect_array(d: &mut Decoder<'_>, elements: u64) -> Result<(), DecodeError> {
    match d.array()? {
        Some(count) if count == elements => Ok(()),
        _ => Err(DecodeError::message("an array has too few or too many elements")),
    }
}

/// A path: an array of byte strings, one for each name.
pub(crate) mod as_path {
    use minicbor::decode::Error as DecodeError;
    use minicbor::encode::{Error as EncodeError, Write};
    use minicbor::{Decoder, Encoder};
    use sft_base::{EntryPath, limits};

    pub(crate) fn encode<C, W: Write>(
        path: &EntryPath,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.array(path.depth() as u64)?;
        path.names().try_for_each(|name| e.bytes(name).map(drop))
    }

    pub(crate) fn decode<'b, C>(d: &mut Decoder<'b>, _: &mut C) -> Result<EntryPath, DecodeError> {
        let count = d.array()?.ok_or_else(|| DecodeError::message("a path has no end"))?;
        if count > limits::PATH_DEPTH_MAX as u64 {
            return Err(DecodeError::message("a path is too deep"));
        }
        let names = (0..count).map(|_| d.bytes()).collect::<Result<Vec<&'b [u8]>, _>>()?;
        EntryPath::from_names(names).map_err(DecodeError::custom)
    }
}

/// A digest: a byte string of 32.
pub(crate) mod as_digest {
    use minicbor::decode::Error as DecodeError;
    use minicbor::encode::{Error as EncodeError, Write};
    use minicbor::{Decoder, Encoder};
    use sft_base::Digest;

    pub(crate) fn encode<C, W: Write>(
        digest: &Digest,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.bytes(&digest.0)?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Digest, DecodeError> {
        let bytes = d.bytes()?;
        bytes.try_into().map(Digest).map_err(|_| DecodeError::message("a digest has 32 bytes"))
    }
}

/// A digest that may be missing: the key is left out then.
pub(crate) mod as_optional_digest {
    use minicbor::decode::Error as DecodeError;
    use minicbor::encode::{Error as EncodeError, Write};
    use minicbor::{Decoder, Encoder};
    use sft_base::Digest;

    pub(crate) fn encode<C, W: Write>(
        digest: &Option<Digest>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match digest {
            Some(digest) => super::as_digest::encode(digest, e, ctx),
            None => e.null()?.ok(),
        }
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Option<Digest>, DecodeError> {
        super::as_digest::decode(d, ctx).map(Some)
    }

    pub(crate) fn nil() -> Option<Option<Digest>> {
        Some(None)
    }

    pub(crate) fn is_nil(digest: &Option<Digest>) -> bool {
        digest.is_none()
    }
}
