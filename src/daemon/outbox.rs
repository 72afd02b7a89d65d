//! The outbox pump: makes messages of intents, delivers them, and keeps trying.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::jobs::{Alert, Fold, NOTICED_RUNS, What, compose_notice, fold, frozen};
use crate::model::channel::MAIL;
use crate::model::{DeliveryState, Frozen, Run, RunNews};
use crate::notify::{self, NotifyError, Parcel};
use crate::runner::App;
use crate::store::{DeliveryRow, Enqueued, Store, StoreError, TOLD_AGAIN, Trouble};
use crate::threads::blocking;

/// How often the outbox is looked at when nobody wakes the pump.
const PAUSE: Duration = Duration::from_secs(30);

/// How long a delivery is tried.
const PATIENCE: TimeDelta = TimeDelta::hours(48);

/// A server that breaks off over so many deliveries in a row does so over every one.
const BROKEN_IN_A_ROW: usize = 3;

/// How often, and after how long, it is tried again to put the end of a delivery on record.
const RECORD_TRIES: u32 = 30;
const RECORD_AGAIN: Duration = Duration::from_secs(10);

/// What became of the messages that were due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Sent.
    pub sent: usize,
    /// To be tried again.
    pub deferred: usize,
    /// Given up.
    pub dead: usize,
}

impl Delivered {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.deferred += other.deferred;
        self.dead += other.dead;
    }
}

/// Delivers what there is for as long as the daemon runs, and when it ends waits for what is being sent. Each channel goes at its own pace, so that
/// one that hangs holds up no other.
pub async fn pump(app: Arc<App>) {
    log_failure(begin(&app).await);
    let mut under_way: JoinSet<String> = JoinSet::new();
    let mut busy = BTreeSet::new();
    while !app.is_ending() {
        // What nobody is sending was left half way: its end could not be recorded, or others' code panicked.
        if busy.is_empty() {
            log_failure(recover(&app).await);
        }
        let channels = prepare(&app).await;
        for channel in channels.inspect_err(complain).unwrap_or_default() {
            if busy.insert(channel.clone()) {
                under_way.spawn(deliver_reporting(app.clone(), channel));
            }
        }
        tokio::select! {
            () = app.mail.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
            Some(done) = under_way.join_next() => match done {
                Ok(channel) => drop(busy.remove(&channel)),
                // As when there is no thread to look up a name; that costs one attempt and no more.
                Err(_) => {
                    tracing::error!("sending was broken off by an error; it is tried again");
                    tokio::time::sleep(PAUSE).await;
                    while under_way.join_next().await.is_some() {}
                    busy.clear();
                }
            },
        }
    }
    while under_way.join_next().await.is_some() {}
}

fn complain(error: &StoreError) {
    tracing::error!("the outbox can't be used: {error}");
}

fn log_failure(result: Result<(), StoreError>) {
    if let Err(error) = result {
        complain(&error);
    }
}

async fn deliver_reporting(app: Arc<App>, channel: String) -> String {
    if let Err(error) = deliver(&app, &channel).await {
        complain(&error);
        tokio::time::sleep(PAUSE).await;
    }
    channel
}

/// Begins anew after logkeeper did not run.
async fn begin(app: &Arc<App>) -> Result<(), StoreError> {
    let (store, now) = (app.store.clone(), app.clock.now());
    off_thread(move || store.restart_troubles(now)).await
}

/// What was left half way is sent again.
async fn recover(app: &Arc<App>) -> Result<(), StoreError> {
    let store = app.store.clone();
    let recovered = off_thread(move || store.recover_deliveries()).await?;
    if recovered > 0 {
        tracing::warn!(
            "{recovered} deliveries were broken off and are tried again; their recipients may get them twice"
        );
    }
    Ok(())
}

/// Makes messages of all intents that are to be told now and tries every delivery that is due once.
///
/// # Errors
/// Fails where the store can't be used; a failed delivery is no error but on record.
pub async fn deliver_due(app: &Arc<App>) -> Result<Delivered, StoreError> {
    let mut result = Delivered::default();
    for channel in prepare(app).await? {
        result.add(deliver(app, &channel).await?);
    }
    Ok(result)
}

/// Makes messages of all intents that are to be told now, and gives the channels that have something to deliver.
async fn prepare(app: &Arc<App>) -> Result<Vec<String>, StoreError> {
    let (store, config, now) = (app.store.clone(), app.config(), app.clock.now());
    off_thread(move || {
        for trouble in store.troubles()? {
            if config
                .channels
                .get(&trouble.channel)
                .is_none_or(|channel| notify::fingerprint(channel, &config.from) != trouble.fingerprint)
            {
                store.channel_works(&trouble.channel)?;
            }
        }
        freeze_intents(&store, &config, now)?;
        store.due_channels(now)
    })
    .await
}

/// Delivers all that is due by one channel, in order, until it doesn't work any more.
async fn deliver(app: &Arc<App>, name: &str) -> Result<Delivered, StoreError> {
    let mut result = Delivered::default();
    let config = app.config();
    let notifier = match config.channels.get(name).cloned() {
        Some(channel) => {
            let from = config.from.clone();
            let made = blocking(move || notify::notifier(&channel, &from)).await;
            made.unwrap_or_else(|error| Err(NotifyError::Down(error.to_string())))
        }
        None => Err(NotifyError::Never(format!("there is no channel {name:?} any more"))),
    };
    let mut broken = 0;
    while !app.is_ending() {
        let (store, channel, now) = (app.store.clone(), name.to_owned(), app.clock.now());
        let Some((delivery, body)) = off_thread(move || store.take_delivery(&channel, now)).await? else { break };
        let sent = match &notifier {
            Ok(notifier) => notifier.send(&parcel(&delivery, body)).await,
            Err(error) => Err(error.clone()),
        };
        broken = if matches!(sent, Err(NotifyError::Broken(_))) { broken + 1 } else { 0 };
        let sent = match sent {
            Err(NotifyError::Broken(error)) if broken >= BROKEN_IN_A_ROW => Err(NotifyError::Down(error)),
            sent => sent,
        };
        let stops = matches!(sent, Err(NotifyError::Down(_) | NotifyError::Refused(_)));
        result.add(settled(app, &config, &delivery, &sent).await?);
        if stops {
            break;
        }
    }
    if let Ok(notifier) = &notifier {
        notifier.finish().await;
    }
    Ok(result)
}

/// Puts on record what became of a delivery; what was sent is not forgotten because a disk is full just now.
async fn settled(
    app: &Arc<App>,
    config: &Arc<Config>,
    delivery: &DeliveryRow,
    sent: &Result<(), NotifyError>,
) -> Result<Delivered, StoreError> {
    let mut tries = 0;
    loop {
        let (owned, config, delivery, sent) = (app.clone(), config.clone(), delivery.clone(), sent.clone());
        match off_thread(move || settle(&owned, &config, &delivery, sent)).await {
            Err(error) if tries < RECORD_TRIES => {
                complain(&error);
                tries += 1;
                tokio::time::sleep(RECORD_AGAIN).await;
            }
            settled => return settled,
        }
    }
}

/// Uses the store off the async threads. A panic there leaves the outbox as it is, and the next round tries again.
async fn off_thread<T: Default + Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    blocking(work).await.unwrap_or_else(|_| Ok(T::default()))
}

fn parcel(delivery: &DeliveryRow, body: Vec<u8>) -> Parcel {
    let name = format!("{}-{:06}", delivery.at.format("%Y-%m-%d"), delivery.message);
    Parcel { name, recipient: delivery.recipient.clone(), body }
}

/// Puts on record what became of a delivery, and how its channel does.
fn settle(
    app: &App,
    config: &Config,
    delivery: &DeliveryRow,
    sent: Result<(), NotifyError>,
) -> Result<Delivered, StoreError> {
    let (store, now) = (&app.store, app.clock.now());
    let to = if delivery.recipient.is_empty() { String::new() } else { format!(" to {}", delivery.recipient) };
    let about = format!("{} {:?}{to}", delivery.channel, delivery.subject);
    let tried_since = delivery.tried_since.filter(|since| *since <= now).unwrap_or(now);
    let trouble = store.troubles()?.into_iter().find(|trouble| trouble.channel == delivery.channel);
    let (dead, deferred) =
        (Delivered { dead: 1, ..Delivered::default() }, Delivered { deferred: 1, ..Delivered::default() });
    // Whatever the server says of one recipient, it talks to us again.
    if matches!(sent, Ok(()) | Err(NotifyError::Later(_) | NotifyError::Never(_))) && trouble.is_some() {
        tracing::info!("{} works again", delivery.channel);
        store.channel_works(&delivery.channel)?;
    }
    match sent {
        Ok(()) => {
            store.settle_delivery(delivery, DeliveryState::Sent, now, None, None)?;
            Ok(Delivered { sent: 1, ..Delivered::default() })
        }
        Err(NotifyError::Later(error) | NotifyError::Broken(error)) if now - tried_since < PATIENCE => {
            let until = now + backoff(delivery, tried_since, now);
            tracing::warn!("{about} was put off until {}: {error}", until.format("%H:%M UTC"));
            store.settle_delivery(delivery, DeliveryState::Queued, until, Some(&error), Some(tried_since))?;
            Ok(deferred)
        }
        Err(NotifyError::Later(error) | NotifyError::Broken(error) | NotifyError::Never(error)) => {
            tracing::error!("{about} is given up: {error}");
            store.settle_delivery(delivery, DeliveryState::Dead, now, Some(&error), Some(tried_since))?;
            Ok(dead)
        }
        Err(NotifyError::Down(error)) => {
            store.settle_delivery(delivery, DeliveryState::Queued, now, Some(&error), None)?;
            let given_up = fail(store, config, delivery, trouble, &error, false, now)?;
            Ok(Delivered { deferred: 1_usize.saturating_sub(given_up), dead: given_up, ..Delivered::default() })
        }
        Err(NotifyError::Refused(error)) => {
            store.settle_delivery(delivery, DeliveryState::Queued, now, Some(&error), None)?;
            fail(store, config, delivery, trouble, &error, true, now)?;
            Ok(deferred)
        }
    }
}

/// Puts on record that a channel doesn't work. Returns how many deliveries were given up because it did not work for too long.
fn fail(
    store: &Store,
    config: &Config,
    delivery: &DeliveryRow,
    known: Option<Trouble>,
    error: &str,
    paused: bool,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let failures = known.as_ref().map_or(0, |known| known.failures) + 1;
    let next = now + pause(failures, &format!("{} {}", delivery.channel, delivery.message));
    let channel = &delivery.channel;
    if known.as_ref().is_none_or(|known| known.paused != paused) {
        let how = if paused { "is paused until somebody mends it" } else { "does not work now" };
        tracing::error!("{channel} {how}: {error}");
    }
    let trouble = Trouble {
        channel: channel.clone(),
        since: known.filter(|known| known.paused == paused && known.since <= now).map_or(now, |known| known.since),
        failures,
        next,
        paused,
        error: error.to_owned(),
        fingerprint: config
            .channels
            .get(channel)
            .map(|channel| notify::fingerprint(channel, &config.from))
            .unwrap_or_default(),
    };
    let given_up = store.channel_failed(&trouble, now - PATIENCE)?;
    if given_up > 0 {
        tracing::error!("{given_up} deliveries by {channel} are given up after two days: {error}");
    }
    Ok(given_up)
}

/// After how long a delivery is tried again that its recipient's server has put off since an instant: as long again, from a minute up to two hours,
/// and up to a quarter more.
fn backoff(delivery: &DeliveryRow, tried_since: DateTime<Utc>, now: DateTime<Utc>) -> TimeDelta {
    let again = (now - tried_since).clamp(TimeDelta::minutes(1), TimeDelta::hours(2));
    jittered(again, &format!("{} {} {}", delivery.message, delivery.recipient, delivery.attempts))
}

/// After how long a channel that doesn't work is tried again: half a minute, one, two … up to half an hour, and up to a quarter more.
fn pause(failures: i64, seed: &str) -> TimeDelta {
    let seconds = (15_i64 << failures.clamp(1, 7)).min(1800);
    jittered(TimeDelta::seconds(seconds), &format!("{seed} {failures}"))
}

/// Up to a quarter more, the same for the same seed, so that not everything comes at once.
fn jittered(time: TimeDelta, seed: &str) -> TimeDelta {
    let spread = seed.bytes().fold(5381_u64, |hash, byte| hash.wrapping_mul(33) ^ u64::from(byte)) % 256;
    time + time * (spread as i32) / 1024
}

/// Makes messages of the intents that are to be told now.
fn freeze_intents(store: &Store, config: &Config, now: DateTime<Utc>) -> Result<(), StoreError> {
    let pending = store.pending_intents()?;
    if pending.is_empty() {
        return Ok(());
    }
    for fold in fold(&pending, &store.told_since(now - TOLD_AGAIN * 2)?, config, now) {
        let recipients = match fold.channel.as_str() {
            MAIL => config.addresses(&fold.to),
            _ => vec![String::new()],
        };
        let frozen = match freeze_fold(store, config, &fold, &recipients, now)? {
            Ok(frozen) => frozen,
            Err(why) => {
                tracing::warn!("{why}");
                continue;
            }
        };
        if recipients.is_empty() {
            tracing::warn!("nobody gets {:?}: [recipients] has no address for {}", frozen.subject, fold.to.join(", "));
        }
        let enqueued = Enqueued { frozen: &frozen, recipients: &recipients, intents: &fold.intents, told: &fold.told };
        store.enqueue(&enqueued, now)?;
    }
    Ok(())
}

/// The message of a fold, or why there is none.
fn freeze_fold(
    store: &Store,
    config: &Config,
    fold: &Fold,
    recipients: &[String],
    now: DateTime<Utc>,
) -> Result<Result<Frozen, String>, StoreError> {
    let first = fold.intents.first().copied().unwrap_or_default();
    // Numbers begin anew where the database was lost, times don't.
    let since = fold.since.timestamp();
    let key = format!("intent {} {} {first} {since}", config.host, config.state.display());
    let message = match &fold.what {
        What::Findings { run, findings, looks_back } => {
            let findings = findings.iter().filter_map(|id| store.finding(*id).transpose());
            let mut findings = findings.collect::<Result<Vec<_>, _>>()?;
            // Further lines may have disproved what was held back.
            findings.retain(|found| found.withdrawn.is_none());
            let (looks_back, held_back, since) = (*looks_back, fold.held_back, fold.since);
            let alert = Alert { run: *run, key, looks_back, held_back, since, config };
            (!findings.is_empty()).then(|| alert.compose(&findings, now))
        }
        What::Runs { runs, news } => {
            let shown = runs.len().saturating_sub(NOTICED_RUNS);
            let mut told = Vec::new();
            for id in &runs[shown..] {
                // What all of them printed may be more than memory holds; that of the last one is told.
                told.iter_mut().for_each(|run: &mut Run| run.output.clear());
                told.extend(store.run(*id)?);
            }
            compose_notice(&told, shown, *news, &key, config, now)
        }
    };
    let Some(message) = message else {
        fold.intents.iter().try_for_each(|id| store.forget_intent(*id))?;
        return Ok(Err("what was to be told is not on record any more, so nobody is told about it".to_owned()));
    };
    let alert = match &fold.what {
        What::Findings { .. } => true,
        What::Runs { news, .. } => matches!(news, RunNews::Failed | RunNews::Missed | RunNews::Slow),
    };
    Ok(frozen(&message, &fold.channel, alert, &config.from, recipients, now))
}
