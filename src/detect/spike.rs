//! `[spike]`: answers with an error status in one clock minute.
//!
//! A finding is a run of minutes over the threshold, no two further apart than the merge time; it counts the
//! answers in these minutes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Detector, EVIDENCE_LINES, LATENESS, Sighting};
use crate::model::{Action, Evidence, Finding, Rule, RuleKind, StatusClass, Subject};

/// How many minutes one status keeps; beyond that the events of further minutes are dropped.
const MAX_MINUTES: usize = 200_000;

/// The detector.
pub struct Spike {
    rule: Rule,
    statuses: Vec<StatusClass>,
    threshold: usize,
    merge: i64,
    /// By position in `statuses`, then by minute.
    minutes: Vec<BTreeMap<i64, Minute>>,
    dropped: u64,
    /// The latest minute when room was last looked for.
    full_at: i64,
}

/// What is known of one minute.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Minute {
    count: u64,
    last: i64,
    /// The first times, as many as the threshold.
    times: Vec<i64>,
    evidence: Vec<(i64, Evidence)>,
}

impl Spike {
    /// A fresh detector for a rule of this kind.
    pub fn new(rule: &Rule) -> Self {
        let RuleKind::Spike { statuses, threshold } = &rule.kind else {
            unreachable!("detector() makes this for spike rules only")
        };
        Self {
            rule: rule.clone(),
            statuses: statuses.clone(),
            threshold: *threshold as usize,
            merge: rule.merge.as_secs() as i64,
            minutes: vec![BTreeMap::new(); statuses.len()],
            dropped: 0,
            full_at: i64::MIN,
        }
    }

    /// The findings of one status: runs of spiking minutes.
    fn runs<'a>(&self, minutes: impl Iterator<Item = &'a Minute>) -> Vec<Vec<&'a Minute>> {
        let mut runs: Vec<Vec<&Minute>> = Vec::new();
        for minute in minutes.filter(|minute| minute.count >= self.threshold as u64) {
            let first = minute.times.first().copied().unwrap_or(minute.last);
            match runs.last_mut() {
                Some(run) if run.last().is_some_and(|last| first - last.last <= self.merge) => run.push(minute),
                _ => runs.push(vec![minute]),
            }
        }
        runs
    }

    fn finding(&self, status: &StatusClass, run: &[&Minute], open: bool) -> Option<Finding> {
        let (first, last) = (run.first()?, run.last()?);
        let evidence = run.iter().flat_map(|minute| &minute.evidence).take(EVIDENCE_LINES);
        Some(Finding {
            rule: self.rule.name.clone(),
            severity: self.rule.severity,
            subject: Subject::from([("http.status".to_owned(), status.to_string())]),
            counted: self.rule.counted(),
            count: run.iter().map(|minute| minute.count).sum(),
            first: *first.times.first()?,
            last: last.last,
            reached: *first.times.get(self.threshold - 1)?,
            breach: None,
            evidence: evidence.map(|(_, evidence)| evidence.clone()).collect(),
            open,
        })
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
    fn observe(&mut self, sighting: &Sighting<'_>) -> bool {
        let Some(Action::Request { status }) = sighting.event.map(|event| event.action) else { return false };
        for (_, minutes) in self.statuses.iter().zip(&mut self.minutes).filter(|(class, _)| class.holds(status)) {
            let minute = sighting.time.div_euclid(60);
            if minutes.len() >= MAX_MINUTES && minute > self.full_at && !minutes.contains_key(&minute) {
                self.dropped += make_room(minutes, self.threshold as u64);
                self.full_at = minute;
            }
            if minutes.len() < MAX_MINUTES || minutes.contains_key(&minute) {
                minutes.entry(minute).or_default().add(self.threshold, sighting);
            } else {
                self.dropped += 1;
            }
        }
        false
    }

    fn findings(&mut self) -> Vec<Finding> {
        let mut found = Vec::new();
        for (status, minutes) in self.statuses.iter().zip(&self.minutes) {
            found.extend(self.runs(minutes.values()).iter().filter_map(|run| self.finding(status, run, true)));
        }
        found
    }

    fn settle(&mut self, horizon: i64) -> Vec<Finding> {
        let safe = horizon.saturating_sub(LATENESS);
        let mut settled = Vec::new();
        let mut minutes = std::mem::take(&mut self.minutes);
        for (status, minutes) in self.statuses.iter().zip(&mut minutes) {
            let mut keep_from = safe.div_euclid(60);
            for run in self.runs(minutes.values()) {
                // A run has at least one minute and a spiking minute at least one time.
                let (Some(first), Some(last)) = (run.first().and_then(|m| m.times.first()), run.last()) else {
                    continue;
                };
                if last.last.saturating_add(self.merge) < safe {
                    settled.extend(self.finding(status, &run, false));
                } else {
                    keep_from = keep_from.min(first.div_euclid(60));
                }
            }
            *minutes = minutes.split_off(&keep_from);
        }
        self.minutes = minutes;
        settled
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }

    fn save(&mut self) -> serde_json::Value {
        let names = self.statuses.iter().map(StatusClass::to_string);
        serde_json::json!(names.zip(&self.minutes).collect::<BTreeMap<_, _>>())
    }

    fn load(&mut self, state: serde_json::Value) -> Result<(), serde_json::Error> {
        let mut saved: BTreeMap<String, BTreeMap<i64, Minute>> = serde_json::from_value(state)?;
        let names = self.statuses.iter().map(StatusClass::to_string);
        self.minutes = names.map(|name| saved.remove(&name).unwrap_or_default()).collect();
        Ok(())
    }
}
