//! The scanner: lines in, counts and findings out. Scan jobs and `logkeeper scan` both drive it.

use std::collections::BTreeMap;
use std::time::Duration;

use aho_corasick::AhoCorasick;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use smallvec::SmallVec;

pub use super::address_counts::AddressCounts;
use super::address_counts::Addresses;
use super::facts::{CATEGORIES, Facts, Kinds, category_index};
use super::interests::Interests;
use super::parsed::Chunk;
use super::rule_texts::RuleTexts;
use super::running::Running;
use super::settler::{Input, Piece, SettledLine, Settler};
use super::status_counts::StatusCounts;
use super::stream_state::StreamState;
use super::tallies::Tallies;
use super::top_counts::{Digests, Named, PathDigest, TopCounts};
use crate::detect::{self, Held, Remembered, Sighting};
use crate::model::short::ShortBytes;
use crate::model::tally::BUCKET;
use crate::model::{Action, Category, Event, Exemption, Finding, Rule, Tally, Top, Triage};
use crate::store::BucketTally;

/// Detectors and counts of one scan.
pub struct Scanner {
    rules: Vec<Running>,
    interests: Interests,
    texts: RuleTexts,
    addresses: Option<Addresses>,
    history: Option<History>,
    /// Counts of all lines.
    pub total: Tally,
    /// Lines whose times lie more than a day ahead of the clock.
    pub ahead: u64,
    /// Failed logins of error logs that were left to the access logs beside them.
    pub left_to_access_logs: u64,
    status: StatusCounts,
    /// Lines by category, standard and urgent.
    kinds: [[u64; 2]; CATEGORIES.len()],
    triage: Triage,
    /// The texts of urgent lines; none where there are none.
    urgent_texts: Option<AhoCorasick>,
    now: i64,
    zone: Tz,
    exemptions: Vec<Exemption>,
    /// How far the other streams have come, where that is known.
    others: Option<i64>,
    /// Whether no other stream is to be read.
    is_last: bool,
    /// How many lines there were when it was settled last.
    settled_at: u64,
    /// What was settled for good while that one is read.
    settled: Vec<Finding>,
}

/// What goes on record of each hour.
struct History {
    tallies: Tallies,
    tops: TopCounts,
}

/// After how many lines what can't change any more is settled, fewer than there may be subjects.
const SETTLE_LINES: u64 = 1 << 16;

/// How many lines are looked at together: so many that each step is done in a tight loop, so few that they stay in the cache.
pub const TOGETHER: usize = 128;

/// What a line is.
pub struct Triaged<'a> {
    /// The raw line.
    pub line: &'a [u8],
    /// The kind of log it belongs to.
    pub category: Category,
    /// Whether somebody should look at it today.
    pub urgent: bool,
    /// Whether it is urgent, tells of a failed login, or is what a rule looks for.
    pub flagged: bool,
}

impl<'a> Triaged<'a> {
    fn new(sighting: &Sighting<'a>, found: bool) -> Self {
        let Facts { category, urgent, failures, .. } = Facts::of(sighting);
        let tells_of_failure = sighting.event.is_some_and(|event| event.tells_of_failure());
        let flagged = found || urgent || failures > 0 || tells_of_failure;
        Self { line: sighting.line, category, urgent, flagged }
    }
}

impl Scanner {
    /// A scanner for these rules in a run at `now`, seconds since 1970 UTC; hours and weekdays are those of `zone`.
    pub fn new<'r>(rules: impl IntoIterator<Item = &'r Rule>, now: i64, zone: Tz) -> Self {
        let rules: Vec<Running> = rules.into_iter().map(|rule| Running::new(rule, zone)).collect();
        Self {
            interests: Interests::new(rules.iter().map(|running| &running.rule)),
            texts: RuleTexts::new(
                rules.iter().map(|running| (running.detector.looks_at(), Kinds::of(running.rule.kinds()))),
            ),
            rules,
            addresses: None,
            history: None,
            total: Tally::default(),
            ahead: 0,
            left_to_access_logs: 0,
            status: StatusCounts::default(),
            kinds: Default::default(),
            triage: Triage::default(),
            urgent_texts: None,
            now,
            zone,
            exemptions: Vec::new(),
            others: None,
            is_last: false,
            settled_at: 0,
            settled: Vec::new(),
        }
    }

    /// Tells urgent lines from others by this table.
    pub fn triage_by(&mut self, triage: Triage) {
        // It fails only where texts are too many and too long for its numbers.
        self.urgent_texts = AhoCorasick::new(&triage.texts).ok().filter(|_| !triage.texts.is_empty());
        self.triage = triage;
    }

    /// Lets these alone: what they do is counted in sums, but by no rule.
    pub fn exempt(&mut self, exemptions: Vec<Exemption>) {
        self.exemptions = exemptions;
    }

    /// Which of these lines no rule looks at.
    fn exempted(&self, sightings: &[Sighting<'_>]) -> [bool; TOGETHER] {
        let mut exempted = [false; TOGETHER];
        if !self.exemptions.is_empty() {
            for (exempted, sighting) in exempted.iter_mut().zip(sightings) {
                let holds = |event| self.exemptions.iter().any(|exemption| exemption.holds(event, sighting.time));
                *exempted = sighting.event.as_ref().is_some_and(holds);
            }
        }
        exempted
    }

    /// Counts per address, too.
    pub fn count_addresses(&mut self) {
        self.addresses = Some(Addresses::default());
    }

    /// Counts what is to go on record of each hour, too, where it is kept for so long.
    pub fn keep_history(&mut self, kept: Duration) {
        let hours = (kept.as_secs() / (60 * 60)) as usize;
        self.history = Some(History { tallies: Tallies::new(self.now, hours), tops: TopCounts::new(self.now, hours) });
    }

    /// What makes digests of paths for these counts, where somebody else has time for it.
    pub fn path_digests(&self) -> Option<Digests> {
        self.history.as_ref().map(|history| history.tops.digests())
    }

    /// Who and what occurred most often in each hour.
    pub fn tops(&mut self) -> impl Iterator<Item = Top> + use<> {
        self.history.as_mut().map(|history| history.tops.take()).into_iter().flatten()
    }

    /// What settles the lines behind that of this number of an input for this one.
    pub fn settler<'a>(&self, input: &'a Input<'a>, stream: &'a mut StreamState, number: u64) -> Settler<'a> {
        Settler::new(input, stream, self.now, number)
    }

    /// Takes settled lines in; `told` learns what they are, where somebody wants to know.
    pub fn take_in(&mut self, input: &Input<'_>, piece: &Piece, mut told: Option<&mut dyn FnMut(&Triaged<'_>)>) {
        let Piece { parsed, settled, .. } = piece;
        let mut number = settled.before;
        for (chunk, settled) in parsed.chunks(TOGETHER).zip(settled.lines.chunks(TOGETHER)) {
            self.take_in_chunk(input, &chunk, settled, number, &mut told);
            number += settled.len() as u64;
        }
        self.ahead += settled.ahead;
        self.left_to_access_logs += settled.left_to_access_logs;
        self.held(input.source, &settled.over, false);
        self.settle_now_and_then(settled.reached);
    }

    fn take_in_chunk(
        &mut self,
        input: &Input<'_>,
        chunk: &Chunk<'_>,
        settled: &[SettledLine],
        before: u64,
        told: &mut Option<&mut dyn FnMut(&Triaged<'_>)>,
    ) {
        self.texts.look(chunk.text, chunk.kinds());
        let all = told.is_some() || self.urgent_texts.is_some() || self.texts.any_found();
        let mut facts = SmallVec::<[Facts<'_>; TOGETHER]>::new();
        let mut sightings = SmallVec::<[Sighting<'_>; TOGETHER]>::new();
        let mut let_in = Vec::new();
        for ((line, settled), number) in chunk.lines().zip(settled).zip(before + 1..) {
            let known = Facts::of_line(line, settled, &self.triage);
            facts.push(known);
            if all || self.interests.of(&known) != 0 {
                let urgent = known.urgent;
                sightings.push(Sighting { urgent, ..settled.sighting(line, input, number) });
            }
            if settled.lets_in {
                let sighting = settled.sighting(line, input, number);
                let event = sighting.event.map(|event| Event { action: Action::LetIn, ..event });
                let_in.push(Sighting { event, ..sighting });
            }
        }
        self.find_urgent_texts(&mut sightings, &mut facts, chunk.text);
        self.count(input, &facts);
        self.count_who(input.source, &facts, |index| chunk.named(index), chunk.paths);
        self.tell_of_requests(&facts, |index| chunk.event(index));
        let found = self.show(&sightings, true);
        self.show_events(&let_in);
        if let Some(told) = told {
            sightings.iter().zip(found).for_each(|(sighting, found)| told(&Triaged::new(sighting, found)));
        }
    }

    /// Shows lines to the rules that may count them, and `by_text` to those that look for a text of theirs; tells which are what these look
    /// for.
    fn show(&mut self, sightings: &[Sighting<'_>], by_text: bool) -> [bool; TOGETHER] {
        let (mut found, mut interests) = ([false; TOGETHER], [0; TOGETHER]);
        for (interests, sighting) in interests.iter_mut().zip(sightings) {
            *interests = self.interests.of(&Facts::of(sighting));
        }
        let exempted = self.exempted(sightings);
        let all = interests.iter().fold(0, |all, one| all | one);
        for (number, (rule, holds_text)) in self.rules.iter_mut().zip(self.texts.found()).enumerate() {
            let (looks, bit) = (by_text && *holds_text, Interests::bit(number));
            if !looks && all & bit == 0 {
                continue;
            }
            let may = |index: usize| (looks || interests[index] & bit != 0) && !exempted[index];
            rule.observe(sightings, may, looks, &mut found);
        }
        found
    }

    /// Tells rules about shares of all requests.
    fn tell_of_requests<'e>(&mut self, facts: &[Facts<'_>], event: impl Fn(usize) -> Option<Event<'e>>) {
        let exemptions = &self.exemptions;
        for running in self.rules.iter_mut().filter(|running| running.rule.is_about_shares()) {
            let rule = &running.rule;
            let is_for_all = exemptions.is_empty() && rule.only.is_empty() && rule.allow.is_empty();
            let is_about = |event: &Event<'_>, time| {
                rule.is_about(event) && !exemptions.iter().any(|exemption| exemption.holds(event, time))
            };
            let requests =
                facts.iter().enumerate().filter(|(_, facts)| matches!(facts.action, Some(Action::Request { .. })));
            let heard = requests
                .filter(|(index, facts)| is_for_all || event(*index).is_some_and(|event| is_about(&event, facts.time)));
            let times: SmallVec<[i64; TOGETHER]> = heard.map(|(_, facts)| facts.time).collect();
            running.hear_requests(&times);
        }
    }

    fn find_urgent_texts(&self, sightings: &mut [Sighting<'_>], facts: &mut [Facts<'_>], text: &[u8]) {
        let Some(searcher) = &self.urgent_texts else { return };
        for hit in searcher.find_iter(text) {
            let at = text[hit.start()..].as_ptr();
            let line = sightings.partition_point(|sighting| sighting.line.as_ptr() <= at);
            let Some(line) = line.checked_sub(1) else { continue };
            // Where there are such texts, all lines are looked at whole.
            if let (Some(sighting), Some(facts)) = (sightings.get_mut(line), facts.get_mut(line)) {
                (sighting.urgent, facts.urgent) = (true, true);
                // What is urgent without being understood counts as that.
                sighting.event.get_or_insert_with(|| Event::plain(Some(sighting.time), Category::Unknown));
            }
        }
    }

    /// Lines too long to be looked at: counted as read and not understood.
    pub fn overlong(&mut self, input: &Input<'_>, stream: &StreamState, lines: u64) {
        if lines == 0 {
            return;
        }
        self.kinds[category_index(Category::Unknown)][0] += lines;
        let bucket = stream.latest().unwrap_or(input.fallback).div_euclid(BUCKET);
        let one = Tally { lines, unparsed: lines, ..Tally::default() };
        self.add(input.source, input.host, bucket, &one);
    }

    /// Not all could be read of a source, so that nobody knows whether it is silent.
    pub fn unread(&mut self, source: &str) {
        self.rules.iter_mut().for_each(|rule| rule.detector.unread(source));
    }

    /// These are all sources, each with whether its files are those of several hosts, and everything will be read that they wrote until
    /// `present`, seconds since 1970 UTC, which a run that was due long before comes behind; to be called after the states are taken up.
    pub fn watch(&mut self, present: i64, sources: &BTreeMap<&str, bool>) {
        for rule in &mut self.rules {
            rule.detector.watch(present, sources);
        }
    }

    /// One stream is read next, until it is said anew: what lies behind it, behind those that are still to be read, of which it must be known
    /// how far they have come, and behind these others need not be kept to the end.
    pub fn read_until_others<'s>(&mut self, to_come: &[Option<i64>], others: impl Iterator<Item = &'s StreamState>) {
        let behind = to_come.iter().copied().min().unwrap_or(Some(i64::MAX));
        let others = self.horizon(others).unwrap_or(i64::MAX);
        self.others = behind.map(|behind| behind.min(others));
        self.is_last = to_come.is_empty();
    }

    /// Settles what is over where a stream has come so far, once there were many lines.
    fn settle_now_and_then(&mut self, reached: Option<i64>) {
        let is_time = self.total.lines >= self.settled_at + SETTLE_LINES;
        // Without a stamp nothing is known to be over.
        if let (Some(others), Some(reached)) = (self.others.filter(|_| is_time), reached) {
            // A stamp ahead of the run is a clock gone wrong.
            let now = reached.min(self.now);
            self.settled_at = self.total.lines;
            // A pause is none before all was read.
            // Nor is anything settled that may wait: lines may come much later than others, at the top of the next file.
            let is_last = self.is_last;
            let rules = self
                .rules
                .iter_mut()
                .filter(|rule| !rule.rule.notices_silence() && (is_last || rule.detector.is_crowded()));
            let found = rules.flat_map(|rule| rule.detector.settle(now.min(others)));
            self.settled.extend(found);
        }
    }

    /// Counts the failures of all sessions. With `provisional`, detectors learn of them but they will be
    /// settled, and counted, by a later run.
    pub fn flush_sessions(&mut self, stream: &mut StreamState, source: &str, provisional: bool) {
        let mut held = Vec::new();
        stream.sessions.settle(i64::MAX, &mut held);
        held.retain(|held| !(provisional && held.may_be_let_in(self.now)));
        self.held(source, &held, provisional);
    }

    /// The findings settled for good, given how far the streams have come.
    pub fn settle<'s>(&mut self, streams: impl Iterator<Item = &'s StreamState>) -> Vec<Finding> {
        let mut settled = std::mem::take(&mut self.settled);
        let horizon = self.horizon(streams);
        for rule in &mut self.rules {
            // Where nothing is written any more, that is what it is about.
            let horizon = if rule.rule.notices_silence() { horizon.or(Some(self.now)) } else { horizon };
            settled.extend(horizon.map(|horizon| rule.detector.settle(horizon)).unwrap_or_default());
        }
        settled
    }

    /// How far all streams have come that are still written to.
    fn horizon<'s>(&self, streams: impl Iterator<Item = &'s StreamState>) -> Option<i64> {
        let active = streams.filter(|stream| stream.is_active(self.now));
        // A stamp ahead of the run is a clock gone wrong, and settles nothing.
        active.filter_map(StreamState::reached).min().map(|horizon| horizon.min(self.now))
    }

    /// The findings that further lines may still change.
    pub fn findings(&mut self) -> Vec<Finding> {
        self.rules.iter_mut().flat_map(|rule| rule.detector.findings()).collect()
    }

    /// The detectors' states by rule.
    ///
    /// # Errors
    /// Fails where JSON can't hold them, which it can.
    pub fn save(&mut self) -> serde_json::Result<BTreeMap<String, SavedDetector>> {
        let zone = self.zone;
        let save = |Running { rule, detector, .. }: &mut Running| {
            let (fingerprint, Remembered { head, pages }) = (detect::fingerprint(rule, zone), detector.save()?);
            Ok((rule.name.clone(), SavedDetector { fingerprint, state: head, pages }))
        };
        self.rules.iter_mut().map(save).collect()
    }

    /// Takes up the detectors' states. A rule that is new or was changed, or whose state can't be read, starts afresh.
    pub fn load(&mut self, mut saved: BTreeMap<String, SavedDetector>) -> Loaded {
        let mut loaded = Loaded::default();
        for Running { rule, detector, .. } in &mut self.rules {
            let Some(SavedDetector { fingerprint, state: head, pages }) = saved.remove(&rule.name) else { continue };
            if !detect::goes_on(&fingerprint, rule, self.zone) {
                loaded.changed.push(rule.name.clone());
                continue;
            }
            match detector.load(Remembered { head, pages }) {
                Ok(()) => loaded.continued.push(rule.name.clone()),
                Err(error) => loaded.broken.push((rule.name.clone(), error)),
            }
        }
        loaded
    }

    /// How many events the rules dropped because there were too many subjects.
    pub fn dropped(&self) -> Vec<(String, u64)> {
        let dropped = self.rules.iter().map(|rule| (rule.rule.name.clone(), rule.detector.dropped()));
        dropped.filter(|(_, dropped)| *dropped > 0).collect()
    }

    /// How many pages of what rules remembered are lost.
    pub fn lost_pages(&self) -> Vec<(String, u64)> {
        let lost = self.rules.iter().map(|rule| (rule.rule.name.clone(), rule.detector.lost_pages()));
        lost.filter(|(_, lost)| *lost > 0).collect()
    }

    /// How many lines each rule counted.
    pub fn counted_lines(&self) -> Vec<(String, u64)> {
        self.rules.iter().map(|rule| (rule.rule.name.clone(), rule.lines)).collect()
    }

    /// The counts per source and bucket.
    pub fn tallies(&mut self) -> Vec<BucketTally> {
        self.history.as_mut().map(|history| history.tallies.take()).unwrap_or_default()
    }

    /// How many lines are not in these, because they are of too many different times.
    pub fn forgotten(&self) -> u64 {
        self.history.as_ref().map_or(0, |history| history.tallies.forgotten())
    }

    /// The counts of so many addresses, those with most events first, and how many there are.
    pub fn addresses(&mut self, most: usize) -> (Vec<(ShortBytes, AddressCounts)>, usize) {
        let addresses = self.addresses.take().unwrap_or_default();
        let all = addresses.len();
        (addresses.sorted(most), all)
    }

    fn held(&mut self, source: &str, held: &[Held], provisional: bool) {
        for held in held.chunks(TOGETHER) {
            let sightings: SmallVec<[Sighting<'_>; TOGETHER]> = held.iter().map(Held::sighting).collect();
            let facts: SmallVec<[Facts<'_>; TOGETHER]> = sightings.iter().map(Facts::of).collect();
            if !provisional {
                self.tally_held(source, &facts);
                self.count_who(source, &facts, |index| Named::of(sightings[index].event), &[]);
            }
            self.show_events(&sightings);
        }
    }

    /// Shows rules what happened besides what their lines tell by themselves. Rules that look at lines have seen these when they were read.
    fn show_events(&mut self, sightings: &[Sighting<'_>]) {
        for sightings in sightings.chunks(TOGETHER) {
            self.show(sightings, false);
        }
    }

    fn tally_held(&mut self, source: &str, facts: &[Facts<'_>]) {
        for same_bucket in facts.chunk_by(|a, b| a.time.div_euclid(BUCKET) == b.time.div_euclid(BUCKET)) {
            let failed_logins = same_bucket.iter().map(|facts| u64::from(facts.failures)).sum();
            let tally = Tally { failed_logins, ..Tally::default() };
            self.add(source, "", same_bucket[0].time.div_euclid(BUCKET), &tally);
        }
    }

    fn count(&mut self, input: &Input<'_>, facts: &[Facts<'_>]) {
        let mut counts = Tally::default();
        let mut bucket = i64::MIN..i64::MIN;
        for facts in facts {
            if !bucket.contains(&facts.time) {
                if counts.lines > 0 {
                    self.add(input.source, input.host, bucket.start / BUCKET, &counts);
                }
                let start = facts.time.div_euclid(BUCKET) * BUCKET;
                (bucket, counts) = (start..start + BUCKET, Tally::default());
            }
            facts.count(&mut counts);
            self.kinds[category_index(facts.category)][usize::from(facts.urgent)] += 1;
            if let Some(Action::Request { status }) = facts.action {
                self.status.add(status);
            }
        }
        if counts.lines > 0 {
            self.add(input.source, input.host, bucket.start / BUCKET, &counts);
        }
    }

    /// Counts who did what in these lines, which name these, and the digests of whose paths are these, as far as they are known.
    fn count_who<'e>(
        &mut self,
        source: &str,
        facts: &[Facts<'_>],
        named: impl Fn(usize) -> Named<'e>,
        paths: &[Option<PathDigest>],
    ) {
        if let Some(addresses) = &mut self.addresses {
            addresses.add(facts);
        }
        if let Some(History { tops, .. }) = &mut self.history {
            tops.add(source, facts, named, paths);
        }
    }

    /// Answers per status.
    pub fn status(&self) -> BTreeMap<u16, u64> {
        self.status.all()
    }

    /// Lines per category, standard and urgent.
    pub fn triage(&self) -> BTreeMap<&'static str, [u64; 2]> {
        let all = CATEGORIES.iter().zip(self.kinds).map(|(category, lines)| (category.as_str(), lines));
        all.filter(|(_, lines)| *lines != [0, 0]).collect()
    }

    fn add(&mut self, source: &str, host: &str, bucket: i64, counts: &Tally) {
        self.total.add(counts);
        for rule in self.rules.iter_mut().filter(|rule| counts.lines > 0 && rule.rule.notices_silence()) {
            rule.detector.hear(source, host, bucket);
            rule.lines += counts.lines;
        }
        if let Some(History { tallies, .. }) = &mut self.history {
            tallies.add(source, bucket, counts);
        }
    }
}

/// Which rules go on from what they remembered.
#[derive(Default)]
pub struct Loaded {
    /// These.
    pub continued: Vec<String>,
    /// These were changed since.
    pub changed: Vec<String>,
    /// What these remembered can't be read, and why.
    pub broken: Vec<(String, serde_json::Error)>,
}

/// A detector's state as stored.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedDetector {
    fingerprint: String,
    /// As it is stored, until it is taken up.
    state: Box<RawValue>,
    /// Stored beside it; none where a page is as it was stored before.
    #[serde(skip)]
    pub pages: BTreeMap<u16, Option<String>>,
}
