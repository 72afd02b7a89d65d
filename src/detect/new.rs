//! `[new]`: a subject that was never seen before, as an address from which nobody logged in until now.
//!
//! What comes in the first time, the time of learning, is how things are. Events that end before that time is over, and so long before
//! all others that they would be forgotten, as of a line whose clock went wrong by years, are no beginning of it. After that a subject is
//! new if there is no event of it within the time after which it would be forgotten. Both are properties of the set of events.

use std::collections::BTreeMap;

use foldhash::{HashMap, HashMapExt};
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;

use super::subject::{restored, stored, subject, write_key};
use super::{Detector, KeptLine, LATENESS, Remembered, Sighting, in_order};
use crate::model::{Field, Finding, Rule, RuleKind};

/// How many subjects are remembered; beyond that those go that were not seen for longest.
const MAX_KNOWN: usize = 50_000;

/// The detector.
pub struct Newcomers {
    rule: Rule,
    by: Vec<Field>,
    learn: i64,
    forget: i64,
    /// From when to when there never was no event at all for so long that all would have been forgotten, in order; behind the first that is
    /// as long as the time of learning, none is needed.
    spans: Vec<(i64, i64)>,
    known: HashMap<Box<[u8]>, Vec<Presence>>,
    /// When the last of those was seen that had to go.
    let_go: Option<i64>,
    dropped: u64,
    key: Vec<u8>,
}

/// A time in which a subject never was away for so long that it would have been forgotten.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Presence {
    first: i64,
    last: i64,
    /// Its first line, as long as an earlier one may come.
    evidence: Option<KeptLine>,
    /// Whether it may have been seen before, and have had to go since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    may_be_known: bool,
}

/// What is stored.
#[derive(Serialize, Deserialize)]
struct State {
    #[serde(default)]
    spans: Vec<(i64, i64)>,
    /// What was stored before spans were: when the first event was.
    #[serde(default, skip_serializing)]
    since: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    let_go: Option<i64>,
    known: BTreeMap<String, Vec<Presence>>,
}

impl Newcomers {
    /// A fresh detector for a rule of this kind.
    pub fn new(rule: &Rule) -> Self {
        let RuleKind::New { by, learn, forget, .. } = &rule.kind else {
            unreachable!("detector() makes this for new rules only")
        };
        Self {
            rule: rule.clone(),
            by: by.clone(),
            learn: learn.as_secs() as i64,
            forget: forget.as_secs() as i64,
            spans: Vec::new(),
            known: HashMap::new(),
            let_go: None,
            dropped: 0,
            key: Vec::new(),
        }
    }

    fn add(&mut self, sighting: &Sighting<'_>) {
        let Some(event) = &sighting.event else { return };
        if !write_key(&self.by, event, &mut self.key) {
            return;
        }
        lengthen(&mut self.spans, self.forget, sighting.time);
        if !self.known.contains_key(&*self.key) {
            if self.known.len() >= MAX_KNOWN {
                self.make_room();
            }
            self.known.insert(self.key.as_slice().into(), Vec::new());
        }
        let may_be_known = self.let_go.is_some_and(|last| last.saturating_add(self.forget) >= sighting.time);
        if let Some(presences) = self.known.get_mut(&*self.key) {
            let is_newcomer = take_in(presences, self.forget, sighting, may_be_known);
            self.dropped += u64::from(is_newcomer && may_be_known);
        }
    }

    fn is_learnt(&self, (since, last): &(i64, i64)) -> bool {
        since.saturating_add(self.learn) <= *last
    }

    /// Lets a tenth of the subjects go, those that were not seen for longest.
    fn make_room(&mut self) {
        let last = |presences: &[Presence]| presences.iter().map(|presence| presence.last).max().unwrap_or(i64::MIN);
        let mut all: Vec<_> = std::mem::take(&mut self.known).into_iter().collect();
        let tenth = all.len() / 10;
        all.select_nth_unstable_by(tenth, |a, b| (last(&a.1), &a.0).cmp(&(last(&b.1), &b.0)));
        self.known = all.drain(tenth..).collect();
        self.let_go = all.iter().map(|(_, presences)| last(presences)).chain(self.let_go).max();
        self.dropped += tenth as u64;
    }

    fn finding(&self, key: &[u8], presence: &Presence, open: bool) -> Option<Finding> {
        let evidence = presence.evidence.as_ref()?;
        let (since, _) = *self.spans.iter().find(|span| self.is_learnt(span))?;
        let learnt = since.saturating_add(self.learn);
        let known = presence.first.saturating_sub(since).min(self.forget);
        (presence.first >= learnt && !presence.may_be_known).then(|| Finding {
            rule: self.rule.name.clone(),
            severity: self.rule.severity,
            subject: subject(key),
            count: 1,
            counted: self.rule.counted(),
            first: presence.first,
            last: presence.first,
            reached: presence.first,
            breach: None,
            note: Some(format!("not seen in the {} before", days(known))),
            can_wait: false,
            evidence: vec![evidence.evidence()],
            open,
        })
    }
}

impl Detector for Newcomers {
    fn observe(&mut self, sightings: &[&Sighting<'_>], _found: &mut [bool]) {
        sightings.iter().for_each(|sighting| self.add(sighting));
    }

    fn findings(&mut self) -> Vec<Finding> {
        let all = self.known.iter().flat_map(|(key, presences)| presences.iter().map(move |one| (key, one)));
        in_order(all.filter_map(|(key, presence)| self.finding(key, presence, true)).collect())
    }

    fn settle(&mut self, horizon: i64) -> Vec<Finding> {
        let safe = horizon.saturating_sub(LATENESS);
        let mut known = std::mem::take(&mut self.known);
        let mut settled = Vec::new();
        known.retain(|key, presences| {
            for presence in presences.iter_mut().filter(|presence| presence.first < safe) {
                settled.extend(self.finding(key, presence, false));
                presence.evidence = None;
            }
            presences.retain(|presence| presence.last.saturating_add(self.forget) >= safe);
            !presences.is_empty()
        });
        self.known = known;
        if let Some(learnt) = self.spans.iter().position(|span| self.is_learnt(span)) {
            self.spans.truncate(learnt + 1);
            self.spans.drain(..learnt);
        }
        in_order(settled)
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }

    fn save(&mut self) -> serde_json::Result<Remembered> {
        let known = self.known.iter().map(|(key, presences)| (stored(key), presences.clone())).collect();
        let (spans, since, let_go) = (self.spans.clone(), None, self.let_go);
        to_raw_value(&State { spans, since, let_go, known }).map(Remembered::from)
    }

    fn load(&mut self, state: Remembered) -> serde_json::Result<()> {
        let State { mut spans, since, let_go, known } = serde_json::from_str(state.head.get())?;
        let read = known.into_iter().map(|(key, presences)| {
            let key = restored(&key).ok_or_else(|| serde::de::Error::custom(format!("{key:?} is no subject")))?;
            Ok((key.into(), presences))
        });
        self.known = read.collect::<serde_json::Result<_>>()?;
        let last = || self.known.values().flatten().map(|presence| presence.last).max();
        if let Some(since) = since.filter(|_| spans.is_empty()) {
            spans.push((since, last().unwrap_or(since)));
        }
        (self.spans, self.let_go) = (spans, let_go);
        Ok(())
    }
}

fn days(seconds: i64) -> String {
    const DAY: i64 = 24 * 60 * 60;
    if seconds >= DAY {
        return format!("{} day{}", seconds / DAY, if seconds < 2 * DAY { "" } else { "s" });
    }
    humantime::format_duration(std::time::Duration::from_secs(seconds.unsigned_abs())).to_string()
}

/// Takes the time of an event in: it makes a span longer, or two to one, or is one of its own.
fn lengthen(spans: &mut Vec<(i64, i64)>, forget: i64, time: i64) {
    // Nearly all come in the last one.
    let Some(last) = spans.last_mut().filter(|(first, last)| *first <= time && time <= last.saturating_add(forget))
    else {
        let at = spans.partition_point(|(first, _)| *first <= time);
        spans.insert(at, (time, time));
        spans.dedup_by(|next, before| {
            let is_one = next.0 <= before.1.saturating_add(forget);
            before.1 = if is_one { before.1.max(next.1) } else { before.1 };
            is_one
        });
        return;
    };
    last.1 = last.1.max(time);
}

/// Takes an event in: it makes a presence longer, or two to one, or is one of its own, which it tells.
fn take_in(presences: &mut Vec<Presence>, forget: i64, sighting: &Sighting<'_>, may_be_known: bool) -> bool {
    let time = sighting.time;
    let near =
        |known: &Presence| time >= known.first.saturating_sub(forget) && time <= known.last.saturating_add(forget);
    let Some(index) = presences.iter().position(near) else {
        let at = presences.partition_point(|known| known.first < time);
        let evidence = Some(sighting.evidence());
        presences.insert(at, Presence { first: time, last: time, evidence, may_be_known });
        return true;
    };
    let presence = &mut presences[index];
    if time < presence.first {
        presence.first = time;
        presence.may_be_known |= may_be_known;
        presence.evidence = Some(sighting.evidence());
    }
    presence.last = presence.last.max(time);
    let end = presence.last;
    if presences.get(index + 1).is_some_and(|next| next.first <= end.saturating_add(forget)) {
        let next = presences.remove(index + 1);
        presences[index].last = end.max(next.last);
    }
    false
}

#[cfg(test)]
mod tests {
    use std::cell::OnceCell;

    use super::*;
    use crate::model::{Action, Category, Event, Peer};

    #[test]
    fn what_was_learnt_before_spans_were_stored_is_known() {
        const DAY: i64 = 24 * 60 * 60;
        let rules = crate::config::shipped_rules();
        let rule = rules.iter().find(|rule| rule.name == "new-logins").unwrap();
        let mut detector = Newcomers::new(rule);
        let sighting = |time: i64, user: &'static [u8]| {
            let (action, peer) = (Action::LoginSucceeded { by_key: false }, Peer::read(b"192.0.2.7"));
            let event = Some(Event { action, peer, user: Some(user), ..Event::plain(Some(time), Category::Auth) });
            let (kept, who, line, file) = (OnceCell::new(), OnceCell::new(), &b"x"[..], "auth.log");
            Sighting { time, event, failures: 0, urgent: false, late: false, line, file, number: 1, kept, who }
        };
        detector.observe(&[&sighting(0, b"bob"), &sighting(30 * DAY, b"bob")], &mut [false; 2]);
        let mut state = serde_json::to_value(&detector.save().unwrap().head).unwrap();
        state.as_object_mut().unwrap().remove("spans").unwrap();
        state["since"] = 0.into();
        let mut detector = Newcomers::new(rule);
        detector.load(to_raw_value(&state).map(Remembered::from).unwrap()).unwrap();
        detector.observe(&[&sighting(30 * DAY + 1, b"bob"), &sighting(30 * DAY + 2, b"eve")], &mut [false; 2]);
        let found = detector.findings();
        assert_eq!(found.iter().map(|f| f.first).collect::<Vec<_>>(), [30 * DAY + 2]);
    }
}
