//! Where a login comes from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most bytes of a name.
const MAX_NAME_BYTES: usize = 255;

/// An address, as far as one party has it: a whole IPv4 address, or the first 64 bits of an IPv6 address, behind which every host can
/// choose the others. Or a name, where the server looks names up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// An IPv4 address.
    V4(u32),
    /// The first half of an IPv6 address.
    V6(u64),
    /// A name, in lower case.
    Name(String),
}

impl Origin {
    /// Reads an address or a name.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        // After a percent sign stands the interface of a local address.
        let bare = text.split('%').next().unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Self::of(address));
        }
        let well_formed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = !text.is_empty() && text.len() <= MAX_NAME_BYTES && text.bytes().all(well_formed);
        is_name.then(|| Self::Name(text.to_ascii_lowercase()))
    }

    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(bits) => write!(f, "{}", Ipv4Addr::from_bits(*bits)),
            Self::V6(bits) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*bits) << 64)),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A network whose logins are not looked at: `10.0.0.0/8`, `2001:db8::/32`, an address, a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// IPv4 addresses with these first bits.
    V4(u32, u32),
    /// IPv6 addresses with these bits in their first half.
    V6(u64, u32),
    /// A name.
    Name(String),
}

impl Network {
    /// Reads one.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn read(text: &str) -> Result<Self, String> {
        let expected = || format!("expected an address, a network such as 10.0.0.0/8 or a name, found `{text}`");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().map_err(|_| expected())?)),
            None => (text, None),
        };
        match (address.parse::<IpAddr>(), length) {
            (Ok(IpAddr::V4(address)), _) if length.unwrap_or(32) <= 32 => Ok(Self::V4(address.to_bits(), length.unwrap_or(32))),
            (Ok(IpAddr::V6(address)), _) if length.unwrap_or(128) <= 128 => {
                Ok(Self::V6((address.to_bits() >> 64) as u64, length.unwrap_or(128).min(64)))
            }
            (Err(_), None) if Origin::read(text).is_some() => Ok(Self::Name(text.to_ascii_lowercase())),
            _ => Err(expected()),
        }
    }

    /// Returns whether `origin` belongs to it.
    #[must_use]
    pub fn holds(&self, origin: &Origin) -> bool {
        match (self, origin) {
            (Self::V4(network, length), Origin::V4(bits)) => {
                network.checked_shr(32 - length).unwrap_or(0) == bits.checked_shr(32 - length).unwrap_or(0)
            }
            (Self::V6(network, length), Origin::V6(bits)) => {
                network.checked_shr(64 - length).unwrap_or(0) == bits.checked_shr(64 - length).unwrap_or(0)
            }
            (Self::Name(name), Origin::Name(other)) => name == other,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_party_is_one_origin() {
        let read = |text: &str| Origin::read(text).map(|origin| origin.to_string()).unwrap_or_default();
        assert_eq!(read("203.0.113.7"), "203.0.113.7");
        assert_eq!(read("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(read("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(read("fe80::1%eth0"), "fe80::/64");
        assert_eq!((read("Scanner.Example.COM"), read("UNKNOWN")), ("scanner.example.com".to_owned(), "unknown".to_owned()));
        assert_eq!((read(""), read("a b"), read("<script>")), (String::new(), String::new(), String::new()));
    }

    #[test]
    fn networks_hold_their_addresses() {
        let holds = |network: &str, origin: &str| Network::read(network).unwrap().holds(&Origin::read(origin).unwrap());
        assert!(holds("10.0.0.0/8", "10.200.3.4") && !holds("10.0.0.0/8", "11.0.0.1") && holds("0.0.0.0/0", "1.2.3.4"));
        assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1") && !holds("2001:db8::/32", "2001:db9::1") && holds("::/0", "::1"));
        assert!(holds("Office.example", "office.example") && !holds("10.0.0.0/8", "office.example"));
        for wrong in ["10.0.0.0/33", "a/8", "", "2001:db8::/129", "10.0.0.0/x"] {
            assert!(Network::read(wrong).is_err(), "{wrong}");
        }
    }
}
