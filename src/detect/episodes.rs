//! Counting events per subject in sliding windows, and merging what belongs together.
//!
//! The events of a subject form an episode as long as no two neighbours lie further apart than the merge time.
//! An episode is a finding if any window in it held enough events. Both are properties of the set of
//! events, so the order in which they are seen doesn't matter.

use std::borrow::Cow;
use std::collections::BTreeMap;

use foldhash::HashMap;
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;

use super::episode::Episode;
use super::pages::{Remembered, Summary, Unread, page_of};
pub use super::track::{Limits, Measure};
use super::track::{Single, Successes, Track};
use super::tries::Try;
use super::{LATENESS, MAX_SUBJECTS, Sighting, in_order};
use crate::model::short::ShortBytes;
use crate::model::{Finding, Rule, Subject};

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
    /// What it tells; no events are a success.
    told: Try,
}

impl Batch {
    /// Notes that a line, by its place among the lines, tells this of a subject; no events are a success.
    pub fn note(&mut self, subject: &[u8], index: usize, told: Try) {
        self.keys.extend_from_slice(subject);
        self.noted.push(Noted { end: self.keys.len(), index, told });
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

/// How the subjects of a rule are named.
#[derive(Clone, Copy)]
pub struct Names {
    /// A key as it is stored.
    pub stored: fn(&[u8]) -> String,
    /// The key of a stored one; nothing where it can't be read.
    pub restored: fn(&str) -> Option<Vec<u8>>,
    /// The subject behind a key.
    pub subject: fn(&[u8]) -> Subject,
}

/// Tracks by the stored keys of their subjects.
type Tracks<'a> = BTreeMap<String, Cow<'a, Track>>;

/// What is stored besides the pages.
#[derive(Serialize, Deserialize)]
struct Head {
    /// The pages with subjects that are needed at once: those of which something is found, because findings that a scan doesn't know of
    /// are over, and those of which something was found while their page was not read.
    #[serde(default)]
    found: Vec<u8>,
    /// The other pages.
    pages: BTreeMap<u8, Summary>,
}

/// What is added to the numbers of pages with subjects that are needed at once.
const FOUND: u16 = 256;

/// Events per subject.
pub struct Episodes {
    limits: Limits,
    names: Names,
    subjects: HashMap<ShortBytes, Watched>,
    /// Further subjects that nothing is found of.
    unread: Unread,
    /// How many episodes subjects have besides their first, or more. They take as much room as subjects.
    further: usize,
    /// How many pages of them could not be read.
    damaged: u64,
    /// No event before this time has to be waited for.
    safe: i64,
    dropped: u64,
    /// Events that were forgotten because no event to come shares a window with them, unless one comes after all: then they were dropped.
    forgotten: u64,
    /// When the last of them was.
    forgotten_until: i64,
    /// So many new subjects are turned away before room is looked for again: that looks at every subject.
    patience: usize,
}

const _: () = assert!(size_of::<Watched>() <= 56);

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
        let Noted { told, .. } = *noted;
        let single = Single::of(told, limits, sighting);
        if told.times > 0 && !limits.is_reached_by(&single) {
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

    /// Takes in what a line tells; says whether an episode began with it.
    fn add(&mut self, limits: Limits, safe: i64, noted: &Noted, sighting: &Sighting<'_>) -> bool {
        if let Self::Once(single) = self {
            *self = Self::Often(Box::new(Track::beginning_with(single, limits)));
        }
        let Self::Often(track) = self else { return false };
        if noted.told.times > 0 {
            return track.add(limits, safe, noted.told, sighting);
        }
        track.add_success(limits, safe, noted.told, sighting);
        false
    }

    /// How many episodes it has besides the first.
    fn further(&self) -> usize {
        match self {
            Self::Once(_) => 0,
            Self::Often(track) => track.episodes.len().saturating_sub(1),
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
            Self::Once(single) => single.told.time,
            Self::Often(track) => track.touched(),
        }
    }

    /// How many events and successes there were.
    fn events(&self) -> u64 {
        match self {
            Self::Once(single) => u64::from(single.told.times),
            Self::Often(track) => track.events(),
        }
    }

    /// When the last event or success was, and whether there is a finding.
    fn in_short(&mut self, limits: Limits) -> (i64, bool) {
        match self {
            Self::Once(single) => (single.told.time, false),
            Self::Often(track) => {
                track.evaluate(limits);
                let is_finding = track.episodes.iter().any(|episode| episode.reached.is_some());
                (track.last(), is_finding)
            }
        }
    }

    /// Forgets what lies so long before `safe` that nothing to come can join it; tells from when on there is more to forget, if
    /// anything is left.
    fn settle(&mut self, safe: i64, limits: Limits, ended: impl FnMut(&Episode, Successes<'_>)) -> Option<i64> {
        match self {
            Self::Once(_) => {}
            Self::Often(track) => track.settle(safe, limits, ended),
        }
        Some(self.due(limits)).filter(|due| *due >= safe)
    }
}

impl Episodes {
    /// No events yet.
    pub fn new(limits: Limits, names: Names) -> Self {
        let (subjects, unread) = Default::default();
        let (safe, forgotten_until) = (i64::MIN, i64::MIN);
        Self {
            limits,
            names,
            subjects,
            unread,
            further: 0,
            damaged: 0,
            safe,
            dropped: 0,
            forgotten: 0,
            forgotten_until,
            patience: 0,
        }
    }

    /// Takes what these lines tell into account.
    pub fn observe(&mut self, batch: &Batch, sightings: &[&Sighting<'_>]) {
        for (subject, _) in batch.iter() {
            if !self.unread.is_empty() && !self.subjects.contains_key(subject) {
                self.read_page_of(subject);
            }
        }
        // Memory answers many questions at once, but only to a loop that does nothing else.
        let known = batch.iter().filter_map(|(subject, _)| self.subjects.get(subject));
        std::hint::black_box(known.map(|watched| watched.known.touched()).fold(0, |all, one| all ^ one));
        let (limits, safe) = (self.limits, self.safe);
        for (subject, noted) in batch.iter() {
            let sighting = sightings[noted.index];
            if sighting.time <= self.forgotten_until.saturating_add(limits.window) {
                self.dropped += std::mem::take(&mut self.forgotten);
            }
            if let Some(Watched { due, known }) = self.subjects.get_mut(subject) {
                let began = known.add(limits, safe, noted, sighting);
                *due = known.due(limits);
                if began {
                    self.take_in_episode(subject, sighting.time);
                }
            } else if self.has_room() || self.make_room(sighting.time) {
                let known = Known::beginning_with(limits, safe, noted, sighting);
                self.subjects.insert(subject.into(), Watched { due: known.due(limits), known });
            } else {
                self.dropped += u64::from(noted.told.times);
            }
        }
    }

    /// Finds room for an episode that began.
    fn take_in_episode(&mut self, subject: &[u8], time: i64) {
        let limits = self.limits;
        self.further += 1;
        if let Some(Watched { known: Known::Often(track), .. }) = self.subjects.get_mut(subject) {
            self.dropped += track.forget_episodes_where_many(time, limits);
        }
        if !self.has_room() {
            self.make_room(time);
        }
    }

    fn has_room(&self) -> bool {
        self.held() < MAX_SUBJECTS
    }

    /// Whether half of it is taken.
    pub fn is_crowded(&self) -> bool {
        self.held() > MAX_SUBJECTS / 2
    }

    /// How much room is taken.
    fn held(&self) -> usize {
        self.subjects.len() + self.unread.subjects() + self.further
    }

    /// Forgets subjects that are no finding: those too long ago to become one, then those with the fewest events. Says whether that made
    /// room.
    fn make_room(&mut self, time: i64) -> bool {
        if self.patience > 0 {
            self.patience -= 1;
            return false;
        }
        self.read_due(i64::MAX);
        self.forget_episodes(time);
        self.forget_long_ago(time);
        self.forget_rare();
        // Where nearly all are findings there is hardly any room to gain.
        let free = MAX_SUBJECTS.saturating_sub(self.held());
        self.patience = (MAX_SUBJECTS / 10).saturating_sub(free);
        free > 0
    }

    /// Where much of the room is taken by episodes besides the first, lets go of half of those in which nothing was reached.
    fn forget_episodes(&mut self, time: i64) {
        let limits = self.limits;
        let count = |subjects: &HashMap<ShortBytes, Watched>| subjects.values().map(|one| one.known.further()).sum();
        self.further = count(&self.subjects);
        if self.further < MAX_SUBJECTS / 2 {
            return;
        }
        for Watched { known, .. } in self.subjects.values_mut() {
            if let Known::Often(track) = known {
                self.dropped += track.forget_episodes(time, limits);
            }
        }
        self.further = count(&self.subjects);
    }

    fn forget_long_ago(&mut self, time: i64) {
        let limits = self.limits;
        let long_ago = time.saturating_sub(limits.window + LATENESS);
        self.subjects.retain(|_, Watched { known, .. }| {
            let (last, is_finding) = known.in_short(limits);
            let keep = is_finding || last >= long_ago;
            if !keep {
                self.forgotten += known.events();
                self.forgotten_until = self.forgotten_until.max(last);
            }
            keep
        });
    }

    /// Of subjects that are no finding those with the fewest events, of equal ones those of longest ago, until a tenth is free.
    fn forget_rare(&mut self) {
        let limits = self.limits;
        let too_many = (self.held() + MAX_SUBJECTS / 10).saturating_sub(MAX_SUBJECTS);
        let mut rare: Vec<(u64, i64, ShortBytes)> = Vec::new();
        for (name, watched) in &mut self.subjects {
            let (last, is_finding) = watched.known.in_short(limits);
            if !is_finding {
                rare.push((watched.known.events(), last, name.clone()));
            }
        }
        if too_many < rare.len() {
            rare.select_nth_unstable(too_many);
            rare.truncate(too_many);
        }
        for (events, _, name) in rare {
            self.subjects.remove(name.as_slice());
            self.dropped += events;
        }
    }

    /// The findings among the episodes.
    pub fn findings(&mut self, rule: &Rule) -> Vec<Finding> {
        let mut found = Vec::new();
        for (name, watched) in &mut self.subjects {
            // A single event is none.
            let Known::Often(track) = &mut watched.known else { continue };
            track.evaluate(self.limits);
            let subject = || (self.names.subject)(name.as_slice());
            let finding = |episode: &Episode| episode.finding(rule, subject, track.successes(), self.limits, true);
            found.extend(track.episodes.iter().filter_map(finding));
        }
        in_order(found)
    }

    /// Drops what lies so far before the horizon that nothing to come can join it.
    pub fn settle(&mut self, horizon: i64, rule: &Rule) -> Vec<Finding> {
        let (limits, names) = (self.limits, self.names);
        let safe = horizon.saturating_sub(LATENESS);
        self.safe = self.safe.max(safe);
        self.read_due(safe);
        let mut settled = Vec::new();
        self.subjects.retain(|name, Watched { due, known }| {
            if *due >= safe {
                return true;
            }
            let next = known.settle(safe, limits, |episode, successes| {
                settled.extend(episode.finding(rule, || (names.subject)(name.as_slice()), successes, limits, false));
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

    /// How many pages of what was remembered are not there or can't be read.
    pub fn lost_pages(&self) -> u64 {
        self.unread.missing() + self.damaged
    }

    /// The state, to be stored.
    pub fn save(&mut self) -> serde_json::Result<Remembered> {
        let (limits, safe) = (self.limits, self.safe);
        let mut found: BTreeMap<u8, Tracks<'_>> = BTreeMap::new();
        let mut pages: BTreeMap<u8, (i64, Tracks<'_>)> = BTreeMap::new();
        for (key, watched) in &mut self.subjects {
            let track = match &mut watched.known {
                Known::Once(single) => Cow::Owned(Track::beginning_with(single, limits)),
                Known::Often(track) => {
                    track.forget_before(safe, limits);
                    Cow::Borrowed(&**track)
                }
            };
            let (stored, page) = ((self.names.stored)(key.as_slice()), page_of(key.as_slice()));
            if track.is_found(limits) || self.unread.holds(page) {
                found.entry(page).or_default().insert(stored, track);
            } else {
                let (due, tracks) = pages.entry(page).or_insert((i64::MAX, Tracks::new()));
                *due = track.due(limits).min(*due);
                tracks.insert(stored, track);
            }
        }
        let written = pages.iter().map(|(page, (due, tracks))| (*page, Summary { due: *due, subjects: tracks.len() }));
        let summaries = written.chain(self.unread.summaries()).collect();
        let head = to_raw_value(&Head { found: found.keys().copied().collect(), pages: summaries })?;
        let found = found.iter().map(|(page, tracks)| (FOUND + u16::from(*page), tracks));
        let written = found.chain(pages.iter().map(|(page, (_, tracks))| (u16::from(*page), tracks)));
        let written = written.map(|(page, tracks)| Ok((page, Some(serde_json::to_string(tracks)?))));
        let unread = self.unread.summaries().map(|(page, _)| Ok((page.into(), None)));
        Ok(Remembered { head, pages: written.chain(unread).collect::<serde_json::Result<_>>()? })
    }

    /// Takes up a stored state.
    pub fn load(&mut self, Remembered { head, mut pages }: Remembered) -> serde_json::Result<()> {
        let Head { found, pages: summaries } = serde_json::from_str(head.get())?;
        for page in found {
            match pages.remove(&(FOUND + u16::from(page))).flatten() {
                Some(page) => self.read(&page),
                None => self.damaged += 1,
            }
        }
        self.unread = Unread::new(&summaries, pages);
        Ok(())
    }

    fn read_page_of(&mut self, subject: &[u8]) {
        if let Some(page) = self.unread.take(page_of(subject)) {
            self.read(&page);
        }
    }

    /// Reads the pages in which something is over when no event before this time will come.
    fn read_due(&mut self, safe: i64) {
        let due: Vec<u8> = self.unread.summaries().filter(|(_, page)| page.due < safe).map(|(page, _)| page).collect();
        for page in due {
            if let Some(page) = self.unread.take(page) {
                self.read(&page);
            }
        }
    }

    fn read(&mut self, page: &str) {
        let read = serde_json::from_str(page).and_then(|tracks| self.take_up(tracks));
        self.damaged += u64::from(read.is_err());
    }

    fn take_up(&mut self, tracks: Tracks<'_>) -> serde_json::Result<()> {
        for (stored, track) in tracks {
            let key = (self.names.restored)(&stored)
                .ok_or_else(|| serde::de::Error::custom(format!("{stored:?} is no subject")))?;
            let known = Known::of(track.into_owned(), self.limits);
            self.subjects.insert(key.as_slice().into(), Watched { due: i64::MIN, known });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::subject::NAMES;
    use super::super::track::Meaning;
    use super::*;
    use crate::config::shipped_rules;
    use crate::demo::random::Random;

    const LIMITS: Limits =
        Limits { threshold: 4, window: 60, merge: 120, measure: Measure::Events, success: Meaning::GotIn };

    /// What a database would hold.
    #[derive(Default)]
    struct Stored {
        head: Option<Box<serde_json::value::RawValue>>,
        pages: BTreeMap<u16, String>,
        /// How many pages were kept as they were.
        kept: usize,
    }

    impl Stored {
        fn put(&mut self, episodes: &mut Episodes) {
            let Remembered { head, pages } = episodes.save().unwrap();
            self.head = Some(head);
            self.pages.retain(|page, _| pages.contains_key(page));
            for (page, text) in pages {
                match text {
                    Some(text) => drop(self.pages.insert(page, text)),
                    None => self.kept += 1,
                }
            }
        }

        fn take_up(&self) -> Episodes {
            let mut episodes = Episodes::new(LIMITS, NAMES);
            let pages = self.pages.iter().map(|(page, text)| (*page, Some(text.clone()))).collect();
            let head = self.head.clone().unwrap();
            episodes.load(Remembered { head, pages }).unwrap();
            episodes
        }
    }

    /// Shows an event of one of 256 addresses, or a success.
    fn show(episodes: &mut Episodes, time: i64, address: u8, times: u32) {
        show_of(episodes, time, &[b'4', 192, 0, 2, address], times);
    }

    fn show_of(episodes: &mut Episodes, time: i64, key: &[u8], times: u32) {
        let (line, file, kept, who) = (&b"x"[..], &Arc::from("x"), Default::default(), Default::default());
        let (event, failures, urgent, late, number) = (None, 0, false, false, 1);
        let mut batch = Batch::default();
        batch.note(key, 0, Try { who: 0, time, times, value: 0, is_guess: true });
        episodes.observe(&batch, &[&Sighting { time, event, failures, urgent, late, line, file, number, kept, who }]);
    }

    #[test]
    fn what_was_stored_and_is_taken_up_where_it_is_needed_finds_the_same() {
        let (rule, mut random, mut stored) = (&shipped_rules()[0], Random::new(1), Stored::default());
        let mut always = Episodes::new(LIMITS, NAMES);
        let mut again = Episodes::new(LIMITS, NAMES);
        let (mut found, mut found_again) = (Vec::new(), Vec::new());
        let mut time = 0;
        for round in 0..6000 {
            time += random.below(3) as i64;
            // A few come often.
            let address = if random.below(2) == 0 { random.below(20) } else { random.below(256) } as u8;
            let times = random.below(3) as u32;
            show(&mut always, time, address, times);
            show(&mut again, time, address, times);
            if round % 10 == 9 {
                found.extend(always.settle(time, rule));
                found_again.extend(again.settle(time, rule));
                stored.put(&mut again);
                assert!(always.findings(rule) == again.findings(rule), "round {round} before it is stored");
                again = stored.take_up();
                assert!(always.findings(rule) == again.findings(rule), "round {round}");
            }
        }
        assert_eq!(found, found_again);
        assert!(found.len() > 100, "{}", found.len());
        assert!(stored.kept > 50_000, "{} pages were not read", stored.kept);
    }

    /// Shows so many addresses with one event each and one after every 250 with four, so many of them in a second; returns how many of the
    /// latter are missed, and how many events are said to be dropped.
    fn storm(addresses: u32, in_a_second: u32) -> (usize, u64) {
        let mut episodes = Episodes::new(LIMITS, NAMES);
        for n in 0..addresses {
            let [a, b, c, d] = n.to_be_bytes();
            show_of(&mut episodes, (n / in_a_second).into(), &[b'4', a, b, c, d], 1);
            if n % 250 == 249 {
                (0..4).for_each(|_| show_of(&mut episodes, (n / in_a_second).into(), &[b'4', 127, b, c, d], 1));
            }
        }
        let found = episodes.findings(&shipped_rules()[0]).len();
        (addresses as usize / 250 - found, episodes.dropped())
    }

    #[test]
    fn no_attack_is_missed_however_many_subjects_come_one_after_the_other_or_at_once() {
        assert_eq!(storm(350_000, 50), (0, 0));
        let (missed, dropped) = storm(350_000, 1000);
        assert_eq!(missed, 0);
        assert!((100_000..300_000).contains(&dropped), "{dropped}");
    }

    #[test]
    fn what_was_forgotten_as_long_ago_was_dropped_where_a_log_of_the_same_time_is_read_behind_it() {
        let mut episodes = Episodes::new(LIMITS, NAMES);
        for n in 0..MAX_SUBJECTS as u32 + 10 {
            let [a, b, c, d] = n.to_be_bytes();
            show_of(&mut episodes, n.into(), &[b'4', a, b, c, d], 1);
        }
        assert_eq!(episodes.dropped(), 0);
        show(&mut episodes, 5, 1, 1);
        assert!(episodes.dropped() > 90_000, "{}", episodes.dropped());
    }

    #[test]
    fn a_page_that_is_damaged_or_gone_costs_its_subjects_only() {
        let (rule, mut stored) = (&shipped_rules()[0], Stored::default());
        let mut episodes = Episodes::new(LIMITS, NAMES);
        (0..=255).for_each(|address| show(&mut episodes, 0, address, 3));
        stored.put(&mut episodes);
        let [gone, damaged] = [7, 8].map(|address| page_of(&[b'4', 192, 0, 2, address]));
        stored.pages.remove(&u16::from(gone));
        stored.pages.insert(damaged.into(), "{".to_owned());
        let mut episodes = stored.take_up();
        (0..=255).for_each(|address| show(&mut episodes, 1, address, 1));
        assert_eq!(episodes.lost_pages(), 2);
        let lost = (0..=255_u8).filter(|address| [gone, damaged].contains(&page_of(&[b'4', 192, 0, 2, *address])));
        assert_eq!(episodes.findings(rule).len(), 256 - lost.count());
    }
}
