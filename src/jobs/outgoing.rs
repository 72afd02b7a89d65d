//! Messages on their way out: frozen in the form that their channel takes.

use chrono::{DateTime, Utc};

use crate::model::channel::MAIL;
use crate::model::{Frozen, Message, untrusted};
use crate::notify;

/// A message in the form that its channel takes.
///
/// # Errors
/// Says why no mail can be made of it.
pub fn frozen(
    message: &Message,
    channel: &str,
    alert: bool,
    from: &str,
    recipients: &[String],
    now: DateTime<Utc>,
) -> Result<Frozen, String> {
    let body = if channel == MAIL {
        let made = notify::freeze(&message.mail, from, recipients, now);
        made.map_err(|error| format!("the mail {:?} can't be made: {error}", message.mail.subject))?
    } else {
        serde_json::to_vec(&message.document).map_err(|error| error.to_string())?
    };
    let subject = untrusted::header(&message.mail.subject);
    let key = format!("{channel} {}", message.mail.key);
    Ok(Frozen { channel: channel.to_owned(), key, subject, alert, body })
}
