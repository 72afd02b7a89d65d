//! Sending a message here and now, without the outbox, and telling how it went.

use chrono::{DateTime, Utc};

use super::output;
use crate::config::Config;
use crate::jobs::frozen;
use crate::model::channel::MAIL;
use crate::model::{Message, Problem};
use crate::notify::{self, NotifyError, Parcel};

/// Sends a message by these channels, each with its recipients. Returns whether all of it went out.
pub fn send_now(
    message: &Message,
    routes: &[(String, Vec<String>)],
    config: &Config,
    now: DateTime<Utc>,
    json: bool,
) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut failed, mut told) = (false, Vec::new());
    for (name, recipients) in routes {
        let Some(channel) = config.channels.get(name) else { continue };
        let frozen = frozen(message, name, false, &config.from, recipients, now)
            .map_err(|error| Problem::new(error, "", "correct the address"))?;
        let notifier = notify::notifier(channel, &config.from);
        let way = channel.way.place();
        for recipient in recipients {
            let name_of_file = format!("{}-{}", message.document.kind, now.timestamp_millis());
            let parcel = Parcel { name: name_of_file, recipient: recipient.clone(), body: frozen.body.clone() };
            let sent: Result<(), NotifyError> = match &notifier {
                Ok(notifier) => runtime.block_on(notifier.send(&parcel)),
                Err(error) => Err(error.clone()),
            };
            let error = sent.err().map(|error| error.to_string());
            failed |= error.is_some();
            if !json {
                let whom = if name == MAIL { recipient } else { name };
                let end =
                    error.as_ref().map_or_else(|| format!("handed over to {way}"), |error| format!("failed: {error}"));
                output::print(&format!("{whom}: {end}\n"));
            }
            told.push(serde_json::json!({ "channel": name, "recipient": recipient, "way": way, "error": error }));
        }
        if let Ok(notifier) = &notifier {
            runtime.block_on(notifier.finish());
        }
    }
    if json {
        output::print_json(&told)?;
    }
    Ok(!failed)
}
