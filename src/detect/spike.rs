//! `[spike]`: answers with an error status in one clock minute, more than is usual for that hour of that weekday.
//!
//! A finding is a run of unusual minutes, no two further apart than the merge time; it counts the answers in these
//! minutes. As long as nothing is usual, because it has not been watched for two weeks, the plain threshold holds.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, Offset, TimeZone};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use smallvec::SmallVec;

use super::usual::{History, Level, level, may_leave_out};
use super::{Detector, EVIDENCE_LINES, Kept, LATENESS, Remembered, Sighting};
use crate::model::{Action, Finding, Rule, RuleKind, StatusClass, Subject};

/// How many minutes one status keeps; beyond that the events of further minutes are dropped.
const MAX_MINUTES: usize = 200_000;

/// Of how many minutes of an open run the lines are kept that are shown.
const KEPT_WHOLE: usize = 60;

/// The detector.
pub struct Spike {
    rule: Rule,
    statuses: Vec<StatusClass>,
    threshold: usize,
    report_factor: u32,
    mail_factor: u32,
    merge: i64,
    zone: Tz,
    state: State,
    dropped: u64,
    /// The latest minute when room was last looked for.
    full_at: i64,
}

/// What is remembered.
#[derive(Default, Serialize, Deserialize)]
struct State {
    /// The first minute in which anything was counted.
    since: Option<i64>,
    /// By position in the rule's statuses.
    statuses: Vec<Watched>,
}

/// What is known of one status.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Watched {
    /// The minutes that may still change or be part of an open finding.
    minutes: BTreeMap<i64, Minute>,
    /// The minutes before these.
    history: History,
}

/// What is known of one minute.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Minute {
    count: u64,
    last: i64,
    /// The first times, as many as the threshold.
    times: SmallVec<[i64; 5]>,
    evidence: Kept,
}

/// A minute that is a spike.
struct Unusual<'a> {
    /// Which minute since 1970 UTC.
    number: i64,
    minute: &'a Minute,
    /// Whether it is no example of what is usual.
    is_no_example: bool,
    /// What would have been usual, and for which hour of the wall clock; none while only the threshold is known.
    usual: Option<(i64, Level)>,
}

impl Spike {
    /// A fresh detector for a rule of this kind; hours are those of this zone.
    pub fn new(rule: &Rule, zone: Tz) -> Self {
        let RuleKind::Spike { ref statuses, threshold, report_factor, mail_factor } = rule.kind else {
            unreachable!("detector() makes this for spike rules only")
        };
        Self {
            rule: rule.clone(),
            statuses: statuses.clone(),
            threshold: threshold as usize,
            report_factor,
            mail_factor,
            merge: rule.merge.as_secs() as i64,
            zone,
            state: State { since: None, statuses: vec![Watched::default(); statuses.len()] },
            dropped: 0,
            full_at: i64::MIN,
        }
    }

    fn add(&mut self, sighting: &Sighting<'_>) {
        let Some(Action::Request { status }) = sighting.event.map(|event| event.action) else { return };
        let minute = sighting.time.div_euclid(60);
        for (_, watched) in self.statuses.iter().zip(&mut self.state.statuses).filter(|(class, _)| class.holds(status))
        {
            let minutes = &mut watched.minutes;
            if minutes.len() >= MAX_MINUTES && minute > self.full_at && !minutes.contains_key(&minute) {
                self.dropped += make_room(minutes, self.threshold as u64);
                self.full_at = minute;
            }
            if minutes.len() < MAX_MINUTES || minutes.contains_key(&minute) {
                minutes.entry(minute).or_default().add(self.threshold, sighting);
            } else {
                self.dropped += 1;
            }
            self.state.since = Some(self.state.since.map_or(minute, |since| since.min(minute)));
        }
    }

    /// Tells unusual minutes of one status from the others, in the order of time, because what is unusual is no example for
    /// later.
    fn judge<'a>(&self, watched: &'a Watched) -> Vec<Unusual<'a>> {
        let mut newer = History::default();
        let mut unusual = Vec::new();
        let mut clock = WallClock { zone: self.zone, known: None };
        let since = self.state.since.map_or(i64::MAX, |minute| clock.hour(minute));
        let mut usual: Option<(i64, Option<Level>)> = None;
        for (number, minute) in &watched.minutes {
            let hour = clock.hour(*number);
            let mut is_no_example = false;
            if minute.count >= self.threshold as u64 {
                let known = usual.filter(|(of, _)| *of == hour).map(|(_, level)| level);
                let level = known.unwrap_or_else(|| level([&watched.history, &newer], since, hour));
                usual = Some((hour, level));
                let is_over = |level: Level| minute.count as f64 > level.limit(self.report_factor);
                // While nothing is usual, a minute over the threshold may be what is usual.
                is_no_example = level.is_some_and(is_over) && may_leave_out([&watched.history, &newer], hour);
                if level.is_none_or(is_over) {
                    unusual.push(Unusual {
                        number: *number,
                        minute,
                        is_no_example,
                        usual: level.map(|level| (hour, level)),
                    });
                }
            }
            if is_no_example { newer.leave_out(hour) } else { newer.learn(hour, minute.count) }
        }
        unusual
    }

    /// Runs of unusual minutes.
    fn runs<'a>(&self, unusual: Vec<Unusual<'a>>) -> Vec<Vec<Unusual<'a>>> {
        let mut runs: Vec<Vec<Unusual<'_>>> = Vec::new();
        for next in unusual {
            match runs.last_mut() {
                Some(run) if run.last().is_some_and(|last| next.first() - last.minute.last <= self.merge) => {
                    run.push(next);
                }
                _ => runs.push(vec![next]),
            }
        }
        runs
    }

    fn finding(&self, status: &StatusClass, run: &[Unusual<'_>], open: bool) -> Option<Finding> {
        let (first, last) = (run.first()?, run.last()?);
        let evidence = run.iter().flat_map(|unusual| &unusual.minute.evidence).take(EVIDENCE_LINES);
        // Of several highest ones the first, which further lines don't change.
        let highest = run.iter().rev().max_by_key(|unusual| unusual.minute.count)?;
        let can_wait = |unusual: &Unusual<'_>| {
            unusual.usual.is_some_and(|(_, level)| unusual.minute.count as f64 <= level.limit(self.mail_factor))
        };
        Some(Finding {
            rule: self.rule.name.clone(),
            severity: self.rule.severity,
            subject: Subject::from([("http.status".to_owned(), status.to_string())]),
            counted: self.rule.counted(),
            count: run.iter().map(|unusual| unusual.minute.count).sum(),
            first: first.first(),
            last: last.minute.last,
            reached: *first.minute.times.get(self.threshold - 1).or(first.minute.times.last())?,
            breach: None,
            note: highest.usual.map(|(hour, level)| {
                let limit = level.limit(self.report_factor);
                in_words(highest.minute.count, hour, level.median, limit as u64)
            }),
            can_wait: run.iter().all(can_wait),
            evidence: evidence.map(|(_, evidence)| evidence.evidence()).collect(),
            open,
        })
    }
}

/// "12 in one minute; usual for Thursdays around 14:00 is 1, limit 7".
fn in_words(count: u64, hour: i64, usual: u64, limit: u64) -> String {
    let clock = DateTime::from_timestamp(hour * 3600, 0).unwrap_or_default();
    let day = ["Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"]
        [clock.weekday().num_days_from_monday() as usize];
    format!("{count} in one minute; usual for {day} around {} is {usual}, limit {limit}", clock.format("%H:%M"))
}

/// Hours on the wall clock of a zone.
struct WallClock {
    zone: Tz,
    /// A quarter of an hour, and how far the wall clock is ahead of UTC in it, in seconds.
    known: Option<(i64, i64)>,
}

impl WallClock {
    /// The hour of the wall clock that a minute since 1970 UTC belongs to, counted from 1970 on.
    fn hour(&mut self, minute: i64) -> i64 {
        let quarter = minute.div_euclid(15);
        let ahead = match self.known {
            Some((known, ahead)) if known == quarter => ahead,
            _ => {
                let instant = DateTime::from_timestamp(minute.saturating_mul(60), 0).unwrap_or_default().naive_utc();
                i64::from(self.zone.offset_from_utc_datetime(&instant).fix().local_minus_utc())
            }
        };
        self.known = Some((quarter, ahead));
        minute.saturating_mul(60).saturating_add(ahead).div_euclid(3600)
    }
}

/// Forgets the minutes that are no spikes, but for the latest, which may still become one; returns how many events
/// they had.
fn make_room(minutes: &mut BTreeMap<i64, Minute>, threshold: u64) -> u64 {
    let mut dropped = 0;
    let latest = minutes.keys().next_back().copied().unwrap_or(0) - LATENESS / 60;
    minutes.retain(|minute, counted| {
        let keep = counted.count >= threshold || *minute >= latest;
        dropped += if keep { 0 } else { counted.count };
        keep
    });
    dropped
}

impl Unusual<'_> {
    fn first(&self) -> i64 {
        self.minute.times.first().copied().unwrap_or(self.minute.last)
    }
}

impl Minute {
    fn add(&mut self, threshold: usize, sighting: &Sighting<'_>) {
        let time = sighting.time;
        self.count += 1;
        self.last = if self.count == 1 { time } else { self.last.max(time) };
        let at = self.times.partition_point(|known| *known <= time);
        if at < threshold {
            self.times.insert(at, time);
            self.times.truncate(threshold);
        }
        sighting.keep_among_first(&mut self.evidence);
    }
}

impl Detector for Spike {
    fn observe(&mut self, sightings: &[&Sighting<'_>], _found: &mut [bool]) {
        sightings.iter().for_each(|sighting| self.add(sighting));
    }

    fn findings(&mut self) -> Vec<Finding> {
        let mut found = Vec::new();
        for (status, watched) in self.statuses.iter().zip(&self.state.statuses) {
            found.extend(self.runs(self.judge(watched)).iter().filter_map(|run| self.finding(status, run, true)));
        }
        found
    }

    fn settle(&mut self, horizon: i64) -> Vec<Finding> {
        let safe = horizon.saturating_sub(LATENESS);
        let mut settled = Vec::new();
        let mut clock = WallClock { zone: self.zone, known: None };
        let mut statuses = std::mem::take(&mut self.state.statuses);
        for (status, watched) in self.statuses.iter().zip(&mut statuses) {
            let mut keep_from = safe.div_euclid(60);
            let settled_until = keep_from;
            let unusual = self.judge(watched);
            let no_examples = unusual.iter().filter(|unusual| unusual.is_no_example);
            let no_examples: BTreeSet<i64> = no_examples.map(|unusual| unusual.number).collect();
            for run in self.runs(unusual) {
                // A run has at least one minute.
                let (Some(first), Some(last)) = (run.first().map(Unusual::first), run.last()) else { continue };
                // What joins it may have begun earlier in its minute.
                if last.minute.last.saturating_add(self.merge + 60) < safe {
                    settled.extend(self.finding(status, &run, false));
                } else {
                    keep_from = keep_from.min(first.div_euclid(60));
                }
            }
            let mut kept = watched.minutes.split_off(&keep_from);
            // Of a run that goes on for days only the first minutes are shown.
            for (_, minute) in kept.range_mut(..settled_until).skip(KEPT_WHOLE) {
                minute.evidence.clear();
                minute.times.truncate(1);
            }
            for (number, minute) in std::mem::replace(&mut watched.minutes, kept) {
                let hour = clock.hour(number);
                if no_examples.contains(&number) {
                    watched.history.leave_out(hour);
                } else {
                    watched.history.learn(hour, minute.count);
                }
            }
            watched.history.forget_before(clock.hour(keep_from));
        }
        self.state.statuses = statuses;
        settled
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }

    fn save(&mut self) -> serde_json::Result<Remembered> {
        to_raw_value(&self.state).map(Remembered::from)
    }

    fn load(&mut self, state: Remembered) -> serde_json::Result<()> {
        let mut state: State = serde_json::from_str(state.head.get())?;
        state.statuses.resize(self.statuses.len(), Watched::default());
        self.state = state;
        Ok(())
    }
}
