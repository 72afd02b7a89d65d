//! Who and what occurs most often in each hour, however many there are.

use std::cmp::Reverse;
use std::hash::Hash;
use std::net::IpAddr;

use foldhash::HashMap;

use super::facts::Facts;
use crate::model::short::ShortBytes;
use crate::model::top::{KEPT, KEPT_MEANWHILE};
use crate::model::untrusted::printable;
use crate::model::{Action, Event, Peer, Top, TopKind};

/// How many names stay of an hour that is being read when there are more than [`MOST`] of them, the most frequent ones.
const COUNTED: usize = 1000;
/// As many as a table of 4096 places takes.
const MOST: usize = 3584;

/// The longest name that is told from others, in bytes.
const LONGEST: usize = 200;

const HOUR: i64 = 60 * 60;

/// Counts by source and hour.
#[derive(Default)]
pub struct TopCounts {
    sources: HashMap<String, Hours>,
}

/// The hours of one source.
#[derive(Default)]
struct Hours {
    all: HashMap<i64, Hour>,
    /// The two that were counted last, the last one first: these alone may hold very many names.
    latest: [i64; 2],
    /// Tables of hours that need no large ones any more, empty.
    spare: Vec<Names>,
}

/// By position in [`TopKind::ALL`].
#[derive(Default)]
struct Hour([Names; TopKind::ALL.len()]);

/// How often each name occurred. Most addresses are numbers, which are found much faster than texts.
#[derive(Default)]
struct Names {
    ips: HashMap<u32, u64>,
    texts: HashMap<ShortBytes, u64>,
}

impl TopCounts {
    /// Counts what these lines of a source tell, whose events are these.
    pub fn add<'e>(&mut self, source: &str, facts: &[Facts<'_>], event: impl Fn(usize) -> Option<Event<'e>>) {
        if !self.sources.contains_key(source) {
            self.sources.insert(source.to_owned(), Hours::default());
        }
        let Some(hours) = self.sources.get_mut(source) else { return };
        let hour = |facts: &Facts<'_>| facts.time.div_euclid(HOUR);
        let mut index = 0;
        for same in facts.chunk_by(|a, b| hour(a) == hour(b)) {
            let names = hours.enter(hour(&same[0]));
            for facts in same {
                if facts.events() > 0
                    && let Some(event) = event(index)
                {
                    names.count(facts, &event);
                }
                index += 1;
            }
        }
    }

    /// What occurred most often.
    pub fn take(&mut self) -> Vec<Top> {
        let mut all = Vec::new();
        for (source, hours) in std::mem::take(&mut self.sources) {
            for (hour, Hour(kinds)) in hours.all {
                for (kind, names) in TopKind::ALL.into_iter().zip(kinds) {
                    let is_address = matches!(kind, TopKind::Ip | TopKind::Attacker | TopKind::Login);
                    let top = |(name, count): (ShortBytes, u64)| Top {
                        source: source.clone(),
                        hour,
                        kind,
                        name: if is_address { address(name.as_slice()) } else { printable(name.as_slice()) },
                        count,
                    };
                    all.extend(names.most(KEPT_MEANWHILE).into_iter().map(top));
                }
            }
        }
        all
    }
}

impl Hours {
    /// The hour that is counted now.
    fn enter(&mut self, hour: i64) -> &mut Hour {
        let [last, before] = self.latest;
        if hour != last {
            if hour != before
                && let Some(Hour(names)) = self.all.get_mut(&before)
            {
                self.spare.extend(names.iter_mut().filter_map(|names| names.become_small(KEPT)));
                self.spare.truncate(2 * TopKind::ALL.len());
            }
            self.latest = [hour, last];
        }
        self.all.entry(hour).or_insert_with(|| Hour(std::array::from_fn(|_| self.spare.pop().unwrap_or_default())))
    }
}

impl Hour {
    fn count(&mut self, facts: &Facts<'_>, event: &Event<'_>) {
        let Self([addresses, accounts, paths, attackers, targets, error_paths, logins]) = self;
        let (times, failures) = (u64::from(facts.events()), u64::from(facts.failures));
        if let Some(peer) = event.peer {
            addresses.count_address(peer, times);
        }
        let path = event.path();
        if let Some(path) = path {
            paths.count(path, times);
        }
        if let Some(user) = event.user {
            accounts.count(user, times);
        }
        if facts.action == Some(Action::LoginSucceeded) {
            event.peer.into_iter().for_each(|peer| logins.count_address(peer, 1));
        }
        if failures > 0 {
            event.peer.into_iter().for_each(|peer| attackers.count_address(peer, failures));
            event.user.into_iter().for_each(|user| targets.count(user, failures));
        }
        if let (Some(Action::Request { status }), Some(path)) = (facts.action, path)
            && status >= 400
        {
            error_paths.count(path, 1);
        }
    }
}

impl Names {
    fn count_address(&mut self, peer: Peer<'_>, times: u64) {
        match peer {
            Peer::Ip(IpAddr::V4(ip)) => {
                // Before it grows.
                if self.ips.len() == MOST && !self.ips.contains_key(&ip.to_bits()) {
                    keep_most(&mut self.ips, COUNTED);
                }
                *self.ips.entry(ip.to_bits()).or_default() += times;
            }
            Peer::Ip(IpAddr::V6(ip)) => self.count(&ip.octets(), times),
            // Told from the octets of an address by its length.
            Peer::Name(name) if matches!(name.len(), 4 | 16) => self.count(&[name, b"."].concat(), times),
            Peer::Name(name) => self.count(name, times),
        }
    }

    fn count(&mut self, name: &[u8], times: u64) {
        let name = &name[..name.len().min(LONGEST)];
        if let Some(count) = self.texts.get_mut(name) {
            *count += times;
            return;
        }
        if self.texts.len() >= MOST {
            keep_most(&mut self.texts, COUNTED);
        }
        self.texts.insert(name.into(), times);
    }

    /// So many, the most frequent ones.
    fn most(self, kept: usize) -> Vec<(ShortBytes, u64)> {
        let ips = self.ips.into_iter().map(|(ip, count)| (ip.to_be_bytes().as_slice().into(), count));
        let mut all = ips.chain(self.texts).collect();
        most(&mut all, kept);
        all
    }

    /// Lets all but so many go, and the tables with them where one is large.
    fn become_small(&mut self, kept: usize) -> Option<Self> {
        keep_most(&mut self.ips, kept);
        keep_most(&mut self.texts, kept);
        if self.ips.capacity().max(self.texts.capacity()) < COUNTED {
            return None;
        }
        let small = Self { ips: self.ips.drain().collect(), texts: self.texts.drain().collect() };
        Some(std::mem::replace(self, small))
    }
}

/// Lets all but so many go.
fn keep_most<N: Hash + Ord>(names: &mut HashMap<N, u64>, kept: usize) {
    if names.len() > kept {
        let mut all = names.drain().collect();
        most(&mut all, kept);
        names.extend(all);
    }
}

fn most<N: Ord>(all: &mut Vec<(N, u64)>, kept: usize) {
    if all.len() > kept {
        all.select_nth_unstable_by(kept, |a, b| (Reverse(a.1), &a.0).cmp(&(Reverse(b.1), &b.0)));
        all.truncate(kept);
    }
}

fn address(key: &[u8]) -> String {
    if let Ok(octets) = <[u8; 4]>::try_from(key) {
        return IpAddr::from(octets).to_string();
    }
    if let Ok(octets) = <[u8; 16]>::try_from(key) {
        return IpAddr::from(octets).to_string();
    }
    printable(key.strip_suffix(b".").unwrap_or(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_are_kept_among_very_many() {
        let mut names = Names::default();
        for n in 0..20_000_u32 {
            names.count(&n.to_le_bytes()[..3], 1);
            names.count(b"often", u64::from(n % 7 == 0));
        }
        let (name, count) = names.most(1).pop().unwrap();
        assert_eq!((name.as_slice(), count), (&b"often"[..], 2858));
    }

    #[test]
    fn many_hours_in_any_order_hold_few_names() {
        let mut hours = Hours::default();
        for round in 0..3 {
            for hour in 0..50 {
                let Hour([addresses, ..]) = hours.enter(hour);
                (0..1500_u32).for_each(|n| addresses.count(&(n + round).to_le_bytes(), 1));
                (0..1500_u32).for_each(|n| addresses.count_address(Peer::Ip(IpAddr::V4((n + round).into())), 1));
            }
        }
        let held: usize =
            hours.all.values().map(|Hour([addresses, ..])| addresses.ips.len() + addresses.texts.len()).sum();
        assert!(held < 9000, "{held}");
        assert!(hours.spare.len() <= 2 * TopKind::ALL.len());
    }

    #[test]
    fn addresses_and_names_are_told_apart() {
        let mut names = Names::default();
        for peer in ["192.0.2.7", "2001:db8::7", "host", "host.example.org", "abcdefghijklmnop"] {
            names.count_address(Peer::read(peer.as_bytes()).unwrap(), 1);
        }
        let mut told: Vec<String> = names.most(9).iter().map(|(key, _)| address(key.as_slice())).collect();
        told.sort();
        assert_eq!(told, ["192.0.2.7", "2001:db8::7", "abcdefghijklmnop", "host", "host.example.org"]);
    }
}
