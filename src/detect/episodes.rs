//! Counting events per subject in sliding windows, and merging what belongs together.
//!
//! The events of a subject form an episode as long as no two neighbours lie further apart than the merge time.
//! An episode is a finding if any window in it held enough events. Both are properties of the set of
//! events, so the order in which they are seen doesn't matter.

use std::collections::BTreeMap;
use std::time::Duration;

use foldhash::fast::RandomState;
use foldhash::{HashMap, HashMapExt};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use smallvec::{SmallVec, smallvec};

use super::values::Values;
use super::{EVIDENCE_LINES, Kept, LATENESS, MAX_SUBJECTS, Sighting};
use crate::model::short::ShortBytes;
use crate::model::untrusted::printable;
use crate::model::{Breach, Evidence, Finding, Rule, Severity, Subject};

/// How many different values of one episode are told apart.
const MAX_VALUES: usize = 10_000;

/// From how many events of one subject on older ones are let go while a scan still reads, and how late lines may then come,
/// in seconds.
const MANY_EVENTS: usize = 1 << 15;
const VERY_LATE: i64 = 7 * 24 * 60 * 60;

/// How many successes of one subject are remembered.
const MAX_SUCCESSES: usize = 100;

/// The limits of a windowed rule, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many events make a finding.
    pub threshold: u32,
    /// Within how long, both ends included.
    pub window: i64,
    /// The longest pause within an episode.
    pub merge: i64,
    /// What is counted.
    pub measure: Measure,
}

/// What is counted in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Events.
    Events,
    /// Different values.
    Values,
}

impl Limits {
    /// Those of a rule.
    pub fn new(rule: &Rule, threshold: u32, window: Duration, measure: Measure) -> Self {
        Self { threshold, window: window.as_secs() as i64, merge: rule.merge.as_secs() as i64, measure }
    }
}

/// What some lines tell, to be taken into account together.
#[derive(Default)]
pub struct Batch {
    /// The subjects' keys, one behind the other.
    keys: Vec<u8>,
    noted: Vec<Noted>,
}

/// What one line tells of a subject.
struct Noted {
    /// Where its key ends.
    end: usize,
    /// Which line.
    index: usize,
    /// How many events it is; 0 for a success.
    times: u32,
    value: u64,
}

impl Batch {
    /// Notes that a line, by its place among the lines, tells of so many events of a subject with this value.
    pub fn note(&mut self, subject: &[u8], index: usize, times: u32, value: u64) {
        self.keys.extend_from_slice(subject);
        self.noted.push(Noted { end: self.keys.len(), index, times, value });
    }

    /// Notes that it tells of a success of a subject.
    pub fn note_success(&mut self, subject: &[u8], index: usize) {
        self.note(subject, index, 0, 0);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.noted.clear();
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &Noted)> {
        let starts = [0].into_iter().chain(self.noted.iter().map(|noted| noted.end));
        starts.zip(&self.noted).map(|(start, noted)| (&self.keys[start..noted.end], noted))
    }
}

/// Events per subject.
pub struct Episodes {
    limits: Limits,
    subjects: IndexMap<ShortBytes, Track, RandomState>,
    /// Where the subjects of a batch are; none of new ones.
    places: Vec<Option<usize>>,
    dropped: u64,
    /// So many new subjects are turned away before room is looked for again: that looks at every subject.
    patience: usize,
}

/// What is known of one subject.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Track {
    /// Most subjects have but one, and there are very many subjects.
    episodes: SmallVec<[Episode; 1]>,
    /// Times, numbers and values of the events that may still share a window with one to come.
    recent: SmallVec<[(i64, u32, u64); 2]>,
    /// Successes that may follow a finding's failures.
    successes: Vec<Breach>,
    /// Whether there were events since it was evaluated.
    #[serde(skip)]
    changed: bool,
    /// Once no event before this time will come, something may be forgotten.
    #[serde(skip)]
    due: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Episode {
    first: i64,
    last: i64,
    count: u64,
    reached: Option<i64>,
    /// The different values, where these are counted.
    values: Values,
    evidence: Kept,
}

impl Episodes {
    /// No events yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, subjects: IndexMap::default(), places: Vec::new(), dropped: 0, patience: 0 }
    }

    /// Takes what these lines tell into account.
    pub fn observe(&mut self, batch: &Batch, sightings: &[&Sighting<'_>]) {
        // Memory answers many questions at once, but only to a loop that does nothing else.
        let subjects = &self.subjects;
        self.places.clear();
        self.places.extend(batch.iter().map(|(subject, _)| subjects.get_index_of(subject)));
        let mut is_moved = false;
        for (index, (subject, noted)) in batch.iter().enumerate() {
            let (limits, sighting) = (self.limits, sightings[noted.index]);
            let place = self.places[index].filter(|_| !is_moved).or_else(|| self.subjects.get_index_of(subject));
            if place.is_none() && self.subjects.len() >= MAX_SUBJECTS {
                is_moved = true;
                if !self.make_room(sighting.time) {
                    self.dropped += u64::from(noted.times);
                    continue;
                }
            }
            let track = match place.and_then(|place| self.subjects.get_index_mut(place)) {
                Some((_, track)) => track,
                None => self.subjects.entry(subject.into()).or_default(),
            };
            if noted.times > 0 {
                track.add(limits, noted.times, noted.value, sighting);
            } else {
                track.add_success(limits, sighting);
            }
        }
    }

    /// Forgets subjects that are no finding and too long ago to become one; says whether that made room.
    fn make_room(&mut self, time: i64) -> bool {
        let Limits { window, .. } = self.limits;
        if self.patience > 0 {
            self.patience -= 1;
            return false;
        }
        self.patience = MAX_SUBJECTS / 10;
        let limits = self.limits;
        self.subjects.retain(|_, track| {
            track.evaluate(limits);
            let last = track.episodes.iter().map(|episode| episode.last).max().unwrap_or(i64::MIN);
            let keep =
                last >= time.saturating_sub(window + LATENESS) || track.episodes.iter().any(|e| e.reached.is_some());
            if !keep {
                self.dropped += track.episodes.iter().map(|episode| episode.count).sum::<u64>();
            }
            keep
        });
        self.subjects.len() < MAX_SUBJECTS
    }

    /// The findings among the episodes.
    pub fn findings(&mut self, rule: &Rule, subject_of: impl Fn(&[u8]) -> Subject) -> Vec<Finding> {
        let mut found = Vec::new();
        for (name, track) in self.subjects.iter_mut() {
            track.evaluate(self.limits);
            let Track { episodes, successes, .. } = track;
            found.extend(
                episodes
                    .iter()
                    .filter_map(|e| e.finding(rule, || subject_of(name.as_slice()), successes, self.limits, true)),
            );
        }
        found
    }

    /// Drops what lies so far before the horizon that nothing to come can join it.
    pub fn settle(&mut self, horizon: i64, rule: &Rule, subject_of: impl Fn(&[u8]) -> Subject) -> Vec<Finding> {
        let limits = self.limits;
        let Limits { window, merge, .. } = limits;
        let safe = horizon.saturating_sub(LATENESS);
        let mut settled = Vec::new();
        self.subjects.retain(|name, track| {
            if track.due >= safe {
                return true;
            }
            track.evaluate(limits);
            let Track { episodes, successes, recent, .. } = track;
            recent.retain(|(time, ..)| *time >= safe.saturating_sub(window));
            if recent.capacity() > 4 * recent.len() {
                recent.shrink_to_fit();
            }
            episodes.retain(|episode| {
                let open = episode.last.saturating_add(merge) >= safe;
                if !open {
                    settled.extend(episode.finding(rule, || subject_of(name.as_slice()), successes, limits, false));
                }
                open
            });
            let first = episodes.first().map_or(i64::MAX, |episode| episode.first);
            successes.retain(|success| success.time >= first.min(safe.saturating_sub(window)));
            track.due = track.due(limits);
            !track.episodes.is_empty() || !track.successes.is_empty()
        });
        settled
    }

    /// How many events were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The state, to be stored.
    pub fn save(&mut self, stored: impl Fn(&[u8]) -> String) -> serde_json::Result<Box<RawValue>> {
        let sorted = self.subjects.iter().map(|(key, track)| (stored(key.as_slice()), track));
        to_raw_value(&sorted.collect::<BTreeMap<_, _>>())
    }

    /// Takes up a stored state.
    pub fn load(&mut self, state: &RawValue, restored: impl Fn(&str) -> Option<Vec<u8>>) -> serde_json::Result<()> {
        let saved: BTreeMap<String, Track> = serde_json::from_str(state.get())?;
        for (key, track) in saved {
            let key = restored(&key).ok_or_else(|| serde::de::Error::custom(format!("{key:?} is no subject")))?;
            self.subjects.insert(key.as_slice().into(), Track { changed: true, due: i64::MIN, ..track });
        }
        Ok(())
    }
}

impl Track {
    fn add_success(&mut self, limits: Limits, sighting: &Sighting<'_>) {
        if self.successes.len() >= MAX_SUCCESSES {
            self.forget_successes(limits);
        }
        let user = sighting.event.and_then(|event| event.user).map(printable).unwrap_or_default();
        self.successes.push(Breach { time: sighting.time, user });
        self.due = i64::MIN;
    }

    fn add(&mut self, limits: Limits, times: u32, value: u64, sighting: &Sighting<'_>) {
        self.add_to_episode(limits, times, value, sighting);
        (self.changed, self.due) = (true, i64::MIN);
        match self.recent.last_mut() {
            Some((last, count, known)) if (*last, *known) == (sighting.time, value) => {
                *count = count.saturating_add(times);
            }
            _ => {
                self.recent.push((sighting.time, times, value));
                self.forget_long_ago(limits);
            }
        }
    }

    fn add_to_episode(&mut self, limits: Limits, times: u32, value: u64, sighting: &Sighting<'_>) {
        let (time, merge) = (sighting.time, limits.merge);
        let near = |e: &Episode| time >= e.first.saturating_sub(merge) && time <= e.last.saturating_add(merge);
        let Some(index) = self.episodes.iter().position(near) else {
            let evidence = smallvec![(time, sighting.evidence())];
            let mut values = Values::default();
            if limits.measure == Measure::Values {
                values.insert(value);
            }
            let count = u64::from(times);
            self.episodes.push(Episode { first: time, last: time, count, reached: None, values, evidence });
            self.episodes.sort_by_key(|episode| episode.first);
            return;
        };
        self.episodes[index].add(times, value, sighting);
        while self
            .episodes
            .get(index + 1)
            .is_some_and(|next| next.first <= self.episodes[index].last.saturating_add(merge))
        {
            let next = self.episodes.remove(index + 1);
            self.episodes[index].join(next);
        }
    }

    /// When no event before this time will come, something can be forgotten.
    fn due(&self, Limits { window, merge, .. }: Limits) -> i64 {
        let recent = self.recent.iter().map(|(time, ..)| time.saturating_add(window));
        let successes = self.successes.iter().map(|success| success.time.saturating_add(window));
        let episodes = self.episodes.iter().map(|episode| episode.last.saturating_add(merge));
        recent.chain(successes).chain(episodes).min().unwrap_or(i64::MIN)
    }

    /// Lets go of events that no window to come can hold, however late its lines, when there are very many.
    fn forget_long_ago(&mut self, limits: Limits) {
        if self.recent.len() < MANY_EVENTS || !self.recent.len().is_power_of_two() {
            return;
        }
        self.evaluate(limits);
        let latest = self.recent.iter().map(|(time, ..)| *time).max().unwrap_or(0);
        self.recent.retain(|(time, ..)| *time >= latest.saturating_sub(limits.window + VERY_LATE));
    }

    /// Forgets the older half of the successes, but for those that tell of a break-in.
    fn forget_successes(&mut self, limits: Limits) {
        self.evaluate(limits);
        let Self { episodes, successes, .. } = self;
        successes.sort_by_key(|success| success.time);
        let follows = |episode: &Episode, time: i64| {
            episode
                .reached
                .is_some_and(|reached| (reached..=episode.last.saturating_add(limits.window)).contains(&time))
        };
        let breach = |episode: &Episode| successes.iter().position(|success| follows(episode, success.time));
        let breaches: Vec<usize> = episodes.iter().filter_map(breach).collect();
        let mut index = 0;
        successes.retain(|_| {
            index += 1;
            index > MAX_SUCCESSES / 2 || breaches.contains(&(index - 1))
        });
    }

    /// Finds for each episode the first event that completed a window.
    fn evaluate(&mut self, limits: Limits) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let all: u64 = self.recent.iter().map(|(_, times, _)| u64::from(*times)).sum();
        if all < u64::from(limits.threshold) {
            return;
        }
        self.recent.sort_unstable();
        let mut start = 0;
        let mut held = Window::new(limits.measure);
        for end in 0..self.recent.len() {
            let (time, times, value) = self.recent[end];
            held.take_in(times, value);
            while self.recent[start].0 < time.saturating_sub(limits.window) {
                let (_, times, value) = self.recent[start];
                held.let_go(times, value);
                start += 1;
            }
            if held.size() >= u64::from(limits.threshold)
                && let Some(episode) = self.episodes.iter_mut().find(|e| (e.first..=e.last).contains(&time))
            {
                episode.reached = Some(episode.reached.map_or(time, |known| known.min(time)));
            }
        }
    }
}

/// What a window holds.
enum Window {
    Events(u64),
    /// How many events of each value.
    Values(HashMap<u64, u64>),
}

impl Window {
    fn new(measure: Measure) -> Self {
        match measure {
            Measure::Events => Self::Events(0),
            Measure::Values => Self::Values(HashMap::new()),
        }
    }

    fn take_in(&mut self, times: u32, value: u64) {
        match self {
            Self::Events(events) => *events += u64::from(times),
            Self::Values(values) => *values.entry(value).or_default() += u64::from(times),
        }
    }

    fn let_go(&mut self, times: u32, value: u64) {
        match self {
            Self::Events(events) => *events -= u64::from(times),
            Self::Values(values) => {
                let left = values.get(&value).map_or(0, |events| events.saturating_sub(u64::from(times)));
                if left == 0 {
                    values.remove(&value);
                } else {
                    values.insert(value, left);
                }
            }
        }
    }

    fn size(&self) -> u64 {
        match self {
            Self::Events(events) => *events,
            Self::Values(values) => values.len() as u64,
        }
    }
}

impl Episode {
    fn add(&mut self, times: u32, value: u64, sighting: &Sighting<'_>) {
        let time = sighting.time;
        // There are none where they are not counted.
        let room = 1..MAX_VALUES;
        if room.contains(&self.values.len()) {
            self.values.insert(value);
        }
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        self.count += u64::from(times);
        sighting.keep_among_first(&mut self.evidence);
    }

    fn join(&mut self, later: Self) {
        self.first = self.first.min(later.first);
        self.last = self.last.max(later.last);
        self.count += later.count;
        Vec::from(later.values).into_iter().for_each(|value| self.values.insert(value));
        self.reached = [self.reached, later.reached].into_iter().flatten().min();
        self.evidence.extend(later.evidence);
        self.evidence.sort_by_key(|(time, _)| *time);
        self.evidence.truncate(EVIDENCE_LINES);
    }

    fn finding(
        &self,
        rule: &Rule,
        subject: impl FnOnce() -> Subject,
        successes: &[Breach],
        limits: Limits,
        open: bool,
    ) -> Option<Finding> {
        let reached = self.reached?;
        let follows = |success: &&Breach| (reached..=self.last.saturating_add(limits.window)).contains(&success.time);
        let breach = successes.iter().filter(follows).min_by_key(|success| success.time).cloned();
        let severity = if breach.is_some() { Severity::Critical } else { rule.severity };
        Some(Finding {
            rule: rule.name.clone(),
            severity,
            subject: subject(),
            count: match limits.measure {
                Measure::Events => self.count,
                Measure::Values => self.values.len() as u64,
            },
            counted: rule.counted(),
            first: self.first,
            last: self.last,
            reached,
            breach,
            note: None,
            can_wait: false,
            evidence: self.evidence.iter().map(|(_, evidence)| Evidence::clone(evidence)).collect(),
            open,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::shipped_rules;

    #[test]
    fn what_is_let_go_of_very_many_events_hides_none_that_comes_then() {
        let limits = Limits { threshold: 1, window: 60, merge: 3600, measure: Measure::Events };
        let mut episodes = Episodes::new(limits);
        let file: Arc<str> = "x".into();
        // The last one, after a pause, is as many as make older ones go.
        let last = 10 * MANY_EVENTS as i64;
        for time in (1..MANY_EVENTS as i64).chain([last]) {
            let sighting = Sighting {
                time,
                event: None,
                failures: 0,
                urgent: false,
                late: false,
                line: b"x",
                file: &file,
                number: 1,
                kept: Default::default(),
            };
            let mut batch = Batch::default();
            batch.note(b"subject", 0, 1, 0);
            episodes.observe(&batch, &[&sighting]);
        }
        let found = episodes.findings(&shipped_rules()[0], |_| Subject::new());
        let mut reached: Vec<i64> = found.iter().map(|finding| finding.reached).collect();
        reached.sort_unstable();
        assert_eq!(reached, [1, last]);
    }
}
