//! How values travel in CBOR that CBOR itself has no word for: paths, digests.

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
