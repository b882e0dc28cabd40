//! The name under which a client knows a server: host and port, in one normal form (spec/auth.md, "Trusted servers").

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The port of IANA's `sftsrv`, tcp and udp.
pub const DEFAULT_PORT: u16 = 1303;

/// A host name or address, and a port. Two that mean the same text are equal: names in lower case without a final dot,
/// IPv6 addresses in the form of RFC 5952.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName {
    host: String,
    port: u16,
}

/// Why a text is no server name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerNameError {
    /// Not a host name.
    #[error(
        "`{0}` is not a host: letters, digits, `-`, `_` and dots, or an address, with IPv6 in brackets before a port"
    )]
    Host(String),
    /// Not a port.
    #[error("`{0}` is not a port: a number from 1 to 65535 is")]
    Port(String),
}

impl ServerName {
    /// Takes a host, an IPv6 address with or without brackets, and a port.
    pub fn new(host: &str, port: u16) -> Result<Self, ServerNameError> {
        if port == 0 {
            return Err(ServerNameError::Port(port.to_string()));
        }
        let normal =
            normal_host(host).ok_or_else(|| ServerNameError::Host(host.escape_debug().to_string()))?;
        Ok(Self { host: normal, port })
    }

    /// The host, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host as a URI writes it: an IPv6 address in brackets.
    pub(crate) fn uri_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// Whether the name means something only on this machine's own link.
    pub(crate) fn has_zone(&self) -> bool {
        self.host.contains('%')
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uri_host(), self.port)
    }
}

impl FromStr for ServerName {
    type Err = ServerNameError;

    /// Takes `host`, `host:port`, `[address]`, `[address]:port`, or an IPv6 address without brackets or port.
    fn from_str(text: &str) -> Result<Self, ServerNameError> {
        let (host, port) = match text.rfind(':') {
            Some(at) if !text.ends_with(']') && (text.starts_with('[') || text.find(':') == Some(at)) => {
                (&text[..at], parse_port(&text[at + 1..])?)
            }
            _ => (text, DEFAULT_PORT),
        };
        Self::new(host, port)
    }
}

fn parse_port(text: &str) -> Result<u16, ServerNameError> {
    let port = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    port.filter(|&port| port != 0).ok_or_else(|| ServerNameError::Port(text.escape_debug().to_string()))
}

fn normal_host(host: &str) -> Option<String> {
    let bare = host.strip_prefix('[').map_or(Some(host), |rest| rest.strip_suffix(']'))?;
    let (address, zone) = bare.split_once('%').map_or((bare, None), |(address, zone)| (address, Some(zone)));
    if let Ok(address) = address.parse::<Ipv6Addr>() {
        return match zone {
            None => Some(address.to_string()),
            Some(zone) if is_zone(zone) => Some(format!("{address}%{zone}")),
            Some(_) => None,
        };
    }
    if host.starts_with('[') || zone.is_some() {
        return None;
    }
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    is_host_name(&name).then_some(name)
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn is_zone(zone: &str) -> bool {
    (1..=15).contains(&zone.len())
        && zone.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_for_each_server() {
        for (text, normal) in [
            ("Example.ORG.", "example.org:1303"),
            ("host:22", "host:22"),
            ("192.0.2.1", "192.0.2.1:1303"),
            ("2001:DB8:0::1", "[2001:db8::1]:1303"),
            ("[2001:db8::1]", "[2001:db8::1]:1303"),
            ("[2001:db8::1]:7", "[2001:db8::1]:7"),
            ("fe80::1%eth0", "[fe80::1%eth0]:1303"),
            ("my_nas-2", "my_nas-2:1303"),
        ] {
            let name: ServerName = text.parse().unwrap();
            assert_eq!(name.to_string(), normal, "{text}");
            assert_eq!(normal.parse(), Ok(name));
        }
    }

    #[test]
    fn what_names_no_server() {
        for text in [
            "",
            ".",
            "a b",
            "a..b",
            "-a",
            "[host]",
            "[::1",
            "::1]",
            "a#b",
            "a/b",
            "user@host",
            "a%b",
            "é",
            "fe80::1%",
            "fe80::1%a/b",
            "x\ny",
            "[::1]x:1",
        ] {
            assert!(matches!(text.parse::<ServerName>(), Err(ServerNameError::Host(_))), "{text}");
        }
        for text in ["a:", "a:0", "a:65536", "a:+1", "a:1x", "[::1]:", "[::1]:-1"] {
            assert!(matches!(text.parse::<ServerName>(), Err(ServerNameError::Port(_))), "{text}");
        }
        assert!(ServerName::new("a", 0).is_err());
    }
}
