//! The nouns of logkeeper. No I/O, no async, no clock.

pub mod archive;
pub mod channel;
pub mod copies;
pub mod cron;
pub mod event;
pub mod finding;
pub mod format;
pub mod job;
pub mod message;
pub mod peer;
pub mod problem;
pub mod repeated;
pub mod rotate;
pub mod rule;
pub mod run;
pub mod short;
pub mod source;
pub mod tally;
pub mod top;
mod triage;
pub mod untrusted;
pub mod writer;

pub use archive::{ArchiveEntry, ArchiveSpec, Member, VerifySpec};
pub use channel::{
    Channel, FileSpec, FolderSpec, Preset, QuietHours, Secret, SendmailSpec, SmtpSpec, SyslogSpec, Tls, Way,
    WebhookSpec,
};
pub use copies::{CopyPlace, S3Spec};
pub use cron::Expression;
pub use event::{Action, Category, Event};
pub use finding::{Breach, Counted, Evidence, Finding, Login, Severity, StoredFinding, Subject};
pub use format::{Format, Formats};
pub use job::{
    Audience, CatchUp, CommandSpec, Job, JobId, JobMail, Limits, Overlap, Policy, ReportKind, ReportSpec, ScanSpec,
    Schedule, Work,
};
pub use message::{
    About, Attachment, DeliveryState, Document, DocumentKind, Frozen, Image, Intent, Item, Mail, Message, RunNews,
    Telling,
};
pub use peer::{Address, Peer};
pub use problem::Problem;
pub use rotate::{Create, Every, Method, Names, RotateSpec, Signal, SignalSpec};
pub use rule::{Exemption, Field, Needle, Rule, RuleKind, Selection, StatusClass, Technique, Who, is_answer};
pub use run::{Glance, Outcome, OutputLine, Progress, Run, RunId, Slot, Stream, Trigger};
pub use source::{Identity, Source, WebLogins};
pub use tally::Tally;
pub use top::{Top, TopKind};
pub use triage::Triage;
