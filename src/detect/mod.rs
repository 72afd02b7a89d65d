//! Detectors: the running state of rules.
//!
//! Detectors see event time only, and what they find doesn't depend on the order in which events come:
//! any way of cutting the same logs into runs gives the same findings.
//!
//! To add a kind of rule: write its file, a variant of [`RuleKind`] and a line in [`detector`].

mod count;
mod episode;
mod episodes;
mod held;
mod kept_line;
mod new;
mod pages;
mod pattern;
mod ratio;
mod session;
mod sessions;
mod silent;
mod spike;
mod subject;
mod track;
mod tries;
mod usual;
mod values;
mod window;

pub use held::Held;
use kept_line::KeptLine;
pub use pages::Remembered;
pub use sessions::Sessions;

use std::cell::OnceCell;
use std::collections::BTreeMap;

use chrono_tz::Tz;
use smallvec::SmallVec;

use crate::model::{Event, Finding, Rule, RuleKind};

/// How long after an event its line may turn up and still be counted exactly, in seconds. Apache writes a request's
/// start time when it ends; a failed login may be settled only when its session is over.
pub const LATENESS: i64 = 15 * 60;

/// How many subjects one rule keeps in memory; events of further ones are counted as dropped.
const MAX_SUBJECTS: usize = 100_000;

/// How many lines are kept as evidence of one finding, besides that of a success after failures.
const EVIDENCE_LINES: usize = 3;

/// The first lines in time of what is found, with their times.
type Kept = SmallVec<[(i64, KeptLine); EVIDENCE_LINES]>;

/// One line and what is known of it, as detectors see it.
pub struct Sighting<'a> {
    /// When; for a line without a stamp, the time of the line before it.
    pub time: i64,
    /// What the parser made of it; none where no parser understood it.
    pub event: Option<Event<'a>>,
    /// How many failed logins are counted at this line; 0 where another line of the attempt counts.
    pub failures: u32,
    /// Whether triage calls it urgent.
    pub urgent: bool,
    /// Whether it is older than one before it by more than [`LATENESS`].
    pub late: bool,
    /// The raw line.
    pub line: &'a [u8],
    /// The file it stands in.
    pub file: &'a str,
    /// Its number in the file.
    pub number: u64,
    /// The line as evidence, once a rule has kept it: others that do so share it.
    pub kept: OnceCell<KeptLine>,
    /// A digest of who did it, where that is told, once a rule has asked.
    pub who: OnceCell<Option<u64>>,
}

impl Sighting<'_> {
    /// The line as evidence.
    fn evidence(&self) -> KeptLine {
        self.kept.get_or_init(|| KeptLine::new(self.file, self.number, self.line)).clone()
    }

    /// A digest of who did it: the account, the address and the host that wrote the line.
    pub fn who(&self) -> Option<u64> {
        *self.who.get_or_init(|| subject::person(self.event.as_ref()?))
    }

    /// Keeps the line as evidence if it is one of the first in time, whatever the order in which lines come.
    fn keep_among_first(&self, evidence: &mut Kept) {
        if evidence.len() >= EVIDENCE_LINES && evidence.last().is_some_and(|(last, _)| *last <= self.time) {
            return;
        }
        let at = evidence.partition_point(|(known, _)| *known <= self.time);
        if at < EVIDENCE_LINES {
            evidence.insert(at, (self.time, self.evidence()));
            evidence.truncate(EVIDENCE_LINES);
        }
    }
}

/// Findings in an order of their own, because a table gives them in any.
fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| (a.first, &a.subject).cmp(&(b.first, &b.subject)));
    findings
}

/// Which lines a detector has to be shown for their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks<'a> {
    /// None.
    Events,
    /// Those that hold this.
    Text(&'a [u8]),
    /// All.
    AllLines,
}

/// The running state of one rule.
pub trait Detector: Send {
    /// Counts these lines; sets `found[i]` where line `i` holds the text that the rule looks for.
    fn observe(&mut self, sightings: &[&Sighting<'_>], found: &mut [bool]);

    /// Which lines it has to be shown besides those whose events it counts ([`Rule::counts`]).
    fn looks_at(&self) -> Looks<'_> {
        Looks::Events
    }

    /// Learns the times of all requests that the rule is about, before it is given those that it counts.
    fn hear_requests(&mut self, _times: &[i64]) {}

    /// Learns that a source has lines in a quarter of an hour, counted since 1970 UTC, of this host where its files tell that.
    fn hear(&mut self, _source: &str, _host: &str, _quarter: i64) {}

    /// Learns that these are all sources, each with whether its files are those of several hosts, and that what is going to be read is all
    /// they wrote until `now`, seconds since 1970 UTC.
    fn watch(&mut self, _now: i64, _sources: &BTreeMap<&str, bool>) {}

    /// Learns that not all could be read of a source.
    fn unread(&mut self, _source: &str) {}

    /// Whether half of the room for subjects is taken.
    fn is_crowded(&self) -> bool {
        false
    }

    /// Everything found that is not settled for good, with what is known by now.
    fn findings(&mut self) -> Vec<Finding>;

    /// No event before `horizon` will come: forgets what can't change any more and returns the findings that are final thereby.
    fn settle(&mut self, horizon: i64) -> Vec<Finding>;

    /// How many events, or subjects where it looks for new ones, were dropped because there were too many.
    fn dropped(&self) -> u64;

    /// How many pages of what was remembered are not there or can't be read, so that their subjects were counted afresh.
    fn lost_pages(&self) -> u64 {
        0
    }

    /// The state, to be stored.
    ///
    /// # Errors
    /// Fails where JSON can't hold it, which none of ours is.
    fn save(&mut self) -> serde_json::Result<Remembered>;

    /// Takes up a stored state; one whose head can't be read is an error.
    ///
    /// # Errors
    /// Says what is wrong with the state.
    fn load(&mut self, state: Remembered) -> serde_json::Result<()>;
}

/// A fresh detector for a rule; hours and weekdays are those of this zone.
pub fn detector(rule: &Rule, zone: Tz) -> Box<dyn Detector> {
    match &rule.kind {
        RuleKind::Count { .. } | RuleKind::Distinct { .. } | RuleKind::Sequence { .. } => {
            Box::new(count::Count::new(rule))
        }
        RuleKind::Ratio { .. } => Box::new(ratio::Ratio::new(rule)),
        RuleKind::Spike { .. } => Box::new(spike::Spike::new(rule, zone)),
        RuleKind::New { .. } => Box::new(new::Newcomers::new(rule)),
        RuleKind::Silent { .. } => Box::new(silent::Silent::new(rule, zone)),
        RuleKind::Pattern { .. } => Box::new(pattern::Pattern::new(rule)),
    }
}

/// What a stored state depends on: where that is another one, the state is not taken up. What was usual, or known, or when a source wrote,
/// took weeks to learn, and doesn't depend on the limits.
pub fn fingerprint(rule: &Rule, zone: Tz) -> String {
    let Rule { kind, merge, only, allow, .. } = rule;
    match kind {
        RuleKind::Spike { statuses, .. } => format!("spike {statuses:?} only={only:?} {zone}"),
        RuleKind::New { of, by, forget, .. } => {
            let allowed: Vec<String> = allow.iter().map(|allowed| format!("\n{allowed:?}")).collect();
            format!("new {of:?} {by:?} forget={forget:?} only={only:?}{}", allowed.concat())
        }
        RuleKind::Silent { .. } => "silent".to_owned(),
        kind => format!("{kind:?} merge={merge:?} only={only:?} allow={allow:?}"),
    }
}

/// Whether a stored state may be gone on from: also where the rule allows more than it did, of which the state then knows too much, but not
/// where it allows less.
pub fn goes_on(stored: &str, rule: &Rule, zone: Tz) -> bool {
    let fingerprint = fingerprint(rule, zone);
    let (mut known, mut now) = (stored.split('\n'), fingerprint.split('\n'));
    let same = known.next() == now.next();
    same && known.all(|allowed| now.clone().any(|known| known == allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::shipped_rules;

    #[test]
    fn what_was_learnt_is_taken_up_where_limits_changed_or_more_is_let_alone() {
        let zone = chrono_tz::Europe::Berlin;
        for rule in shipped_rules() {
            assert!(goes_on(&fingerprint(&rule, zone), &rule, zone), "{}", rule.name);
            let changed = Rule { merge: rule.merge * 2, ..rule.clone() };
            let learns = matches!(rule.kind, RuleKind::Spike { .. } | RuleKind::New { .. } | RuleKind::Silent { .. });
            assert_eq!(goes_on(&fingerprint(&rule, zone), &changed, zone), learns, "{}", rule.name);
            let allowing =
                Rule { allow: shipped_rules().into_iter().flat_map(|rule| rule.only).collect(), ..rule.clone() };
            assert!(!learns || goes_on(&fingerprint(&rule, zone), &allowing, zone), "{}", rule.name);
            let is_new = matches!(rule.kind, RuleKind::New { .. });
            assert!(!is_new || allowing.allow.is_empty() || !goes_on(&fingerprint(&allowing, zone), &rule, zone));
        }
    }
}
