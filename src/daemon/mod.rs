//! The daemon: due jobs, reload, shutdown, mail.

mod heartbeat;
pub mod outbox;
pub mod planner;
pub mod service;
pub mod ticker;
pub mod timer;
mod watcher;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use planner::Planner;
use service::Service;
use timer::SystemTimer;

use crate::api;
use crate::runner::{App, FollowUps};
use crate::threads::blocking;

/// How long runs may go on after the daemon was asked to end, before they are told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// How long runs that were told to stop may take for it.
const STOP: Duration = Duration::from_secs(10);

/// However long a command may take to end, the daemon waits no longer than this for it.
const LONGEST_GRACE: Duration = Duration::from_secs(60);

/// How often what is old is forgotten, and how many things in one go.
const HOUSEKEEPING: Duration = Duration::from_secs(6 * 3600);
const PRUNED_AT_ONCE: usize = 1000;

/// After how long mail is tried again that an error inside broke off.
const DELIVER_AGAIN: Duration = Duration::from_secs(30);

/// How long the end of the daemon waits for messages that are being sent.
const LAST_MAILS: Duration = Duration::from_secs(10);

/// How long those who wait for a run's end may take to hear of it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// Says why it could not begin.
pub async fn run(app: Arc<App>, follow_ups: FollowUps) -> anyhow::Result<()> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (mut hangup, mut child) = (signal(SignalKind::hangup())?, signal(SignalKind::child())?);
    let planner = Planner::new(app.clone());
    let (last_beat, end) = tokio::sync::oneshot::channel();
    // From before the first run on, so that none is missed.
    let told = app.heartbeats.subscribe();
    planner.plan(true).await?;
    let beating = tokio::spawn(heartbeat::beat(app.clone(), planner.clone(), told, end));
    let socket = api::socket_path(&app.config().state);
    let (no_more_runs, last_words) = tokio::sync::oneshot::channel::<()>();
    let ended = async move {
        // Dropped or used, the end has come.
        let _ = last_words.await;
    };
    let reloading = (app.clone(), planner.clone());
    let reload_asked = move || {
        let (app, planner) = reloading.clone();
        async move { reload(&app, &planner).await }
    };
    let serving = api::serve(app.clone(), socket.clone(), ended, reload_asked);
    let serving = serving.map_err(|error| anyhow::anyhow!("can't listen on {}: {error}", socket.display()))?;
    let mut server = tokio::spawn(serving);
    let mut pump = tokio::spawn(deliver(app.clone()));
    let service = Arc::new(Service::from_env());
    let ticker = ticker::start(planner.clone(), Arc::new(SystemTimer::new()), service.clone()).await?;
    let following = tokio::spawn(follow(app.clone(), planner.clone(), follow_ups));
    let keeping = tokio::spawn(housekeeping(app.clone()));
    let watching = tokio::spawn(watcher::watch(app.clone()));
    let config = app.config();
    service.tell("READY=1");
    tracing::info!(jobs = config.jobs.len(), config = %config.root.display(), state = %config.state.display(), "logkeeper runs");
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = interrupt.recv() => break,
            // What is wrong with it is in the log.
            _ = hangup.recv() => drop(reload(&app, &planner).await),
            // A supervisor that had nothing to do has ended.
            _ = child.recv() => app.supervisors.tidy(),
        }
    }
    service.tell("STOPPING=1");
    tracing::info!(running = app.load().0, "ending: no new runs begin");
    app.end();
    ticker.stop().await;
    tokio::select! {
        () = drain(&app) => {}
        _ = term.recv() => hurry(&app).await,
        _ = interrupt.recv() => hurry(&app).await,
    }
    following.abort();
    keeping.abort();
    watching.abort();
    // It has seen that the end is near, and sends nothing more.
    app.mail.notify_one();
    if tokio::time::timeout(LAST_MAILS, &mut pump).await.is_err() {
        pump.abort();
    }
    drop(no_more_runs);
    drop(last_beat);
    // It ends by itself, after a while in any case.
    let _ = beating.await;
    if tokio::time::timeout(LAST_WORDS, &mut server).await.is_err() {
        server.abort();
    }
    // The socket may be gone already; a stale one is replaced at the next start.
    let _ = std::fs::remove_file(socket);
    tracing::info!("ended");
    Ok(())
}

/// Reads the configuration again.
///
/// # Errors
/// What is wrong with it; then the old one stays in force.
async fn reload(app: &Arc<App>, planner: &Arc<Planner>) -> Result<(), String> {
    let reading = app.clone();
    let read = match blocking(move || reading.reload()).await {
        Ok(Ok(())) => {
            planner.plan(false).await.map_err(|error| format!("the new schedules could not be recorded: {error}"))
        }
        Ok(Err(errors)) => Err(format!("the configuration is broken, the old one stays in force:\n{errors}")),
        Err(error) => Err(format!("the configuration could not be read: {error}")),
    };
    match &read {
        Ok(()) => tracing::info!(jobs = app.config().jobs.len(), "configuration read again"),
        Err(error) => tracing::error!("{error}"),
    }
    app.mail.notify_one();
    read
}

/// Keeps the outbox moving. What others' code does while a mail is sent may panic, as when there is no thread to look up
/// a name; that costs one attempt and no more.
async fn deliver(app: Arc<App>) {
    while tokio::spawn(outbox::pump(app.clone())).await.is_err_and(|error| error.is_panic()) {
        tracing::error!("sending mail was broken off by an error; it is tried again");
        tokio::time::sleep(DELIVER_AGAIN).await;
    }
}

/// Begins the runs that follow from the end of others, at once or when their time comes.
async fn follow(app: Arc<App>, planner: Arc<Planner>, mut follow_ups: FollowUps) {
    while let Some(queued) = follow_ups.recv().await {
        app.begin(planner.take(queued));
    }
}

/// Forgets what is old, now and every few hours, a few at a time so that nobody waits long for the database.
async fn housekeeping(app: Arc<App>) {
    loop {
        let config = app.config();
        let pruning = app.clone();
        let pruned = blocking(move || {
            let (keep, store, now) = (config.keep, &pruning.store, pruning.clock.now());
            let before = |age| {
                let age = chrono::TimeDelta::from_std(age).unwrap_or(chrono::TimeDelta::MAX);
                now.checked_sub_signed(age).unwrap_or_default()
            };
            let jobs: Vec<&crate::model::JobId> = config.jobs.keys().collect();
            let findings = store.prune_findings(before(keep.findings), PRUNED_AT_ONCE)?;
            let counts = store.prune_tallies(before(keep.counts))?;
            let tops = store.prune_tops(before(keep.counts), PRUNED_AT_ONCE)?;
            let runs = store.prune_runs(before(keep.runs), keep.runs_per_job, &jobs, PRUNED_AT_ONCE)?;
            let messages = store.prune_messages(before(keep.messages), PRUNED_AT_ONCE)?;
            let most = findings.max(tops).max(runs).max(messages);
            Ok::<_, crate::store::StoreError>(most >= PRUNED_AT_ONCE || counts > 0)
        });
        let pause = match pruned.await {
            Ok(Ok(true)) => Duration::from_secs(1),
            Ok(Ok(false)) => HOUSEKEEPING,
            Ok(Err(error)) => {
                tracing::error!("what is old could not be forgotten: {error}");
                HOUSEKEEPING
            }
            Err(_) => HOUSEKEEPING,
        };
        tokio::time::sleep(pause).await;
    }
}

async fn all_done(app: &Arc<App>) {
    let mut finished = app.finished();
    while app.load().0 > 0 {
        if finished.changed().await.is_err() {
            break;
        }
    }
}

async fn drain(app: &Arc<App>) {
    if tokio::time::timeout(DRAIN, all_done(app)).await.is_err() {
        hurry(app).await;
    }
}

/// Tells the runs that go on to stop, and waits for them for a while.
async fn hurry(app: &Arc<App>) {
    app.cancel_all();
    let grace = app.config().jobs.values().map(|job| job.policy.grace).max().unwrap_or_default();
    if tokio::time::timeout(STOP + grace.min(LONGEST_GRACE), all_done(app)).await.is_err() {
        tracing::warn!(running = app.load().0, "some runs did not end and are given up");
    }
}
