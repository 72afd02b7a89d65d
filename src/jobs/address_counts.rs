//! What each address did, however many there are.

use std::cmp::Reverse;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};

use foldhash::HashMap;

use super::scanner::TOGETHER;
use super::status_counts::FewCounts;
use crate::detect::Sighting;
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
#[derive(Default)]
pub struct Addresses {
    /// Apart from the others, because twenty times as much room would not stay in the cache.
    numbers: HashMap<u32, u32>,
    others: HashMap<Address, u32>,
    counts: Vec<Counts>,
}

impl Addresses {
    /// Counts what so many lines tell as are looked at together.
    pub fn add(&mut self, sightings: &[Sighting<'_>]) {
        // Memory answers many questions at once, but only to a loop that does nothing else.
        let mut numbers = [(0_u32, 0_u32); TOGETHER];
        for (sighting, number) in sightings.iter().zip(&mut numbers) {
            let Some(event) = &sighting.event else { continue };
            let events = match event.action {
                Action::Request { .. } | Action::LoginSucceeded | Action::Probed => 1,
                _ => sighting.failures,
            };
            if let Some(peer) = event.peer.filter(|_| events > 0) {
                *number = (self.number(peer), events);
            }
        }
        for (sighting, (number, events)) in sightings.iter().zip(numbers).filter(|(_, (_, events))| *events > 0) {
            let counts = &mut self.counts[number as usize];
            counts.failures = counts.failures.saturating_add(sighting.failures);
            match sighting.event.as_ref().map(|event| event.action) {
                Some(Action::Request { status }) => counts.requests.add(status),
                _ => counts.others = counts.others.saturating_add(events),
            }
        }
    }

    fn number(&mut self, peer: Peer<'_>) -> u32 {
        let next = self.counts.len() as u32;
        let number = match peer {
            Peer::Ip(IpAddr::V4(ip)) => *self.numbers.entry(ip.to_bits()).or_insert(next),
            peer => *self.others.entry(Address::from(peer)).or_insert(next),
        };
        if number == next {
            self.counts.push(Counts::default());
        }
        number
    }

    /// The addresses as they are printed, with their counts, most events first.
    pub fn sorted(self) -> Vec<(ShortBytes, AddressCounts)> {
        let Self { numbers, others, mut counts } = self;
        let numbers = numbers.into_iter().map(|(ip, number)| (Address::Ip(Ipv4Addr::from_bits(ip).into()), number));
        let names = numbers.chain(others).map(|(address, number)| {
            let name = match address {
                Address::Ip(ip) => printed(ip),
                Address::Name(name) => String::from_utf8_lossy(&name).as_bytes().into(),
            };
            (Reverse(counts[number as usize].events()), name, number)
        });
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        let mut of = |number: u32, events| {
            let Counts { failures, requests, .. } = std::mem::take(&mut counts[number as usize]);
            AddressCounts { events, failures: u64::from(failures), status: requests }
        };
        names.into_iter().map(|(Reverse(events), name, number)| (name, of(number, events))).collect()
    }
}

/// An address in its usual form.
fn printed(ip: IpAddr) -> ShortBytes {
    let mut text = [0; 64];
    let mut rest = &mut text[..];
    // No address is longer than 39 characters.
    let _ = write!(rest, "{ip}");
    let length = 64 - rest.len();
    text[..length].into()
}
