//! Which rules may count an event: a quick look before the exact one, because there are many rules and most events concern few.

use super::facts::{CATEGORIES, Facts, category_index};
use crate::model::event::Shape;
use crate::model::{Action, Category, Event, Rule};

/// Rules have a bit each; those beyond the last share it.
const BITS: usize = 64;

/// Statuses have a place each, and what else happens follows them.
const STATUSES: usize = 1000;

/// What may happen but requests, and with how many failed logins.
const OTHERS: [(Action, u32); 13] = [
    (Action::LoginFailed { times: 1, shape: Shape::Explicit }, 0),
    (Action::LoginFailed { times: 1, shape: Shape::Explicit }, 1),
    (Action::LoginSucceeded { by_key: false }, 0),
    (Action::Probed, 0),
    (Action::LockedOut, 0),
    (Action::LogCleared, 0),
    (Action::ErrorLogged, 0),
    (Action::Other, 0),
    (Action::Other, 1),
    (Action::LoginFailed { times: 1, shape: Shape::ErrorLog }, 0),
    (Action::LoginFailed { times: 1, shape: Shape::ErrorLog }, 1),
    (Action::LoginSucceeded { by_key: true }, 0),
    (Action::LetIn, 0),
];

/// Rules by what happened.
pub struct Interests {
    by_event: Box<[u64]>,
    /// By category, of urgent lines.
    urgent: [u64; CATEGORIES.len()],
}

impl Interests {
    /// Those of these rules.
    pub fn new<'r>(rules: impl Iterator<Item = &'r Rule>) -> Self {
        let requests = (0..STATUSES as u16).map(|status| (Action::Request { status }, u32::from(status == 401)));
        let all: Vec<(Action, u32)> = requests.chain(OTHERS).collect();
        let mut interests = Self { by_event: vec![0; all.len()].into(), urgent: Default::default() };
        for (index, rule) in rules.enumerate() {
            for (place, (action, failures)) in interests.by_event.iter_mut().zip(&all) {
                let event = Event { action: *action, ..Event::plain(None, Category::Unknown) };
                if rule.counts(&event, *failures, false) {
                    *place |= Self::bit(index);
                }
            }
            for (place, category) in interests.urgent.iter_mut().zip(CATEGORIES) {
                if rule.counts(&Event::plain(None, category), 0, true) {
                    *place |= Self::bit(index);
                }
            }
        }
        interests
    }

    /// The bit of the rule at this place.
    pub fn bit(rule: usize) -> u64 {
        1 << rule.min(BITS - 1)
    }

    /// The bits of the rules that may count a line.
    pub fn of(&self, facts: &Facts<'_>) -> u64 {
        let Some(action) = facts.action else { return 0 };
        let urgent = if facts.urgent { self.urgent[category_index(facts.category)] } else { 0 };
        let failures = usize::from(facts.failures > 0);
        let place = match action {
            // A form that was answered so.
            Action::Request { status } if failures > 0 && status != 401 => {
                return self.at(usize::from(status)) | self.at(STATUSES + 1) | urgent;
            }
            Action::Request { status } => usize::from(status),
            Action::LoginFailed { shape: Shape::ErrorLog, .. } => STATUSES + 9 + failures,
            Action::LoginFailed { .. } => STATUSES + failures,
            Action::LoginSucceeded { by_key: false } => STATUSES + 2,
            Action::LoginSucceeded { by_key: true } => STATUSES + 11,
            Action::LetIn => STATUSES + 12,
            Action::Probed => STATUSES + 3,
            Action::LockedOut => STATUSES + 4,
            Action::LogCleared => STATUSES + 5,
            Action::ErrorLogged | Action::NotServed => STATUSES + 6,
            Action::Gone | Action::NotGreeted | Action::Granted { .. } | Action::Other => STATUSES + 7 + failures,
        };
        self.at(place) | urgent
    }

    fn at(&self, place: usize) -> u64 {
        self.by_event.get(place).copied().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::shipped_rules;
    use crate::detect::Sighting;

    #[test]
    fn no_rule_misses_what_it_would_count() {
        let rules = shipped_rules();
        let interests = Interests::new(rules.iter());
        let file: Arc<str> = "x".into();
        let statuses = (100..600).map(|status| (Action::Request { status }, u32::from(status == 401)));
        let forms = [(Action::Request { status: 200 }, 1), (Action::Request { status: 401 }, 0)];
        for (action, failures) in statuses.chain(forms).chain(OTHERS) {
            for (category, urgent) in [(Category::Access, true), (Category::Error, true), (Category::System, false)] {
                let event = Event { action, ..Event::plain(None, category) };
                let line = &b"x"[..];
                let sighting = Sighting {
                    time: 0,
                    event: Some(event),
                    failures,
                    urgent,
                    late: false,
                    line,
                    file: &file,
                    number: 1,
                    kept: Default::default(),
                    who: Default::default(),
                };
                for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.counts(&event, failures, urgent))
                {
                    assert!(
                        interests.of(&Facts::of(&sighting)) & Interests::bit(index) != 0,
                        "{} {action:?}",
                        rule.name
                    );
                }
            }
        }
    }
}
