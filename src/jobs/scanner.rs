//! The scanner: lines in, counts and findings out. Scan jobs and `logkeeper scan` both drive it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::detect::{self, Detector, Held, Sessions, Sighting};
use crate::logs::MAX_LINE;
use crate::model::tally::BUCKET;
use crate::model::{Action, Category, Event, Finding, Peer, Rule, Tally};
use crate::parse::{AutoParser, Context, YearRule};
use crate::store::BucketTally;

/// How long a silent stream still holds back what is settled, in seconds of real time.
const ACTIVE: i64 = 24 * 60 * 60;

/// What the scanner remembers of a stream.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct StreamState {
    sessions: Sessions,
    /// The latest event, seconds since 1970 UTC.
    latest: Option<i64>,
    /// The run that last read something, seconds since 1970 UTC.
    active: i64,
}

/// Detectors and counts of one scan.
pub struct Scanner {
    rules: Vec<(Rule, Box<dyn Detector>)>,
    /// By source and bucket.
    tallies: HashMap<String, HashMap<i64, Tally>>,
    addresses: Option<HashMap<Address, AddressCounts>>,
    /// Counts of all lines.
    pub total: Tally,
    /// Answers per status.
    pub status: BTreeMap<u16, u64>,
    /// Lines per category, standard and urgent.
    pub triage: BTreeMap<&'static str, [u64; 2]>,
    now: i64,
}

/// Who is behind a line, as a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An address.
    Ip(IpAddr),
    /// A name.
    Name(String),
}

/// What one address did.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct AddressCounts {
    /// Requests, failed and successful logins.
    pub events: u64,
    /// Failed logins.
    pub failures: u64,
    /// Requests by status.
    pub status: BTreeMap<u16, u64>,
}

/// The line a scanner is given.
pub struct Input<'a> {
    /// The source's name.
    pub source: &'a str,
    /// The file's path, or `journal`.
    pub file: &'a str,
    /// The line's number in the file, counting from 1.
    pub number: u64,
    /// The line.
    pub line: &'a [u8],
    /// For lines without a stamp in a log without stamps, seconds since 1970 UTC.
    pub fallback: i64,
    /// Whether it is only looked at and not counted, because it will be read again.
    pub provisional: bool,
}

impl Scanner {
    /// A scanner for these rules in a run at `now`, seconds since 1970 UTC.
    pub fn new<'r>(rules: impl IntoIterator<Item = &'r Rule>, now: i64) -> Self {
        let rules = rules.into_iter().map(|rule| (rule.clone(), detect::detector(rule))).collect();
        let (tallies, total) = (HashMap::new(), Tally::default());
        Self { rules, tallies, addresses: None, total, status: BTreeMap::new(), triage: BTreeMap::new(), now }
    }

    /// Counts per address, too.
    pub fn count_addresses(&mut self) {
        self.addresses = Some(HashMap::new());
    }

    /// Takes one line in; returns whether it is flagged: urgent, a failed login, or one that a rule looks for.
    pub fn line(&mut self, stream: &mut StreamState, parser: &mut AutoParser, input: &Input<'_>) -> bool {
        let event = if input.line.len() > MAX_LINE { None } else { parser.parse(input.line) };
        let stamp = event.and_then(|event| event.time);
        let time = stamp.or(stream.latest).unwrap_or(input.fallback);
        if let Some(stamp) = stamp.filter(|_| !input.provisional) {
            stream.latest = Some(stream.latest.map_or(stamp, |latest| latest.max(stamp)));
            stream.active = self.now;
        }
        let (failures, failure) = event.map_or((0, false), |event| failures(stream, &event, time, input));
        if !input.provisional {
            self.tally(input.source, time, event.as_ref(), failures);
        }
        let sighting = Sighting { time, event, failures, line: input.line, file: input.file, number: input.number };
        let mut flagged = failure || event.is_some_and(|event| event.is_urgent());
        for (_, detector) in &mut self.rules {
            flagged |= detector.observe(&sighting);
        }
        flagged
    }

    /// Lines too long to be looked at: counted as read and not understood.
    pub fn overlong(&mut self, source: &str, stream: &StreamState, lines: u64, fallback: i64) {
        let bucket = stream.latest.unwrap_or(fallback).div_euclid(BUCKET);
        let one = Tally { lines, unparsed: lines, ..Tally::default() };
        self.add(source, bucket, &one);
    }

    /// Counts failures whose session is surely over.
    pub fn settle_sessions(&mut self, stream: &mut StreamState, source: &str) {
        let now = stream.latest.map_or(i64::MIN, |latest| latest.min(self.now));
        for held in stream.sessions.settle(now) {
            self.held(source, &held, false);
        }
    }

    /// Counts the failures of all sessions. With `provisional`, detectors learn of them but they will be
    /// settled, and counted, by a later run.
    pub fn flush_sessions(&mut self, stream: &mut StreamState, source: &str, provisional: bool) {
        for held in stream.sessions.settle(i64::MAX) {
            self.held(source, &held, provisional);
        }
    }

    /// The findings settled for good, given how far the streams have come.
    pub fn settle<'s>(&mut self, streams: impl Iterator<Item = &'s StreamState>) -> Vec<Finding> {
        let active = streams.filter(|stream| stream.active >= self.now - ACTIVE);
        let Some(horizon) = active.filter_map(|stream| stream.latest).min() else { return Vec::new() };
        // A stamp ahead of the run is a clock gone wrong, and settles nothing.
        let horizon = horizon.min(self.now);
        self.rules.iter_mut().flat_map(|(_, detector)| detector.settle(horizon)).collect()
    }

    /// The findings that further lines may still change.
    pub fn findings(&mut self) -> Vec<Finding> {
        self.rules.iter_mut().flat_map(|(_, detector)| detector.findings()).collect()
    }

    /// The detectors' states by rule.
    pub fn save(&mut self) -> BTreeMap<String, SavedDetector> {
        let save = |(rule, detector): &mut (Rule, Box<dyn Detector>)| {
            (rule.name.clone(), SavedDetector { fingerprint: detect::fingerprint(rule), state: detector.save() })
        };
        self.rules.iter_mut().map(save).collect()
    }

    /// Takes up the detectors' states; returns the rules that go on from theirs. A rule that is new or was changed,
    /// or whose state can't be read, starts afresh.
    pub fn load(&mut self, mut saved: BTreeMap<String, SavedDetector>) -> Vec<String> {
        let mut continued = Vec::new();
        for (rule, detector) in &mut self.rules {
            let Some(saved) = saved.remove(&rule.name) else { continue };
            if saved.fingerprint == detect::fingerprint(rule) && detector.load(saved.state).is_ok() {
                continued.push(rule.name.clone());
            }
        }
        continued
    }

    /// How many events the rules dropped because there were too many subjects.
    pub fn dropped(&self) -> Vec<(String, u64)> {
        let dropped = self.rules.iter().map(|(rule, detector)| (rule.name.clone(), detector.dropped()));
        dropped.filter(|(_, dropped)| *dropped > 0).collect()
    }

    /// The counts per source and bucket.
    pub fn tallies(&mut self) -> Vec<BucketTally> {
        let mut tallies = Vec::new();
        for (source, buckets) in std::mem::take(&mut self.tallies) {
            tallies.extend(buckets.into_iter().map(|(bucket, tally)| BucketTally {
                source: source.clone(),
                bucket,
                tally,
            }));
        }
        tallies.sort_by(|a, b| (&a.source, a.bucket).cmp(&(&b.source, b.bucket)));
        tallies
    }

    /// The counts per address, most events first.
    pub fn addresses(&mut self) -> Vec<(String, AddressCounts)> {
        let all = self.addresses.take().unwrap_or_default().into_iter().map(|(address, counts)| {
            let name = match address {
                Address::Ip(ip) => ip.to_string(),
                Address::Name(name) => name,
            };
            (name, counts)
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by(|a, b| b.1.events.cmp(&a.1.events).then_with(|| a.0.cmp(&b.0)));
        all
    }

    fn held(&mut self, source: &str, held: &Held, provisional: bool) {
        let mut parser = AutoParser::new(Context { zone: chrono_tz::UTC, year: YearRule::Before(held.time) });
        let event = parser.parse(&held.line).map(|event| Event { time: Some(held.time), ..event });
        if !provisional {
            let one = Tally { failed_logins: u64::from(held.times), ..Tally::default() };
            self.add(source, held.time.div_euclid(BUCKET), &one);
            self.count_address(event.as_ref(), held.times);
        }
        let (file, number, line) = (held.file.as_str(), held.number, held.line.as_slice());
        let sighting = Sighting { time: held.time, event, failures: held.times, line, file, number };
        // Rules that look at lines have seen this one when it was read.
        for (_, detector) in
            self.rules.iter_mut().filter(|(rule, _)| matches!(rule.kind, crate::model::RuleKind::Count { .. }))
        {
            detector.observe(&sighting);
        }
    }

    fn tally(&mut self, source: &str, time: i64, event: Option<&Event<'_>>, failures: u32) {
        self.add(source, time.div_euclid(BUCKET), &counts_of(event, failures));
        if let Some(Action::Request { status }) = event.map(|event| event.action) {
            *self.status.entry(status).or_default() += 1;
        }
        let category = event.map_or(Category::Unknown, |event| event.category);
        let urgent = event.is_some_and(|event| event.is_urgent());
        self.triage.entry(category.as_str()).or_default()[usize::from(urgent)] += 1;
        self.count_address(event, failures);
    }

    fn add(&mut self, source: &str, bucket: i64, counts: &Tally) {
        self.total.add(counts);
        if !self.tallies.contains_key(source) {
            self.tallies.insert(source.to_owned(), HashMap::new());
        }
        if let Some(buckets) = self.tallies.get_mut(source) {
            buckets.entry(bucket).or_default().add(counts);
        }
    }

    fn count_address(&mut self, event: Option<&Event<'_>>, failures: u32) {
        let (Some(addresses), Some(event)) = (&mut self.addresses, event) else { return };
        let Some(peer) = event.peer else { return };
        let events = match event.action {
            Action::Request { .. } | Action::LoginSucceeded => 1,
            _ => u64::from(failures),
        };
        if events == 0 {
            return;
        }
        let key = match peer {
            Peer::Ip(ip) => Address::Ip(ip),
            Peer::Name(name) => Address::Name(String::from_utf8_lossy(name).into_owned()),
        };
        let counts = addresses.entry(key).or_default();
        counts.events += events;
        counts.failures += u64::from(failures);
        if let Action::Request { status } = event.action {
            *counts.status.entry(status).or_default() += 1;
        }
    }
}

/// A detector's state as stored.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedDetector {
    fingerprint: String,
    state: serde_json::Value,
}

/// How many failed logins a line settles, and whether it tells of one at all.
fn failures(stream: &mut StreamState, event: &Event<'_>, time: i64, input: &Input<'_>) -> (u32, bool) {
    match event.action {
        Action::Request { status: 401 } => (1, true),
        Action::LoginFailed { times, shape } => {
            let key = match (event.pid, event.peer) {
                (0, Some(peer)) => peer.to_string(),
                (pid, _) => format!("{pid} {}", String::from_utf8_lossy(event.host)),
            };
            let held = || Held {
                time,
                shape,
                times,
                line: input.line.to_vec(),
                file: input.file.to_owned(),
                number: input.number,
            };
            (stream.sessions.observe(key, shape, times, time, held), true)
        }
        _ => (0, false),
    }
}

fn counts_of(event: Option<&Event<'_>>, failures: u32) -> Tally {
    let mut one = Tally { lines: 1, failed_logins: u64::from(failures), ..Tally::default() };
    let Some(event) = event else {
        one.unparsed = 1;
        return one;
    };
    one.urgent = u64::from(event.is_urgent());
    match event.category {
        Category::Access => one.access_lines = 1,
        Category::Error => one.error_lines = 1,
        Category::Auth => one.auth_lines = 1,
        Category::Unknown => {}
    }
    match event.action {
        Action::Request { status } => {
            one.requests = 1;
            one.status_401 = u64::from(status == 401);
            one.status_403 = u64::from(status == 403);
            one.status_404 = u64::from(status == 404);
            one.status_4xx = u64::from((400..500).contains(&status));
            one.status_5xx = u64::from((500..600).contains(&status));
        }
        Action::LoginSucceeded => one.logins = 1,
        Action::ErrorLogged => one.errors_logged = 1,
        Action::LoginFailed { .. } | Action::SessionClosed | Action::Other => {}
    }
    one
}
