//! What a scan job remembers from one run to the next, and how it is stored: part by part, so that what is broken costs only itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::scanner::SavedDetector;
use super::stream_state::StreamState;
use super::{Context, JobError};
use crate::logs::{self, Cursor};
use crate::model::{Identity, Source, Work};
use crate::store::{ScanState, StateChange};

/// What a scan job remembers: how far each stream was read, and the detectors' states.
#[derive(Default)]
pub struct State {
    /// By path of the live file, or `journal SOURCE`.
    pub streams: BTreeMap<String, Stream>,
    /// By rule.
    pub detectors: BTreeMap<String, SavedDetector>,
}

/// What is remembered of a stream.
#[derive(Default, Serialize, Deserialize)]
pub struct Stream {
    /// How far it was read.
    pub cursor: Cursor,
    /// Its source.
    #[serde(default)]
    pub source: String,
    /// Where in the journal.
    pub journal: Option<String>,
    /// Lines read last that say how the next ones are to be read, for files without such lines of their own.
    #[serde(default)]
    pub header: String,
    /// Whether it is an access log, once that is known.
    #[serde(default)]
    pub is_access_log: Option<bool>,
    /// What its lines told that those to come are understood by.
    pub state: StreamState,
}

/// The name of the part of what is remembered that tells of the streams, and what those of rules begin with.
const STREAMS: &str = "streams";
const RULE: &str = "rule ";

/// The part with a page of what a rule remembers.
fn page_part(rule: &str, page: u16) -> String {
    format!("page {page} of {rule}")
}

fn page_of_part(part: &str) -> Option<(&str, u16)> {
    let (page, rule) = part.strip_prefix("page ")?.split_once(" of ")?;
    Some((rule, page.parse().ok()?))
}

/// What is to be stored of it. The detectors go there: together they may have tens of MiB.
///
/// # Errors
/// Fails where JSON can't hold them, which it can.
pub fn stored(state: &mut State) -> serde_json::Result<StateChange> {
    let mut parts = BTreeMap::from([(STREAMS.to_owned(), Some(serde_json::to_string(&state.streams)?))]);
    for (rule, mut detector) in std::mem::take(&mut state.detectors) {
        let pages = std::mem::take(&mut detector.pages);
        parts.extend(pages.into_iter().map(|(page, text)| (page_part(&rule, page), text)));
        parts.insert(format!("{RULE}{rule}"), Some(serde_json::to_string(&detector)?));
    }
    Ok(StateChange(parts))
}

/// What was stored; of what can't be read it is told, and it costs only itself.
pub fn restored(stored: Option<ScanState>, problems: &mut Vec<String>) -> State {
    let Some(ScanState(mut parts)) = stored else { return State::default() };
    let Some(streams) = restored_streams(&parts.remove(STREAMS).unwrap_or_default(), problems) else {
        return State::default();
    };
    let mut state = State { streams, ..State::default() };
    let mut pages: BTreeMap<String, BTreeMap<u16, Option<String>>> = BTreeMap::new();
    let mut broken = BTreeSet::new();
    for (part, text) in parts {
        if let Some((rule, page)) = page_of_part(&part) {
            pages.entry(rule.to_owned()).or_default().insert(page, Some(text));
            continue;
        }
        let Some(rule) = part.strip_prefix(RULE) else { continue };
        match serde_json::from_str(&text) {
            Ok(detector) => {
                state.detectors.insert(rule.to_owned(), detector);
            }
            Err(error) => {
                problems.push(unreadable(rule, &error));
                broken.insert(rule.to_owned());
            }
        }
    }
    for (rule, detector) in &mut state.detectors {
        detector.pages = pages.remove(rule).unwrap_or_default();
    }
    let gone = |rule| format!("what rule {rule} remembered is not there but in part; it starts counting afresh");
    problems.extend(pages.into_keys().filter(|rule| !broken.contains(rule)).map(gone));
    state
}

/// Says that a rule starts afresh, because what it remembered is broken.
pub fn unreadable(rule: &str, error: &serde_json::Error) -> String {
    format!("what rule {rule} remembered can't be read ({error}); it starts counting afresh")
}

fn restored_streams(text: &str, problems: &mut Vec<String>) -> Option<BTreeMap<String, Stream>> {
    let problem = |error| {
        format!("what was remembered of the last scan can't be read ({error}); everything is read, and counted, again")
    };
    serde_json::from_str(text).map_err(|error| problems.push(problem(error))).ok()
}

/// What a job remembers of its streams.
///
/// # Errors
/// Those of the store.
pub fn remembered_streams(
    context: &Context<'_>,
    job: &str,
    problems: &mut Vec<String>,
) -> Result<BTreeMap<String, Stream>, JobError> {
    let stored = context.store.scan_state_part(job, STREAMS)?;
    Ok(stored.and_then(|text| restored_streams(&text, problems)).unwrap_or_default())
}

/// The scan job that reads this file, also as one of another source, and has not come to its end, if there is one.
///
/// # Errors
/// Those of the store.
pub fn unread_by(path: &Path, identity: &Identity, context: &Context<'_>) -> Result<Option<String>, JobError> {
    for job in context.config.jobs.values().filter(|job| job.enabled) {
        let Work::Scan(spec) = &job.work else { continue };
        let sources: Vec<Source> = context.config.sources_named(&spec.sources).cloned().collect();
        if !logs::Patterns::new(&sources).may_hold(path) {
            continue;
        }
        let streams = remembered_streams(context, job.id.as_str(), &mut Vec::new())?;
        let mut positions = streams.values().flat_map(|stream| &stream.cursor.positions);
        if !positions.any(|position| position.identity == *identity && position.finished) {
            return Ok(Some(job.id.to_string()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::scanner::Scanner;
    use super::*;
    use crate::config::shipped_rules;

    #[test]
    fn what_is_remembered_is_taken_up_and_what_is_broken_of_it_costs_only_itself() {
        let remembered = || {
            let rules = shipped_rules();
            let detectors = Scanner::new(rules.iter(), 0, chrono_tz::UTC).save().unwrap();
            let streams = BTreeMap::from([("/var/log/auth.log".to_owned(), Stream::default())]);
            let StateChange(parts) = stored(&mut State { streams, detectors }).unwrap();
            let parts: BTreeMap<String, String> =
                parts.into_iter().filter_map(|(part, text)| Some((part, text?))).collect();
            (parts, rules.len())
        };
        let known = |parts| {
            let mut problems = Vec::new();
            let state = restored(Some(ScanState(parts)), &mut problems);
            (state.streams.len(), state.detectors.len(), problems.len())
        };
        let (parts, rules) = remembered();
        assert_eq!(known(parts), (1, rules, 0));
        let (mut parts, _) = remembered();
        parts.insert("rule failed-logins".to_owned(), "{".to_owned());
        assert_eq!(known(parts), (1, rules - 1, 1));
        // Pages without what says what they are.
        let (mut parts, _) = remembered();
        parts.remove("rule failed-logins");
        parts.insert(page_part("failed-logins", 7), "{}".to_owned());
        assert_eq!(known(parts), (1, rules - 1, 1));
        for broken in [None, Some("{")] {
            let (mut parts, _) = remembered();
            parts.remove(STREAMS);
            parts.extend(broken.map(|broken| (STREAMS.to_owned(), broken.to_owned())));
            assert_eq!(known(parts), (0, 0, 1));
        }
    }
}
