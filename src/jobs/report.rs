//! `[report]`: gather the figures of a period from the store and put the mail into the outbox.

use std::collections::HashMap;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

use super::{Context, JobError, JobKind, counted};
use crate::config::Config;
use crate::model::tally::BUCKET;
use crate::model::{Outcome, ReportKind, ReportSpec, StoredFinding, Tally};
use crate::notify;
use crate::report::{self, Day, Figures, JobRecord};
use crate::store::{Ended, FindingFilter, Frozen, RunFilter, Store, StoreError};

impl JobKind for ReportSpec {
    fn run(&self, context: &Context<'_>) -> Result<Ended, JobError> {
        let recipients = context.config.addresses(&self.to);
        let figures = compose(self.period, context.at, context.config, context.store)?;
        let mail = report::mail(&figures, context.at);
        if recipients.is_empty() {
            let groups = self.to.join(", ");
            let summary =
                format!("nobody to send it to: [recipients] in config/logkeeper.toml has no address for {groups}");
            return Ok(Ended::new(Outcome::Failed, summary));
        }
        let mime = notify::freeze(&mail, &context.config.mail.from, &recipients, context.clock.now())
            .map_err(JobError::Failed)?;
        let frozen = Frozen { key: mail.key, subject: mail.subject.clone(), mime };
        context.store.enqueue(&frozen, &recipients, &[], context.clock.now())?;
        let summary = format!("\"{}\" is on its way to {}", mail.subject, counted(recipients.len(), "recipient"));
        Ok(Ended::new(Outcome::Succeeded, summary))
    }

    fn preview(&self, context: &Context<'_>) -> Result<Vec<String>, JobError> {
        let (from, to) = period_of(self.period, context.at, context.config.zone);
        let recipients = context.config.addresses(&self.to).join(", ");
        Ok(vec![format!("would send the {} report on {from} to {to} to: {recipients}", self.period.name())])
    }
}

/// The first and last day of the period that a report made at `at` covers: the whole days before.
pub fn period_of(kind: ReportKind, at: DateTime<Utc>, zone: Tz) -> (NaiveDate, NaiveDate) {
    let today = at.with_timezone(&zone).date_naive();
    (today - Days::new(kind.days()), today - Days::new(1))
}

/// The figures of a report made at an instant: of the period before that day, and of the period before that.
///
/// # Errors
/// Fails where the store can't be read.
pub fn compose(kind: ReportKind, made: DateTime<Utc>, config: &Config, store: &Store) -> Result<Figures, StoreError> {
    let (from, to) = period_of(kind, made, config.zone);
    let zone = config.zone;
    let length = Days::new((to - from).num_days() as u64 + 1);
    let (start, end, before) = (midnight(from, zone), midnight(to + Days::new(1), zone), from - length);
    let days = days_of(from, to, zone, store)?;
    let days_before = days_of(before, from - Days::new(1), zone, store)?;
    let between = |since, until| FindingFilter { since: Some(since), until: Some(until), ..FindingFilter::default() };
    let findings = each_once(store.findings(&between(start, end))?);
    let first = store.first_tally()?;
    let watched_since = first.map(|first| first.with_timezone(&zone).date_naive());
    let known_before = first.is_some_and(|first| first < start);
    let findings_before = if known_before {
        Some(each_once(store.findings(&between(midnight(before, zone), start))?).len())
    } else {
        None
    };
    // Jobs and archives since the report before was made, so that each run is told once and none a week late.
    let since = made - chrono::TimeDelta::days(kind.days() as i64);
    let archives = store.archives(since, made)?;
    let logs = archives.iter().map(|(_, entry)| entry.members.len()).sum();
    let jobs = job_records(config, store, since, made)?;
    let host = config.host.clone();
    let archives = (archives.len(), logs);
    Ok(Figures {
        kind,
        host,
        zone,
        from,
        to,
        days,
        days_before,
        watched_since,
        findings,
        findings_before,
        jobs,
        archives,
    })
}

fn days_of(from: NaiveDate, to: NaiveDate, zone: Tz, store: &Store) -> Result<Vec<Day>, StoreError> {
    let mut days: Vec<Day> =
        from.iter_days().take_while(|date| *date <= to).map(|date| Day { date, tally: None }).collect();
    for counted in store.tallies(midnight(from, zone), midnight(to + Days::new(1), zone))? {
        let Some(instant) = DateTime::from_timestamp(counted.bucket * BUCKET, 0) else { continue };
        let date = instant.with_timezone(&zone).date_naive();
        if let Some(day) = days.iter_mut().find(|day| day.date == date) {
            day.tally.get_or_insert_with(Tally::default).add(&counted.tally);
        }
    }
    Ok(days)
}

fn job_records(
    config: &Config,
    store: &Store,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<JobRecord>, StoreError> {
    let runs = store.runs(&RunFilter { since: Some(from), ..RunFilter::default() })?;
    let runs: Vec<_> = runs.into_iter().filter(|run| run.requested < to).collect();
    let record = |id: &str| {
        let count = |outcomes: &[Outcome]| {
            runs.iter()
                .filter(|run| run.job == id && run.outcome.is_some_and(|outcome| outcomes.contains(&outcome)))
                .count()
        };
        JobRecord {
            id: id.to_owned(),
            done: count(&[Outcome::Succeeded, Outcome::Partial]),
            failed: count(&[Outcome::Failed, Outcome::TimedOut, Outcome::CouldNotStart, Outcome::Interrupted]),
            partial: count(&[Outcome::Partial]),
            missed: count(&[Outcome::Missed, Outcome::Skipped]),
        }
    };
    Ok(config.jobs.values().filter(|job| job.enabled).map(|job| record(job.id.as_str())).collect())
}

/// The first instant of a day; where a clock change swallows midnight, the first after it.
pub fn midnight(date: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let naive = date.and_time(NaiveTime::MIN);
    let hours = (0..=3).map(chrono::TimeDelta::hours);
    let first = hours.filter_map(|hours| zone.from_local_datetime(&(naive + hours)).earliest()).next();
    first.map_or(naive.and_utc(), |instant| instant.to_utc())
}

/// The findings, most serious first. What several rules say of the same subject at the same time is one thing to a reader.
fn each_once(mut findings: Vec<StoredFinding>) -> Vec<StoredFinding> {
    findings.sort_by_key(|f| (std::cmp::Reverse((f.finding.severity as u8, f.finding.count)), f.id));
    let mut told: HashMap<String, Vec<(String, i64, i64)>> = HashMap::new();
    findings.retain(|stored| {
        let f = &stored.finding;
        let same = told.entry(f.subject_words()).or_default();
        let is_told = same.iter().any(|(rule, first, last)| *rule != f.rule && *first <= f.last && f.first <= *last);
        if !is_told {
            same.push((f.rule.clone(), f.first, f.last));
        }
        !is_told
    });
    findings
}
