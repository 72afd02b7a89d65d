//! `[count]`: failed logins of one subject in a sliding window.

use std::fmt::Write as _;

use super::episodes::{Episodes, Limits};
use super::{Detector, Sighting};
use crate::model::untrusted::printable;
use crate::model::{Action, Breach, Field, Finding, Peer, Rule, RuleKind, Subject};

/// The detector.
pub struct Count {
    rule: Rule,
    by: Field,
    episodes: Episodes,
    key: String,
}

impl Count {
    /// A fresh detector for a rule of this kind.
    pub fn new(rule: &Rule) -> Self {
        let RuleKind::Count { by, threshold, window } = rule.kind else {
            unreachable!("detector() makes this for count rules only")
        };
        let limits = Limits { threshold, window: window.as_secs() as i64, merge: rule.merge.as_secs() as i64 };
        Self { rule: rule.clone(), by, episodes: Episodes::new(limits), key: String::new() }
    }
}

/// The subject behind a key: the name of its field, a blank, its value.
fn subject(key: &str) -> Subject {
    let (field, value) = key.split_once(' ').unwrap_or((key, ""));
    Subject::from([(field.to_owned(), value.to_owned())])
}

impl Detector for Count {
    fn observe(&mut self, sighting: &Sighting<'_>) -> bool {
        let Some(event) = sighting.event else { return false };
        let success = event.action == Action::LoginSucceeded;
        if sighting.failures == 0 && !success {
            return false;
        }
        self.key.clear();
        // Writing to a String can't fail.
        let _ = match (self.by, event.peer, event.user) {
            (Field::SourceIp, Some(Peer::Ip(ip)), _) => write!(self.key, "source.ip {ip}"),
            (Field::SourceIp, Some(name), _) => write!(self.key, "source.domain {name}"),
            (Field::UserName, _, Some(user)) => write!(self.key, "user.name {}", printable(user)),
            _ => return false,
        };
        match success {
            // That an account is used after others guessed at it proves nothing; that an address gets in does.
            true if self.by == Field::SourceIp => self.episodes.observe_success(
                &self.key,
                Breach { time: sighting.time, user: event.user.map(printable).unwrap_or_default() },
            ),
            true => {}
            false => self.episodes.observe(&self.key, sighting.failures, sighting),
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
        self.episodes.save()
    }

    fn load(&mut self, state: serde_json::Value) -> Result<(), serde_json::Error> {
        self.episodes.load(state)
    }
}
