//! One packet between the two devices, and how a super-packet is cut into smaller ones that are valid again.
//!
//! Looks at no more of it than that takes, and believes the kernel that made it.

/// Size of `struct virtio_net_hdr`, which precedes every packet.
pub(crate) const VNET: usize = 10;
const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

const TCP_FIN: u8 = 0x01;
const TCP_PSH: u8 = 0x08;
const TCP_CWR: u8 = 0x80;

const UDP: u8 = 17;

fn be16(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

fn put16(b: &mut [u8], at: usize, v: u16) {
    b[at..at + 2].copy_from_slice(&v.to_be_bytes());
}

fn sum16(b: &[u8]) -> u32 {
    b.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// One packet as read from TUN: virtio header, IP header, payload.
/// A plain packet is a super-packet of one segment.
pub(crate) struct Packet<'a> {
    raw: &'a [u8],
    segment_size: usize,
    /// Offsets into `raw`: transport header and payload.
    transport: usize,
    payload: usize,
    tcp: bool,
}

impl<'a> Packet<'a> {
    pub(crate) fn parse(raw: &'a [u8]) -> Option<Self> {
        if raw.len() < VNET + 20 {
            return None;
        }
        let gso_type = raw[1] & !GSO_ECN;
        if gso_type == GSO_NONE {
            return Some(Self { raw, segment_size: 0, transport: 0, payload: raw.len(), tcp: false });
        }
        let tcp = match gso_type {
            GSO_TCPV4 | GSO_TCPV6 => true,
            GSO_UDP_L4 => false,
            _ => return None,
        };
        // csum_start is the transport header: every GSO packet has a partial checksum.
        let transport = VNET + usize::from(u16::from_ne_bytes([raw[6], raw[7]]));
        if raw[0] & NEEDS_CSUM == 0 || transport + 20 > raw.len() {
            return None;
        }
        let header = if tcp { usize::from(raw[transport + 12] >> 4) * 4 } else { 8 };
        let segment_size = usize::from(u16::from_ne_bytes([raw[4], raw[5]]));
        let payload = transport + header;
        (segment_size > 0 && payload < raw.len()).then_some(Self {
            raw,
            segment_size,
            transport,
            payload,
            tcp,
        })
    }

    pub(crate) fn segments(&self) -> usize {
        match self.segment_size {
            0 => 1,
            size => (self.raw.len() - self.payload).div_ceil(size),
        }
    }

    /// Whether this is UDP, whatever the IP version; headers between IPv6 and UDP are not looked behind.
    pub(crate) fn is_udp(&self) -> bool {
        let protocol_at = if self.raw[VNET] >> 4 == 4 { VNET + 9 } else { VNET + 6 };
        self.raw[protocol_at] == UDP
    }

    /// IP length of one segment.
    pub(crate) fn segment_len(&self, i: usize) -> usize {
        let body = self.raw.len() - self.payload;
        let headers = self.payload - VNET;
        match self.segment_size {
            0 => headers,
            size => headers + size.min(body - i * size),
        }
    }

    /// Segments `from..to` as a packet of their own.
    pub(crate) fn run(&self, from: usize, to: usize) -> Vec<u8> {
        let count = self.segments();
        if to - from == count {
            return self.raw.to_vec();
        }
        let begin = self.payload + from * self.segment_size;
        let end = self.raw.len().min(self.payload + to * self.segment_size);
        let mut out = Vec::with_capacity(self.payload + end - begin);
        out.extend_from_slice(&self.raw[..self.payload]);
        out.extend_from_slice(&self.raw[begin..end]);
        if to - from == 1 {
            out[1] = GSO_NONE;
            out[2..6].fill(0);
        }
        let transport_len = out.len() - self.transport;
        if self.tcp {
            let seq_at = self.transport + 4;
            let seq = u32::from_be_bytes(out[seq_at..seq_at + 4].try_into().unwrap());
            let seq = seq.wrapping_add((from * self.segment_size) as u32);
            out[seq_at..seq_at + 4].copy_from_slice(&seq.to_be_bytes());
            let flags = &mut out[self.transport + 13];
            if from > 0 {
                *flags &= !TCP_CWR;
            }
            if to < count {
                *flags &= !(TCP_FIN | TCP_PSH);
            }
        } else {
            put16(&mut out, self.transport + 4, transport_len as u16);
        }
        let (protocol, check_at) = if self.tcp { (6, 16) } else { (17, 6) };
        let addresses = if out[VNET] >> 4 == 4 {
            let id = be16(&out, VNET + 4).wrapping_add(from as u16);
            put16(&mut out, VNET + 4, id);
            let total = (out.len() - VNET) as u16;
            put16(&mut out, VNET + 2, total);
            put16(&mut out, VNET + 10, 0);
            let checksum = !fold(sum16(&out[VNET..self.transport]));
            put16(&mut out, VNET + 10, checksum);
            VNET + 12..VNET + 20
        } else {
            let length = (out.len() - VNET - 40) as u16;
            put16(&mut out, VNET + 4, length);
            VNET + 8..VNET + 40
        };
        // A partial checksum holds the sum of the pseudo header only.
        let pseudo = fold(sum16(&out[addresses]) + protocol + transport_len as u32);
        put16(&mut out, self.transport + check_at, pseudo);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UDP super-packet over IPv4: 10 segments of 100 bytes, the last of 50.
    fn super_packet() -> Vec<u8> {
        let mut raw = vec![0; VNET + 20 + 8 + 950];
        raw[0] = NEEDS_CSUM;
        raw[1] = GSO_UDP_L4;
        raw[4..6].copy_from_slice(&100u16.to_ne_bytes());
        raw[6..8].copy_from_slice(&20u16.to_ne_bytes());
        raw[VNET] = 0x45;
        raw[VNET + 9] = 17;
        for (at, byte) in raw[VNET + 28..].iter_mut().enumerate() {
            *byte = (at / 100) as u8;
        }
        raw
    }

    #[test]
    fn a_run_is_a_packet_of_its_own() {
        let raw = super_packet();
        let packet = Packet::parse(&raw).expect("it is a packet");
        assert_eq!((packet.segments(), packet.segment_len(0), packet.segment_len(9)), (10, 128, 78));
        let run = packet.run(3, 5);
        assert_eq!(run.len(), VNET + 28 + 200);
        assert_eq!((run[VNET + 28], run[run.len() - 1]), (3, 4));
        assert_eq!((be16(&run, VNET + 2), be16(&run, VNET + 4), be16(&run, VNET + 24)), (228, 3, 208));
        assert_eq!(fold(sum16(&run[VNET..VNET + 20])), 0xffff, "the header's checksum holds");
        let single = packet.run(9, 10);
        assert_eq!((single[1], single.len()), (GSO_NONE, VNET + 28 + 50));
        assert_eq!(packet.run(0, 10), raw);
    }

    #[test]
    fn what_is_no_packet_is_dropped() {
        let raw = super_packet();
        assert!(Packet::parse(&raw[..VNET + 19]).is_none(), "cut short");
        let mut wrong = raw.clone();
        wrong[0] = 0;
        assert!(Packet::parse(&wrong).is_none(), "a super-packet without a partial checksum");
    }

    #[test]
    fn udp_is_told_from_the_rest() {
        let mut raw = super_packet();
        assert!(Packet::parse(&raw).expect("it is a packet").is_udp());
        raw[VNET + 9] = 6;
        assert!(!Packet::parse(&raw).expect("it is a packet").is_udp());
    }
}
