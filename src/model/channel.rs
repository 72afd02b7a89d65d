//! Channels: the ways in which messages leave.

use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::run::words;
use super::{Problem, Severity};

/// The channel that takes mail to addresses; there always is one.
pub const MAIL: &str = "mail";

/// One way in which messages leave. Its name is what jobs, rules and recipient groups say.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// `mail`, or the name of a table below `[channels]`.
    pub name: String,
    /// The way.
    pub way: Way,
    /// Alerts and notices that matter less do not go this way; reports always do.
    pub least: Severity,
    /// When alerts and notices that are not critical wait.
    pub quiet: Option<QuietHours>,
}

impl Channel {
    /// Whether something that matters so much has to wait now.
    pub fn is_quiet(&self, severity: Severity, at: DateTime<Utc>, zone: Tz) -> bool {
        severity < Severity::Critical && self.quiet.is_some_and(|quiet| quiet.hold(at, zone))
    }
}

/// A time of day from which on, up to another, messages wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    /// The first minute.
    pub from: NaiveTime,
    /// The first minute that is none any more; before `from`: on the next day.
    pub to: NaiveTime,
}

impl QuietHours {
    /// Whether they hold at an instant, on the wall clock of a zone.
    pub fn hold(self, at: DateTime<Utc>, zone: Tz) -> bool {
        let time = at.with_timezone(&zone).time();
        if self.from <= self.to { (self.from..self.to).contains(&time) } else { time >= self.from || time < self.to }
    }
}

/// One way of delivering.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// Hand it to an SMTP server.
    Smtp(SmtpSpec),
    /// Hand it to this machine's sendmail program.
    Sendmail(SendmailSpec),
    /// Put an `.eml` file into a folder.
    Folder(FolderSpec),
    /// Post it to an address of the web.
    Webhook(WebhookSpec),
    /// Write it into a syslog.
    Syslog(SyslogSpec),
    /// Append lines to a file.
    File(FileSpec),
}

impl Way {
    /// The files that it rests on: secrets and certificates.
    pub fn files(&self) -> Vec<&Path> {
        match self {
            Self::Smtp(smtp) => {
                [&smtp.password_file, &smtp.ca_file].into_iter().flatten().map(PathBuf::as_path).collect()
            }
            Self::Webhook(webhook) => {
                let files = [&webhook.secret_file, &webhook.ca_file].into_iter().flatten().map(PathBuf::as_path);
                let address = if let Secret::File(path) = &webhook.url { Some(path.as_path()) } else { None };
                files.chain(address).collect()
            }
            Self::Sendmail(_) | Self::Folder(_) | Self::Syslog(_) | Self::File(_) => Vec::new(),
        }
    }

    /// Where it leads, for people; never a secret.
    pub fn place(&self) -> String {
        match self {
            Self::Smtp(smtp) => format!("{}:{}", smtp.host, smtp.port),
            Self::Sendmail(sendmail) => sendmail.program.display().to_string(),
            Self::Folder(folder) => folder.path.display().to_string(),
            Self::Webhook(webhook) => format!("a webhook ({})", webhook.preset.as_str()),
            Self::Syslog(SyslogSpec::Socket(path)) => path.display().to_string(),
            Self::Syslog(SyslogSpec::Udp(address)) => format!("udp://{address}"),
            Self::Syslog(SyslogSpec::Tcp(address)) => format!("tcp://{address}"),
            Self::File(file) => file.path.display().to_string(),
        }
    }
}

/// An SMTP server and how to talk to it.
#[derive(Debug, Clone, PartialEq)]
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
    /// How long the server may take to answer each command; four times as long for the whole message.
    pub timeout: std::time::Duration,
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

/// A program that takes a message as sendmail(8) does.
#[derive(Debug, Clone, PartialEq)]
pub struct SendmailSpec {
    /// Its full path.
    pub program: PathBuf,
}

/// A folder that receives mails as files.
#[derive(Debug, Clone, PartialEq)]
pub struct FolderSpec {
    /// The folder.
    pub path: PathBuf,
}

/// An address of the web that messages are posted to.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookSpec {
    /// The address.
    pub url: Secret,
    /// What is posted.
    pub preset: Preset,
    /// With what the body is signed, or what the service calls a key; none where it wants none.
    pub secret_file: Option<PathBuf>,
    /// The body of the preset `template`.
    pub template: Option<String>,
    /// The media type of the preset `template`.
    pub content_type: String,
    /// A PEM file with a certificate authority to trust besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// A text that is a secret by itself, or stands in a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Secret {
    /// The text.
    Text(String),
    /// A file whose first line it is.
    File(PathBuf),
}

/// Whether messages may be posted to an address: over TLS, or to this machine.
///
/// # Errors
/// Says what is wrong with it.
pub fn safe_url(text: &str) -> Result<(), Problem> {
    let url = reqwest::Url::parse(text).ok();
    let safe = url.is_some_and(|url| {
        url.scheme() == "https" || matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
    });
    let problem = || Problem::new("messages would go unencrypted", "http:// only for localhost", "write https://…");
    safe.then_some(()).ok_or_else(problem)
}

words! {
    /// What is posted to a webhook.
    Preset {
        /// The document of docs/WEBHOOK.md as JSON.
        Json = "json",
        /// What Slack, Mattermost and Rocket.Chat take.
        Slack = "slack",
        /// What a topic of ntfy takes.
        Ntfy = "ntfy",
        /// PagerDuty's events, version 2.
        PagerDuty = "pagerduty",
        /// A body of one's own, as for gateways that send text messages to telephones.
        Template = "template",
    }
}

/// Where a syslog is (RFC 5424).
#[derive(Debug, Clone, PartialEq)]
pub enum SyslogSpec {
    /// A socket of this machine.
    Socket(PathBuf),
    /// A host and port, a datagram for each line (RFC 5426).
    Udp(String),
    /// A host and port, lines with their length in front (RFC 6587, 3.4.1).
    Tcp(String),
}

/// A file to which lines are appended.
#[derive(Debug, Clone, PartialEq)]
pub struct FileSpec {
    /// The file.
    pub path: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_go_over_midnight_on_the_wall_clock() {
        let time = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
        let quiet = QuietHours { from: time(22), to: time(7) };
        let holds = |text: &str| quiet.hold(text.parse().unwrap(), Tz::Europe__Berlin);
        assert!(holds("2026-11-20T21:00:00Z") && holds("2026-11-20T05:59:59Z"));
        assert!(!holds("2026-11-20T20:59:59Z") && !holds("2026-11-20T06:00:00Z"));
        // In summer Berlin is two hours ahead.
        assert!(holds("2026-07-20T20:00:00Z") && !holds("2026-07-20T05:00:00Z"));
    }
}
