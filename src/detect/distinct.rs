//! `[distinct]`: different values in the events of one subject in a sliding window: accounts that one address tries,
//! addresses that try one account, paths that one address asks for in vain.

use std::hash::{DefaultHasher, Hasher};

use super::episodes::{Episodes, Limits, Measure};
use super::subject::{restored, stored, subject, write_key};
use super::{Detector, Sighting};
use crate::model::{Field, Finding, Rule, RuleKind};

/// The detector.
pub struct Distinct {
    rule: Rule,
    value: [Field; 1],
    by: Vec<Field>,
    episodes: Episodes,
    key: Vec<u8>,
}

impl Distinct {
    /// A fresh detector for a rule of this kind.
    pub fn new(rule: &Rule) -> Self {
        let RuleKind::Distinct { value, ref by, threshold, window, .. } = rule.kind else {
            unreachable!("detector() makes this for distinct rules only")
        };
        let limits = Limits::new(rule, threshold, window, Measure::Values);
        let (rule, by) = (rule.clone(), by.clone());
        Self { rule, value: [value], by, episodes: Episodes::new(limits), key: Vec::new() }
    }
}

impl Detector for Distinct {
    fn observe(&mut self, sighting: &Sighting<'_>) -> bool {
        let Some(event) = &sighting.event else { return false };
        if !write_key(&self.value, event, &mut self.key) {
            return false;
        }
        // Values are only compared, so their digest will do.
        let mut digest = DefaultHasher::new();
        digest.write(&self.key);
        if write_key(&self.by, event, &mut self.key) {
            self.episodes.observe(&self.key, 1, digest.finish(), sighting);
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
