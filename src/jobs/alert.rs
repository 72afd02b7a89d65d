//! Alerts: one message for everything a scan has to tell, or for all that was held back.

use chrono::{DateTime, Utc};

use crate::config::Config;
use crate::model::untrusted::printable;
use crate::model::{Document, DocumentKind, Evidence, Finding, Item, Mail, Message, RunId, Severity, StoredFinding};
use crate::report::{self, AlertEntry, finding_sentence, size_words};

/// How many findings a mail spells out; the rest is counted.
const SHOWN: usize = 10;

/// How to hear no more of somebody.
const ALLOW: &str = "No more is told of whom you know and let alone: logkeeper allow ADDRESS (or \"account NAME\") --for 7d --why REASON. ";

/// Since when the last event of a finding may lie for it to go on, in seconds.
const STILL: i64 = 60 * 60;

/// What an alert is about besides its findings.
pub struct Alert<'a> {
    /// The run that found the last of it.
    pub run: RunId,
    /// What it is about, unique for ever.
    pub key: String,
    /// Whether it is a look back over old logs.
    pub looks_back: bool,
    /// How many alerts were held back.
    pub held_back: usize,
    /// Since when.
    pub since: DateTime<Utc>,
    /// What is configured.
    pub config: &'a Config,
}

impl Alert<'_> {
    /// The message about these findings.
    pub fn compose(&self, findings: &[StoredFinding], now: DateTime<Utc>) -> Message {
        let config = self.config;
        let mut findings: Vec<&StoredFinding> = findings.iter().collect();
        // Who got in comes first, then what goes on before what was long ago; of equal ones those with most behind them, so that no crowd of
        // small ones hides them.
        let weight = |f: &Finding| {
            let goes_on = self.looks_back && f.last >= now.timestamp() - STILL;
            (f.breach.is_some(), goes_on, f.severity as u8, f.count, f.last)
        };
        findings.sort_by_key(|f| (std::cmp::Reverse(weight(&f.finding)), f.id));
        let title = self.title(&findings);
        let intro = self.intro(findings.len());
        let entries: Vec<AlertEntry> = findings.iter().take(SHOWN).map(|finding| entry(finding, config, now)).collect();
        let rest = findings.len().saturating_sub(SHOWN);
        let rest = (rest > 0).then(|| format!("And {rest} more: logkeeper findings shows all of them."));
        let is_somebody = |field: &String| matches!(field.as_str(), "source.ip" | "source.network" | "user.name");
        let can_be_let_alone = findings.iter().any(|found| found.finding.subject.keys().any(is_somebody));
        let allow = if can_be_let_alone { ALLOW } else { "" };
        let (run, host, zone) = (self.run, &config.host, config.zone.name());
        let footer = format!("{allow}Run {run} on {host}. Times are those of {zone}.");
        let shown = report::AlertText { intro, entries, rest, footer };
        let text = shown.text();
        let document = Document {
            version: 1,
            id: crate::digest::sha256(self.key.as_bytes())[..32].to_owned(),
            kind: if self.held_back > 0 { DocumentKind::Digest } else { DocumentKind::Alert },
            at: now,
            host: config.host.clone(),
            severity: findings.iter().map(|found| found.finding.severity).max().unwrap_or(Severity::Low),
            title: title.clone(),
            text: text.clone(),
            held_back: self.held_back,
            items: findings.iter().take(Document::ITEMS).map(|finding| item(finding, config, now)).collect(),
            more_items: findings.len().saturating_sub(Document::ITEMS),
        };
        let mail = Mail {
            subject: format!("[{}] {title}", config.host),
            text,
            html: shown.page(),
            images: Vec::new(),
            attachments: Vec::new(),
            key: self.key.clone(),
        };
        Message { document, mail }
    }

    fn title(&self, findings: &[&StoredFinding]) -> String {
        if self.looks_back {
            return format!("Looking back: {} in logs read for the first time", things(findings.len()));
        }
        let Some(worst) = findings.first() else { return "Alert".to_owned() };
        let word = match worst.finding.severity {
            // That somebody got in is told as what it is, however many come with it.
            _ if self.held_back > 0 && worst.finding.breach.is_none() => {
                format!("DIGEST of {}", alerts(self.held_back))
            }
            severity if severity >= Severity::High => "ALERT".to_owned(),
            _ => "Notice".to_owned(),
        };
        let others = match findings.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        let size = size_words(&worst.finding);
        let what = if worst.finding.breach.is_some() { "got in after failing" } else { worst.finding.rule.as_str() };
        format!("{word}: {what}: {} ({size}){others}", printable(worst.finding.subject_words().as_bytes()))
    }

    fn intro(&self, findings: usize) -> String {
        let held_back = match self.held_back {
            0 => String::new(),
            n => {
                let since = self.since.with_timezone(&self.config.zone).format("%a %-d %b %H:%M");
                format!(
                    " {} since {since} {} held back: there is no more than one mail an hour for each rule, of who got in one in ten minutes, and none in quiet hours.",
                    alerts(n),
                    if n == 1 { "was" } else { "were" }
                )
            }
        };
        match (self.looks_back, findings) {
            (true, n) => format!(
                "logkeeper read these logs for the first time and looked back over all that they hold. It found {}:",
                things(n)
            ),
            (false, 1) => format!("A rule found something.{held_back}"),
            (false, n) => format!("Rules found {n} things.{held_back}"),
        }
    }
}

fn item(finding: &StoredFinding, config: &Config, now: DateTime<Utc>) -> Item {
    let f = &finding.finding;
    let location = f.evidence.last().map(Evidence::place);
    let plain = |text: &str| printable(text.as_bytes());
    Item {
        at: DateTime::from_timestamp(f.last, 0).unwrap_or_default(),
        name: f.rule.clone(),
        severity: f.severity,
        subject: f.subject.iter().map(|(field, value)| (field.clone(), plain(value))).collect(),
        count: f.count,
        sentence: plain(&finding_sentence(finding, &now.with_timezone(&config.zone))),
        advice: config.rules.get(&f.rule).map(|rule| rule.advice.clone()).unwrap_or_default(),
        location: plain(&location.unwrap_or_default()),
    }
}

fn entry(finding: &StoredFinding, config: &Config, now: DateTime<Utc>) -> AlertEntry {
    let f = &finding.finding;
    let rule = config.rules.get(&f.rule);
    let plain = |text: &str| printable(text.as_bytes());
    AlertEntry {
        title: format!(
            "{}: {} - {} ({})",
            f.severity.as_str().to_uppercase(),
            f.rule,
            plain(&f.subject_words()),
            size_words(f)
        ),
        sentence: plain(&finding_sentence(finding, &now.with_timezone(&config.zone))),
        meaning: rule.map(|rule| rule.meaning.clone()).unwrap_or_default(),
        advice: rule.map(|rule| rule.advice.clone()).unwrap_or_default(),
        evidence: f.evidence.iter().map(|e| plain(&format!("{}: {}", e.place(), e.text))).collect(),
    }
}

fn things(n: usize) -> String {
    super::counted(n, "finding")
}

fn alerts(n: usize) -> String {
    super::counted(n, "alert")
}
