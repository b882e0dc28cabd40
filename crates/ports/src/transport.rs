//! Transports and spans of ports, as the registry writes them.

use std::fmt;
use std::str::FromStr;

/// A transport protocol that has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// DCCP.
    Dccp,
}

impl Transport {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Udp, Self::Sctp, Self::Dccp];

    /// As the registry writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Dccp => "dccp",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Transport {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|transport| transport.name().eq_ignore_ascii_case(text)).ok_or(())
    }
}

/// The transports of one record; none where the registry names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transports(u8);

impl Transports {
    /// Whether this one is among them.
    pub fn contains(self, transport: Transport) -> bool {
        self.0 & Self::bit(transport) != 0
    }

    /// Whether the registry names none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Transport> {
        Transport::ALL.into_iter().filter(move |transport| self.contains(*transport))
    }

    /// From names with commas between them.
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            text.split(',').filter_map(|name| name.parse().ok()).map(Self::bit).fold(0, |all, bit| all | bit),
        )
    }

    fn bit(transport: Transport) -> u8 {
        1 << transport as u8
    }
}

/// `tcp, udp`
impl fmt::Display for Transports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(Transport::name).collect::<Vec<_>>().join(", "))
    }
}

/// Ports from the first to the last, which may be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    /// The lowest.
    pub first: u16,
    /// The highest, never below the first.
    pub last: u16,
}

impl Ports {
    /// Whether this port is one of them.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// `1303` or `6000-6063`, if that is what it is.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let ports = Self { first: first.parse().ok()?, last: last.parse().ok()? };
        (ports.first <= ports.last).then_some(ports)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_read_as_they_are_written() {
        let both = Transports::parse("tcp,udp");
        assert!(
            both.contains(Transport::Tcp) && both.contains(Transport::Udp) && !both.contains(Transport::Sctp)
        );
        assert_eq!(both.to_string(), "tcp, udp");
        assert!(Transports::parse("").is_empty());
        assert_eq!("UDP".parse(), Ok(Transport::Udp));
        assert!("quic".parse::<Transport>().is_err());
    }

    #[test]
    fn spans() {
        assert_eq!(Ports::parse("1303").unwrap().to_string(), "1303");
        let x11 = Ports::parse("6000-6063").unwrap();
        assert!(x11.contains(6000) && x11.contains(6063) && !x11.contains(6064));
        assert_eq!(x11.to_string(), "6000-6063");
        for wrong in ["", "5-4", "65536", "-", "1-", "x"] {
            assert_eq!(Ports::parse(wrong), None, "{wrong:?}");
        }
    }
}
