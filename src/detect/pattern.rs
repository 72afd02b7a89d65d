//! `[pattern]`: lines that hold a text or match a regular expression.

use memchr::memmem::Finder;
use regex::bytes::Regex;

use super::episodes::{Batch, Episodes, Limits, Measure, Names};
use super::tries::Try;
use super::{Detector, Looks, Remembered, Sighting};
use crate::model::untrusted::without_line_break;
use crate::model::{Category, Finding, Needle, Rule, RuleKind, Subject, repeated};

/// The detector.
pub struct Pattern {
    rule: Rule,
    name: String,
    kinds: Vec<Category>,
    search: Search,
    episodes: Episodes,
    batch: Batch,
}

enum Search {
    Text(Box<Finder<'static>>),
    Regex(Regex),
    /// An expression that doesn't compile; the configuration refuses such a rule.
    Nothing,
}

impl Search {
    fn matches(&self, line: &[u8]) -> bool {
        match self {
            Self::Text(finder) => finder.find(line).is_some(),
            Self::Regex(regex) => regex.is_match(line),
            Self::Nothing => false,
        }
    }
}

impl Pattern {
    /// A fresh detector for a rule of this kind.
    pub fn new(rule: &Rule) -> Self {
        let RuleKind::Pattern { needle, kinds, threshold, window } = &rule.kind else {
            unreachable!("detector() makes this for pattern rules only")
        };
        let limits = Limits::new(rule, *threshold, *window, Measure::Events);
        let search = match needle {
            Needle::Text(text) => Search::Text(Box::new(Finder::new(text.as_bytes()).into_owned())),
            Needle::Regex(expression) => Regex::new(expression).map_or(Search::Nothing, Search::Regex),
        };
        Self {
            rule: rule.clone(),
            name: needle.as_str().to_owned(),
            kinds: kinds.clone(),
            search,
            episodes: Episodes::new(limits, NAMES),
            batch: Batch::default(),
        }
    }
}

/// There is but one subject: the text that is looked for.
const NAMES: Names = Names {
    stored: |text| String::from_utf8_lossy(text).into_owned(),
    restored: |text| Some(text.into()),
    subject: |text| Subject::from([("keyword".to_owned(), String::from_utf8_lossy(text).into_owned())]),
};

impl Detector for Pattern {
    fn observe(&mut self, sightings: &[&Sighting<'_>], found: &mut [bool]) {
        self.batch.clear();
        for (index, (sighting, found)) in sightings.iter().zip(found).enumerate() {
            let kind = sighting.event.as_ref().map_or(Category::Unknown, |event| event.category);
            let is_meant = self.kinds.is_empty() || self.kinds.contains(&kind);
            *found = is_meant && self.search.matches(without_line_break(sighting.line));
            if *found {
                let is_syslog = matches!(kind, Category::Auth | Category::System);
                let times = if is_syslog { repeated::times(sighting.line) } else { 1 };
                let told = Try { who: 0, time: sighting.time, times, value: 0, is_guess: true };
                self.batch.note(self.name.as_bytes(), index, told);
            }
        }
        self.episodes.observe(&self.batch, sightings);
    }

    fn looks_at(&self) -> Looks<'_> {
        match &self.search {
            Search::Text(finder) => Looks::Text(finder.needle()),
            Search::Regex(_) => Looks::AllLines,
            Search::Nothing => Looks::Events,
        }
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
