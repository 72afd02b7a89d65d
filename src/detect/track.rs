//! What one subject caused, as far as it may still matter: its episodes and the events that may share a window with one to come.

use std::cmp::Reverse;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::episode::Episode;
use super::tries::{SOON, Try};
use super::window::Window;
use super::{KeptLine, Sighting};
use crate::model::untrusted::printable;
use crate::model::{Action, Field, Rule, RuleKind};

/// How many episodes below the threshold are kept of one subject. Where they lie an hour apart these are nearly three months, and a scan that
/// reads one log after the other may not yet know whether they are over.
const MAX_EPISODES: usize = 2000;

/// From so many events of one subject on those that matter no more are let go of.
const FEW_EVENTS: usize = 8;

/// From how many on older ones are let go while a scan still reads, and how late lines may then come, in seconds.
const MANY_EVENTS: usize = 1 << 15;
const VERY_LATE: i64 = 7 * 24 * 60 * 60;

/// From how many successes of one subject on the older ones are let go of, whenever there are twice as many, and of how many it is remembered
/// only when they were.
const MANY_SUCCESSES: usize = 512;
const MAX_LOGINS: usize = 10_000;

/// Of how many successes of a subject the lines are kept: where it has no failures, of whoever it is, and of who failed.
const SHOWN_SUCCESSES: usize = 8;
const SHOWN_OF_ANYBODY: usize = 64;
const SHOWN_OF_FAILED: usize = 128;

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
    /// What a success means.
    pub success: Meaning,
}

/// What it means that a subject gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing.
    Nothing,
    /// That some of its failures may have been mistakes.
    Mistakes,
    /// The same, and else that it got in.
    GotIn,
    /// What the rule looks for.
    Found,
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
    /// How long after its last event nothing can change an episode any more.
    fn open_for(&self) -> i64 {
        self.merge.max(SOON)
    }

    /// Whether the events of one line are enough.
    pub fn is_reached_by(&self, single: &Single) -> bool {
        let size = if self.measure == Measure::Events { single.told.times } else { 1 };
        size >= self.threshold
    }

    /// Those of a rule.
    pub fn new(rule: &Rule, threshold: u32, window: Duration, measure: Measure) -> Self {
        let success = match &rule.kind {
            RuleKind::Sequence { .. } => Meaning::Found,
            _ if !rule.heeds_logins() => Meaning::Nothing,
            // That an account is used after others guessed at it proves nothing; that an address gets in does.
            RuleKind::Count { by, .. } | RuleKind::Distinct { by, .. } if by.contains(&Field::SourceIp) => {
                Meaning::GotIn
            }
            _ => Meaning::Mistakes,
        };
        Self { threshold, window: window.as_secs() as i64, merge: rule.merge.as_secs() as i64, measure, success }
    }
}

/// The only events of a subject, those of one line: most subjects have no others, and there are very many subjects.
#[derive(Debug)]
pub struct Single {
    /// What it tells.
    pub told: Try,
    /// The line.
    pub evidence: KeptLine,
}

/// What is known of one subject that caused several events. What each further event needs lies in front, because there are very many
/// subjects, and each line of the processor's cache that has to come from memory takes longer than all that is done with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[repr(C)]
pub struct Track {
    /// Before which time no event was waited for when events were last let go of.
    #[serde(skip, default = "never")]
    forgot: i64,
    /// Whether there were events since it was evaluated.
    #[serde(skip, default = "yes")]
    changed: bool,
    /// Whether logins may be in no order but for the last one.
    #[serde(skip, default = "yes")]
    is_mixed: bool,
    /// Times, numbers and values of the events that may still share a window with one to come.
    recent: SmallVec<[(i64, u32, u64); 2]>,
    /// In the order of time, apart from each other by more than the merge time; hardly any subject has two at once.
    pub episodes: SmallVec<[Episode; 1]>,
    /// Successes that may follow a finding's failures, in the order of time.
    pub successes: Vec<Success>,
    /// When who got in, by the same digests as of those who failed, in that order, too.
    #[serde(default)]
    logins: Vec<(i64, u64)>,
}

/// Successes of a subject.
#[derive(Clone, Copy)]
pub struct Successes<'a> {
    /// What they tell.
    pub successes: &'a [Success],
    /// When who got in, in the order of time.
    pub logins: &'a [(i64, u64)],
}

/// A success that may follow a finding's failures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Success {
    /// When, in seconds since 1970 UTC.
    pub time: i64,
    /// The account.
    pub user: String,
    /// As [`Try::who`]; 0 where an older version stored it.
    #[serde(default)]
    pub who: u64,
    /// The line that tells of it; none where an older version stored it, or very many came before any failure.
    pub evidence: Option<KeptLine>,
}

impl Single {
    /// What a line tells.
    pub fn of(told: Try, limits: Limits, sighting: &Sighting<'_>) -> Self {
        let told = if limits.success == Meaning::Nothing { told } else { told.by(sighting) };
        Self { told, evidence: sighting.evidence() }
    }

    /// From when on no event can join it.
    pub fn due(&self, limits: Limits) -> i64 {
        self.told.time.saturating_add(limits.open_for())
    }
}

fn yes() -> bool {
    true
}

fn never() -> i64 {
    i64::MIN
}

impl Default for Track {
    fn default() -> Self {
        let (episodes, recent, successes, logins) = Default::default();
        Self { episodes, recent, successes, logins, changed: false, is_mixed: false, forgot: never() }
    }
}

impl Track {
    /// One that begins with these events.
    pub fn beginning_with(single: &Single, limits: Limits) -> Self {
        let Single { told, ref evidence } = *single;
        let mut track = Self { changed: true, ..Self::default() };
        track.begin_episode(Single { told, evidence: evidence.clone() }, limits);
        track.recent.push((told.time, told.times, told.value));
        track
    }

    /// The only events it had, if there are no others.
    pub fn single(&self) -> Option<Single> {
        let ([episode], [(time, times, value)]) = (&*self.episodes, &*self.recent) else { return None };
        let is_single = self.logins.is_empty()
            && self.successes.is_empty()
            && episode.reached.is_none()
            && episode.count == u64::from(*times);
        let (_, evidence) = episode.evidence.first().filter(|_| is_single && episode.evidence.len() == 1)?;
        let (who, is_guess) = episode.tries.only().map_or((0, true), |only| (only.who, only.is_guess));
        let told = Try { who, time: *time, times: *times, value: *value, is_guess };
        Some(Single { told, evidence: evidence.clone() })
    }

    /// Some number, of all of it that one more event needs.
    pub fn touched(&self) -> i64 {
        let episode = self.episodes.first().map_or(0, |episode| episode.last ^ i64::from(episode.reached.is_some()));
        episode ^ self.recent.last().map_or(0, |(time, ..)| *time) ^ self.forgot
    }

    /// Takes a success in.
    pub fn add_success(&mut self, limits: Limits, safe: i64, told: Try, sighting: &Sighting<'_>) {
        self.forget_once(safe, limits);
        let told = told.by(sighting);
        // That a web server let somebody in is but inferred, and excuses nothing.
        let is_sure = sighting.event.is_none_or(|event| event.action != Action::LetIn);
        if told.who != 0 && is_sure {
            self.add_login((told.time, told.who));
        }
        if limits.success == Meaning::Mistakes {
            return;
        }
        if self.successes.len() >= MANY_SUCCESSES && self.successes.len().is_power_of_two() {
            self.forget_successes(limits);
        }
        let user = sighting.event.and_then(|event| event.user).map(printable).unwrap_or_default();
        // There are very many addresses that only ever get in; but a failure may be told behind the login that followed it.
        let known = self.successes.len();
        let has_failed = || self.episodes.iter().any(|episode| episode.tries.are_of(told.who));
        let is_kept = known < if self.episodes.is_empty() { SHOWN_SUCCESSES } else { SHOWN_OF_ANYBODY }
            || known < SHOWN_OF_FAILED && has_failed();
        let evidence = is_kept.then(|| sighting.evidence());
        let at = self.successes.partition_point(|known| known.time <= told.time);
        self.successes.insert(at, Success { time: told.time, user, who: told.who, evidence });
    }

    /// Remembers when who got in. The latest stays the last one, which is asked for at every event; the others are sorted when they are needed.
    fn add_login(&mut self, login: (i64, u64)) {
        if self.logins.len() >= MAX_LOGINS {
            self.sort();
            self.logins.drain(..MAX_LOGINS / 2);
        }
        let latest = self.logins.last().copied();
        self.logins.push(login);
        if let Some(latest) = latest.filter(|latest| *latest > login) {
            let place = self.logins.len() - 2;
            (self.logins[place], self.logins[place + 1], self.is_mixed) = (login, latest, true);
        }
    }

    /// Puts in order what came in another one, or was stored so.
    fn sort(&mut self) {
        if std::mem::take(&mut self.is_mixed) {
            self.logins.sort_unstable();
            self.successes.sort_by_key(|success| success.time);
        }
    }

    /// Takes in what a line tells; says whether an episode began with it. No event before `safe` has to be waited for.
    pub fn add(&mut self, limits: Limits, safe: i64, told: Try, sighting: &Sighting<'_>) -> bool {
        let Try { time, times, value, .. } = told;
        self.forget_once(safe, limits);
        let index = self.episode_near(time, limits);
        match index {
            Some(index) => {
                self.episodes[index].add(told, limits, sighting);
                self.join_neighbours(index, limits);
            }
            None => self.begin_episode(Single::of(told, limits, sighting), limits),
        }
        if index.is_some_and(|index| self.episodes[index].is_reached_by(time)) {
            return false;
        }
        self.changed = true;
        match self.recent.last_mut() {
            Some((last, count, known)) if (*last, *known) == (time, value) => *count = count.saturating_add(times),
            _ => {
                self.recent.push((time, times, value));
                self.forget_where_many(limits);
            }
        }
        index.is_none()
    }

    fn episode_near(&self, time: i64, Limits { merge, .. }: Limits) -> Option<usize> {
        let index = self.episodes.partition_point(|episode| episode.last.saturating_add(merge) < time);
        let near = |episode: &Episode| time >= episode.first.saturating_sub(merge);
        self.episodes.get(index).is_some_and(near).then_some(index)
    }

    fn begin_episode(&mut self, single: Single, limits: Limits) {
        let index = self.episodes.partition_point(|episode| episode.first < single.told.time);
        self.episodes.insert(index, Episode::beginning_with(single, limits));
    }

    /// Where there are many episodes, now and then lets go of half of those in which nothing was reached.
    pub fn forget_episodes_where_many(&mut self, time: i64, limits: Limits) -> u64 {
        let is_time = self.episodes.len() >= MAX_EPISODES && self.episodes.len().is_multiple_of(MAX_EPISODES / 2);
        if is_time { self.forget_episodes(time, limits) } else { 0 }
    }

    /// Of several episodes in which nothing was reached lets go of half, of the smallest, of those farthest from this time. Tells how many
    /// events it forgot.
    pub fn forget_episodes(&mut self, time: i64, limits: Limits) -> u64 {
        if self.episodes.len() < 2 {
            return 0;
        }
        self.evaluate(limits);
        let unreached = self.episodes.iter().filter(|episode| episode.reached.is_none());
        let mut sizes: Vec<_> = unreached.map(|episode| episode.size(time)).collect();
        if sizes.len() < 2 {
            return 0;
        }
        let middle = sizes.len() / 2;
        let (_, &mut least, _) = sizes.select_nth_unstable(middle);
        let mut forgotten = 0;
        self.episodes.retain(|episode| {
            let keep = episode.reached.is_some() || episode.size(time) >= least;
            forgotten += if keep { 0 } else { episode.count };
            keep
        });
        let Self { recent, episodes, .. } = self;
        recent.retain(|(time, ..)| episode_of(episodes, *time).is_some());
        forgotten
    }

    fn join_neighbours(&mut self, index: usize, Limits { merge, .. }: Limits) {
        let reaches = |episode: &Episode, next: &Episode| next.first <= episode.last.saturating_add(merge);
        while self.episodes.get(index + 1).is_some_and(|next| reaches(&self.episodes[index], next)) {
            let next = self.episodes.remove(index + 1);
            self.episodes[index].join(next);
        }
    }

    /// Drops what lies so long before `safe` that nothing to come can join it; `ended` learns of the episodes, with the successes.
    pub fn settle(&mut self, safe: i64, limits: Limits, mut ended: impl FnMut(&Episode, Successes<'_>)) {
        self.forget_before(safe, limits);
        let Self { episodes, successes, logins, .. } = self;
        episodes.retain(|episode| {
            let open = episode.last.saturating_add(limits.open_for()) >= safe;
            if !open {
                ended(episode, Successes { successes, logins });
            }
            open
        });
        self.forget_successes_before(safe, limits);
    }

    /// When the last event or success was.
    pub fn last(&self) -> i64 {
        let event = self.episodes.last().map(|episode| episode.last);
        event.max(self.last_success()).unwrap_or(i64::MIN)
    }

    fn last_success(&self) -> Option<i64> {
        let success = self.successes.last().map(|success| success.time);
        success.max(self.logins.last().map(|(time, _)| *time))
    }

    /// How many events and successes it had.
    pub fn events(&self) -> u64 {
        let failures: u64 = self.episodes.iter().map(|episode| episode.count).sum();
        failures + self.successes.len().max(self.logins.len()) as u64
    }

    /// The successes that may follow its failures.
    pub fn successes(&self) -> Successes<'_> {
        Successes { successes: &self.successes, logins: &self.logins }
    }

    /// Whether something of it is found, as far as it was evaluated.
    pub fn is_found(&self, limits: Limits) -> bool {
        self.episodes.iter().any(|episode| episode.is_found(self.successes(), limits).is_some())
    }

    /// Once no event before this time will come, its first episode is over, or nothing is left of it where it has none.
    pub fn due(&self, limits: Limits) -> i64 {
        let first = self.episodes.first().map(|episode| episode.last.saturating_add(limits.open_for()));
        first.or_else(|| Some(self.last_success()?.saturating_add(limits.window))).unwrap_or(i64::MIN)
    }

    /// Lets go of what shares a window with no event from `safe` on. Late events are kept until the next time, because there may be
    /// enough of them.
    pub fn forget_before(&mut self, safe: i64, limits: Limits) {
        self.evaluate(limits);
        self.recent.retain(|(time, ..)| *time >= safe.saturating_sub(limits.window));
        if limits.measure == Measure::Values && self.recent.len() > FEW_EVENTS {
            self.keep_last_of_each_value(safe);
        }
        if self.recent.capacity() > 4 * self.recent.len() {
            self.recent.shrink_to_fit();
        }
        self.forget_successes_before(safe, limits);
        self.forgot = safe;
    }

    /// The same, but once only for the same time.
    fn forget_once(&mut self, safe: i64, limits: Limits) {
        if self.forgot < safe {
            self.forget_before(safe, limits);
        }
    }

    /// Of several events of one value before `safe` only the last one can be in a window to come: whichever holds one before holds it.
    fn keep_last_of_each_value(&mut self, safe: i64) {
        self.recent.sort_unstable_by_key(|(time, _, value)| (*value, Reverse(*time)));
        let mut last = None;
        self.recent.retain(|(time, _, value)| {
            let is_later_known = last == Some(*value);
            last = if *time <= safe { Some(*value) } else { last };
            *time > safe || !is_later_known
        });
        self.recent.sort_unstable();
    }

    fn forget_successes_before(&mut self, safe: i64, limits: Limits) {
        let first = self.episodes.first().map_or(i64::MAX, |episode| episode.first);
        let from = first.min(safe.saturating_sub(limits.window));
        // A success tells of nothing that has no failure just before it, and none before `safe` comes any more.
        let Self { episodes, successes, .. } = &mut *self;
        let follows = |time| episodes.iter().any(|episode| episode.tries.any_before(time, limits.window));
        successes.retain(|success| {
            let time = success.time;
            time >= from && (time >= safe || follows(time))
        });
        self.logins.retain(|(time, _)| *time >= from);
    }

    /// Lets go of events that matter no more, now and then, and of those that no window to come can hold, however late its lines, when
    /// there are very many.
    fn forget_where_many(&mut self, limits: Limits) {
        if self.recent.len() < FEW_EVENTS || !self.recent.len().is_power_of_two() {
            return;
        }
        self.evaluate(limits);
        let Self { recent, episodes, .. } = self;
        recent.retain(|(time, ..)| {
            !episode_of(episodes, *time).is_some_and(|index| episodes[index].is_reached_by(*time))
        });
        if self.recent.len() >= MANY_EVENTS {
            let latest = self.recent.iter().map(|(time, ..)| *time).max().unwrap_or(0);
            self.recent.retain(|(time, ..)| *time >= latest.saturating_sub(limits.window + VERY_LATE));
        }
    }

    /// Forgets the older successes, but for those that tell of a break-in.
    fn forget_successes(&mut self, limits: Limits) {
        self.evaluate(limits);
        let known = self.successes();
        let found = self.episodes.iter().flat_map(|episode| {
            let first = episode.is_found(known, limits).and_then(|(_, success)| success);
            first.map_or_else(Vec::new, |first| episode.told_of(first, known, limits))
        });
        let breaches: Vec<usize> =
            found.filter_map(|one| known.successes.iter().position(|known| std::ptr::eq(known, one))).collect();
        let (mut index, older) = (0, known.successes.len() - MANY_SUCCESSES / 2);
        self.successes.retain(|_| {
            index += 1;
            index > older || breaches.contains(&(index - 1))
        });
    }

    /// Finds for each episode the first event that completed a window.
    pub fn evaluate(&mut self, limits: Limits) {
        self.sort();
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
                && let Some(index) = episode_of(&self.episodes, time)
            {
                let episode = &mut self.episodes[index];
                episode.reached = Some(episode.reached.map_or(time, |known| known.min(time)));
            }
        }
    }
}

/// The episode in which this time lies.
fn episode_of(episodes: &[Episode], time: i64) -> Option<usize> {
    let index = episodes.partition_point(|episode| episode.last < time);
    episodes.get(index).is_some_and(|episode| episode.first <= time).then_some(index)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::episodes::{Batch, Episodes, Names};
    use super::super::{LATENESS, Remembered};
    use super::*;
    use crate::config::shipped_rules;
    use crate::demo::random::Random;
    use crate::model::Subject;

    /// There is but one.
    const NAMES: Names =
        Names { stored: |_| "x".to_owned(), restored: |_| Some(b"subject".to_vec()), subject: |_| Subject::new() };

    /// Shows so many events with this value, told by one line.
    fn show(episodes: &mut Episodes, (time, times, value): (i64, u32, u64)) {
        let (line, file, kept, who) = (&b"x"[..], &Arc::from("x"), Default::default(), Default::default());
        let (event, failures, urgent, late, number) = (None, 0, false, false, 1);
        let mut batch = Batch::default();
        batch.note(b"subject", 0, Try { who: 0, time, times, value, is_guess: true });
        episodes.observe(&batch, &[&Sighting { time, event, failures, urgent, late, line, file, number, kept, who }]);
    }

    #[test]
    fn what_is_let_go_of_very_many_events_hides_none_that_comes_then() {
        let limits =
            Limits { threshold: 1, window: 60, merge: 3600, measure: Measure::Events, success: Meaning::GotIn };
        let mut episodes = Episodes::new(limits, NAMES);
        // The last one, after a pause, is as many as make older ones go.
        let last = 10 * MANY_EVENTS as i64;
        for time in (1..MANY_EVENTS as i64).chain([last]) {
            show(&mut episodes, (time, 1, 0));
        }
        let found = episodes.findings(&shipped_rules()[0]);
        let mut reached: Vec<i64> = found.iter().map(|finding| finding.reached).collect();
        reached.sort_unstable();
        assert_eq!(reached, [1, last]);
    }

    /// Events of one subject, some late, in the order in which they are told: time, how many, value.
    fn events(random: &mut impl FnMut(i64) -> i64) -> Vec<(i64, u32, u64)> {
        let mut events = Vec::new();
        let mut time = 0;
        for _ in 0..60 {
            time += [random(5), random(80), random(80), random(1500)][random(4) as usize];
            events.push((time + random(LATENESS), (time, 1 + random(2) as u32, random(4) as u64)));
        }
        events.sort_unstable();
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// What is found of them, if what is over is settled before one of `settled` of them.
    fn found(events: &[(i64, u32, u64)], limits: Limits, mut settled: impl FnMut() -> bool) -> Vec<[i64; 4]> {
        let (mut episodes, rule) = (Episodes::new(limits, NAMES), &shipped_rules()[0]);
        let mut findings = Vec::new();
        for (place, event) in events.iter().enumerate() {
            if settled() {
                let to_come = events[place..].iter().map(|(time, ..)| *time).min().unwrap();
                findings.extend(episodes.settle(to_come + LATENESS, rule));
            }
            show(&mut episodes, *event);
        }
        findings.extend(episodes.findings(rule));
        let mut found: Vec<_> = findings.iter().map(|f| [f.first, f.last, f.reached, f.count as i64]).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn what_is_settled_early_is_what_would_be_found_in_the_end() {
        let mut numbers = Random::new(1);
        let mut random = move |below: i64| numbers.below(below as usize) as i64;
        let mut findings = 0;
        for round in 0..400 {
            let measure = if round % 2 == 0 { Measure::Events } else { Measure::Values };
            let limits = Limits {
                threshold: 2 + random(3) as u32,
                window: 60,
                merge: 60 + random(900),
                measure,
                success: Meaning::GotIn,
            };
            let events = events(&mut random);
            let in_the_end = found(&events, limits, || false);
            findings += in_the_end.len();
            for often in [1, 3, 10] {
                assert_eq!(found(&events, limits, || random(often) == 0), in_the_end, "{limits:?} {events:?}");
            }
        }
        assert!(findings > 1000, "{findings}");
    }

    #[test]
    fn events_that_come_much_too_late_are_found_where_they_come_together() {
        let limits =
            Limits { threshold: 5, window: 600, merge: 3600, measure: Measure::Events, success: Meaning::GotIn };
        let (mut episodes, rule) = (Episodes::new(limits, NAMES), &shipped_rules()[0]);
        let far = 1_000_000;
        let times = [far].into_iter().chain((0..5).map(|n| far - 50_000 + 100 * n));
        for time in times {
            show(&mut episodes, (time, 1, 0));
            if time == far {
                assert_eq!(episodes.settle(far, rule).len(), 0);
            }
        }
        let found = episodes.settle(far, rule);
        assert_eq!(found.iter().map(|finding| (finding.first, finding.count)).collect::<Vec<_>>(), [(far - 50_000, 5)]);
        let Remembered { head, pages } = episodes.save().unwrap();
        let pages = pages.into_values().flatten().map(|page| page.len());
        assert!(head.get().len() + pages.sum::<usize>() < 500);
    }
}
