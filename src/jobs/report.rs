//! `[report]`: gather the figures of a period from the store and send them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use super::outgoing::frozen;
use super::{Context, JobError, JobKind, counted};
use crate::config::Config;
use crate::model::channel::MAIL;
use crate::model::tally::BUCKET;
use crate::model::untrusted::printable;
use crate::model::{
    Audience, Breach, Category, Event, Login, Outcome, Peer, ReportKind, ReportSpec, RunId, Severity, StoredFinding,
    Tally, TopKind, Trigger, Who, Work,
};
use crate::report::{
    self, Acquaintance, ArchiveRecord, Day, Disk, FINDINGS_KEPT, Figures, Hour, SourceRecord, TOPS_KEPT,
};
use crate::store::{BucketTally, Ended, Enqueued, FindingFilter, SentReport, Store, StoreError};

/// How many archives are named with their digests.
const DIGESTS_KEPT: usize = 50;

/// Which report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The kind.
    pub kind: ReportKind,
    /// For whom.
    pub audience: Audience,
    /// The zone of its days.
    pub zone: Tz,
    /// When it is made: it covers the whole days before.
    pub made: DateTime<Utc>,
}

impl Request {
    /// The first and last day it covers.
    pub fn period(&self) -> (NaiveDate, NaiveDate) {
        let today = self.made.with_timezone(&self.zone).date_naive();
        (self.kind.begin(today), today - chrono::Days::new(1))
    }
}

impl ReportSpec {
    fn request(&self, context: &Context<'_>) -> Request {
        Request { kind: self.period, audience: self.audience, zone: context.zone(), made: context.at }
    }
}

impl JobKind for ReportSpec {
    fn run(&self, context: &Context<'_>) -> Result<Ended, JobError> {
        let (config, now) = (context.config, context.clock.now());
        let mut figures = compose(&self.request(context), config, context.store)?;
        let run = context.store.run(context.run)?;
        let by_hand = run.as_ref().is_none_or(|run| run.trigger == Trigger::Manual);
        let again = run.is_some_and(|run| run.attempt <= context.job.policy.retries);
        if let Some(until) = figures.read_until.filter(|_| !by_hand && again) {
            // After an outage scans and reports are made up for together.
            let until = until.with_timezone(&figures.zone).format("%a %-d %b %H:%M");
            let why =
                format!("the logs are read up to {until} only; it is tried again, and sent with what there is at last");
            return Ok(Ended::new(Outcome::Failed, why));
        }
        figures.made_by =
            if by_hand { format!("{} run {}", context.job.id, context.run) } else { context.job.id.to_string() };
        let message = report::message(&figures);
        // A report is wanted however little happened.
        let routes = config.routes(&self.to, Severity::Critical);
        let mut messages = Vec::new();
        for (channel, to) in routes {
            let recipients = if channel == MAIL { config.addresses(&to) } else { vec![String::new()] };
            let frozen = frozen(&message, &channel, false, &config.from, &recipients, now).map_err(JobError::Failed)?;
            messages.push((frozen, recipients));
        }
        let recipients: usize = messages.iter().map(|(_, recipients)| recipients.len()).sum();
        if recipients == 0 {
            let groups = self.to.join(", ");
            let summary =
                format!("nobody to send it to: [recipients] in config/logkeeper.toml has no address for {groups}");
            return Ok(Ended::new(Outcome::Failed, summary));
        }
        let enqueued: Vec<Enqueued<'_>> = messages
            .iter()
            .map(|(frozen, recipients)| Enqueued { frozen, recipients, intents: &[], told: &[] })
            .collect();
        context.store.save_report(&sent(&figures).map_err(JobError::Failed)?, &enqueued, now)?;
        let subject = &message.mail.subject;
        Ok(Ended::new(
            Outcome::Succeeded,
            format!("\"{subject}\" is on its way to {}", counted(recipients, "recipient")),
        ))
    }

    fn preview(&self, context: &Context<'_>) -> Result<Vec<String>, JobError> {
        let (from, to) = self.request(context).period();
        let routes = context.config.routes(&self.to, Severity::Critical);
        let mut recipients = context.config.addresses(&self.to);
        recipients.extend(routes.into_iter().map(|(channel, _)| channel).filter(|channel| channel != MAIL));
        let (kind, audience, recipients) = (self.period, self.audience, recipients.join(", "));
        Ok(vec![format!("would send the {kind} report for {audience} on {from} to {to} to: {recipients}")])
    }
}

/// The record of a report that is sent.
///
/// # Errors
/// Says why its figures can't be written down.
pub fn sent(figures: &Figures) -> Result<SentReport, String> {
    Ok(SentReport {
        kind: figures.kind,
        audience: figures.audience,
        host: figures.host.clone(),
        zone: figures.zone.name().to_owned(),
        last_day: figures.to,
        made: figures.made,
        figures: serde_json::to_string(figures).map_err(|error| error.to_string())?,
    })
}

/// The figures that were sent of this report, if it was sent: the same for ever, whatever was forgotten since. An error where they
/// can't be read.
///
/// # Errors
/// Fails where the store can't be read.
pub fn as_sent(
    request: &Request,
    config: &Config,
    store: &Store,
) -> Result<Option<serde_json::Result<Figures>>, StoreError> {
    let (_, last_day) = request.period();
    let sent = store.sent_report(request.kind, request.audience, &config.host, last_day)?;
    Ok(sent.map(|figures| serde_json::from_str(&figures)))
}

/// The figures of a report: of its period, and of the period before that.
///
/// # Errors
/// Fails where the store can't be read.
pub fn compose(request: &Request, config: &Config, store: &Store) -> Result<Figures, StoreError> {
    let Request { kind, audience, zone, made } = *request;
    let (from, to) = request.period();
    let today = to + chrono::Days::new(1);
    let before = kind.begin(from);
    let (start, end, start_before) = (midnight(from, zone), midnight(today, zone), midnight(before, zone));
    let counted = store.tallies(start, end)?;
    let counted_before = store.tallies(start_before, start)?;
    let daily = kind == ReportKind::Daily;
    let week_ago = to - chrono::Days::new(7);
    let week_ago = if daily {
        let counted = store.tallies(midnight(week_ago, zone), midnight(week_ago + chrono::Days::new(1), zone))?;
        days_of(week_ago, week_ago, zone, &counted).pop()
    } else {
        None
    };
    let first = store.first_tally()?;
    let found = findings(store, start, end)?;
    let days_before = days_of(before, from - chrono::Days::new(1), zone, &counted_before);
    let known_before = days_before.iter().all(|day| day.tally.is_some());
    let findings_before = if known_before { Some(findings(store, start_before, start)?.len()) } else { None };
    let told_since = at_time(kind.begin(today), made.with_timezone(&zone).time(), zone);
    let late = only_first(store.breaches_late(start, (told_since, made))?, &found, start.timestamp());
    let days = days_of(from, to, zone, &counted);
    let top = |kind| store.tops(kind, (start, end), None, TOPS_KEPT);
    let attackers = top(TopKind::Attacker)?;
    Ok(Figures {
        kind,
        audience,
        host: config.host.clone(),
        zone,
        made,
        made_by: "by hand".to_owned(),
        told_since,
        read_until: read_until(config, store, end)?,
        from,
        to,
        hours: hours_of(zone, &counted, &days),
        hours_before: if daily { hours_of(zone, &counted_before, &days_before) } else { Vec::new() },
        days,
        days_before,
        week_ago,
        watched_since: first.map(|first| first.with_timezone(&zone).date_naive()),
        findings_total: found.len(),
        findings_before,
        findings_late: store.findings_late(start, (told_since, made))?,
        breaches: breaches(&found) + breaches(&late),
        breaches_late: breaches(&late),
        outages: found.iter().filter(|finding| report::is_outage(finding)).count(),
        findings: with_late(found, late),
        // Jobs and archives since the report before was made, so that each run is told once and none a week late.
        jobs: job_records(config, store, told_since, made)?,
        archives: archive_record(store, told_since, made)?,
        sources: source_records(config, zone, &counted, &counted_before),
        acquaintances: acquaintances(&attackers, (start, end), config, store)?,
        attackers,
        targets: top(TopKind::Target)?,
        error_paths: top(TopKind::ErrorPath)?,
        disks: disks(config),
        undelivered: store.undelivered(told_since, made)?,
    })
}

fn days_of(from: NaiveDate, to: NaiveDate, zone: Tz, counted: &[BucketTally]) -> Vec<Day> {
    let dates = from.iter_days().take_while(|date| *date <= to);
    let mut days: BTreeMap<NaiveDate, Option<Tally>> = dates.map(|date| (date, None)).collect();
    for counted in counted {
        if let Some(day) = days.get_mut(&local(counted, zone).date_naive()) {
            day.get_or_insert_with(Tally::default).add(&counted.tally);
        }
    }
    days.into_iter().map(|(date, tally)| Day { date, tally }).collect()
}

/// The hours of the days of which anything is known.
fn hours_of(zone: Tz, counted: &[BucketTally], days: &[Day]) -> Vec<Hour> {
    let known = days.iter().filter(|day| day.tally.is_some()).flat_map(|day| (0..24).map(|hour| (day.date, hour)));
    let mut hours: BTreeMap<(NaiveDate, u32), Tally> = known.map(|hour| (hour, Tally::default())).collect();
    for counted in counted {
        let local = local(counted, zone);
        hours.entry((local.date_naive(), local.hour())).or_default().add(&counted.tally);
    }
    let hour = |((date, hour), tally): ((NaiveDate, u32), Tally)| {
        let errors = tally.status_4xx + tally.status_5xx;
        Hour { date, hour, requests: tally.requests, failed_logins: tally.failed_logins, errors }
    };
    hours.into_iter().map(hour).collect()
}

/// Up to when all scan jobs that follow a schedule have read, where that is before the end of the period.
fn read_until(config: &Config, store: &Store, end: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
    let scans = config.jobs.values().filter(|job| job.enabled && job.schedule.is_some());
    let scans = scans.filter(|job| matches!(job.work, Work::Scan(_)));
    let mut until = None;
    for job in scans {
        // One that never ran has nothing to tell of any period.
        let Some(last) = store.last_scan(job.id.as_str())? else { continue };
        if last < end {
            until = Some(until.map_or(last, |until: DateTime<Utc>| until.min(last)));
        }
    }
    Ok(until)
}

/// What speaks for these addresses: logins, and that somebody lets them alone.
fn acquaintances(
    addresses: &[(String, u64)],
    (start, end): (DateTime<Utc>, DateTime<Utc>),
    config: &Config,
    store: &Store,
) -> Result<Vec<Acquaintance>, StoreError> {
    let logins: HashMap<String, u64> =
        store.tops(TopKind::Login, (start, end), None, usize::MAX)?.into_iter().collect();
    let exemptions = store.exemptions()?;
    let holds = exemptions.iter().filter(|e| e.since < end.timestamp() && e.until > start.timestamp());
    let allowed: Vec<&Who> = holds.map(|e| &e.who).chain(config.rules.values().flat_map(|rule| &rule.allow)).collect();
    let known = |(name, _): &(String, u64)| {
        let peer = Peer::read(name.as_bytes());
        let event = Event { peer, ..Event::plain(None, Category::Auth) };
        let logins = logins.get(name).copied().unwrap_or(0);
        let is_allowed = allowed.iter().any(|who| who.holds(&event));
        (logins > 0 || is_allowed).then(|| Acquaintance { address: name.clone(), logins, is_allowed })
    };
    Ok(addresses.iter().filter_map(known).collect())
}

fn local(counted: &BucketTally, zone: Tz) -> DateTime<Tz> {
    DateTime::from_timestamp(counted.bucket * BUCKET, 0).unwrap_or_default().with_timezone(&zone)
}

fn source_records(
    config: &Config,
    zone: Tz,
    counted: &[BucketTally],
    counted_before: &[BucketTally],
) -> Vec<SourceRecord> {
    let scanned: BTreeSet<&String> = config
        .jobs
        .values()
        .filter(|job| job.enabled)
        .filter_map(|job| if let Work::Scan(scan) = &job.work { Some(&scan.sources) } else { None })
        .flatten()
        .collect();
    let (days, days_before) = (days_by_source(zone, counted), days_by_source(zone, counted_before));
    let mut sums: HashMap<&str, Tally> = HashMap::new();
    for counted in counted {
        sums.entry(&counted.source).or_default().add(&counted.tally);
    }
    let record = |name: &String| {
        let tally = sums.get(name.as_str()).copied().unwrap_or_default();
        SourceRecord {
            name: name.clone(),
            scanned: scanned.contains(name),
            lines: tally.lines,
            days_before: days_before.get(name.as_str()).map_or(0, BTreeSet::len),
            unparsed: tally.unparsed,
            days: days.get(name.as_str()).map_or(0, BTreeSet::len),
        }
    };
    config.sources.keys().map(record).collect()
}

/// The days of which anything was read, by source.
fn days_by_source(zone: Tz, counted: &[BucketTally]) -> HashMap<&str, BTreeSet<NaiveDate>> {
    let mut days: HashMap<&str, BTreeSet<NaiveDate>> = HashMap::new();
    for counted in counted {
        days.entry(&counted.source).or_default().insert(local(counted, zone).date_naive());
    }
    days
}

fn job_records(
    config: &Config,
    store: &Store,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<report::JobRecord>, StoreError> {
    let mut records: BTreeMap<String, report::JobRecord> = BTreeMap::new();
    for job in config.jobs.values().filter(|job| job.enabled) {
        let id = job.id.to_string();
        records.insert(id.clone(), report::JobRecord { id, ..Default::default() });
    }
    for ended in store.run_counts(from, to)? {
        let Some(record) = records.get_mut(&ended.job) else { continue };
        let good = matches!(ended.outcome, Outcome::Succeeded | Outcome::Partial);
        if good {
            record.done += ended.count;
        }
        // Who starts a job by hand sees what becomes of it.
        if ended.by_hand {
            continue;
        }
        if ended.has_slot {
            record.due += ended.count;
        }
        record.late += ended.late;
        match ended.outcome {
            Outcome::Succeeded => continue,
            Outcome::Partial => record.partial += ended.count,
            Outcome::Missed | Outcome::Skipped | Outcome::Cancelled => {
                record.missed += ended.count;
                continue;
            }
            _ => record.failed += ended.count,
        }
        if record.last_failed.as_ref().is_none_or(|(run, _)| *run < ended.last) {
            record.last_failed = Some((ended.last, said_by(store, ended.last)?));
        }
    }
    Ok(records.into_values().collect())
}

/// How much of what a run said is told, in characters.
const SAID: usize = 300;

/// What a run said about itself, and what it named.
fn said_by(store: &Store, run: RunId) -> Result<String, StoreError> {
    let Some(run) = store.run(run)? else { return Ok(String::new()) };
    // The first note of a scan says how much was read.
    let notes = run.notes.iter().filter(|note| !note.starts_with("read ")).take(2);
    let said: Vec<&str> = std::iter::once(&run.summary).chain(notes).map(String::as_str).collect();
    let said = printable(said.join("; ").as_bytes());
    Ok(said.chars().take(SAID).collect())
}

fn archive_record(store: &Store, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<ArchiveRecord, StoreError> {
    let made = store.archives(from, to)?;
    let catalogue = store.catalogue(&crate::store::ArchiveFilter::default())?;
    let within = |at: DateTime<Utc>| at > from && at <= to;
    let damaged = catalogue.iter().filter(|archive| archive.damage.is_some());
    Ok(ArchiveRecord {
        made: made.len(),
        logs: made.iter().map(|(_, entry)| entry.members.len()).sum(),
        bytes: made.iter().map(|(_, entry)| entry.size).sum(),
        verified: catalogue.iter().filter(|archive| archive.at <= from && archive.verified.is_some_and(within)).count(),
        damaged: damaged.map(|archive| archive.entry.name.clone()).take(DIGESTS_KEPT).collect(),
        digests: made
            .iter()
            .rev()
            .take(DIGESTS_KEPT)
            .map(|(_, entry)| (entry.name.clone(), entry.sha256.clone()))
            .collect(),
    })
}

/// The disks of the database and of the archives, each once.
fn disks(config: &Config) -> Vec<Disk> {
    let stores = config.jobs.values().filter_map(|job| match &job.work {
        Work::Archive(archive) => Some(archive.store.as_path()),
        _ => None,
    });
    let mut seen = BTreeSet::new();
    let disk = |path: &std::path::Path| {
        use std::os::unix::fs::MetadataExt;
        let device = std::fs::metadata(path).ok()?.dev();
        let space = rustix::fs::statvfs(path).ok().filter(|_| seen.insert(device))?;
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        Some(Disk { path: path.display().to_string(), free: bytes(space.f_bavail), total: bytes(space.f_blocks) })
    };
    std::iter::once(config.state.as_path()).chain(stores).filter_map(disk).collect()
}

/// The first instant of a day.
pub fn midnight(date: NaiveDate, zone: Tz) -> DateTime<Utc> {
    at_time(date, NaiveTime::MIN, zone)
}

/// A time on the wall clock of a day; where a clock change swallows it, the first after it.
fn at_time(date: NaiveDate, time: NaiveTime, zone: Tz) -> DateTime<Utc> {
    let naive = date.and_time(time);
    let hours = (0..=3).map(TimeDelta::hours);
    let first = hours.filter_map(|hours| zone.from_local_datetime(&(naive + hours)).earliest()).next();
    first.map_or(naive.and_utc(), |instant| instant.to_utc())
}

/// How long after its last failure somebody may have got in for it to be one finding.
const WINDOW: TimeDelta = TimeDelta::days(1);

/// How many findings of one subject are compared with the next one.
const COMPARED: usize = 100;

/// The findings between two instants, break-ins first, then the most serious ones; a break-in counts where it happened. What several rules
/// say of the same subject at the same time is one thing to a reader.
fn findings(store: &Store, since: DateTime<Utc>, until: DateTime<Utc>) -> Result<Vec<StoredFinding>, StoreError> {
    let filter = FindingFilter {
        since: Some(since - WINDOW),
        until: Some(until),
        without_evidence: true,
        ..FindingFilter::default()
    };
    let mut findings = store.findings(&filter)?;
    let (since, until) = (since.timestamp(), until.timestamp());
    findings.retain_mut(|stored| {
        let f = &mut stored.finding;
        f.breach = Breach::of(f.logins().filter(|login| (since..until).contains(&login.time)));
        f.last >= since || f.breach.is_some()
    });
    findings.sort_by_key(|f| {
        let f_ = &f.finding;
        (std::cmp::Reverse((f_.breach.is_some(), f_.severity as u8, f_.count)), f.id)
    });
    let mut told: HashMap<String, Vec<(String, i64, i64)>> = HashMap::new();
    let mut entered: BTreeSet<Login> = BTreeSet::new();
    findings.retain(|stored| {
        let f = &stored.finding;
        let same = told.entry(f.subject_words()).or_default();
        let is_news = f.logins().filter(|login| entered.insert(login.clone())).count() > 0;
        let is_same = |rule: &str, first, last| rule != f.rule && first <= f.last && f.first <= last;
        let is_told = !is_news && same.iter().any(|(rule, first, last)| is_same(rule, *first, *last));
        if !is_told && same.len() < COMPARED {
            same.push((f.rule.clone(), f.first, f.last));
        }
        !is_told
    });
    Ok(findings)
}

/// Of findings that tell of logins before `start`, seconds since 1970 UTC, those that are the first to tell of some, with these.
fn only_first(findings: Vec<StoredFinding>, told: &[StoredFinding], start: i64) -> Vec<StoredFinding> {
    let mut known: BTreeSet<Login> = told.iter().flat_map(|stored| stored.finding.logins()).collect();
    let first = |mut finding: StoredFinding| {
        let its = finding.finding.logins().filter(|login| login.time < start && known.insert(login.clone()));
        finding.finding.breach = Some(Breach::of(its)?);
        Some(finding)
    };
    findings.into_iter().filter_map(first).collect()
}

/// The first findings, those that come late behind the break-ins of the period.
fn with_late(mut found: Vec<StoredFinding>, late: Vec<StoredFinding>) -> Vec<StoredFinding> {
    let at = found.partition_point(|f| f.finding.breach.is_some());
    found.splice(at..at, late);
    found.truncate(FINDINGS_KEPT);
    found
}

/// How often somebody got in: one login is one, however many rules saw it.
fn breaches(findings: &[StoredFinding]) -> usize {
    findings.iter().flat_map(|stored| stored.finding.logins()).collect::<BTreeSet<_>>().len()
}
