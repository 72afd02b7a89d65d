//! Notifiers: ways of delivering a frozen message, one file each.

mod file;
mod folder;
mod message;
mod secret;
mod sendmail;
mod smtp;
mod syslog;
mod webhook;

use std::future::Future;
use std::pin::Pin;

pub use message::freeze;

use crate::model::{Channel, Way};

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// This one may be delivered later.
    #[error("{0}")]
    Later(String),
    /// The server broke off over this one; it may be delivered later, unless the server breaks off over every one.
    #[error("{0}")]
    Broken(String),
    /// This recipient will never get it.
    #[error("{0}")]
    Never(String),
    /// Nothing can be delivered this way now.
    #[error("{0}")]
    Down(String),
    /// Nothing can be delivered this way before somebody mends it: the channel is paused.
    #[error("{0}")]
    Refused(String),
}

/// A delivery under way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), NotifyError>> + Send + 'a>>;

/// A frozen message on its way to one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Fit for a file name, and the same in every attempt.
    pub name: String,
    /// An address; empty where the channel has no recipients of its own.
    pub recipient: String,
    /// A mail as MIME, anything else as the JSON of its document.
    pub body: Vec<u8>,
}

/// One way of delivering.
pub trait Notifier: Send + Sync {
    /// Delivers a message to one recipient.
    fn send<'a>(&'a self, parcel: &'a Parcel) -> Sending<'a>;

    /// Told when nothing more is to be sent for now.
    fn finish<'a>(&'a self) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async {})
    }
}

/// Changes whenever another place, account or protocol is meant, or another secret stands in its file: what was wrong with the old one
/// is forgotten then.
pub fn fingerprint(channel: &Channel, from: &str) -> String {
    let changed = |path: &std::path::Path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos(), meta.len()))
    };
    let files: Vec<_> = channel.way.files().into_iter().map(changed).collect();
    crate::digest::sha256(format!("{:?} {from} {files:?}", channel.way).as_bytes())
}

/// The notifier of a channel.
///
/// # Errors
/// Says why it can't be used, for example because its password can't be read.
pub fn notifier(channel: &Channel, from: &str) -> Result<Box<dyn Notifier>, NotifyError> {
    Ok(match &channel.way {
        Way::Smtp(smtp) => Box::new(smtp::Smtp::new(smtp, from)?),
        Way::Sendmail(sendmail) => Box::new(sendmail::Sendmail::new(sendmail, from)?),
        Way::Folder(folder) => Box::new(folder::Folder::new(folder)),
        Way::Webhook(webhook) => Box::new(webhook::Webhook::new(webhook)?),
        Way::Syslog(syslog) => Box::new(syslog::Syslog::new(syslog)),
        Way::File(file) => Box::new(file::LineFile::new(file)),
    })
}
