//! Messages: what is to be told, to whom, and what became of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::run::words;
use super::{RunId, Severity};

/// Something to tell, stored in the transaction that found it; the outbox makes a message of it, and maybe one of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The channel it leaves by.
    pub channel: String,
    /// Recipient groups and addresses, for mail.
    pub to: Vec<String>,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
}

/// What an intent is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum About {
    /// A scan crossed thresholds of a rule.
    Findings {
        /// The scan's run.
        run: RunId,
        /// The rule.
        rule: String,
        /// The findings' numbers in the store.
        findings: Vec<i64>,
        /// Whether somebody got in.
        breach: bool,
        /// Whether they come from logs that lay there for long, read for the first time: no alarm, but a look back.
        looks_back: bool,
    },
    /// Something became of a run, or may become of it.
    Run {
        /// The run.
        run: RunId,
        /// Its job.
        job: String,
        /// What.
        news: RunNews,
    },
}

words! {
    /// What there is to tell of a run.
    RunNews {
        /// It failed for good, also in part.
        Failed = "failed",
        /// It succeeded.
        Succeeded = "succeeded",
        /// It succeeded after others had failed, which somebody was told.
        Recovered = "recovered",
        /// It printed something.
        Output = "output",
        /// Its slot was missed or skipped.
        Missed = "missed",
        /// It goes on for much longer than usual.
        Slow = "slow",
    }
}

/// What a run's end has told, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    /// What.
    pub news: RunNews,
    /// How much it matters.
    pub severity: Severity,
    /// The channel it leaves by.
    pub channel: String,
    /// Recipient groups and addresses, for mail.
    pub to: Vec<String>,
}

impl Telling {
    /// The intent to tell it of a run.
    pub fn of(&self, run: RunId, job: &str) -> Intent {
        let Self { news, severity, channel, to } = self.clone();
        Intent { channel, to, severity, about: About::Run { run, job: job.to_owned(), news } }
    }
}

impl Intent {
    /// What is told at most once an hour by the same channel to the same recipients; none where each is told by itself.
    pub fn topic(&self) -> Option<String> {
        match &self.about {
            About::Findings { rule, breach: true, looks_back: false, .. } => Some(format!("rule {rule} breach")),
            About::Findings { rule, looks_back: true, .. } => Some(format!("rule {rule} before")),
            About::Findings { rule, .. } => Some(format!("rule {rule}")),
            About::Run { news: RunNews::Output | RunNews::Succeeded, .. } => None,
            About::Run { job, news, .. } => Some(format!("job {job} {news}")),
        }
    }
}

/// A message as composed: what programs and short channels get, and the mail.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// For everything but mail.
    pub document: Document,
    /// For mail.
    pub mail: Mail,
}

/// A message as it leaves, the same in every attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// The channel it leaves by.
    pub channel: String,
    /// What it is about, unique for ever.
    pub key: String,
    /// Its subject.
    pub subject: String,
    /// Whether it is an alert: nothing that waits for its recipient holds it back.
    pub alert: bool,
    /// A mail as MIME, anything else as the JSON of its document.
    pub body: Vec<u8>,
}

/// A mail as composed, before it is frozen into bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The subject line.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The HTML page; pictures are referred to as `cid:NAME`.
    pub html: String,
    /// The pictures.
    pub images: Vec<Image>,
    /// Files for those who want to count for themselves.
    pub attachments: Vec<Attachment>,
    /// What it is about, unique for ever; the Message-ID is derived from it.
    pub key: String,
}

/// A picture in a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its content id.
    pub name: String,
    /// PNG bytes.
    pub png: Vec<u8>,
}

/// A table as a file (CSV).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The file's name.
    pub name: String,
    /// Its text.
    pub csv: String,
}

words! {
    /// What a message is.
    DocumentKind {
        /// Thresholds were crossed.
        Alert = "alert",
        /// Alerts that were held back, told together.
        Digest = "digest",
        /// Something became of a run.
        Run = "run",
        /// A report on a period.
        Report = "report",
        /// Only a test.
        Test = "test",
    }
}

/// What a message says, as docs/WEBHOOK.md promises it to programs. All texts are printable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The version of this form: 1. What is added later doesn't change it.
    pub version: u32,
    /// The same in every attempt, and of no other message.
    pub id: String,
    /// What it is.
    pub kind: DocumentKind,
    /// When it was made.
    pub at: DateTime<Utc>,
    /// The server it is about.
    pub host: String,
    /// How much it matters: as its worst item.
    pub severity: Severity,
    /// A line that says it all, without the server.
    pub title: String,
    /// The whole in plain text.
    pub text: String,
    /// How many alerts were held back and are told here.
    pub held_back: usize,
    /// What it is about, one by one; at most [`Document::ITEMS`].
    pub items: Vec<Item>,
    /// How many more items there are.
    pub more_items: usize,
}

impl Document {
    /// How many items a message spells out.
    pub const ITEMS: usize = 20;
}

/// One thing that a message tells of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// When it happened: the last event, or the end of the run.
    pub at: DateTime<Utc>,
    /// The rule or the job.
    pub name: String,
    /// How much it matters.
    pub severity: Severity,
    /// Whom or what it is about, by ECS field names.
    pub subject: BTreeMap<String, String>,
    /// How many events.
    pub count: u64,
    /// It in a sentence.
    pub sentence: String,
    /// What to do.
    pub advice: String,
    /// Where in the logs: `FILE:LINE`; empty where nowhere.
    pub location: String,
}

words! {
    /// How far a delivery is.
    DeliveryState {
        /// It waits for its turn, or to be tried again.
        Queued = "queued",
        /// It is being tried; or was, when logkeeper died.
        Sending = "sending",
        /// It was handed over.
        Sent = "sent",
        /// It was given up.
        Dead = "dead",
    }
}
