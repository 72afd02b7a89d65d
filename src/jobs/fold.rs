//! Which intents are told now, and which of them together: a storm of alerts becomes a mail an hour.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::Config;
use crate::model::{About, Intent, RunId, RunNews};
use crate::store::{PendingIntent, TOLD_AGAIN, Told};

/// What one message tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// The channel it leaves by.
    pub channel: String,
    /// Recipient groups and addresses, for mail.
    pub to: Vec<String>,
    /// The intents it settles.
    pub intents: Vec<i64>,
    /// What it tells.
    pub told: Vec<Told>,
    /// How many of the intents had to wait.
    pub held_back: usize,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The thing itself.
    pub what: What,
}

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Findings.
    Findings {
        /// The last scan's run.
        run: RunId,
        /// The findings' numbers.
        findings: Vec<i64>,
        /// Whether it is a look back over old logs.
        looks_back: bool,
    },
    /// Runs of one job of which there is the same to tell, oldest first.
    Runs {
        /// The runs.
        runs: Vec<RunId>,
        /// What.
        news: RunNews,
    },
}

/// What goes into one message: alerts of a channel to the same recipients together, each other topic by itself.
type Group = (String, Vec<String>, Option<bool>, Option<String>, i64);

/// After how long a channel tells the same recipients again that somebody got in.
const BREACH_TOLD_AGAIN: TimeDelta = TimeDelta::minutes(10);

/// The messages to be made now. An intent waits while its topic was told less than an hour ago, or ten minutes where somebody got in, and in
/// the quiet hours of its channel; but where all its findings are told now anyway, they are not told once more.
pub fn fold(
    pending: &[PendingIntent],
    told: &BTreeMap<Told, DateTime<Utc>>,
    config: &Config,
    now: DateTime<Utc>,
) -> Vec<Fold> {
    let mut groups: BTreeMap<Group, Vec<&PendingIntent>> = BTreeMap::new();
    for pending in pending.iter().filter(|pending| is_ripe(pending, told, config, now)) {
        groups.entry(group_of(pending)).or_default().push(pending);
    }
    let mut folds: Vec<Fold> =
        groups.into_iter().filter_map(|(group, members)| folded(group, &members, told, config)).collect();
    folds.iter_mut().for_each(|fold| fold.take_along(pending));
    // Who waited longest goes first.
    folds.sort_by_key(|fold| fold.intents.first().copied());
    folds
}

impl Fold {
    /// Settles with it what waits to tell the same recipients of nothing but findings that it tells of.
    fn take_along(&mut self, pending: &[PendingIntent]) {
        let What::Findings { findings: told, looks_back, .. } = &self.what else { return };
        for PendingIntent { id, intent, .. } in pending {
            let About::Findings { findings, looks_back: its, .. } = &intent.about else { continue };
            let is_same = intent.channel == self.channel && intent.to == self.to && its == looks_back;
            if is_same && !self.intents.contains(id) && findings.iter().all(|finding| told.contains(finding)) {
                self.intents.push(*id);
            }
        }
        self.intents.sort_unstable();
    }
}

fn pause(intent: &Intent) -> TimeDelta {
    match intent.about {
        About::Findings { breach: true, looks_back: false, .. } => BREACH_TOLD_AGAIN,
        _ => TOLD_AGAIN,
    }
}

fn group_of(pending: &PendingIntent) -> Group {
    let Intent { channel, to, about, .. } = &pending.intent;
    let (channel, to) = (channel.clone(), to.clone());
    match (about, pending.intent.topic()) {
        (About::Findings { looks_back, .. }, _) => (channel, to, Some(*looks_back), None, 0),
        (About::Run { .. }, Some(topic)) => (channel, to, None, Some(topic), 0),
        (About::Run { .. }, None) => (channel, to, None, None, pending.id),
    }
}

fn is_ripe(pending: &PendingIntent, told: &BTreeMap<Told, DateTime<Utc>>, config: &Config, now: DateTime<Utc>) -> bool {
    let intent = &pending.intent;
    let quiet = config.channels.get(&intent.channel).is_some_and(|c| c.is_quiet(intent.severity, now, config.zone));
    // A clock that was set back doesn't make anything wait longer.
    let recent = |at: DateTime<Utc>| at <= now && now - at < pause(intent);
    !quiet && !last_told(intent, told).is_some_and(recent)
}

fn last_told(intent: &Intent, told: &BTreeMap<Told, DateTime<Utc>>) -> Option<DateTime<Utc>> {
    told.get(&told_of(intent)?).copied()
}

fn told_of(intent: &Intent) -> Option<Told> {
    let topic = intent.topic()?;
    Some(Told { channel: intent.channel.clone(), to: intent.to.clone(), topic })
}

fn folded(
    (channel, to, looks_back, ..): Group,
    members: &[&PendingIntent],
    told: &BTreeMap<Told, DateTime<Utc>>,
    config: &Config,
) -> Option<Fold> {
    let waited = |pending: &&&PendingIntent| {
        let (intent, at) = (&pending.intent, pending.at);
        let quiet = config.channels.get(&intent.channel).is_some_and(|c| c.is_quiet(intent.severity, at, config.zone));
        quiet || last_told(intent, told).is_some_and(|last| at < last + pause(intent))
    };
    let topics: BTreeSet<Told> = members.iter().filter_map(|pending| told_of(&pending.intent)).collect();
    let (first, last) = (members.first()?, members.last()?);
    let what = match (&last.intent.about, looks_back) {
        (About::Findings { run, .. }, Some(looks_back)) => {
            let all = members.iter().filter_map(|pending| match &pending.intent.about {
                About::Findings { findings, .. } => Some(findings.iter().copied()),
                About::Run { .. } => None,
            });
            let findings: BTreeSet<i64> = all.flatten().collect();
            What::Findings { run: *run, findings: findings.into_iter().collect(), looks_back }
        }
        (About::Run { news, .. }, _) => {
            let runs = members.iter().filter_map(|pending| match &pending.intent.about {
                About::Run { run, .. } => Some(*run),
                About::Findings { .. } => None,
            });
            What::Runs { runs: runs.collect(), news: *news }
        }
        (About::Findings { .. }, None) => return None,
    };
    Some(Fold {
        channel,
        to,
        intents: members.iter().map(|pending| pending.id).collect(),
        told: topics.into_iter().collect(),
        held_back: members.iter().filter(waited).count(),
        since: first.at,
        what,
    })
}
