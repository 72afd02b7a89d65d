//! `[count]`: events of one subject in a sliding window. `[distinct]`: different values in them, as accounts that one address
//! tries, addresses that try one account, paths that one address asks for in vain. `[sequence]`: events in such a window, and
//! then a login.

use super::episodes::{Batch, Episodes, Limits, Measure};
use super::subject::{NAMES, digest, write_key};
use super::tries::Try;
use super::{Detector, Remembered, Sighting};
use crate::model::{Event, Field, Finding, Rule, RuleKind, Selection};

/// The detector.
pub struct Count {
    rule: Rule,
    of: Selection,
    /// Whose values are told apart; none where events are counted.
    value: Option<Field>,
    heeds_logins: bool,
    by: Vec<Field>,
    episodes: Episodes,
    batch: Batch,
    key: Vec<u8>,
}

impl Count {
    /// A fresh detector for a rule of these kinds.
    pub fn new(rule: &Rule) -> Self {
        let (of, value, by, threshold, window) = match &rule.kind {
            RuleKind::Count { of, by, threshold, window } | RuleKind::Sequence { of, by, threshold, window } => {
                (of, None, by, *threshold, *window)
            }
            RuleKind::Distinct { of, value, by, threshold, window, .. } => (of, Some(*value), by, *threshold, *window),
            _ => unreachable!("detector() makes this for count, distinct and sequence rules only"),
        };
        let heeds_logins = rule.heeds_logins();
        let measure = if value.is_some() { Measure::Values } else { Measure::Events };
        let episodes = Episodes::new(Limits::new(rule, threshold, window, measure), NAMES);
        Self {
            rule: rule.clone(),
            of: of.clone(),
            value,
            heeds_logins,
            by: by.clone(),
            episodes,
            batch: Batch::default(),
            key: Vec::new(),
        }
    }

    fn note(&mut self, index: usize, sighting: &Sighting<'_>, event: &Event<'_>) {
        let is_counted = self.of.holds(event, sighting.failures, sighting.urgent);
        let is_login = event.action.is_login_by_password() && self.heeds_logins;
        // Neighbours who ask a web server for a page attack nobody.
        let is_neighbour = self.of == Selection::FailedLogins && self.value == Some(Field::SourceIp);
        if !is_counted && !is_login || is_neighbour && event.asks_for_page() {
            return;
        }
        let value = match self.value {
            Some(field) => digest(&[field], event, &mut self.key),
            None => Some(0),
        };
        let Some(value) = value else { return };
        if write_key(&self.by, event, &mut self.key) {
            let times = if is_counted { sighting.failures.max(1) } else { 0 };
            // Of what else is named, a rule means all.
            let is_guess = self.of != Selection::FailedLogins || event.is_guess();
            self.batch.note(&self.key, index, Try { who: 0, time: sighting.time, times, value, is_guess });
        }
    }
}

impl Detector for Count {
    fn observe(&mut self, sightings: &[&Sighting<'_>], _found: &mut [bool]) {
        self.batch.clear();
        for (index, sighting) in sightings.iter().enumerate() {
            if let Some(event) = &sighting.event {
                self.note(index, sighting, event);
            }
        }
        self.episodes.observe(&self.batch, sightings);
    }

    fn findings(&mut self) -> Vec<Finding> {
        self.episodes.findings(&self.rule)
    }

    fn settle(&mut self, horizon: i64) -> Vec<Finding> {
        self.episodes.settle(horizon, &self.rule)
    }

    fn is_crowded(&self) -> bool {
        self.episodes.is_crowded()
    }

    fn dropped(&self) -> u64 {
        self.episodes.dropped()
    }

    fn lost_pages(&self) -> u64 {
        self.episodes.lost_pages()
    }

    fn save(&mut self) -> serde_json::Result<Remembered> {
        self.episodes.save()
    }

    fn load(&mut self, state: Remembered) -> serde_json::Result<()> {
        self.episodes.load(state)
    }
}
