//! Who is at the other end of a connection, and how addresses are read.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use wide::u8x16;

/// Who is at the other end: an address, or the name the log gives instead of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer<'a> {
    /// An address; IPv4-mapped IPv6 is already IPv4.
    Ip(IpAddr),
    /// A host name, as PAM writes it.
    Name(&'a [u8]),
}

impl<'a> Peer<'a> {
    /// Reads an address (a zone such as `%eth0` is dropped) or else a plausible host name.
    pub fn read(text: &'a [u8]) -> Option<Self> {
        if let Some(ip) = parse_ip(text) {
            return Some(Peer::Ip(ip));
        }
        let plausible = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
        let is_name = text.len() <= 255 && text.iter().all(plausible) && text.iter().any(u8::is_ascii_alphanumeric);
        is_name.then_some(Peer::Name(text))
    }

    /// The address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Ip(ip) => Some(*ip),
            Peer::Name(_) => None,
        }
    }
}

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Ip(ip) => fmt::Display::fmt(ip, f),
            Peer::Name(name) => f.write_str(&String::from_utf8_lossy(name)),
        }
    }
}

/// A [`Peer`] that outlives its line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    /// An address.
    Ip(IpAddr),
    /// A host name.
    Name(Box<[u8]>),
}

impl From<Peer<'_>> for Address {
    fn from(peer: Peer<'_>) -> Self {
        match peer {
            Peer::Ip(ip) => Self::Ip(ip),
            Peer::Name(name) => Self::Name(name.into()),
        }
    }
}

impl Hash for Address {
    // In one piece, which takes a fraction of the derived one's time.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Ip(IpAddr::V4(ip)) => state.write_u32(u32::from(*ip)),
            Self::Ip(IpAddr::V6(ip)) => state.write_u128(u128::from(*ip)),
            Self::Name(name) => state.write(name),
        }
    }
}

impl Address {
    /// As events have it.
    pub fn peer(&self) -> Peer<'_> {
        match self {
            Self::Ip(ip) => Peer::Ip(*ip),
            Self::Name(name) => Peer::Name(name),
        }
    }
}

/// Reads an IP address; IPv4-mapped IPv6 becomes IPv4, a zone is dropped.
pub fn parse_ip(text: &[u8]) -> Option<IpAddr> {
    if let Some(ip) = parse_ipv4(text) {
        return Some(IpAddr::V4(ip));
    }
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= 60 && text.contains(':'))?;
    let bare = text.split_once('%').map_or(text, |(address, _)| address);
    match bare.parse::<IpAddr>().ok()? {
        IpAddr::V6(v6) => Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)),
        v4 => Some(v4),
    }
}

/// Reads an IPv4 address as `Ipv4Addr` does, several times as fast: every line has one.
fn parse_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    leading_ipv4(text).filter(|(_, rest)| rest.is_empty()).map(|(ip, _)| ip)
}

/// Reads the IPv4 address that a text begins with; returns it and what follows.
pub fn leading_ipv4(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let found = match text.first_chunk() {
        Some(first) => at_once(first),
        None => {
            let mut first = [0; 20];
            first[..text.len()].copy_from_slice(text);
            at_once(&first)
        }
    };
    found.map(|(ip, end)| (ip, &text[end..])).or_else(|| digit_by_digit(text))
}

/// The same of so many bytes, and where it ends: 16 are looked at together, and each number is read as if it were four, because how
/// long it is can't be foretold.
fn at_once(first: &[u8; 20]) -> Option<(Ipv4Addr, usize)> {
    let (bytes, _) = first.split_first_chunk()?;
    let bytes = u8x16::new(*bytes);
    let values = bytes - u8x16::splat(b'0');
    let digits = values.min(u8x16::splat(9)).simd_eq(values).to_bitmask();
    let dots = bytes.simd_eq(u8x16::splat(b'.')).to_bitmask();
    let end = (!(digits | dots)).trailing_zeros();
    let dots = dots & ((1 << end) - 1);
    if dots.count_ones() != 3 || end > 15 {
        return None;
    }
    let second = dots & (dots - 1);
    let third = second & (second - 1);
    let [a, b, c] = [dots, second, third].map(u32::trailing_zeros);
    let parts = [(0, a), (a + 1, b), (b + 1, c), (c + 1, end)].map(|(start, stop)| octet(first, start, stop));
    let is_one = parts.iter().all(|(_, is_one)| *is_one);
    is_one.then(|| (Ipv4Addr::from(parts.map(|(octet, _)| octet)), end as usize))
}

/// The number that stands there, and whether it is one: of one to three digits, no more than 255, and without a zero in front, which
/// might mean an octal number.
#[inline]
fn octet(text: &[u8; 20], start: u32, stop: u32) -> (u8, bool) {
    let at = (start & 15) as usize;
    let word = u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]);
    let length = stop.wrapping_sub(start);
    // The last digit stands in the highest byte.
    let digits = word.wrapping_shl(4_u32.wrapping_sub(length).wrapping_mul(8)) & 0x0f0f_0f00;
    // Each byte of the product that is taken is the sum of its digits' worth.
    let value = (digits >> 8).wrapping_mul(100 << 16 | 10 << 8 | 1) >> 16;
    let least = 1_u32.wrapping_shl(length.wrapping_sub(1).wrapping_mul(8)) & !1;
    let is_in_range = digits.swap_bytes().wrapping_sub(least) <= 0x02_0505_u32.wrapping_sub(least);
    (value as u8, is_in_range & (length.wrapping_sub(1) < 3))
}

fn digit_by_digit(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (mut ip, mut rest) = (0, text);
    for index in 0..4 {
        let (octet, after) = leading_octet(rest)?;
        ip = ip << 8 | octet;
        rest = if index < 3 { after.strip_prefix(b".")? } else { after };
    }
    Some((Ipv4Addr::from_bits(ip), rest))
}

fn leading_octet(text: &[u8]) -> Option<(u32, &[u8])> {
    let digit = |at: usize| text.get(at).map(|byte| u32::from(byte.wrapping_sub(b'0'))).filter(|digit| *digit < 10);
    let first = digit(0)?;
    let Some(second) = digit(1) else { return Some((first, &text[1..])) };
    // A zero in front might mean an octal number.
    if first == 0 {
        return None;
    }
    let Some(third) = digit(2) else { return Some((first * 10 + second, &text[2..])) };
    let octet = first * 100 + second * 10 + third;
    (octet < 256 && digit(3).is_none()).then(|| (octet, &text[3..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_read_as_the_standard_library_does() {
        let parts = ["", "0", "00", "01", "9", "10", "99", "100", "255", "256", "1000", "-1", "a", " 1", "1 "];
        for a in parts {
            for b in parts {
                for text in
                    [format!("{a}.{b}.3.4"), format!("1.2.{a}.{b}"), format!("{a}.{b}"), format!("1.2.3.4{a}{b}")]
                {
                    assert_eq!(parse_ipv4(text.as_bytes()), text.parse().ok(), "{text}");
                    for end in ["", " - - [20/Nov/2026", ".5 and so on and on", "x5 and so on and on"] {
                        let text = text.clone() + end;
                        assert_eq!(leading_ipv4(text.as_bytes()), digit_by_digit(text.as_bytes()), "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn addresses_are_normalised() {
        assert_eq!(parse_ip(b"::ffff:1.2.3.4"), Some("1.2.3.4".parse().unwrap()));
        assert_eq!(parse_ip(b"fe80::1%eth0"), Some("fe80::1".parse().unwrap()));
        assert_eq!(parse_ip(b"1.2.3.4.5"), None);
    }
}
