//! The daemon: due jobs, reload, shutdown, mail.

pub mod outbox;
mod planner;
mod ticker;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use planner::Planner;

use crate::api;
use crate::runner::{App, blocking};

/// How long runs may go on after the daemon was asked to end, before they are told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// How long runs that were told to stop may take for it.
const STOP: Duration = Duration::from_secs(15);

/// How long those who wait for a run's end may take to hear of it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// Says why it could not begin.
pub async fn run(app: Arc<App>) -> anyhow::Result<()> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let starting = app.clone();
    let interrupted = blocking(move || starting.store.interrupt_open_runs(starting.clock.now())).await??;
    if !interrupted.is_empty() {
        tracing::warn!("runs {interrupted:?} were interrupted when logkeeper ended the last time");
    }
    let planner = Planner::new(app.clone());
    planner.plan(true).await?;
    let socket = api::socket_path(&app.config().state);
    let (no_more_runs, last_words) = tokio::sync::oneshot::channel::<()>();
    let ended = async move {
        // Dropped or used, the end has come.
        let _ = last_words.await;
    };
    let serving = api::serve(app.clone(), socket.clone(), ended);
    let serving = serving.map_err(|error| anyhow::anyhow!("can't listen on {}: {error}", socket.display()))?;
    let mut server = tokio::spawn(serving);
    let pump = tokio::spawn(outbox::pump(app.clone()));
    let ticker = ticker::start(planner.clone()).await?;
    let config = app.config();
    tracing::info!(jobs = config.jobs.len(), config = %config.root.display(), state = %config.state.display(), "logkeeper runs");
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&app, &planner).await,
        }
    }
    tracing::info!(running = app.running(), "ending: no new runs begin");
    app.end();
    ticker.stop().await;
    drain(&app).await;
    pump.abort();
    drop(no_more_runs);
    if tokio::time::timeout(LAST_WORDS, &mut server).await.is_err() {
        server.abort();
    }
    // The socket may be gone already; a stale one is replaced at the next start.
    let _ = std::fs::remove_file(socket);
    tracing::info!("ended");
    Ok(())
}

async fn reload(app: &Arc<App>, planner: &Arc<Planner>) {
    let reading = app.clone();
    match blocking(move || reading.reload()).await {
        Ok(Ok(())) => match planner.plan(false).await {
            Ok(()) => tracing::info!(jobs = app.config().jobs.len(), "configuration read again"),
            Err(error) => tracing::error!("the new schedules could not be recorded: {error}"),
        },
        Ok(Err(errors)) => tracing::error!("the configuration is broken, the old one stays in force:\n{errors}"),
        Err(error) => tracing::error!("the configuration could not be read: {error}"),
    }
    app.mail.notify_one();
}

async fn drain(app: &Arc<App>) {
    let mut finished = app.finished();
    let mut all_done = async || {
        while app.running() > 0 {
            if finished.changed().await.is_err() {
                break;
            }
        }
    };
    if tokio::time::timeout(DRAIN, all_done()).await.is_err() {
        app.cancel_all();
        if tokio::time::timeout(STOP, all_done()).await.is_err() {
            tracing::warn!(running = app.running(), "some runs did not end and are given up");
        }
    }
}
