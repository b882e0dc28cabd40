//! Packets of SFTP version 3: their frame, and the fields they are made of (draft-ietf-secsh-filexfer-02, section 3).
//!
//! A packet is a length of four bytes and so many bytes more. Nothing is reserved for what a peer only claims.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest packet that is taken; what `limits@openssh.com` tells.
pub const PACKET_BYTES_MAX: usize = 256 << 10;
/// The longest READ and WRITE: a packet less what else stands in it.
pub const DATA_BYTES_MAX: usize = PACKET_BYTES_MAX - 1024;

/// Reads the next packet without its length; nothing at a proper end.
///
/// - Errors: [`io::ErrorKind::InvalidData`] for a length of none or above [`PACKET_BYTES_MAX`].
pub(crate) async fn read_packet(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    if reader.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut length[1..]).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length == 0 || length > PACKET_BYTES_MAX {
        let text = format!("an SFTP packet of {length} bytes, where 1 to {PACKET_BYTES_MAX} are taken");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    // Grows with what comes, and is not zeroed first.
    let mut packet = BytesMut::with_capacity(length.min(FIRST_BYTES));
    while packet.len() < length {
        packet.reserve((length - packet.len()).min(FIRST_BYTES.max(packet.len())));
        let held = packet.len();
        let mut room = bytes::BufMut::limit(&mut packet, length - held);
        if reader.read_buf(&mut room).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(packet.freeze()))
}

/// The fields of a packet that are still to be read.
#[derive(Debug)]
pub(crate) struct Fields(Bytes);

/// A field is not there, or not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incomplete;

type Field<T> = Result<T, Incomplete>;

impl Fields {
    pub(crate) fn of(packet: Bytes) -> Self {
        Self(packet)
    }

    pub(crate) fn byte(&mut self) -> Field<u8> {
        self.0.try_get_u8().map_err(|_| Incomplete)
    }

    pub(crate) fn u32(&mut self) -> Field<u32> {
        self.0.try_get_u32().map_err(|_| Incomplete)
    }

    pub(crate) fn u64(&mut self) -> Field<u64> {
        self.0.try_get_u64().map_err(|_| Incomplete)
    }

    pub(crate) fn string(&mut self) -> Field<Bytes> {
        let length = self.u32()? as usize;
        if length > self.0.len() {
            return Err(Incomplete);
        }
        Ok(self.0.split_to(length))
    }

    /// A string of four bytes, as our handles are; any other names no handle that was ever given.
    pub(crate) fn handle(&mut self) -> Field<u32> {
        let handle = self.string()?;
        Ok(<[u8; 4]>::try_from(&*handle).map_or(NO_HANDLE, u32::from_be_bytes))
    }
}

/// Never given to a file.
pub(crate) const NO_HANDLE: u32 = u32::MAX;
const FIRST_BYTES: usize = 16 << 10;

/// A packet being written. Its length is filled in at the end.
#[derive(Debug)]
pub(crate) struct Writing(Vec<u8>);

impl Writing {
    /// A reply of a kind to a request.
    pub(crate) fn reply(kind: u8, id: u32) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&[0, 0, 0, 0, kind]);
        Self(bytes).u32(id)
    }

    /// A packet that answers no request.
    pub(crate) fn packet(kind: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind])
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn string(mut self, value: &[u8]) -> Self {
        self = self.u32(value.len() as u32);
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn bytes(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn done(mut self) -> Vec<u8> {
        let length = (self.0.len() - 4) as u32;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn packets_are_read_one_by_one() {
        let mut stream: &[u8] = &[0, 0, 0, 2, 7, 8, 0, 0, 0, 1, 9];
        assert_eq!(read_packet(&mut stream).await.unwrap().unwrap(), [7, 8].as_slice());
        assert_eq!(read_packet(&mut stream).await.unwrap().unwrap(), [9].as_slice());
        assert_eq!(read_packet(&mut stream).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_packet_that_is_cut_off_or_too_long_is_an_error() {
        let kind = async |mut bytes: &[u8]| read_packet(&mut bytes).await.unwrap_err().kind();
        assert_eq!(kind(&[0, 0]).await, io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(&[0, 0, 0, 5, 1]).await, io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(&[0, 0, 0, 0]).await, io::ErrorKind::InvalidData);
        assert_eq!(kind(&[0xff; 9]).await, io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn the_longest_packet_comes_whole_and_nothing_of_the_next() {
        let mut stream = (PACKET_BYTES_MAX as u32).to_be_bytes().to_vec();
        stream.resize(4 + PACKET_BYTES_MAX, 3);
        stream.extend_from_slice(&[0, 0, 0, 1, 4]);
        let mut stream = stream.as_slice();
        let packet = read_packet(&mut stream).await.unwrap().unwrap();
        assert!(packet.len() == PACKET_BYTES_MAX && packet.iter().all(|&b| b == 3));
        assert_eq!(read_packet(&mut stream).await.unwrap().unwrap(), [4].as_slice());
    }

    #[test]
    fn fields_that_claim_more_than_there_is_are_incomplete() {
        let mut fields = Fields::of(Bytes::from_static(&[0, 0, 0, 9, 1]));
        assert_eq!(fields.string(), Err(Incomplete));
        let mut fields = Fields::of(Bytes::from_static(&[0, 0, 0, 1, 1, 2]));
        assert_eq!(fields.string().unwrap(), [1].as_slice());
        assert_eq!((fields.byte(), fields.byte(), fields.u64()), (Ok(2), Err(Incomplete), Err(Incomplete)));
    }

    #[test]
    fn what_is_written_has_its_length() {
        let packet = Writing::reply(101, 7).u32(2).string(b"ab").u64(1).done();
        assert_eq!(packet[..4], 23u32.to_be_bytes());
        assert_eq!(packet.len(), 27);
    }
}
