//! Findings.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params, params};

use super::{Result, ScanCommit, Store, corrupt, json, to_json};
use crate::model::{Breach, Counted, Finding, Login, Severity, StoredFinding};

const COLUMNS: &str =
    "id, job, rule, severity, subject, count, first, last, reached, evidence, open, run, alerted, breach, counted, note,
     can_wait, withdrawn";

/// Which findings a filter wants.
const WANTED: &str = "withdrawn IS NULL AND (:rule IS NULL OR rule = :rule) AND first < :until
     AND (last >= :since OR breach ->> '$.time' >= :since
         OR EXISTS (SELECT 1 FROM json_each(breach, '$.others') WHERE value ->> '$.time' >= :since))
     AND (:user IS NULL OR :user COLLATE NOCASE IN (subject ->> '$.\"user.name\"', breach ->> '$.user')
         OR EXISTS (SELECT 1 FROM json_each(breach, '$.others') WHERE value ->> '$.user' = :user COLLATE NOCASE))
     AND severity IN (SELECT value FROM json_each(:severities))";

/// Which findings to list.
#[derive(Debug, Clone, Default)]
pub struct FindingFilter {
    /// Only of this rule.
    pub rule: Option<String>,
    /// Only about this account, in capital or small letters, or those that got in as that.
    pub user: Option<String>,
    /// Only those that matter at least so much.
    pub severity: Option<Severity>,
    /// Only those whose last event, or the login of who got in, is at or after this instant.
    pub since: Option<DateTime<Utc>>,
    /// Only those whose first event is before this instant.
    pub until: Option<DateTime<Utc>>,
    /// At most so many, those with the latest events.
    pub limit: Option<usize>,
    /// Whether their lines are left out.
    pub without_evidence: bool,
}

impl Store {
    /// The findings that fit, latest event first.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn findings(&self, filter: &FindingFilter) -> Result<Vec<StoredFinding>> {
        let columns = if filter.without_evidence { COLUMNS.replace("evidence", "'[]'") } else { COLUMNS.to_owned() };
        let sql = format!("SELECT {columns} FROM findings WHERE {WANTED} ORDER BY last DESC, id DESC LIMIT :limit");
        let limit = filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        self.wanted(&sql, filter, Some(limit), read_finding)
    }

    /// How many findings fit, however many are to be listed.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn count_findings(&self, filter: &FindingFilter) -> Result<usize> {
        let sql = format!("SELECT count(*) FROM findings WHERE {WANTED}");
        let counts: Vec<i64> = self.wanted(&sql, filter, None, |row| row.get(0))?;
        Ok(counts.iter().sum::<i64>() as usize)
    }

    fn wanted<T>(
        &self,
        sql: &str,
        filter: &FindingFilter,
        limit: Option<i64>,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let all = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
        let wanted = all.iter().filter(|severity| filter.severity.is_none_or(|least| **severity >= least));
        let severities = to_json(&wanted.map(|severity| severity.as_str()).collect::<Vec<_>>());
        let since = filter.since.map_or(i64::MIN, |instant| instant.timestamp());
        let until = filter.until.map_or(i64::MAX, |instant| instant.timestamp());
        self.read(|db| {
            let user = filter.user.as_ref().map(|user| user.to_lowercase());
            let values = named_params! { ":rule": filter.rule, ":user": user,
            ":severities": severities, ":since": since, ":until": until };
            let limit = limit.as_ref().map(|limit| (":limit", limit as &dyn ToSql));
            let values: Vec<(&str, &dyn ToSql)> = values.iter().copied().chain(limit).collect();
            db.prepare(sql)?.query_map(&*values, read)?.collect()
        })
    }

    /// How many findings whose events all lie before `start` were first found by runs between two instants.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn findings_late(&self, start: DateTime<Utc>, (from, to): (DateTime<Utc>, DateTime<Utc>)) -> Result<usize> {
        let sql = "SELECT count(*) FROM runs JOIN findings ON findings.run = runs.id
                   WHERE requested >= ?1 AND requested < ?2 AND last < ?3 AND withdrawn IS NULL";
        let values = [super::millis(from), super::millis(to), start.timestamp()];
        self.read(|db| db.query_row(sql, values, |row| row.get::<_, i64>(0)).map(|n| n as usize))
    }

    /// Findings that tell of somebody who got in before `start`, of those that were first found by runs between two instants.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn breaches_late(
        &self,
        start: DateTime<Utc>,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<Vec<StoredFinding>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM findings JOIN (SELECT id AS found_by, requested FROM runs) ON run = found_by
             WHERE requested >= ?1 AND requested < ?2 AND breach ->> '$.time' < ?3 AND withdrawn IS NULL ORDER BY last DESC, id"
        );
        let values = [super::millis(from), super::millis(to), start.timestamp()];
        self.read(|db| db.prepare(&sql)?.query_map(values, read_finding)?.collect())
    }

    /// A finding, also one that was withdrawn.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn finding(&self, id: i64) -> Result<Option<StoredFinding>> {
        let sql = format!("SELECT {COLUMNS} FROM findings WHERE id = ?1");
        self.read(|db| db.query_row(&sql, [id], read_finding).optional())
    }
}

impl Store {
    /// Forgets findings whose last event is before `before`, at most `limit`; one that may still grow, as that of a job which is
    /// gone may for ever, a month later. Returns how many.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn prune_findings(&self, before: DateTime<Utc>, limit: usize) -> Result<usize> {
        let sql = "DELETE FROM findings WHERE id IN (SELECT id FROM findings WHERE last < iif(open, ?2, ?1) LIMIT ?3)";
        let month_before = before.timestamp().saturating_sub(31 * 24 * 60 * 60);
        self.write(|db| db.execute(sql, params![before.timestamp(), month_before, limit as i64]))
    }
}

/// A finding whose last event is older than this when it is found is no news, in seconds.
const NEWS: i64 = 24 * 60 * 60;

/// What became of a scan's findings.
#[derive(Default)]
pub(super) struct Reconciled {
    /// How many were not on record before.
    pub new: usize,
    /// How many that somebody was told are disproved.
    pub withdrawn: usize,
    /// Those that somebody is to be told.
    pub told: Vec<ToTell>,
}

/// A finding that somebody is to be told.
pub(super) struct ToTell {
    /// Its number.
    pub id: i64,
    /// Its rule.
    pub rule: String,
    /// How much it matters.
    pub severity: Severity,
    /// Whether somebody got in.
    pub breach: bool,
    /// Whether it is no news but a look back.
    pub looks_back: bool,
    /// Whether there is but more of it.
    pub is_more: bool,
}

/// A finding on record that is about the same.
struct Known {
    id: i64,
    count: u64,
    /// Whether further lines may change it.
    open: bool,
    /// Whether further lines disproved it.
    withdrawn: bool,
    /// Whether it was joined to one that its rule knows nothing of any more.
    joined: bool,
    /// Which accounts somebody got in as.
    breached: Vec<String>,
    /// How many there were when somebody was told last; none before.
    told: Option<u64>,
    /// When the last event was.
    last: i64,
    /// How much what somebody was told mattered, as a number.
    told_severity: Option<u8>,
}

/// What is found of an attack of which more is on record.
struct Joined {
    known: Known,
    /// What was on record before.
    base: Finding,
    /// Both together.
    both: Finding,
}

/// Brings the job's findings on record up to date with what a scan knows: known ones are updated, new ones
/// inserted, and open ones that further lines have disproved are removed, or withdrawn where somebody was told. What a rule has forgotten
/// stays as it is: what it finds of the same attack is joined to it.
pub(super) fn reconcile(tx: &Connection, commit: &ScanCommit<'_>) -> rusqlite::Result<Reconciled> {
    let mut result = Reconciled::default();
    let mut joined: BTreeMap<i64, Joined> = BTreeMap::new();
    tx.execute_batch("CREATE TEMP TABLE IF NOT EXISTS seen (id INTEGER PRIMARY KEY); DELETE FROM seen;")?;
    for finding in commit.findings {
        let continues = commit.continued.contains(&finding.rule);
        // What is settled has been forgotten, so that more of what lies beside it is another finding, and adds nothing to it.
        let is_other = |known: &Known| !known.open && finding.first > known.last && continues;
        let known = known(tx, commit, finding)?.filter(|known| !is_other(known));
        let id = match known {
            None => insert(tx, commit, finding)?,
            Some(ref known) if known.withdrawn || known.open && continues && !known.joined => {
                update(tx, known.id, finding, None)?;
                known.id
            }
            Some(known) => {
                let attack = match joined.entry(known.id) {
                    Entry::Occupied(attack) => attack.into_mut(),
                    Entry::Vacant(place) => {
                        let base = Finding { open: false, ..base(tx, &known, continues)? };
                        place.insert(Joined { known, both: base.clone(), base })
                    }
                };
                attack.both = both(&attack.both, finding);
                if !finding.open {
                    // It is told but once.
                    attack.base = both(&attack.base, finding);
                }
                continue;
            }
        };
        note(tx, commit, &mut result, id, known, finding)?;
    }
    for (id, Joined { known, base, both }) in joined {
        update(tx, id, &both, both.open.then_some(&base))?;
        note(tx, commit, &mut result, id, Some(known), &both)?;
    }
    close_unseen(tx, commit, &mut result)?;
    Ok(result)
}

/// Notes that a finding was seen, and whether somebody is to be told.
fn note(
    tx: &Connection,
    commit: &ScanCommit<'_>,
    result: &mut Reconciled,
    id: i64,
    known: Option<Known>,
    finding: &Finding,
) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT OR IGNORE INTO seen VALUES (?1)")?.execute([id])?;
    result.new += usize::from(known.is_none());
    // That a pause lasts is no news.
    let lasts = finding.counted == Counted::QuietMinutes;
    // What was withdrawn and is true after all is told like a new one.
    let known = known.filter(|known| !known.withdrawn);
    // Whoever was told is told again once as many more came as make a finding: a few now and then are no news.
    let enough = commit.alert.thresholds.get(&finding.rule).copied().unwrap_or(1);
    let grew = known.as_ref().is_none_or(|known| match known.told {
        Some(told) => !lasts && finding.count >= told.saturating_add(enough),
        None => lasts || known.open || finding.count > known.count,
    });
    // That somebody got in can't wait for any cooldown.
    let is_known = |user| known.as_ref().is_some_and(|known| known.breached.iter().any(|known| known == user));
    let got_in = finding.breach.iter().flat_map(Breach::accounts).any(|user| !is_known(user));
    // Nor can it that it matters more than was told. After a pause it is told as what begins.
    let rose = known.as_ref().and_then(|known| known.told_severity).is_some_and(|told| finding.severity as u8 > told);
    let cooldown = commit.alert.cooldowns.get(&finding.rule).copied().unwrap_or(0);
    if known.as_ref().is_some_and(|known| finding.last.saturating_sub(known.last) > cooldown) {
        tx.prepare_cached("UPDATE findings SET tellings = 0 WHERE id = ?1")?.execute([id])?;
    }
    let now = commit.record.at.timestamp();
    let told = alerted_lately(tx, commit.job, id, finding, cooldown, now)?;
    let is_let_alone = commit.alert.exemptions.iter().any(|exemption| exemption.is_about(&finding.subject, now));
    if !finding.can_wait && (got_in || (rose || grew && !told) && !is_let_alone) {
        let looks_back = commit.alert.first_scan || finding.last < commit.now.timestamp() - NEWS;
        let (rule, severity, breach) = (finding.rule.clone(), finding.severity, finding.breach.is_some());
        let is_more = !got_in && !rose;
        result.told.push(ToTell { id, rule, severity, breach, looks_back, is_more });
    }
    Ok(())
}

/// Removes, withdraws or closes the open findings that the scan knows nothing of.
fn close_unseen(tx: &Connection, commit: &ScanCommit<'_>, result: &mut Reconciled) -> rusqlite::Result<()> {
    let continued = to_json(&commit.continued);
    let unseen = "job = ?1 AND open = 1 AND id NOT IN (SELECT id FROM seen)";
    let disproved = format!("{unseen} AND rule IN (SELECT value FROM json_each(?2))");
    // Of what was joined to another one only that one is left.
    let sql = format!("SELECT id, base FROM findings WHERE {disproved} AND base IS NOT NULL");
    let read = |row: &Row<'_>| Ok((row.get(0)?, json::<Finding>(row, 1)?));
    let joined: Vec<(i64, Finding)> =
        tx.prepare(&sql)?.query_map(params![commit.job, continued], read)?.collect::<rusqlite::Result<_>>()?;
    for (id, base) in joined {
        update(tx, id, &base, None)?;
    }
    let sql = format!("DELETE FROM findings WHERE {disproved} AND alerted IS NULL");
    tx.execute(&sql, params![commit.job, continued])?;
    let sql = format!("UPDATE findings SET open = 0, withdrawn = ?3 WHERE {disproved}");
    result.withdrawn = tx.execute(&sql, params![commit.job, continued, commit.record.at.timestamp()])?;
    tx.execute(&format!("UPDATE findings SET open = 0, base = NULL WHERE {unseen}"), [commit.job]).map(drop)
}

/// What was on record of an attack before the rule began to find more of it, which it still does if it `continues`.
fn base(tx: &Connection, known: &Known, continues: bool) -> rusqlite::Result<Finding> {
    if known.open && known.joined && continues {
        return tx.query_row("SELECT base FROM findings WHERE id = ?1", [known.id], |row| json(row, 0));
    }
    let sql = format!("SELECT {COLUMNS} FROM findings WHERE id = ?1");
    tx.query_row(&sql, [known.id], read_finding).map(|stored| stored.finding)
}

/// Two findings of one attack: how many events they have in common nobody knows, so the larger count holds. The break-ins of both are told,
/// and the line of the later one is shown with those of the first.
fn both(one: &Finding, other: &Finding) -> Finding {
    let is_later = |breach: &&Breach| one.breach.as_ref().is_none_or(|known| known.time < breach.time);
    let later = other.breach.as_ref().filter(is_later);
    let mut logins: Vec<Login> = one.logins().chain(other.logins()).collect();
    logins.sort();
    let shows = later.and(other.evidence.last()).filter(|line| !one.evidence.contains(line));
    Finding {
        severity: one.severity.max(other.severity),
        count: one.count.max(other.count),
        first: one.first.min(other.first),
        last: one.last.max(other.last),
        reached: one.reached.min(other.reached),
        breach: Breach::of(logins.into_iter()),
        note: other.note.clone().or_else(|| one.note.clone()),
        can_wait: one.can_wait && other.can_wait,
        evidence: one.evidence.iter().chain(shows).cloned().collect(),
        open: one.open || other.open,
        ..other.clone()
    }
}

fn known(tx: &Connection, commit: &ScanCommit<'_>, finding: &Finding) -> rusqlite::Result<Option<Known>> {
    let merge = commit.alert.merges.get(&finding.rule).copied().unwrap_or(0);
    let sql = "SELECT id, open, breach, iif(alerted IS NULL, NULL, coalesce(told, count)), last, withdrawn IS NOT NULL, base IS NOT NULL, count, told_severity, severity
               FROM findings WHERE job = ?1 AND rule = ?2 AND subject = ?3 AND first <= ?4 AND last >= ?5
               ORDER BY open DESC, base IS NOT NULL, withdrawn IS NOT NULL, id LIMIT 1";
    let (from, to) = (finding.first.saturating_sub(merge), finding.last.saturating_add(merge));
    let read = |row: &Row<'_>| {
        let breach: Option<Breach> = json(row, 2)?;
        let told: Option<i64> = row.get(3)?;
        let (open, withdrawn, joined, told_severity) =
            (row.get(1)?, row.get(5)?, row.get(6)?, row.get::<_, Option<u8>>(8)?);
        let severity: Severity = row.get::<_, String>(9)?.parse().map_err(|error| corrupt(9, error))?;
        Ok(Known {
            id: row.get(0)?,
            count: row.get::<_, i64>(7)? as u64,
            open,
            withdrawn,
            joined,
            breached: breach.iter().flat_map(Breach::accounts).map(str::to_owned).collect(),
            told: told.map(|told| told as u64),
            last: row.get(4)?,
            told_severity: told_severity.or(told.map(|_| severity as u8)),
        })
    };
    tx.prepare_cached(sql)?
        .query_row(params![commit.job, finding.rule, to_json(&finding.subject), to, from], read)
        .optional()
}

/// Remembers that somebody will be told about these.
pub(super) fn mark_alerted(tx: &Connection, ids: &[i64], at: DateTime<Utc>) -> rusqlite::Result<()> {
    let ranks: BTreeMap<&str, u8> = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical]
        .map(|one| (one.as_str(), one as u8))
        .into();
    let sql = "UPDATE findings SET alerted = ?2, told = count,
                   told_severity = max(coalesce(told_severity, 0), (SELECT value FROM json_each(?3) WHERE key = severity))
               WHERE id IN (SELECT value FROM json_each(?1))";
    tx.execute(sql, params![to_json(&ids), at.timestamp(), to_json(&ranks)]).map(drop)
}

/// Remembers of which of these there was but more.
pub(super) fn mark_more(tx: &Connection, ids: &[i64]) -> rusqlite::Result<()> {
    let sql = "UPDATE findings SET tellings = tellings + 1 WHERE id IN (SELECT value FROM json_each(?1))";
    tx.execute(sql, [to_json(&ids)]).map(drop)
}

/// The longest that is kept quiet of what goes on, in seconds, unless a rule's cooldown is longer.
const LONGEST_QUIET: i64 = 24 * 60 * 60;

/// Whether this job told of the subject within the rule's cooldown before `now`, both in seconds, or within twice that for each time before
/// that there was but more of the same finding to tell: each job has recipients of its own. What was told later was while the clock was ahead.
fn alerted_lately(
    tx: &Connection,
    job: &str,
    id: i64,
    finding: &Finding,
    cooldown: i64,
    now: i64,
) -> rusqlite::Result<bool> {
    let sql =
        "SELECT 1 FROM findings WHERE job = ?1 AND rule = ?2 AND subject = ?3 AND alerted <= ?4 AND withdrawn IS NULL
               AND alerted + iif(id = ?7, max(?5, min(?5 << max(0, min(tellings, 16) - 1), ?6)), ?5) > ?4 LIMIT 1";
    let values = params![job, finding.rule, to_json(&finding.subject), now, cooldown, LONGEST_QUIET, id];
    Ok(tx.prepare_cached(sql)?.query_row(values, |_| Ok(())).optional()?.is_some())
}

fn insert(tx: &Connection, commit: &ScanCommit<'_>, finding: &Finding) -> rusqlite::Result<i64> {
    let sql =
        "INSERT INTO findings (job, rule, severity, subject, count, first, last, reached, evidence, open, run, breach, counted, note, can_wait)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    let f = finding;
    let severity = f.severity.as_str();
    tx.prepare_cached(sql)?.execute(params![
        commit.job,
        f.rule,
        severity,
        to_json(&f.subject),
        f.count as i64,
        f.first,
        f.last,
        f.reached,
        to_json(&f.evidence),
        f.open,
        commit.run,
        to_json(&f.breach),
        f.counted.as_str(),
        f.note,
        f.can_wait
    ])?;
    Ok(tx.last_insert_rowid())
}

/// Brings a finding up to date, which was joined to what was on record before if there is such a `base`.
fn update(tx: &Connection, id: i64, finding: &Finding, base: Option<&Finding>) -> rusqlite::Result<()> {
    // Most open ones are as they were, and to write them costs far more than to look.
    let sql = "UPDATE findings SET alerted = iif(withdrawn IS NULL, alerted, NULL), tellings = iif(withdrawn IS NULL, tellings, 0),
                   told_severity = iif(withdrawn IS NULL, told_severity, NULL),
                   (severity, count, first, last, reached, evidence, open, breach, note, can_wait, withdrawn, base)
                   = (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, NULL, ?12)
               WHERE id = ?1 AND (severity, count, first, last, reached, evidence, open, breach, note, can_wait, withdrawn, base)
                   IS NOT (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, NULL, ?12)";
    let f = finding;
    let values = params![
        id,
        f.severity.as_str(),
        f.count as i64,
        f.first,
        f.last,
        f.reached,
        to_json(&f.evidence),
        f.open,
        to_json(&f.breach),
        f.note,
        f.can_wait,
        base.map(to_json)
    ];
    tx.prepare_cached(sql)?.execute(values).map(drop)
}

fn read_finding(row: &Row<'_>) -> rusqlite::Result<StoredFinding> {
    let (severity, counted): (String, String) = (row.get(3)?, row.get(14)?);
    let finding = Finding {
        rule: row.get(2)?,
        severity: severity.parse().map_err(|error| corrupt(3, error))?,
        subject: json(row, 4)?,
        count: row.get::<_, i64>(5)? as u64,
        counted: counted.parse().map_err(|error| corrupt(14, error))?,
        first: row.get(6)?,
        last: row.get(7)?,
        reached: row.get(8)?,
        evidence: json(row, 9)?,
        open: row.get(10)?,
        breach: json(row, 13)?,
        note: row.get(15)?,
        can_wait: row.get(16)?,
    };
    let (id, job, run, alerted, withdrawn) = (row.get(0)?, row.get(1)?, row.get(11)?, row.get(12)?, row.get(17)?);
    Ok(StoredFinding { id, job, run, alerted, withdrawn, finding })
}
