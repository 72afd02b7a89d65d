//! Who and what occurs most often in each hour, however many there are.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::HashMap;
use foldhash::quality::RandomState;
use smallvec::SmallVec;

use super::facts::Facts;
use super::tallies::LEAST_HOURS;
use crate::model::event::path;
use crate::model::short::ShortBytes;
use crate::model::tally::forget_far_from;
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
pub struct TopCounts {
    sources: HashMap<String, Hours>,
    digests: Digests,
    span: Span,
}

/// Which hours are kept.
#[derive(Clone, Copy)]
struct Span {
    /// The present one; of too many those next to it.
    now: i64,
    /// How many of a source.
    most: usize,
}

/// Makes digests of names that nobody can foretell.
#[derive(Clone, Default)]
pub struct Digests(RandomState);

impl Digests {
    /// The digest of a name, or of its beginning where it is very long.
    pub fn of(&self, name: &[u8]) -> u64 {
        self.0.hash_one(beginning(name))
    }

    /// That of the path in a request; none where the request is none.
    pub fn of_path(&self, request: &[u8]) -> Option<PathDigest> {
        let path = path(request)?;
        let start = path.as_ptr().addr() - request.as_ptr().addr();
        // No line is so long.
        Some(PathDigest { digest: self.of(path), start: start as u32, length: path.len() as u32 })
    }
}

/// The digest of the path in a request, and where it stands there.
#[derive(Clone, Copy)]
pub struct PathDigest {
    /// As [`Digests::of`].
    pub digest: u64,
    start: u32,
    length: u32,
}

impl PathDigest {
    /// The path, in the request that this was made of.
    pub fn text<'a>(&self, request: &'a [u8]) -> &'a [u8] {
        request.get(self.start as usize..).and_then(|rest| rest.get(..self.length as usize)).unwrap_or_default()
    }
}

/// What a line names besides an address.
#[derive(Default, Clone, Copy)]
pub struct Named<'a> {
    /// As [`Event::user`].
    pub user: Option<&'a [u8]>,
    /// As [`Event::request`].
    pub request: &'a [u8],
}

impl<'a> Named<'a> {
    /// What the line of an event does.
    pub fn of(event: Option<Event<'a>>) -> Self {
        event.map_or(Self::default(), |Event { user, request, .. }| Self { user, request })
    }
}

/// As much of a name as is told from others.
fn beginning(name: &[u8]) -> &[u8] {
    &name[..name.len().min(LONGEST)]
}

/// The hours of one source.
#[derive(Default)]
struct Hours {
    /// The two that were counted last, the last one first: these alone may hold very many names.
    latest: SmallVec<[Hour; 2]>,
    /// The others.
    kept: BTreeMap<i64, [Most; TopKind::ALL.len()]>,
    /// Tables of hours that need none any more, empty.
    spare: Vec<Names>,
}

/// An hour that is being counted, and its names by position in [`TopKind::ALL`].
struct Hour(i64, [Names; TopKind::ALL.len()]);

/// Names that stayed of an hour, with their counts.
type Most = Box<[(ShortBytes, u32)]>;

/// How often each name occurred. Most addresses are numbers, which are found much faster than texts.
#[derive(Default)]
struct Names {
    ips: HashMap<u32, u32>,
    texts: Texts,
}

/// A name where it lies: few of them stay, so that only these are copied.
enum Name<'a> {
    Ip([u8; 4]),
    Text(&'a [u8]),
}

impl Name<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Ip(octets) => octets,
            Self::Text(text) => text,
        }
    }
}

/// Texts that are told apart by digests of 64 bits that nobody can foretell, because comparing a text means looking for it elsewhere in
/// memory. They lie there one behind the other, because most are let go soon.
#[derive(Default)]
struct Texts {
    counts: HashMap<u64, Counted>,
    bytes: Vec<u8>,
}

/// How often a text occurred, and where it lies.
#[derive(Clone, Copy)]
struct Counted {
    count: u32,
    start: u32,
    length: u32,
}

impl TopCounts {
    /// No counts yet. `now`, in seconds since 1970 UTC: of more than so many hours those next to it are kept.
    pub fn new(now: i64, hours: usize) -> Self {
        let span = Span { now: now.div_euclid(HOUR), most: hours.max(LEAST_HOURS) };
        Self { sources: HashMap::default(), digests: Digests::default(), span }
    }

    /// What makes digests as they are made here.
    pub fn digests(&self) -> Digests {
        self.digests.clone()
    }

    /// Counts what these lines of a source tell, which name these, and the digests of whose paths are these, as far as they are known.
    pub fn add<'e>(
        &mut self,
        source: &str,
        facts: &[Facts<'_>],
        named: impl Fn(usize) -> Named<'e>,
        paths: &[Option<PathDigest>],
    ) {
        if !self.sources.contains_key(source) {
            self.sources.insert(source.to_owned(), Hours::default());
        }
        let Some(hours) = self.sources.get_mut(source) else { return };
        let hour = |facts: &Facts<'_>| facts.time.div_euclid(HOUR);
        let mut index = 0;
        for same in facts.chunk_by(|a, b| hour(a) == hour(b)) {
            let names = hours.enter(hour(&same[0]), self.span, &self.digests);
            // Memory answers many questions at once, but only to loops that do nothing else.
            std::hint::black_box(names.look_up(same, paths.get(index..).unwrap_or_default()));
            for facts in same {
                if facts.events() > 0 {
                    let path = paths.get(index).copied().flatten();
                    names.count(facts, named(index), path, &self.digests);
                }
                index += 1;
            }
        }
    }

    /// What occurred most often, source by source and hour by hour.
    pub fn take(&mut self) -> impl Iterator<Item = Top> + use<> {
        std::mem::take(&mut self.sources).into_iter().flat_map(|(source, hours)| {
            let hours = hours.all().into_iter();
            let kinds =
                hours.flat_map(|(hour, kinds)| TopKind::ALL.into_iter().zip(kinds).map(move |kind| (hour, kind)));
            kinds.flat_map(move |(hour, (kind, names))| {
                let source = source.clone();
                names.into_iter().map(move |(name, count)| Top {
                    source: source.clone(),
                    hour,
                    kind,
                    name: if is_address(kind) { address(name.as_slice()) } else { printable(name.as_slice()) },
                    count: u64::from(count),
                })
            })
        })
    }
}

impl Hours {
    /// The hour that is counted now.
    fn enter(&mut self, hour: i64, span: Span, digests: &Digests) -> &mut Hour {
        match self.latest.iter().position(|Hour(known, _)| *known == hour) {
            Some(place) => self.latest.swap(0, place),
            None => {
                if self.latest.len() == 2
                    && let Some(Hour(known, mut names)) = self.latest.pop()
                {
                    self.kept.insert(known, names.each_ref().map(|names| names.most(KEPT)));
                    names.iter_mut().for_each(Names::clear);
                    self.spare.extend(names);
                    self.keep(span);
                }
                let names = std::array::from_fn(|_| self.spare.pop().unwrap_or_default());
                let mut begun = Hour(hour, names);
                if let Some(kept) = self.kept.remove(&hour) {
                    begun.go_on_from(kept, digests);
                }
                self.latest.insert(0, begun);
            }
        }
        &mut self.latest[0]
    }

    fn keep(&mut self, Span { now, most }: Span) {
        while self.kept.len() > most {
            forget_far_from(now, &mut self.kept);
        }
    }

    fn all(self) -> BTreeMap<i64, [Most; TopKind::ALL.len()]> {
        let Self { latest, mut kept, .. } = self;
        kept.extend(latest.into_iter().map(|Hour(hour, names)| (hour, names.map(|names| names.most(KEPT_MEANWHILE)))));
        kept
    }
}

impl Hour {
    fn go_on_from(&mut self, kept: [Most; TopKind::ALL.len()], digests: &Digests) {
        let Self(_, names) = self;
        for (kind, (names, kept)) in TopKind::ALL.into_iter().zip(names.iter_mut().zip(kept)) {
            for (name, count) in kept {
                match <[u8; 4]>::try_from(name.as_slice()) {
                    Ok(octets) if is_address(kind) => drop(names.ips.insert(u32::from_be_bytes(octets), count)),
                    _ => names.texts.count_name(name.as_slice(), count, digests),
                }
            }
        }
    }

    /// Looks for what these lines name; what it finds has no meaning.
    fn look_up(&self, facts: &[Facts<'_>], paths: &[Option<PathDigest>]) -> u32 {
        let Self(_, [addresses, _, known, ..]) = self;
        let addresses = facts.iter().filter_map(|facts| match facts.peer {
            Some(Peer::Ip(IpAddr::V4(ip))) => addresses.ips.get(&ip.to_bits()).copied(),
            _ => None,
        });
        let paths = paths.iter().take(facts.len()).flatten();
        let paths = paths.filter_map(|path| known.texts.counts.get(&path.digest)).map(|counted| counted.count);
        addresses.fold(0, |seen, count| seen ^ count) ^ paths.fold(0, |seen, count| seen ^ count)
    }

    fn count(&mut self, facts: &Facts<'_>, named: Named<'_>, path: Option<PathDigest>, digests: &Digests) {
        let Self(_, [addresses, accounts, paths, attackers, targets, error_paths, logins]) = self;
        let (times, failures) = (facts.events(), facts.failures);
        if let Some(peer) = facts.peer {
            addresses.count_address(peer, times, digests);
            if matches!(facts.action, Some(Action::LoginSucceeded { .. })) {
                logins.count_address(peer, 1, digests);
            }
            if failures > 0 {
                attackers.count_address(peer, failures, digests);
            }
        }
        if let Some(user) = named.user {
            let digest = digests.of(user);
            accounts.texts.count(digest, times, || user);
            if failures > 0 {
                targets.texts.count(digest, failures, || user);
            }
        }
        if let Some(path) = path.or_else(|| digests.of_path(named.request)) {
            let text = || path.text(named.request);
            paths.texts.count(path.digest, times, text);
            if matches!(facts.action, Some(Action::Request { status }) if status >= 400) {
                error_paths.texts.count(path.digest, 1, text);
            }
        }
    }
}

impl Names {
    fn count_address(&mut self, peer: Peer<'_>, times: u32, digests: &Digests) {
        match peer {
            Peer::Ip(IpAddr::V4(ip)) => {
                if let Some(count) = self.ips.get_mut(&ip.to_bits()) {
                    *count = count.saturating_add(times);
                    return;
                }
                // Before it grows.
                if self.ips.len() == MOST {
                    keep_most(&mut self.ips, COUNTED);
                }
                self.ips.insert(ip.to_bits(), times);
            }
            Peer::Ip(IpAddr::V6(ip)) => self.texts.count_name(&ip.octets(), times, digests),
            // Told from the octets of an address by its length.
            Peer::Name(name) if matches!(name.len(), 4 | 16) => {
                self.texts.count_name(&[name, b"."].concat(), times, digests);
            }
            Peer::Name(name) => self.texts.count_name(name, times, digests),
        }
    }

    /// So many, the most frequent ones, with their counts.
    fn most(&self, kept: usize) -> Most {
        let Self { ips, texts } = self;
        let ip = |(ip, count): (&u32, &u32)| (Name::Ip(ip.to_be_bytes()), *count);
        let text = |counted: &Counted| (Name::Text(texts.of(*counted)), counted.count);
        let mut all: Vec<_> = ips.iter().map(ip).chain(texts.counts.values().map(text)).collect();
        most(&mut all, kept, |(_, count)| *count, |(a, _), (b, _)| a.bytes().cmp(b.bytes()));
        all.into_iter().map(|(name, count)| (name.bytes().into(), count)).collect()
    }

    fn clear(&mut self) {
        self.ips.clear();
        self.texts.counts.clear();
        self.texts.bytes.clear();
    }
}

impl Texts {
    fn count_name(&mut self, name: &[u8], times: u32, digests: &Digests) {
        self.count(digests.of(name), times, || name);
    }

    /// Counts the text of this digest.
    fn count<'a>(&mut self, digest: u64, times: u32, text: impl FnOnce() -> &'a [u8]) {
        if let Some(known) = self.counts.get_mut(&digest) {
            known.count = known.count.saturating_add(times);
            return;
        }
        if self.counts.len() >= MOST {
            self.keep_most(COUNTED);
        }
        self.add(digest, beginning(text()), times);
    }

    /// Takes a text in that is not known yet.
    fn add(&mut self, digest: u64, text: &[u8], count: u32) {
        // There are few, and none is long.
        let (start, length) = (self.bytes.len() as u32, text.len() as u32);
        self.bytes.extend_from_slice(text);
        self.counts.insert(digest, Counted { count, start, length });
    }

    fn of(&self, Counted { start, length, .. }: Counted) -> &[u8] {
        &self.bytes[start as usize..][..length as usize]
    }

    /// Lets all but so many go.
    fn keep_most(&mut self, kept: usize) {
        if self.counts.len() <= kept {
            return;
        }
        let mut all: Vec<(u64, Counted)> = self.counts.drain().collect();
        most(&mut all, kept, |(_, counted)| counted.count, |(_, a), (_, b)| self.of(*a).cmp(self.of(*b)));
        let bytes = std::mem::take(&mut self.bytes);
        for (digest, Counted { count, start, length }) in all {
            self.add(digest, &bytes[start as usize..][..length as usize], count);
        }
    }
}

/// Lets all but so many go.
fn keep_most(names: &mut HashMap<u32, u32>, kept: usize) {
    if names.len() > kept {
        let mut all = names.drain().collect();
        most(&mut all, kept, |(_, count)| *count, |(a, _), (b, _)| a.cmp(b));
        names.extend(all);
    }
}

/// Lets all but so many go, the most frequent ones, and those that come first in this order among equally frequent ones.
fn most<N>(all: &mut Vec<N>, kept: usize, count: impl Fn(&N) -> u32, order: impl Fn(&N, &N) -> Ordering) {
    if all.len() <= kept {
        return;
    }
    let (_, last, _) = all.select_nth_unstable_by_key(kept, |name| Reverse(count(name)));
    // Most names occur once only, and to compare them takes longer than to compare numbers.
    let least = count(last);
    let more = partition(all, |name| count(name) > least);
    let enough = more + partition(&mut all[more..], |name| count(name) == least);
    all.truncate(enough);
    all[more..].select_nth_unstable_by(kept - more, &order);
    all.truncate(kept);
}

/// Puts those of which that holds before the others; returns how many they are.
fn partition<N>(all: &mut [N], holds: impl Fn(&N) -> bool) -> usize {
    let mut first = 0;
    for index in 0..all.len() {
        if holds(&all[index]) {
            all.swap(first, index);
            first += 1;
        }
    }
    first
}

fn is_address(kind: TopKind) -> bool {
    matches!(kind, TopKind::Ip | TopKind::Attacker | TopKind::Login)
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
        let (mut names, digests) = (Names::default(), Digests::default());
        for n in 0..20_000_u32 {
            names.texts.count_name(&n.to_le_bytes()[..3], 1, &digests);
            names.texts.count_name(b"often", u32::from(n % 7 == 0), &digests);
        }
        let (name, count) = &names.most(1)[0];
        assert_eq!((name.as_slice(), *count), (&b"often"[..], 2858));
    }

    #[test]
    fn many_hours_in_any_order_hold_few_names() {
        let (mut hours, digests) = (Hours::default(), Digests::default());
        for round in 0..3 {
            for hour in 0..50 {
                let Hour(_, [addresses, ..]) = hours.enter(hour, Span { now: 0, most: 100 }, &digests);
                for n in (0..1500_u32).map(|n| n + round) {
                    addresses.texts.count_name(&n.to_le_bytes(), 1, &digests);
                    addresses.count_address(Peer::Ip(IpAddr::V4(n.into())), 1, &digests);
                }
            }
        }
        assert!(hours.spare.len() <= 2 * TopKind::ALL.len());
        let all = hours.all();
        let held: usize = all.values().map(|[addresses, ..]| addresses.len()).sum();
        assert_eq!(held, 48 * KEPT + 2 * KEPT_MEANWHILE);
    }

    #[test]
    fn an_hour_that_is_entered_again_goes_on() {
        let (mut hours, digests) = (Hours::default(), Digests::default());
        for hour in [1, 2, 3, 1] {
            let Hour(_, [addresses, accounts, ..]) = hours.enter(hour, Span { now: 3, most: 100 }, &digests);
            for name in ["192.0.2.7", "2001:db8::7", "host"] {
                addresses.count_address(Peer::read(name.as_bytes()).unwrap(), 2, &digests);
            }
            accounts.texts.count_name(b"root", 3, &digests);
        }
        let all = hours.all();
        let [addresses, accounts, ..] = &all[&1];
        assert_eq!(addresses.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [4, 4, 4]);
        assert_eq!(
            accounts.iter().map(|(name, count)| (name.as_slice(), *count)).collect::<Vec<_>>(),
            [(&b"root"[..], 6)]
        );
    }

    #[test]
    fn of_more_hours_than_a_year_has_those_next_to_the_present_stay() {
        let (mut hours, digests, far, most) = (Hours::default(), Digests::default(), 1000, 1000);
        for hour in (-far..far).rev() {
            hours.enter(hour, Span { now: 100, most }, &digests);
        }
        let all = hours.all();
        // And the two that were counted last.
        let next = (100 - far / 2..=100 + far / 2).collect::<Vec<_>>();
        let kept: Vec<i64> = all.into_keys().filter(|hour| *hour > 1 - far).collect();
        assert!(kept.len() <= most && kept.iter().all(|hour| next.contains(hour)), "{kept:?}");
    }

    #[test]
    fn addresses_and_names_are_told_apart() {
        let (mut names, digests) = (Names::default(), Digests::default());
        for peer in ["192.0.2.7", "2001:db8::7", "host", "host.example.org", "abcdefghijklmnop"] {
            names.count_address(Peer::read(peer.as_bytes()).unwrap(), 1, &digests);
        }
        let mut told: Vec<String> = names.most(9).iter().map(|(key, _)| address(key.as_slice())).collect();
        told.sort();
        assert_eq!(told, ["192.0.2.7", "2001:db8::7", "abcdefghijklmnop", "host", "host.example.org"]);
    }

    #[test]
    fn of_equally_frequent_ones_the_first_in_order_are_kept() {
        let mut random = crate::demo::random::Random::new(1);
        for round in 0..300 {
            let mut all: Vec<(u32, u32)> =
                (0..random.below(50) as u32).map(|n| (n * 7919 % 101, random.below(4) as u32)).collect();
            let mut sorted = all.clone();
            sorted.sort_by_key(|(name, count)| (Reverse(*count), *name));
            sorted.truncate(round % 30);
            most(&mut all, round % 30, |(_, count)| *count, |(a, _), (b, _)| a.cmp(b));
            all.sort_by_key(|(name, count)| (Reverse(*count), *name));
            assert_eq!(all, sorted);
        }
    }
}
