//! The outbox pump: makes messages of intents, delivers them, and keeps trying.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::Config;
use crate::jobs::{compose_alert, compose_notice};
use crate::model::Intent;
use crate::notify::{self, Notifier, NotifyError};
use crate::runner::App;
use crate::store::{DeliveryRow, Frozen, PendingIntent, Store, StoreError};
use crate::threads::blocking;

/// How often the outbox is looked at when nobody wakes the pump.
const PAUSE: Duration = Duration::from_secs(30);

/// How long a delivery is tried.
const PATIENCE: TimeDelta = TimeDelta::hours(48);

/// What became of the mails that were due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Sent.
    pub sent: usize,
    /// To be tried again.
    pub deferred: usize,
    /// Given up.
    pub dead: usize,
}

/// Delivers what there is for as long as the daemon runs.
pub async fn pump(app: Arc<App>) {
    loop {
        if let Err(error) = deliver_due(&app).await {
            tracing::error!("the outbox can't be used: {error}");
        }
        // Woken or not, the outbox is looked at again.
        let _ = tokio::time::timeout(PAUSE, app.mail.notified()).await;
    }
}

/// Makes messages of all intents and tries every delivery that is due once.
///
/// # Errors
/// Fails where the store can't be used; a failed delivery is no error but on record.
pub async fn deliver_due(app: &Arc<App>) -> Result<Delivered, StoreError> {
    let config = app.config();
    let (store, settings, now) = (app.store.clone(), config.clone(), app.clock.now());
    let due = off_thread(move || {
        freeze_intents(&store, &settings, now)?;
        store.due_deliveries(now)
    });
    let due = due.await?;
    let mut result = Delivered::default();
    if due.is_empty() {
        return Ok(result);
    }
    let notifier = blocking(move || notify::notifier(&config.mail)).await;
    let notifier = notifier.unwrap_or_else(|error| Err(NotifyError::Later(error.to_string())));
    for (delivery, mime) in due {
        let (store, claimed, until) = (app.store.clone(), delivery.clone(), app.clock.now() + backoff(&delivery));
        off_thread(move || store.claim(&claimed, until)).await?;
        let sent = match &notifier {
            Ok(notifier) => send(&**notifier, &delivery, &mime).await,
            Err(error) => Err(error.clone()),
        };
        let app = app.clone();
        let settled = off_thread(move || settle(&app, &delivery, sent)).await?;
        result.sent += settled.sent;
        result.deferred += settled.deferred;
        result.dead += settled.dead;
    }
    Ok(result)
}

/// Uses the store off the async threads. A panic there leaves the outbox as it is, and the next round tries again.
async fn off_thread<T: Default + Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    blocking(work).await.unwrap_or_else(|_| Ok(T::default()))
}

async fn send(notifier: &dyn Notifier, delivery: &DeliveryRow, mime: &[u8]) -> Result<(), NotifyError> {
    let day = DateTime::from_timestamp(delivery.at, 0).unwrap_or_default().format("%Y-%m-%d");
    let name = format!("{day}-{:06}", delivery.message);
    notifier.send(&name, &delivery.recipient, mime).await
}

/// Puts on record what became of a delivery.
fn settle(app: &App, delivery: &DeliveryRow, sent: Result<(), NotifyError>) -> Result<Delivered, StoreError> {
    let now = app.clock.now();
    let about = format!("mail {:?} to {}", delivery.subject, delivery.recipient);
    let queued = DateTime::from_timestamp(delivery.at, 0).unwrap_or_default();
    match sent {
        Ok(()) => {
            tracing::info!("{about} was handed over");
            app.store.delivered(delivery)?;
            Ok(Delivered { sent: 1, ..Delivered::default() })
        }
        Err(NotifyError::Later(error)) if now - queued < PATIENCE => {
            let until = now + backoff(delivery);
            tracing::warn!("{about} has to wait until {}: {error}", until.format("%H:%M:%S UTC"));
            app.store.deferred(delivery, until, &error)?;
            Ok(Delivered { deferred: 1, ..Delivered::default() })
        }
        Err(NotifyError::Later(error) | NotifyError::Never(error)) => {
            tracing::error!("{about} is given up: {error}");
            app.store.refused(delivery, &error)?;
            Ok(Delivered { dead: 1, ..Delivered::default() })
        }
    }
}

/// One minute, two, four … up to two hours; a few seconds apart, so that not everything comes at once.
fn backoff(delivery: &DeliveryRow) -> TimeDelta {
    let minutes = 1_i64 << delivery.attempts.clamp(0, 7);
    let spread = (delivery.message * 7 + delivery.recipient.len() as i64 * 13) % 20;
    TimeDelta::minutes(minutes.min(120)) + TimeDelta::seconds(spread)
}

/// Makes one frozen message of each intent.
fn freeze_intents(store: &Store, config: &Config, now: DateTime<Utc>) -> Result<(), StoreError> {
    for PendingIntent { id: intent_id, intent, .. } in store.pending_intents()? {
        let (mail, to) = match intent {
            Intent::Alert { run, to, findings, looks_back } => {
                let findings = findings.iter().filter_map(|id| store.finding(*id).transpose());
                (compose_alert(run, &findings.collect::<Result<Vec<_>, _>>()?, looks_back, config), to)
            }
            Intent::Run { run: id, to } => match store.run(id)? {
                Some(run) => (compose_notice(&run, config), to),
                None => {
                    tracing::warn!("run {id} is not on record any more, so nobody is told about it");
                    store.forget_intent(intent_id)?;
                    continue;
                }
            },
        };
        let recipients = config.addresses(&to);
        if recipients.is_empty() {
            tracing::warn!("nobody gets {:?}: [recipients] has no address for {}", mail.subject, to.join(", "));
        }
        match notify::freeze(&mail, &config.mail.from, &recipients, now) {
            Ok(mime) => {
                let frozen = Frozen { key: mail.key, subject: mail.subject, mime };
                store.enqueue(&frozen, &recipients, &[intent_id], now)?;
            }
            Err(error) => tracing::error!("the mail {:?} can't be made and waits: {error}", mail.subject),
        }
    }
    Ok(())
}
