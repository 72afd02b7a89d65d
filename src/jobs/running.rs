//! A rule at work: which of the lines that a scanner looks at together are for it.

use chrono_tz::Tz;
use smallvec::SmallVec;

use super::scanner::TOGETHER;
use crate::detect::{self, Detector, Sighting};
use crate::model::{Action, Rule};

/// A rule and its detector.
pub struct Running {
    /// The rule.
    pub rule: Rule,
    /// Its running state.
    pub detector: Box<dyn Detector>,
    /// How many lines it counted.
    pub lines: u64,
}

impl Running {
    /// A rule that has seen nothing yet; hours and weekdays are those of this zone.
    pub fn new(rule: &Rule, zone: Tz) -> Self {
        Self { rule: rule.clone(), detector: detect::detector(rule, zone), lines: 0 }
    }

    /// Tells a rule about shares when there were requests, of those that it is about.
    pub fn hear_requests(&mut self, times: &[i64]) {
        self.lines += times.len() as u64;
        self.detector.hear_requests(times);
    }

    /// Shows those lines to the detector that are for it, of these that may be; `looks`: they have to be looked at for their
    /// text. Marks in `found` which are what the rule looks for.
    pub fn observe(
        &mut self,
        lines: &[Sighting<'_>],
        may: impl Fn(usize) -> bool,
        looks: bool,
        found: &mut [bool; TOGETHER],
    ) {
        let mut shown = SmallVec::<[&Sighting<'_>; TOGETHER]>::new();
        let mut places = SmallVec::<[usize; TOGETHER]>::new();
        for (place, line) in lines.iter().enumerate().filter(|(place, _)| may(*place)) {
            let event = line.event.as_ref();
            let counts = event.is_some_and(|event| self.rule.counts(event, line.failures, line.urgent));
            // A line that tells of nobody in particular is about everybody.
            let is_about = |rule: &Rule| event.map_or(rule.only.is_empty(), |event| rule.is_about(event));
            if (looks || counts) && is_about(&self.rule) {
                shown.push(line);
                places.push(place);
                // A good login is taken in, but is nothing that the rule looks for; of requests it has heard.
                let is_login =
                    event.is_some_and(|event| matches!(event.action, Action::LoginSucceeded { .. } | Action::LetIn));
                let is_new = !self.rule.is_about_shares() && (!is_login || self.rule.is_about_logins());
                self.lines += u64::from(counts && is_new);
            }
        }
        let mut hits = [false; TOGETHER];
        self.detector.observe(&shown, &mut hits[..shown.len()]);
        for (place, _) in places.iter().zip(hits).filter(|(_, hit)| *hit) {
            found[*place] = true;
            self.lines += 1;
        }
    }
}
