//! Counting events per subject in sliding windows, and merging what belongs together.
//!
//! The events of a subject form an episode as long as no two neighbours lie further apart than the merge time.
//! An episode is a finding if any window in it held enough events. Both are properties of the set of
//! events, so the order in which they are seen doesn't matter.

use std::borrow::Cow;
use std::collections::BTreeMap;

use foldhash::HashMap;
use serde_json::value::{RawValue, to_raw_value};

use super::track::{Episode, Single, Track};
pub use super::track::{Limits, Measure};
use super::{LATENESS, MAX_SUBJECTS, Sighting};
use crate::model::short::ShortBytes;
use crate::model::{Breach, Finding, Rule, Subject};

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
    subjects: HashMap<ShortBytes, Watched>,
    /// No event before this time has to be waited for.
    safe: i64,
    dropped: u64,
    /// So many new subjects are turned away before room is looked for again: that looks at every subject.
    patience: usize,
}

/// A subject.
struct Watched {
    /// Once no event before this time will come, something of it may be forgotten.
    due: i64,
    known: Known,
}

/// What is known of a subject, as small as can be: looking for it in memory is what takes the time.
enum Known {
    /// It caused one event, or several at once that are no finding.
    Once(Single),
    /// It caused more.
    Often(Box<Track>),
}

impl Known {
    fn beginning_with(limits: Limits, safe: i64, noted: &Noted, sighting: &Sighting<'_>) -> Self {
        let Noted { times, value, .. } = *noted;
        let single = Single { time: sighting.time, value, times, evidence: sighting.evidence() };
        if times > 0 && !limits.is_reached_by(&single) {
            return Self::Once(single);
        }
        let mut known = Self::Often(Box::default());
        known.add(limits, safe, noted, sighting);
        known
    }

    fn of(track: Track, limits: Limits) -> Self {
        let single = track.single().filter(|single| !limits.is_reached_by(single));
        single.map_or_else(|| Self::Often(Box::new(track)), Self::Once)
    }

    fn add(&mut self, limits: Limits, safe: i64, noted: &Noted, sighting: &Sighting<'_>) {
        if let Self::Once(single) = self {
            *self = Self::Often(Box::new(Track::beginning_with(single, limits)));
        }
        let Self::Often(track) = self else { return };
        if noted.times > 0 {
            track.add(limits, safe, noted.times, noted.value, sighting);
        } else {
            track.add_success(limits, safe, sighting);
        }
    }

    /// Once no event before this time will come, something may be forgotten.
    fn due(&self, limits: Limits) -> i64 {
        match self {
            Self::Once(single) => single.due(limits),
            Self::Often(track) => track.due(limits),
        }
    }

    /// Some number, of all of it that will be needed.
    fn touched(&self) -> i64 {
        match self {
            Self::Once(single) => single.time,
            Self::Often(track) => track.touched(),
        }
    }

    /// How many events there were.
    fn events(&self) -> u64 {
        match self {
            Self::Once(single) => u64::from(single.times),
            Self::Often(track) => track.episodes.iter().map(|episode| episode.count).sum(),
        }
    }

    /// When the last event was, and whether there is a finding.
    fn in_short(&mut self, limits: Limits) -> (i64, bool) {
        match self {
            Self::Once(single) => (single.time, false),
            Self::Often(track) => {
                track.evaluate(limits);
                let last = track.episodes.iter().map(|episode| episode.last).max().unwrap_or(i64::MIN);
                let is_finding = track.episodes.iter().any(|episode| episode.reached.is_some());
                (last, is_finding)
            }
        }
    }

    /// Forgets what lies so long before `safe` that nothing to come can join it; tells from when on there is more to forget, if
    /// anything is left.
    fn settle(&mut self, safe: i64, limits: Limits, ended: impl FnMut(&Episode, &[Breach])) -> Option<i64> {
        match self {
            Self::Once(_) => {}
            Self::Often(track) => track.settle(safe, limits, ended),
        }
        Some(self.due(limits)).filter(|due| *due >= safe)
    }
}

impl Episodes {
    /// No events yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, subjects: HashMap::default(), safe: i64::MIN, dropped: 0, patience: 0 }
    }

    /// Takes what these lines tell into account.
    pub fn observe(&mut self, batch: &Batch, sightings: &[&Sighting<'_>]) {
        // Memory answers many questions at once, but only to a loop that does nothing else.
        let known = batch.iter().filter_map(|(subject, _)| self.subjects.get(subject));
        std::hint::black_box(known.map(|watched| watched.known.touched()).fold(0, |all, one| all ^ one));
        let (limits, safe) = (self.limits, self.safe);
        for (subject, noted) in batch.iter() {
            let sighting = sightings[noted.index];
            if let Some(Watched { due, known }) = self.subjects.get_mut(subject) {
                known.add(limits, safe, noted, sighting);
                *due = known.due(limits);
            } else if self.subjects.len() < MAX_SUBJECTS || self.make_room(sighting.time) {
                let known = Known::beginning_with(limits, safe, noted, sighting);
                self.subjects.insert(subject.into(), Watched { due: known.due(limits), known });
            } else {
                self.dropped += u64::from(noted.times);
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
        self.subjects.retain(|_, Watched { known, .. }| {
            let (last, is_finding) = known.in_short(limits);
            let keep = is_finding || last >= time.saturating_sub(window + LATENESS);
            self.dropped += if keep { 0 } else { known.events() };
            keep
        });
        self.subjects.len() < MAX_SUBJECTS
    }

    /// The findings among the episodes.
    pub fn findings(&mut self, rule: &Rule, subject_of: impl Fn(&[u8]) -> Subject) -> Vec<Finding> {
        let mut found = Vec::new();
        for (name, watched) in &mut self.subjects {
            // A single event is none.
            let Known::Often(track) = &mut watched.known else { continue };
            track.evaluate(self.limits);
            let Track { episodes, successes, .. } = &**track;
            let subject = || subject_of(name.as_slice());
            found.extend(episodes.iter().filter_map(|e| e.finding(rule, subject, successes, self.limits, true)));
        }
        in_order(found)
    }

    /// Drops what lies so far before the horizon that nothing to come can join it.
    pub fn settle(&mut self, horizon: i64, rule: &Rule, subject_of: impl Fn(&[u8]) -> Subject) -> Vec<Finding> {
        let limits = self.limits;
        let safe = horizon.saturating_sub(LATENESS);
        self.safe = self.safe.max(safe);
        let mut settled = Vec::new();
        self.subjects.retain(|name, Watched { due, known }| {
            if *due >= safe {
                return true;
            }
            let next = known.settle(safe, limits, |episode, successes| {
                settled.extend(episode.finding(rule, || subject_of(name.as_slice()), successes, limits, false));
            });
            *due = next.unwrap_or(*due);
            next.is_some()
        });
        in_order(settled)
    }

    /// How many events were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The state, to be stored.
    pub fn save(&mut self, stored: impl Fn(&[u8]) -> String) -> serde_json::Result<Box<RawValue>> {
        let (limits, safe) = (self.limits, self.safe);
        let sorted = self.subjects.iter_mut().map(|(key, watched)| {
            let track = match &mut watched.known {
                Known::Once(single) => Cow::Owned(Track::beginning_with(single, limits)),
                Known::Often(track) => {
                    track.forget_before(safe, limits);
                    Cow::Borrowed(&**track)
                }
            };
            (stored(key.as_slice()), track)
        });
        to_raw_value(&sorted.collect::<BTreeMap<_, _>>())
    }

    /// Takes up a stored state.
    pub fn load(&mut self, state: &RawValue, restored: impl Fn(&str) -> Option<Vec<u8>>) -> serde_json::Result<()> {
        let saved: BTreeMap<String, Track> = serde_json::from_str(state.get())?;
        for (key, track) in saved {
            let key = restored(&key).ok_or_else(|| serde::de::Error::custom(format!("{key:?} is no subject")))?;
            let known = Known::of(track, self.limits);
            self.subjects.insert(key.as_slice().into(), Watched { due: i64::MIN, known });
        }
        Ok(())
    }
}

/// The same findings for the same events in the same order, which a table doesn't have.
fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| (a.first, &a.subject).cmp(&(b.first, &b.subject)));
    findings
}
