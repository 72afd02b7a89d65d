//! `[ratio]`: a share of all answers in a clock period.
//!
//! A finding is a run of periods over the share, no two further apart than the merge time; it counts the answers with
//! the statuses in question.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;

use super::{Detector, EVIDENCE_LINES, Kept, LATENESS, Remembered, Sighting};
use crate::model::tally::forget_far_from;
use crate::model::{Finding, Rule, RuleKind, StatusClass, Subject, is_answer};

/// How many periods are kept, more than those of thirteen months, five minutes each; of more those next to the present.
const MAX_PERIODS: usize = 200_000;

/// The detector.
pub struct Ratio {
    rule: Rule,
    statuses: Vec<StatusClass>,
    percent: u64,
    at_least: u64,
    window: i64,
    merge: i64,
    /// By the number of the period.
    periods: BTreeMap<i64, Period>,
    dropped: u64,
    /// The present period, where that is known.
    now: Option<i64>,
}

/// What is known of one period.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Period {
    all: u64,
    counted: u64,
    first: i64,
    last: i64,
    evidence: Kept,
}

impl Ratio {
    /// A fresh detector for a rule of this kind.
    pub fn new(rule: &Rule) -> Self {
        let RuleKind::Ratio { ref statuses, percent, at_least, window } = rule.kind else {
            unreachable!("detector() makes this for ratio rules only")
        };
        Self {
            rule: rule.clone(),
            statuses: statuses.clone(),
            percent: u64::from(percent),
            at_least: u64::from(at_least),
            window: (window.as_secs() as i64).max(1),
            merge: rule.merge.as_secs() as i64,
            periods: BTreeMap::new(),
            dropped: 0,
            now: None,
        }
    }

    fn is_over(&self, period: &Period) -> bool {
        period.counted > 0 && period.all >= self.at_least && period.counted * 100 >= period.all * self.percent
    }

    fn add_all(&mut self, number: i64, requests: u64) {
        self.periods.entry(number).or_default().all += requests;
        if self.periods.len() > MAX_PERIODS {
            // Times may be of any year.
            let near = self.now.unwrap_or(number);
            self.dropped += forget_far_from(near, &mut self.periods).map_or(0, |forgotten| forgotten.all);
        }
    }

    fn add(&mut self, sighting: &Sighting<'_>) {
        let is_counted = sighting.event.is_some_and(|event| is_answer(event.action, &self.statuses));
        // There is none where there were too many.
        let period = self.periods.get_mut(&sighting.time.div_euclid(self.window));
        if let Some(period) = period.filter(|_| is_counted) {
            period.add(sighting);
        }
    }

    /// Runs of periods over the share.
    fn runs(&self) -> Vec<Vec<&Period>> {
        let mut runs: Vec<Vec<&Period>> = Vec::new();
        for period in self.periods.values().filter(|period| self.is_over(period)) {
            match runs.last_mut() {
                Some(run) if run.last().is_some_and(|last| period.first - last.last <= self.merge) => run.push(period),
                _ => runs.push(vec![period]),
            }
        }
        runs
    }

    fn finding(&self, run: &[&Period], open: bool) -> Option<Finding> {
        let (first, last) = (run.first()?, run.last()?);
        let statuses: Vec<String> = self.statuses.iter().map(StatusClass::to_string).collect();
        let evidence = run.iter().flat_map(|period| &period.evidence).take(EVIDENCE_LINES);
        let worst = run.iter().max_by(|a, b| (a.counted * b.all).cmp(&(b.counted * a.all)))?;
        let window = humantime::format_duration(Duration::from_secs(self.window.unsigned_abs()));
        Some(Finding {
            rule: self.rule.name.clone(),
            severity: self.rule.severity,
            subject: Subject::from([("http.status".to_owned(), statuses.join(" "))]),
            count: run.iter().map(|period| period.counted).sum(),
            counted: self.rule.counted(),
            first: first.first,
            last: last.last,
            reached: first.last,
            breach: None,
            note: Some(format!("{} of {} requests within {window}", worst.counted, worst.all)),
            can_wait: false,
            evidence: evidence.map(|(_, evidence)| evidence.evidence()).collect(),
            open,
        })
    }
}

impl Period {
    fn add(&mut self, sighting: &Sighting<'_>) {
        let time = sighting.time;
        let is_first = self.counted == 0;
        self.first = if is_first { time } else { self.first.min(time) };
        self.last = if is_first { time } else { self.last.max(time) };
        self.counted += 1;
        sighting.keep_among_first(&mut self.evidence);
    }
}

impl Detector for Ratio {
    fn observe(&mut self, sightings: &[&Sighting<'_>], _found: &mut [bool]) {
        sightings.iter().for_each(|sighting| self.add(sighting));
    }

    fn hear_requests(&mut self, times: &[i64]) {
        let window = self.window;
        let number = |time: &i64| time.div_euclid(window);
        // Most come in order, so that many are of the same period.
        for same in times.chunk_by(|a, b| number(a) == number(b)) {
            self.add_all(number(&same[0]), same.len() as u64);
        }
    }

    fn watch(&mut self, now: i64, _sources: &BTreeMap<&str, bool>) {
        self.now = Some(now.div_euclid(self.window));
    }

    fn findings(&mut self) -> Vec<Finding> {
        self.runs().iter().filter_map(|run| self.finding(run, true)).collect()
    }

    fn settle(&mut self, horizon: i64) -> Vec<Finding> {
        let safe = horizon.saturating_sub(LATENESS);
        let mut keep_from = safe.div_euclid(self.window);
        let mut settled = Vec::new();
        for run in self.runs() {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            if last.last.saturating_add(self.merge).saturating_add(self.window) < safe {
                settled.extend(self.finding(&run, false));
            } else {
                keep_from = keep_from.min(first.first.div_euclid(self.window));
            }
        }
        self.periods = self.periods.split_off(&keep_from);
        settled
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }

    fn save(&mut self) -> serde_json::Result<Remembered> {
        to_raw_value(&self.periods).map(Remembered::from)
    }

    fn load(&mut self, state: Remembered) -> serde_json::Result<()> {
        self.periods = serde_json::from_str(state.head.get())?;
        Ok(())
    }
}
