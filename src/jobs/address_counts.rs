//! What each address did, however many there are.

use std::cmp::Reverse;
use std::hash::BuildHasher;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};

use foldhash::HashMap;

use super::facts::Facts;
use super::scanner::TOGETHER;
use super::status_counts::FewCounts;
use crate::model::short::ShortBytes;
use crate::model::{Action, Address, Peer};

/// What one address did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct AddressCounts {
    /// Requests, failed and successful logins, and probes.
    pub events: u64,
    /// Failed logins.
    pub failures: u64,
    /// Requests by status.
    pub status: FewCounts,
}

/// Those of one address while they are counted, two in one line of the processor's cache.
#[derive(Default)]
#[repr(align(32))]
struct Counts {
    /// Events that are no requests; no log is so long that one address has more.
    others: u32,
    failures: u32,
    requests: FewCounts,
}

impl Counts {
    fn events(&self) -> u64 {
        u64::from(self.others) + self.requests.sum()
    }
}

/// What addresses did. The counts lie one after the other, those of busy addresses first, because these are seen early: so
/// the cache holds most of what is needed.
pub struct Addresses {
    /// Apart from the others, because twenty times as much room would not stay in the cache.
    numbers: Ipv4Numbers,
    others: HashMap<Address, u32>,
    /// By number; that of the first is nobody's.
    counts: Vec<Counts>,
}

impl Default for Addresses {
    fn default() -> Self {
        Self { numbers: Ipv4Numbers::default(), others: HashMap::default(), counts: vec![Counts::default()] }
    }
}

impl Addresses {
    /// Counts what so many lines tell as are looked at together.
    pub fn add(&mut self, facts: &[Facts<'_>]) {
        // Memory answers many questions at once, but only to loops that do nothing else.
        let mut slots = [Slot::default(); TOGETHER];
        for (slot, facts) in slots.iter_mut().zip(facts) {
            if let Some(Peer::Ip(IpAddr::V4(ip))) = facts.peer {
                *slot = self.numbers.likely(ip.to_bits());
            }
        }
        let mut numbers = [0; TOGETHER];
        for ((number, slot), facts) in numbers.iter_mut().zip(slots).zip(facts) {
            if let Some(peer) = facts.peer.filter(|_| facts.events() > 0) {
                *number = self.number(peer, slot);
            }
        }
        let seen = numbers.iter().fold(0, |seen, number| seen ^ self.counts[*number as usize].others);
        std::hint::black_box(seen);
        for (number, facts) in numbers.iter().zip(facts).filter(|(number, _)| **number > 0) {
            let counts = &mut self.counts[*number as usize];
            counts.failures = counts.failures.saturating_add(facts.failures);
            match facts.action {
                Some(Action::Request { status }) => counts.requests.add(status),
                _ => counts.others = counts.others.saturating_add(facts.events()),
            }
        }
    }

    /// The number of an address, given the slot where it is likely to be.
    fn number(&mut self, peer: Peer<'_>, slot: Slot) -> u32 {
        let next = self.counts.len() as u32;
        let number = match peer {
            Peer::Ip(IpAddr::V4(ip)) if slot.ip == ip.to_bits() && slot.number > 0 => return slot.number,
            Peer::Ip(IpAddr::V4(ip)) => self.numbers.number(ip.to_bits(), next),
            peer => *self.others.entry(Address::from(peer)).or_insert(next),
        };
        if number == next {
            self.counts.push(Counts::default());
        }
        number
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.counts.len() - 1
    }

    /// So many of them as they are printed, with their counts, most events first.
    pub fn sorted(self, most: usize) -> Vec<(ShortBytes, AddressCounts)> {
        let Self { numbers, others, mut counts } = self;
        let least = least_of(most, counts.iter().map(Counts::events));
        let wanted: Vec<bool> = counts.iter().map(|counts| counts.events() >= least).collect();
        let mut names = vec![ShortBytes::default(); counts.len()];
        for (ip, number) in numbers.iter().filter(|(_, number)| wanted[*number as usize]) {
            names[number as usize] = printed(Ipv4Addr::from_bits(ip).into());
        }
        drop(numbers);
        for (address, number) in others.into_iter().filter(|(_, number)| wanted[*number as usize]) {
            names[number as usize] = match address {
                Address::Ip(ip) => printed(ip),
                Address::Name(name) => String::from_utf8_lossy(&name).as_bytes().into(),
            };
        }
        // Nearly all names are told apart by their first bytes, which are compared at once.
        let key = |number: usize| (Reverse(counts[number].events()), beginning(names[number].as_slice()), number);
        let mut keys: Vec<_> = (1..counts.len()).filter(|number| wanted[*number]).map(key).collect();
        keys.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| names[a.2].cmp(&names[b.2])));
        let mut of = |(Reverse(events), _, number)| {
            let Counts { failures, requests, .. }: Counts = std::mem::take(&mut counts[number]);
            let counts = AddressCounts { events, failures: u64::from(failures), status: requests };
            (std::mem::take(&mut names[number]), counts)
        };
        keys.into_iter().take(most).map(&mut of).collect()
    }
}

/// The least of so many of the largest numbers.
fn least_of(most: usize, numbers: impl Iterator<Item = u64>) -> u64 {
    let mut numbers: Vec<u64> = numbers.collect();
    match most.checked_sub(1) {
        Some(last) if last < numbers.len() => *numbers.select_nth_unstable_by_key(last, |number| Reverse(*number)).1,
        _ => 0,
    }
}

/// The first bytes of a text as a number that compares as they do.
fn beginning(text: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let length = text.len().min(16);
    bytes[..length].copy_from_slice(&text[..length]);
    u128::from_be_bytes(bytes)
}

/// Numbers of IPv4 addresses: a table in which most of them lie in the place that their digest tells, so that one look
/// answers. (hashbrown needs two, one of them to find out where.)
struct Ipv4Numbers {
    /// As many as a power of two.
    slots: Box<[Slot]>,
    used: usize,
    /// An odd number that nobody can guess, so that nobody can choose addresses that lie in each other's way.
    factor: u64,
}

/// A place of the table.
#[derive(Default, Clone, Copy)]
struct Slot {
    ip: u32,
    /// 0 where none lies here.
    number: u32,
}

impl Default for Ipv4Numbers {
    fn default() -> Self {
        let factor = foldhash::quality::RandomState::default().hash_one(0) | 1;
        Self { slots: vec![Slot::default(); 1024].into(), used: 0, factor }
    }
}

impl Ipv4Numbers {
    /// What lies where an address would best lie.
    fn likely(&self, ip: u32) -> Slot {
        self.slots[self.place(ip)]
    }

    /// The number of an address, which is `next` where it is new.
    fn number(&mut self, ip: u32, next: u32) -> u32 {
        if self.used * 2 >= self.slots.len() {
            let larger = vec![Slot::default(); self.slots.len() * 2].into();
            for slot in std::mem::replace(&mut self.slots, larger).iter().filter(|slot| slot.number > 0) {
                let place = self.find(slot.ip);
                self.slots[place] = *slot;
            }
        }
        let place = self.find(ip);
        let slot = &mut self.slots[place];
        if slot.number == 0 {
            *slot = Slot { ip, number: next };
            self.used += 1;
        }
        slot.number
    }

    /// Where an address lies, or would.
    fn find(&self, ip: u32) -> usize {
        let mut place = self.place(ip);
        // At least half of the table is free.
        while self.slots[place].number > 0 && self.slots[place].ip != ip {
            place = (place + 1) & (self.slots.len() - 1);
        }
        place
    }

    fn place(&self, ip: u32) -> usize {
        let digest = u64::from(ip).wrapping_mul(self.factor);
        (digest >> (64 - self.slots.len().trailing_zeros())) as usize
    }

    fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.slots.iter().filter(|slot| slot.number > 0).map(|slot| (slot.ip, slot.number))
    }
}

/// An address in its usual form.
fn printed(ip: IpAddr) -> ShortBytes {
    let mut text = [0; 64];
    let mut length = 0;
    match ip {
        // There are very many, and the standard library's way takes several times as long.
        IpAddr::V4(ip) => {
            for octet in ip.octets() {
                for (digit, least) in [(octet / 100, 100), (octet / 10 % 10, 10), (octet % 10, 0)] {
                    text[length] = b'0' + digit;
                    length += usize::from(octet >= least);
                }
                text[length] = b'.';
                length += 1;
            }
            length -= 1;
        }
        IpAddr::V6(ip) => {
            let mut rest = &mut text[..];
            // No address is longer than 39 characters.
            let _ = write!(rest, "{ip}");
            length = 64 - rest.len();
        }
    }
    text[..length].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_printed_as_the_standard_library_does() {
        for number in 0..=255 {
            for ip in [[number, 0, 10, 255], [1, number, 100, 9], [200, 99, 7, number]] {
                let ip = IpAddr::from(ip);
                assert_eq!(printed(ip).as_slice(), ip.to_string().as_bytes());
            }
        }
        let ip: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(printed(ip).as_slice(), b"2001:db8::1");
    }

    #[test]
    fn the_busiest_addresses_are_the_first_of_all() {
        let counted = || {
            let mut addresses = Addresses::default();
            for n in 0..1000_u32 {
                let peer = Some(Peer::Ip(Ipv4Addr::from_bits(n * n % 301).into()));
                let action = Some(Action::Request { status: 200 });
                addresses.add(&[Facts { action, peer, ..Facts::unparsed(0, false) }]);
            }
            addresses
        };
        let all = counted().sorted(usize::MAX);
        assert_eq!(all.len(), counted().len());
        for most in [0, 1, 7, 20, all.len() - 1, all.len(), all.len() + 1] {
            assert_eq!(counted().sorted(most), all[..most.min(all.len())], "{most}");
        }
    }
}
