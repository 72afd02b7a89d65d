//! `[count]`: events of one subject in a sliding window.

use super::episodes::{Episodes, Limits, Measure};
use super::subject::{restored, stored, subject, write_key};
use super::{Detector, Sighting};
use crate::model::untrusted::printable;
use crate::model::{Action, Breach, Field, Finding, Rule, RuleKind, Selection};

/// The detector.
pub struct Count {
    rule: Rule,
    of: Selection,
    by: Vec<Field>,
    episodes: Episodes,
    key: Vec<u8>,
}

impl Count {
    /// A fresh detector for a rule of this kind.
    pub fn new(rule: &Rule) -> Self {
        let RuleKind::Count { ref of, ref by, threshold, window } = rule.kind else {
            unreachable!("detector() makes this for count rules only")
        };
        let limits = Limits::new(rule, threshold, window, Measure::Events);
        Self { rule: rule.clone(), of: of.clone(), by: by.clone(), episodes: Episodes::new(limits), key: Vec::new() }
    }
}

impl Detector for Count {
    fn observe(&mut self, sighting: &Sighting<'_>) -> bool {
        let Some(event) = &sighting.event else { return false };
        let success = event.action == Action::LoginSucceeded;
        if !write_key(&self.by, event, &mut self.key) {
            return false;
        }
        if !success {
            self.episodes.observe(&self.key, sighting.failures.max(1), 0, sighting);
        } else if self.by == [Field::SourceIp] && self.of == Selection::FailedLogins {
            // That an account is used after others guessed at it proves nothing; that an address gets in does.
            let user = event.user.map(printable).unwrap_or_default();
            self.episodes.observe_success(&self.key, Breach { time: sighting.time, user });
        }
        false
    }

    fn findings(&mut self) -> Vec<Finding> {
        self.episodes.findings(&self.rule, subject)
    }

    fn settle(&mut self, horizon: i64) -> Vec<Finding> {
        self.episodes.settle(horizon, &self.rule, subject)
    }

    fn dropped(&self) -> u64 {
        self.episodes.dropped()
    }

    fn save(&mut self) -> serde_json::Value {
        self.episodes.save(stored)
    }

    fn load(&mut self, state: serde_json::Value) -> Result<(), serde_json::Error> {
        self.episodes.load(state, restored)
    }
}
