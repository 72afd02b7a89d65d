//! Notifiers: ways of delivering a frozen message, one file each.

mod folder;
mod message;
mod smtp;

use std::future::Future;
use std::pin::Pin;

pub use message::freeze;

use crate::model::{Delivery, MailSpec};

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// It may work later.
    #[error("{0}")]
    Later(String),
    /// This recipient will never get it.
    #[error("{0}")]
    Never(String),
}

/// A delivery under way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), NotifyError>> + Send + 'a>>;

/// One way of delivering.
pub trait Notifier: Send + Sync {
    /// Delivers a message's bytes to one recipient. `name` is fit for a file name and the same in every attempt.
    fn send<'a>(&'a self, name: &'a str, recipient: &'a str, mime: &'a [u8]) -> Sending<'a>;
}

/// The notifier that the configuration asks for.
///
/// # Errors
/// Says why it can't be used, for example because its password can't be read.
pub fn notifier(spec: &MailSpec) -> Result<Box<dyn Notifier>, NotifyError> {
    match &spec.delivery {
        Delivery::Smtp(smtp) => Ok(Box::new(smtp::Smtp::new(smtp, &spec.from)?)),
        Delivery::Folder(folder) => Ok(Box::new(folder::Folder::new(folder))),
    }
}
