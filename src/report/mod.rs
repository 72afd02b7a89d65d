//! What messages look like, alerts and job mail too; above all reports: the figures of a period as a mail for people who don't read logs, and one
//! for those who do.
//!
//! `jobs` gathers the [`Figures`] from the store; this module only words and draws them, so equal figures give
//! equal bytes, also years later.

mod advice;
mod alert;
pub mod chart;
mod csv;
mod details;
mod html;
mod sentence;
mod text;
mod words;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{
    Attachment, Audience, Document, DocumentKind, Image, Mail, Message, ReportKind, Severity, StoredFinding, Tally,
};

pub use alert::{AlertEntry, AlertText};
pub use html::{mail_page, text_page};
pub use sentence::{finding_sentence, size_words};
pub use words::{Light, compact, grouped, light, span_words};

/// How many findings of a period a report knows one by one, the most serious ones; the others are counted.
pub const FINDINGS_KEPT: usize = 200;

/// How many addresses, accounts and paths it knows.
pub const TOPS_KEPT: usize = 10;

/// Everything a report shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The kind of report.
    pub kind: ReportKind,
    /// For whom it is.
    pub audience: Audience,
    /// The server's name.
    pub host: String,
    /// The zone of all dates.
    #[serde(serialize_with = "write_zone", deserialize_with = "read_zone")]
    pub zone: chrono_tz::Tz,
    /// When it was made.
    pub made: DateTime<Utc>,
    /// What made it: a job, and its run where that was by hand; one report of a job is one message.
    pub made_by: String,
    /// Since when runs, archives and messages are told: since the report before was due.
    pub told_since: DateTime<Utc>,
    /// Up to when the logs were read, where that is before the end of the period.
    pub read_until: Option<DateTime<Utc>>,
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// The days of the period, in order.
    pub days: Vec<Day>,
    /// The days of the period before, in order.
    pub days_before: Vec<Day>,
    /// The same weekday a week before; for daily reports.
    pub week_ago: Option<Day>,
    /// The hours of the period of which anything is known, in order.
    pub hours: Vec<Hour>,
    /// The hours of the day before; for daily reports.
    pub hours_before: Vec<Hour>,
    /// The first day of which anything is known at all.
    pub watched_since: Option<NaiveDate>,
    /// The most serious findings of the period, and late ones of somebody who got in, at most [`FINDINGS_KEPT`].
    pub findings: Vec<StoredFinding>,
    /// How many findings there are in all.
    pub findings_total: usize,
    /// How many findings the period before had; none where nothing is known of it.
    pub findings_before: Option<usize>,
    /// How many findings are about earlier times and were found since the report before only: of logs that came late, or were read for the
    /// first time.
    pub findings_late: usize,
    /// How often somebody got in after failing, also before the period where that was found since the report before only.
    pub breaches: usize,
    /// How many of these were before the period.
    pub breaches_late: usize,
    /// How often the web server failed to answer many requests.
    pub outages: usize,
    /// The jobs.
    pub jobs: Vec<JobRecord>,
    /// Archives.
    pub archives: ArchiveRecord,
    /// The sources.
    pub sources: Vec<SourceRecord>,
    /// Addresses by failed logins, most first.
    pub attackers: Vec<(String, u64)>,
    /// What else is known of these addresses.
    pub acquaintances: Vec<Acquaintance>,
    /// Accounts by failed logins, most first.
    pub targets: Vec<(String, u64)>,
    /// Paths by requests answered with an error, most first.
    pub error_paths: Vec<(String, u64)>,
    /// Disks that logkeeper writes to.
    pub disks: Vec<Disk>,
    /// Messages that were given up in the period.
    pub undelivered: usize,
}

/// One day's counts; none where nothing was read of that day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// The day.
    pub date: NaiveDate,
    /// Its counts.
    pub tally: Option<Tally>,
}

/// One hour's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hour {
    /// The day.
    pub date: NaiveDate,
    /// The hour on the wall clock, from 0 to 23; where clocks are set back, both hours together.
    pub hour: u32,
    /// Requests answered.
    pub requests: u64,
    /// Failed logins.
    pub failed_logins: u64,
    /// Requests answered with an error (4xx and 5xx).
    pub errors: u64,
}

/// What speaks for an address that gave wrong passwords.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acquaintance {
    /// The address.
    pub address: String,
    /// How often it logged in.
    pub logins: u64,
    /// Whether a rule or `logkeeper allow` lets it alone.
    pub is_allowed: bool,
}

/// How a job did in the period. A slot is a time at which it was due; its last attempt counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The job.
    pub id: String,
    /// How often it was due.
    pub due: usize,
    /// How often it ran to its end, by hand included.
    pub done: usize,
    /// How often it failed, timed out, could not start or was interrupted.
    pub failed: usize,
    /// How often it was done in part only; these count as done, too.
    pub partial: usize,
    /// How often it was missed, skipped or stopped.
    pub missed: usize,
    /// How often it began more than a minute late.
    pub late: usize,
    /// The last run that failed or was done in part only, and what it said.
    pub last_failed: Option<(i64, String)>,
}

/// Archives of the period.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRecord {
    /// How many were made, and verified right then.
    pub made: usize,
    /// How many logs they hold.
    pub logs: usize,
    /// Their size in bytes.
    pub bytes: u64,
    /// How many were read again and found whole.
    pub verified: usize,
    /// Those that are known to be damaged, whenever they were made.
    pub damaged: Vec<String>,
    /// Name and SHA-256 of those that were made last.
    pub digests: Vec<(String, String)>,
}

impl JobRecord {
    /// Whether somebody should look at it: it failed, or a tenth of the time it was missed or done in part only.
    pub fn needs_a_look(&self) -> bool {
        self.failed > 0 || self.due > 0 && (self.partial + self.missed) * 10 >= self.due
    }
}

impl SourceRecord {
    /// Whether a log to which something was written on most days of a week has no line any more. An error log may well have none.
    pub fn fell_silent(&self) -> bool {
        self.scanned && self.lines == 0 && self.days_before >= 5
    }
}

/// What was read of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// The source.
    pub name: String,
    /// Whether any scan job reads it.
    pub scanned: bool,
    /// Lines read.
    pub lines: u64,
    /// Days of the period before of which anything was read.
    pub days_before: usize,
    /// Lines that no parser understood.
    pub unparsed: u64,
    /// Days of which anything was read.
    pub days: usize,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// What lies on it.
    pub path: String,
    /// Bytes free for logkeeper.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

fn write_zone<S: Serializer>(zone: &chrono_tz::Tz, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(zone.name())
}

fn read_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<chrono_tz::Tz, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(|_| serde::de::Error::custom(format!("{name:?} is not a time zone")))
}

impl Figures {
    /// The sums of the period.
    pub fn total(&self) -> Tally {
        sum(&self.days)
    }

    /// The sums of the period before; none where it has a day of which nothing is known.
    pub fn total_before(&self) -> Option<Tally> {
        self.is_known_before().then(|| sum(&self.days_before))
    }

    /// Whether every day of the period before is known.
    pub fn is_known_before(&self) -> bool {
        !self.days_before.is_empty() && self.days_before.iter().all(|day| day.tally.is_some())
    }

    /// The days of which nothing was read although logkeeper watched already.
    pub fn gaps(&self) -> Vec<NaiveDate> {
        let watched = |date: NaiveDate| self.watched_since.is_none_or(|since| date >= since);
        self.days.iter().filter(|day| day.tally.is_none() && watched(day.date)).map(|day| day.date).collect()
    }
}

fn sum(days: &[Day]) -> Tally {
    let mut total = Tally::default();
    days.iter().filter_map(|day| day.tally.as_ref()).for_each(|tally| total.add(tally));
    total
}

/// Whether the web server failed to answer many requests, as a finding tells.
pub fn is_outage(finding: &StoredFinding) -> bool {
    let server_failed = finding.finding.subject.get("http.status").is_some_and(|status| status.starts_with('5'));
    server_failed && finding.finding.severity >= Severity::Medium
}

/// The report as a message.
pub fn message(figures: &Figures) -> Message {
    let light = light(figures);
    let things = match (light.things, advice::recommended(figures)) {
        (0, 0) => "nothing to do".to_owned(),
        (0, 1) => "1 recommendation".to_owned(),
        (0, n) => format!("{n} recommendations"),
        (1, _) => "1 thing to look at".to_owned(),
        (n, _) => format!("{n} things to look at"),
    };
    let title = format!("{}: {things} - {}", light.word.to_uppercase(), words::period_short(figures));
    let charts = chart::all(figures);
    let images: Vec<Image> = charts
        .iter()
        .filter_map(|chart| Some(Image { name: chart.name.to_owned(), png: chart::png(&chart.svg)? }))
        .collect();
    let drawn = !images.is_empty();
    let pictures: Vec<html::Picture<'_>> = charts
        .iter()
        .map(|chart| html::Picture { chart, drawn: if drawn { html::Drawn::Cid } else { html::Drawn::Not } })
        .collect();
    let text = text::render(figures, &light, &charts);
    let (kind, audience) = (figures.kind, figures.audience);
    let (host, to, made, by) = (&figures.host, figures.to, figures.made.timestamp(), &figures.made_by);
    let key = format!("report {kind} {audience} {host} {to} {made} {by}");
    let document = Document {
        version: 1,
        id: crate::digest::sha256(key.as_bytes())[..32].to_owned(),
        kind: DocumentKind::Report,
        at: figures.made,
        host: figures.host.clone(),
        severity: if figures.breaches > 0 { Severity::High } else { Severity::Low },
        title: title.clone(),
        text: text.clone(),
        held_back: 0,
        items: Vec::new(),
        more_items: 0,
    };
    let attachments: Vec<Attachment> =
        if figures.audience == Audience::Admins { csv::attachments(figures) } else { Vec::new() };
    let html = html::render(figures, &light, &pictures);
    let mail = Mail { subject: format!("[{}] {title}", figures.host), text, html, images, attachments, key };
    Message { document, mail }
}

/// The report as a page that stands alone, its charts inline.
pub fn page(figures: &Figures) -> String {
    let charts = chart::all(figures);
    let inline = |chart| html::Picture { chart, drawn: html::Drawn::Inline };
    html::render(figures, &light(figures), &charts.iter().map(inline).collect::<Vec<_>>())
}

/// The number of a week as calendars have it (ISO 8601).
fn week(date: NaiveDate) -> u32 {
    date.iso_week().week()
}
