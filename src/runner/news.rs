//! What is told of a job's runs, and to whom: cron's MAILTO, and more.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::App;
use crate::jobs::tellings;
use crate::model::{Job, Outcome, RunNews, Telling, Trigger};
use crate::store::{Aftermath, Ended, QueuedRun, StoreError};
use crate::threads::blocking;

impl App {
    /// What is told of the end of a run, which may be tried again.
    pub(super) fn news(&self, run: &QueuedRun, job: &Job, ended: &Ended, tried_again: bool) -> Vec<Telling> {
        let (config, mail) = (self.config(), &job.mail);
        let tell = |to: &[String], news| tellings(&config, to, news);
        let before = || self.store.failures_before(run);
        let mut told = match ended.outcome {
            _ if tried_again => Vec::new(),
            Outcome::Succeeded => {
                let recovered = !mail.on_recovery.is_empty() && before().is_ok_and(|n| n >= mail.after_failures.max(1));
                let recovered = if recovered { tell(&mail.on_recovery, RunNews::Recovered) } else { Vec::new() };
                [tell(&mail.on_success, RunNews::Succeeded), recovered].concat()
            }
            Outcome::Skipped => tell(&mail.on_missed, RunNews::Missed),
            outcome if outcome.is_failure() || outcome == Outcome::Partial => {
                // What can't be known is rather told too often than not.
                let enough = mail.after_failures <= 1 || before().map_or(true, |n| n + 1 >= mail.after_failures);
                if enough { tell(&mail.on_failure, RunNews::Failed) } else { Vec::new() }
            }
            _ => Vec::new(),
        };
        if !ended.output.is_empty() {
            // Who is told of the run already sees the output there.
            let known = |telling: &Telling| told.iter().any(|t| (&t.channel, &t.to) == (&telling.channel, &telling.to));
            let output: Vec<Telling> = tell(&mail.on_output, RunNews::Output);
            let output: Vec<Telling> = output.into_iter().filter(|telling| !known(telling)).collect();
            told.extend(output);
        }
        told
    }

    /// Tells that a run takes much longer than usual, once it does.
    pub(super) async fn tell_when_slow(self: Arc<Self>, run: QueuedRun) {
        let store = self.store.clone();
        let id = run.job.id.clone();
        let Ok(Ok(durations)) = blocking(move || store.durations(&id)).await else { return };
        let Some(limit) = slow_after(durations) else { return };
        tokio::time::sleep(limit).await;
        let app = self.clone();
        let told = blocking(move || {
            let tell = tellings(&app.config(), &run.job.mail.on_slow, RunNews::Slow);
            tracing::warn!(job = %run.job.id, run = run.id, "takes much longer than usual and goes on");
            app.store.tell(&run, &tell, app.clock.now())
        });
        if let Ok(Err(error)) = told.await {
            tracing::error!("that a run is slow could not be recorded: {error}");
        }
        self.mail.notify_one();
    }

    /// Puts on record that a run did not begin.
    pub(super) fn miss(&self, run: &QueuedRun, why: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let told = !matches!(run.trigger, Trigger::Manual | Trigger::Watch);
        let to: &[String] = if told { &run.job.mail.on_missed } else { &[] };
        let tell = tellings(&self.config(), to, RunNews::Missed);
        let after = Aftermath { tell, ..Aftermath::default() };
        self.store.settle_run(run, &Ended::new(Outcome::Missed, why), &after, now).map(drop)
    }
}

/// After how long a run is slow: three times as long as the last ones usually took, and ten seconds more; never while it is not
/// known what is usual.
fn slow_after(mut durations: Vec<TimeDelta>) -> Option<std::time::Duration> {
    const KNOWN: usize = 5;
    durations.sort();
    let usual = durations.get(durations.len() / 2).filter(|_| durations.len() >= KNOWN)?;
    (*usual * 3 + TimeDelta::seconds(10)).to_std().ok()
}
