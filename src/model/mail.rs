//! Mails: what is to be told, and to whom.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::RunId;

/// How mail leaves, and from whom.
#[derive(Debug, Clone)]
pub struct MailSpec {
    /// The sender's address.
    pub from: String,
    /// The way it goes.
    pub delivery: Delivery,
}

/// One way of delivering.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// Hand it to an SMTP server.
    Smtp(SmtpSpec),
    /// Put an `.eml` file into a folder.
    Folder(FolderSpec),
}

/// An SMTP server and how to talk to it.
#[derive(Debug, Clone)]
pub struct SmtpSpec {
    /// Its name, checked against its certificate.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
    /// The account to log in with.
    pub user: Option<String>,
    /// A file whose first line is the password; readable by logkeeper alone.
    pub password_file: Option<PathBuf>,
    /// A PEM file with a certificate authority to trust besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// How an SMTP connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Begin in plain text and switch before anything is said (usually port 587); never continued without.
    Starttls,
    /// TLS from the first byte (usually port 465).
    Implicit,
    /// Not at all; only accepted for the machine itself.
    None,
}

/// A folder that receives mails as files.
#[derive(Debug, Clone)]
pub struct FolderSpec {
    /// The folder.
    pub path: PathBuf,
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

/// Something to tell, stored in the transaction that found it; the outbox makes a mail of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Intent {
    /// A scan crossed thresholds.
    Alert {
        /// The scan's run.
        run: RunId,
        /// Recipient groups.
        to: Vec<String>,
        /// The findings' numbers in the store.
        findings: Vec<i64>,
        /// Whether they come from logs that lay there for long, read for the first time: no alarm, but a look back.
        looks_back: bool,
    },
    /// A run failed, or printed something.
    Run {
        /// The run.
        run: RunId,
        /// Recipient groups.
        to: Vec<String>,
    },
}
