//! One scan, one transaction: state, findings, tallies, record and the intent to alert commit together.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::findings::ToTell;
use super::{BucketTally, Result, Store, findings, outbox, tallies, tops};
use crate::model::{About, Exemption, Finding, Intent, RunId, Severity, Top};

/// What a scan job remembers between runs: opaque documents of `jobs` by their names.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanState(pub BTreeMap<String, String>);

/// What it is to remember from now on: all documents; none where one stays as it is.
#[derive(Debug, Clone)]
pub struct StateChange(pub BTreeMap<String, Option<String>>);

/// Whom to alert and when not to.
#[derive(Debug, Clone)]
pub struct AlertPolicy {
    /// By rule and severity: the channels by which its findings are told, each with the names it takes to addresses.
    pub routes: BTreeMap<(String, Severity), Vec<Route>>,
    /// By rule: how many more have to come before somebody is told again of the same finding.
    pub thresholds: BTreeMap<String, u64>,
    /// By rule: for how many seconds the same subject is not alerted about again.
    pub cooldowns: BTreeMap<String, i64>,
    /// By rule: the longest pause within one finding, in seconds.
    pub merges: BTreeMap<String, i64>,
    /// Who is let alone for a while.
    pub exemptions: Vec<Exemption>,
    /// Whether this is a look back over old logs.
    pub first_scan: bool,
}

/// A channel, and recipient groups and addresses where it takes mail to them.
pub type Route = (String, Vec<String>);

/// The monitoring record of one scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScanRecord {
    /// When.
    pub at: DateTime<Utc>,
    /// Files read.
    pub files: u64,
    /// Lines read.
    pub lines: u64,
    /// Lines no parser understood.
    pub unparsed: u64,
    /// Lines triage calls urgent.
    pub urgent: u64,
    /// Failed logins.
    pub failed_logins: u64,
}

/// Everything one scan stores.
pub struct ScanCommit<'a> {
    /// The run.
    pub run: RunId,
    /// The job's id.
    pub job: &'a str,
    /// What the next scan goes on from.
    pub state: &'a StateChange,
    /// What was found, open and settled.
    pub findings: &'a [Finding],
    /// What was counted per quarter of an hour.
    pub tallies: &'a [BucketTally],
    /// The monitoring record.
    pub record: &'a ScanRecord,
    /// The rules whose detectors went on from their stored state, so that they know all that is open.
    pub continued: &'a [String],
    /// Whether not all could be read.
    pub unread: bool,
    /// Whom to tell.
    pub alert: &'a AlertPolicy,
    /// The instant the run is about.
    pub now: DateTime<Utc>,
}

/// Writes what has changed of it.
fn put_state(tx: &Connection, job: &str, StateChange(parts): &StateChange) -> rusqlite::Result<()> {
    let known: Vec<String> = tx
        .prepare_cached("SELECT part FROM scan_states WHERE job = ?1")?
        .query_map([job], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for gone in known.iter().filter(|part| !parts.contains_key(*part)) {
        tx.execute("DELETE FROM scan_states WHERE job = ?1 AND part = ?2", [job, gone])?;
    }
    let sql = "INSERT INTO scan_states (job, part, state) VALUES (?1, ?2, ?3)
               ON CONFLICT (job, part) DO UPDATE SET state = ?3 WHERE state IS NOT ?3";
    let mut put = tx.prepare_cached(sql)?;
    for (part, state) in parts.iter().filter_map(|(part, state)| Some((part, state.as_ref()?))) {
        put.execute([job, part, state])?;
    }
    Ok(())
}

/// What became of a scan's findings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanOutcome {
    /// Findings that were not on record before.
    pub new: usize,
    /// Findings that somebody will be told about.
    pub alerted: usize,
    /// The verdict that went on record.
    pub verdict: String,
}

impl Store {
    /// What a job remembered last; `None` before its first scan.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn scan_state(&self, job: &str) -> Result<Option<ScanState>> {
        let parts: BTreeMap<String, String> = self.read(|db| {
            let mut parts = db.prepare_cached("SELECT part, state FROM scan_states WHERE job = ?1")?;
            parts.query_map([job], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })?;
        Ok(Some(ScanState(parts)).filter(|ScanState(parts)| !parts.is_empty()))
    }

    /// One of the documents that a job remembers; `None` where there is no such.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn scan_state_part(&self, job: &str, part: &str) -> Result<Option<String>> {
        let sql = "SELECT state FROM scan_states WHERE job = ?1 AND part = ?2";
        self.read(|db| db.query_row(sql, [job, part], |row| row.get(0)).optional())
    }

    /// Stores a scan, and who and what occurred most often per hour: those of one hour, kind and source in a row.
    ///
    /// # Errors
    /// Fails where the database can't be written; then nothing of it is stored.
    pub fn commit_scan(&self, commit: &ScanCommit<'_>, tops: impl Iterator<Item = Top>) -> Result<ScanOutcome> {
        self.write(|tx| {
            put_state(tx, commit.job, commit.state)?;
            tallies::add(tx, commit.job, commit.tallies)?;
            let sql = "SELECT max(at) FROM scans WHERE job = ?1";
            let before: Option<i64> = tx.query_row(sql, [commit.job], |row| row.get(0))?;
            let before = before.and_then(|at| DateTime::from_timestamp(at, 0));
            tops::add(tx, commit.job, tops, commit.record.at, before)?;
            let reconciled = findings::reconcile(tx, commit)?;
            let (new, withdrawn) = (reconciled.new, reconciled.withdrawn);
            let alerted = intend(tx, commit, reconciled.told)?;
            let verdict = verdict(commit, new, withdrawn);
            // What was withdrawn is news, too: a run that found some stays on record.
            insert_record(tx, commit, new + withdrawn, &verdict)?;
            Ok(ScanOutcome { new, alerted, verdict })
        })
    }

    /// Records a scan that found nothing new to read; `unread`: not all of it could be read.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn record_idle_scan(&self, run: RunId, job: &str, at: DateTime<Utc>, unread: bool) -> Result<ScanOutcome> {
        let verdict = nothing_new(unread).to_owned();
        let sql = "INSERT INTO scans (run, at, job, files, lines, unparsed, urgent, failed_logins, findings, verdict)
                   VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, 0, ?4)";
        self.write(|tx| tx.execute(sql, params![run, at.timestamp(), job, verdict]).map(drop))?;
        Ok(ScanOutcome { new: 0, alerted: 0, verdict })
    }

    /// When a job scanned last.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn last_scan(&self, job: &str) -> Result<Option<DateTime<Utc>>> {
        let sql = "SELECT max(at) FROM scans WHERE job = ?1";
        let at: Option<i64> = self.read(|db| db.query_row(sql, [job], |row| row.get(0)))?;
        Ok(at.and_then(|at| DateTime::from_timestamp(at, 0)))
    }

    /// Sums over the scans between two instants: scans, lines and lines not parsed.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn scan_totals(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<(u64, u64, u64)> {
        let sql = "SELECT count(*), coalesce(sum(lines), 0), coalesce(sum(unparsed), 0) FROM scans WHERE at >= ?1 AND at < ?2";
        self.read(|db| {
            db.query_row(sql, [from.timestamp(), to.timestamp()], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64))
            })
        })
    }
}

/// Where a finding is told, its rule, whether somebody got in, and whether it is a look back.
type Topic<'a> = (&'a Route, String, bool, bool);

/// Stores the intents to tell these findings: one for each channel, rule, and whether somebody got in. Returns how many findings
/// somebody will be told.
fn intend(tx: &Connection, commit: &ScanCommit<'_>, told: Vec<ToTell>) -> rusqlite::Result<usize> {
    let (mut alerted, mut more) = (BTreeSet::new(), BTreeSet::new());
    let mut intents: BTreeMap<Topic<'_>, (Severity, Vec<i64>)> = BTreeMap::new();
    for ToTell { id, rule, severity, breach, looks_back, is_more } in told {
        for route in commit.alert.routes.get(&(rule.clone(), severity)).into_iter().flatten() {
            alerted.insert(id);
            more.extend(is_more.then_some(id));
            let key = (route, rule.clone(), breach, looks_back);
            let (worst, findings) = intents.entry(key).or_insert((severity, Vec::new()));
            *worst = severity.max(*worst);
            findings.push(id);
        }
    }
    for (((channel, to), rule, breach, looks_back), (severity, findings)) in intents {
        let about = About::Findings { run: commit.run, rule, findings, breach, looks_back };
        let intent = Intent { channel: channel.clone(), to: to.clone(), severity, about };
        outbox::insert_intent(tx, &intent, commit.record.at)?;
    }
    let alerted: Vec<i64> = alerted.into_iter().collect();
    findings::mark_alerted(tx, &alerted, commit.record.at)?;
    findings::mark_more(tx, &more.into_iter().collect::<Vec<_>>())?;
    Ok(alerted.len())
}

fn nothing_new(unread: bool) -> &'static str {
    if unread {
        "nothing new in what could be read of the logs"
    } else {
        "no activity detected: nothing new in the logs"
    }
}

fn verdict(commit: &ScanCommit<'_>, new: usize, withdrawn: usize) -> String {
    let known = commit.findings.len();
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let verdict = if new > 0 {
        format!("{new} new finding{}", plural(new))
    } else if known > 0 {
        format!("{known} known finding{} still open", plural(known))
    } else if commit.record.lines == 0 {
        nothing_new(commit.unread).to_owned()
    } else if commit.unread {
        "no threshold was crossed in what could be read of the logs".to_owned()
    } else {
        "no activity detected: no threshold was crossed".to_owned()
    };
    match withdrawn {
        0 => verdict,
        n => format!("{verdict}; {n} that somebody was told of turned out to be none"),
    }
}

fn insert_record(tx: &Connection, commit: &ScanCommit<'_>, new: usize, verdict: &str) -> rusqlite::Result<()> {
    let record = commit.record;
    let sql = "INSERT INTO scans (run, at, job, files, lines, unparsed, urgent, failed_logins, findings, verdict)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let counts = [record.files, record.lines, record.unparsed, record.urgent, record.failed_logins].map(|n| n as i64);
    let [files, lines, unparsed, urgent, failed] = counts;
    let at = record.at.timestamp();
    tx.execute(sql, params![commit.run, at, commit.job, files, lines, unparsed, urgent, failed, new as i64, verdict])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_job_remembers_only_what_changed_is_written() {
        let store = Store::open_in_memory().unwrap();
        let put = |job: &str, parts: &[(&str, Option<&str>)]| {
            let parts = parts.iter().map(|(part, text)| ((*part).to_owned(), text.map(str::to_owned)));
            let change = StateChange(parts.collect());
            store
                .write(|tx| {
                    let before = tx.total_changes();
                    put_state(tx, job, &change)?;
                    Ok(tx.total_changes() - before)
                })
                .unwrap()
        };
        let known = |job: &str| store.scan_state(job).unwrap().map(|ScanState(parts)| parts.into_iter().collect());
        let pairs = |parts: &[(&str, &str)]| -> Option<Vec<(String, String)>> {
            Some(parts.iter().map(|(part, text)| ((*part).to_owned(), (*text).to_owned())).collect())
        };
        let first = [("rule a", Some("1")), ("rule b", Some("2")), ("streams", Some("{}"))];
        assert_eq!(known("scan"), None);
        assert_eq!((put("scan", &first), put("scan", &first), put("other", &[("streams", Some("x"))])), (3, 0, 1));
        // Nothing stays of a rule that is taken away, and a part stays that is as it was.
        assert_eq!(put("scan", &[("rule b", Some("3")), ("streams", None)]), 2);
        assert_eq!(known("scan"), pairs(&[("rule b", "3"), ("streams", "{}")]));
        assert_eq!(store.scan_state_part("scan", "rule b").unwrap().as_deref(), Some("3"));
        assert_eq!(store.scan_state_part("scan", "rule a").unwrap(), None);
        assert_eq!(put("scan", &first), 2);
        assert_eq!(known("other"), pairs(&[("streams", "x")]));
    }
}
