//! Lists of networks, as certificates and `authorized_keys` name them: `192.0.2.0/24,2001:db8::1`.
//!
//! Numbers alone, and exact ones: no names of hosts, which would have to be looked up, no wildcards and no negation. A list
//! with anything else in it is none, so that it can never let in more than whoever wrote it meant.

use std::net::IpAddr;

/// Some networks; a single address is one too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Networks(Vec<Network>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// How many bits from the first on have to be the same.
    bits: u32,
}

impl Networks {
    /// Reads `ADDRESS[/BITS],...`; gives what cannot be read.
    pub(crate) fn parse(text: &str) -> Result<Self, &str> {
        text.split(',').map(|part| Network::parse(part).ok_or(part)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether an address is in one of them.
    pub(crate) fn have(&self, address: IpAddr) -> bool {
        // A socket for both versions shows addresses of the fourth within the sixth.
        let address = address.to_canonical();
        self.0.iter().any(|network| network.has(address))
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, bits)| (a, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
            None => most,
        };
        // What stands behind the network's own bits is a mistake of whoever wrote it.
        let is_plain = bits <= most && number(address) == masked(number(address), bits, most);
        is_plain.then_some(Self { address, bits })
    }

    fn has(self, address: IpAddr) -> bool {
        let most = if self.address.is_ipv4() { 32 } else { 128 };
        self.address.is_ipv4() == address.is_ipv4()
            && masked(number(address), self.bits, most) == number(self.address)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn masked(number: u128, bits: u32, most: u32) -> u128 {
    number & u128::MAX.checked_shl(most - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn have(list: &str, address: &str) -> bool {
        Networks::parse(list).unwrap().have(address.parse().unwrap())
    }

    #[test]
    fn addresses_are_in_their_networks() {
        let list = "192.0.2.0/24,198.51.100.7,2001:db8::/32,::1";
        for inside in
            ["192.0.2.0", "192.0.2.255", "198.51.100.7", "2001:db8:ffff::1", "::1", "::ffff:192.0.2.9"]
        {
            assert!(have(list, inside), "{inside}");
        }
        for outside in ["192.0.3.0", "198.51.100.6", "2001:db9::", "::2", "::ffff:192.0.3.9", "::192.0.2.9"] {
            assert!(!have(list, outside), "{outside}");
        }
        assert!(have("0.0.0.0/0", "203.0.113.1") && !have("0.0.0.0/0", "2001:db8::1"));
        assert!(have("::/0", "2001:db8::1") && !have("::/0", "203.0.113.1"));
    }

    #[test]
    fn what_is_no_network_makes_no_list() {
        for (list, bad) in [
            ("", ""),
            ("192.0.2.1,", ""),
            ("192.0.2.1/24", "192.0.2.1/24"),
            ("192.0.2.0/33", "192.0.2.0/33"),
            ("192.0.2.0/+8", "192.0.2.0/+8"),
            ("192.0.2.0/", "192.0.2.0/"),
            ("10.0.0.0/8, 192.0.2.1", " 192.0.2.1"),
            ("10.0.0.0/8,!10.1.0.0/16", "!10.1.0.0/16"),
            ("10.0.0.*", "10.0.0.*"),
            ("nas.example.org", "nas.example.org"),
            ("::/129", "::/129"),
        ] {
            assert_eq!(Networks::parse(list), Err(bad));
        }
    }
}
