//! `[silent]`: a source that stopped, or one of the hosts whose files it has, though at this time of the week it hardly ever does.
//!
//! Time is looked at in quarters of an hour. For each quarter without a line, what past weeks had at that time of the
//! week tells how likely that was; a pause is a finding once all its quarters together are as good as impossible. So a log
//! that pauses every night may do so, and one that has a line now and then must pause for very long. Lines that come in bursts are
//! no such proof: in at least three of four past weeks, but for outages, there must have been a line in the same span.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, TimeZone};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;

use super::{Detector, LATENESS, Remembered, Sighting};
use crate::model::tally::BUCKET;
use crate::model::{Finding, Rule, RuleKind};

/// How many weeks are looked back, and how many must be known.
const WEEKS: u64 = 8;
const WEEKS_NEEDED: usize = 3;

/// Quarters before and after one in past weeks that tell of it, too.
const BESIDE: i64 = 2;

/// The quarters of a day.
const DAY: i64 = 24 * 4;

/// How unlikely a pause must be.
const AS_GOOD_AS_IMPOSSIBLE: f64 = 1e-6;

/// After how many quarters of a pause nobody is told of it any more.
const GIVEN_UP: i64 = 2 * 7 * 24 * 4;

/// How many quarters are kept.
const KEPT: i64 = (WEEKS as i64 + 2) * 7 * 24 * 4;

/// How many sources are watched, and how many hosts of them, of which whoever may send lines can make up any.
const MAX_SOURCES: usize = 1000;
const MAX_HOSTS: usize = 1000;

/// The detector.
pub struct Silent {
    rule: Rule,
    after: i64,
    zone: Tz,
    /// By source, or [`of_host`].
    sources: BTreeMap<String, Heard>,
    /// Until when everything was read that was written, as a quarter,
    now: Option<i64>,
    /// but of these sources.
    unread: BTreeSet<String>,
    dropped: u64,
}

/// What is known of a source.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Heard {
    /// The first quarter with a line.
    since: Option<i64>,
    /// The quarters with lines, as runs of neighbours from the first to the last.
    runs: Vec<(i64, i64)>,
    /// What ended before this was told for good.
    settled: Option<i64>,
    /// The last quarter with a line, after which it was waited for in vain for too long.
    given_up: Option<i64>,
    /// Until when a pause was known that may go on.
    paused: Option<i64>,
}

/// Quarters without a line.
struct Pause {
    /// The first of them, and the one after the last.
    from: i64,
    until: i64,
    is_over: bool,
    /// When it became a finding: the quarter after which it was as good as impossible.
    reached: i64,
    /// In how many weeks there were lines in that span, and how many say what is usual.
    weeks: (usize, usize),
}

impl Silent {
    /// A fresh detector for a rule of this kind; times of the week are those of this zone.
    pub fn new(rule: &Rule, zone: Tz) -> Self {
        let RuleKind::Silent { after } = &rule.kind else {
            unreachable!("detector() makes this for silent rules only")
        };
        let after = (after.as_secs().div_ceil(BUCKET as u64)).max(1) as i64;
        Self {
            rule: rule.clone(),
            after,
            zone,
            sources: BTreeMap::new(),
            now: None,
            unread: BTreeSet::new(),
            dropped: 0,
        }
    }

    /// Whether not all could be read of the source that this is, or a host of.
    fn is_unread(&self, source: &str) -> bool {
        self.unread.contains(parts(source).0)
    }

    /// The pauses of a source that should not be.
    fn pauses(&self, source: &str, heard: &Heard) -> Vec<Pause> {
        // What is known of later was learnt while the clock was ahead, or it is behind now.
        let present = self.now.unwrap_or(i64::MAX - 1);
        let runs = &heard.runs[..heard.runs.partition_point(|(first, _)| *first <= present + 1)];
        let ended = runs.windows(2).map(|pair| (pair[0].1 + 1, pair[1].0, true));
        let last = runs.last().map(|(_, last)| *last).filter(|last| heard.given_up != Some(*last));
        // What was known of a pause stays so while nobody can look.
        let now = if self.is_unread(source) { heard.paused } else { self.now };
        let lasting = last.zip(now).map(|(last, now)| (last + 1, now, false));
        let told = heard.settled.map_or(i64::MIN, |settled| settled.min(present));
        let long = ended.chain(lasting).filter(|(from, until, _)| until - from >= self.after && *until >= told);
        long.filter_map(|(from, until, is_over)| {
            let (reached, weeks) = self.impossible_from(heard, from, until)?;
            Some(Pause { from, until, is_over, reached, weeks })
        })
        .collect()
    }

    /// When a pause became as good as impossible, and which weeks say so ([`Pause::weeks`]).
    fn impossible_from(&self, heard: &Heard, from: i64, until: i64) -> Option<(i64, (usize, usize))> {
        let mut likelihood = 1.0;
        let mut talked = [false; WEEKS as usize];
        let since = heard.since?;
        // Later than that, all that is looked back to lies in the pause itself.
        let looked_at = from..until.min(from + (WEEKS as i64 * 7 + 1) * 24 * 4);
        for quarter in looked_at {
            let past = self.in_past_weeks(quarter).filter(|(_, past)| past - BESIDE >= since);
            let past: Vec<(usize, i64)> = past.collect();
            if past.len() < WEEKS_NEEDED {
                return None;
            }
            let all = past.len() * (2 * BESIDE as usize + 1);
            let with_lines: usize = past.iter().map(|(_, past)| heard.count(past - BESIDE, past + BESIDE)).sum();
            likelihood *= (all - with_lines + 1) as f64 / (all + 1) as f64;
            past.iter().for_each(|(week, past)| talked[*week] |= heard.count(*past, *past) > 0);
            // A day around it without any line was an outage, and says nothing of what is usual.
            let is_usual = |(week, past): &&(usize, i64)| talked[*week] || heard.count(past - DAY, past + DAY) > 0;
            let weeks = (past.iter().filter(|(week, _)| talked[*week]).count(), past.iter().filter(is_usual).count());
            let is_long = quarter - from + 1 >= self.after;
            if likelihood < AS_GOOD_AS_IMPOSSIBLE && is_long && weeks.0 > 0 && 4 * weeks.0 >= 3 * weeks.1 {
                return Some((quarter + 1, weeks));
            }
        }
        None
    }

    /// The same quarter of the same weekday on the wall clock, one week ago and so on, with the place of its week.
    fn in_past_weeks(&self, quarter: i64) -> impl Iterator<Item = (usize, i64)> {
        let local = DateTime::from_timestamp(quarter * BUCKET, 0).unwrap_or_default().with_timezone(&self.zone);
        let zone = self.zone;
        (1..=WEEKS).filter_map(move |week| {
            let past = local.naive_local().checked_sub_days(Days::new(7 * week))?;
            let quarter = zone.from_local_datetime(&past).earliest()?.timestamp().div_euclid(BUCKET);
            Some((week as usize - 1, quarter))
        })
    }

    fn finding(&self, source: &str, pause: &Pause) -> Finding {
        let (talked, weeks) = pause.weeks;
        let of = if talked < weeks { format!("{talked} of the") } else { "the".to_owned() };
        let (source, host) = parts(source);
        let host = Some(("host.name".to_owned(), host.to_owned())).filter(|(_, host)| !host.is_empty());
        Finding {
            rule: self.rule.name.clone(),
            severity: self.rule.severity,
            subject: [("event.dataset".to_owned(), source.to_owned())].into_iter().chain(host).collect(),
            count: (pause.until - pause.from) as u64 * BUCKET as u64 / 60,
            counted: self.rule.counted(),
            first: pause.from * BUCKET,
            last: pause.until * BUCKET,
            reached: pause.reached * BUCKET,
            breach: None,
            note: Some(format!("in {of} {weeks} weeks before there were lines at that time")),
            can_wait: false,
            evidence: Vec::new(),
            open: !pause.is_over,
        }
    }

    fn found(&self) -> impl Iterator<Item = (&str, Pause)> {
        let told_by_themselves = self.told_by_hosts();
        let told = self.sources.iter().filter(move |(source, _)| !told_by_themselves.contains(source.as_str()));
        told.flat_map(|(source, heard)| {
            self.pauses(source, heard).into_iter().map(move |pause| (source.as_str(), pause))
        })
    }

    /// Sources with hosts of which enough is known that these are told of instead.
    fn told_by_hosts(&self) -> BTreeSet<&str> {
        let known = self.now.unwrap_or(i64::MAX) - WEEKS_NEEDED as i64 * 7 * DAY;
        let hosts = self
            .sources
            .iter()
            .filter(|(source, heard)| !parts(source).1.is_empty() && heard.since.is_some_and(|since| since <= known));
        hosts.map(|(source, _)| parts(source).0).collect()
    }

    fn has_room_for(&self, source: &str) -> bool {
        let is_host = |source: &str| source.contains('\t');
        let alike = self.sources.keys().filter(|known| is_host(known) == is_host(source)).count();
        alike < if is_host(source) { MAX_HOSTS } else { MAX_SOURCES }
    }

    fn hear_one(&mut self, source: &str, quarter: i64) {
        if let Some(heard) = self.sources.get_mut(source) {
            heard.hear(quarter);
        } else if self.has_room_for(source) {
            self.sources.entry(source.to_owned()).or_default().hear(quarter);
        } else {
            self.dropped += 1;
        }
    }
}

/// A host whose files a source has.
fn of_host(source: &str, host: &str) -> String {
    format!("{source}\t{host}")
}

/// The source, and the host of which it is told, if it is one's.
fn parts(source: &str) -> (&str, &str) {
    source.split_once('\t').unwrap_or((source, ""))
}

impl Heard {
    /// Remembers that a quarter has lines.
    fn hear(&mut self, quarter: i64) {
        self.since = Some(self.since.map_or(quarter, |since| since.min(quarter)));
        let at = self.runs.partition_point(|(_, last)| *last < quarter - 1);
        let Some((first, last)) = self.runs.get_mut(at).filter(|(first, _)| *first <= quarter + 1) else {
            self.runs.insert(at, (quarter, quarter));
            return;
        };
        (*first, *last) = ((*first).min(quarter), (*last).max(quarter));
        let end = *last;
        if let Some((_, later)) = self.runs.get(at + 1).copied().filter(|(next, _)| *next <= end + 1) {
            self.runs[at].1 = later;
            self.runs.remove(at + 1);
        }
    }

    /// How many quarters from one to another have lines.
    fn count(&self, from: i64, to: i64) -> usize {
        let start = self.runs.partition_point(|(_, last)| *last < from);
        let inside = self.runs[start..].iter().take_while(|(first, _)| *first <= to);
        inside.map(|(first, last)| (to.min(*last) - from.max(*first) + 1) as usize).sum()
    }

    fn give_up(&mut self, now: Option<i64>) {
        if let (Some((_, last)), Some(now)) = (self.runs.last(), now)
            && now - last - 1 > GIVEN_UP
        {
            self.given_up = Some(*last);
        }
    }

    fn forget_before(&mut self, quarter: i64) {
        self.runs.retain_mut(|(first, last)| {
            *first = (*first).max(quarter);
            *last >= quarter
        });
    }
}

impl Detector for Silent {
    fn observe(&mut self, _sightings: &[&Sighting<'_>], _found: &mut [bool]) {}

    fn hear(&mut self, source: &str, host: &str, quarter: i64) {
        // A stamp ahead of the present is a clock gone wrong, and tells that a line was written until now.
        let quarter = self.now.map_or(quarter, |now| if quarter > now + 1 { now } else { quarter });
        // One of long ago says nothing about this time of the week.
        if self.now.is_some_and(|now| quarter < now - KEPT) {
            return;
        }
        self.hear_one(source, quarter);
        if !host.is_empty() {
            self.hear_one(&of_host(source, host), quarter);
        }
    }

    fn watch(&mut self, now: i64, sources: &BTreeMap<&str, bool>) {
        let now = now.div_euclid(BUCKET);
        self.now = Some(now);
        self.sources.retain(|source, _| {
            let (source, host) = parts(source);
            sources.get(source).is_some_and(|have_hosts| host.is_empty() || *have_hosts)
        });
    }

    fn unread(&mut self, source: &str) {
        self.unread.insert(source.to_owned());
    }

    fn findings(&mut self) -> Vec<Finding> {
        self.found().map(|(source, pause)| Finding { open: true, ..self.finding(source, &pause) }).collect()
    }

    fn settle(&mut self, horizon: i64) -> Vec<Finding> {
        let safe = horizon.saturating_sub(LATENESS).div_euclid(BUCKET);
        let told = |pause: &Pause| if pause.is_over { pause.until < safe } else { pause.until - pause.from > GIVEN_UP };
        let over = self.found().filter(|(source, pause)| told(pause) && !self.is_unread(source));
        let settled = over.map(|(source, pause)| Finding { open: false, ..self.finding(source, &pause) }).collect();
        let now = self.now;
        let paused: BTreeSet<String> =
            self.found().filter(|(_, pause)| !pause.is_over).map(|(source, _)| source.to_owned()).collect();
        let unread = &self.unread;
        self.sources.retain(|source, heard| {
            if unread.contains(parts(source).0) {
                return true;
            }
            heard.paused = now.filter(|_| paused.contains(source));
            heard.settled = heard.settled.max(Some(safe));
            heard.give_up(now);
            heard.forget_before(safe - KEPT);
            !heard.runs.is_empty()
        });
        settled
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }

    fn save(&mut self) -> serde_json::Result<Remembered> {
        to_raw_value(&self.sources).map(Remembered::from)
    }

    fn load(&mut self, state: Remembered) -> serde_json::Result<()> {
        self.sources = serde_json::from_str(state.head.get())?;
        Ok(())
    }
}
