//! `logkeeper run-now JOB`

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use chrono::TimeDelta;

use super::output;
use crate::api::{Client, ClientError, socket_path};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::daemon::outbox;
use crate::jobs::{self, Cancel, Context};
use crate::model::untrusted::printable;
use crate::model::{Job, Outcome, Run};
use crate::runner::{App, Lock};
use crate::store::Store;

#[derive(clap::Args)]
pub struct Args {
    /// The job's id: the name of its file in jobs/ without .toml
    job: String,
    /// Say what the job would do and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    let job = super::job_named(&config, &args.job)?.clone();
    if args.dry_run {
        return dry_run(&config, &job, args.json);
    }
    super::daemon::log_to_stderr("warn");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build()?;
    let run = runtime.block_on(async {
        match through_daemon(&config, &job, args.json).await {
            Err(error) if matches!(error.downcast_ref(), Some(ClientError::NoDaemon)) => here(config, job).await,
            other => other,
        }
    })?;
    if args.json {
        output::print_json(&run)?;
    } else {
        output::print(&told(&run));
    }
    Ok(if run.outcome == Some(Outcome::Succeeded) { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) })
}

async fn through_daemon(config: &Config, job: &Job, quiet: bool) -> anyhow::Result<Run> {
    let mut client = Client::connect(&socket_path(&config.state)).await?;
    let run = client.start(&job.id).await?;
    if !quiet {
        output::print(&format!("{}: run {run} begins, through the daemon\n", job.id));
    }
    Ok(client.end(run).await?)
}

/// Without a daemon: in this process, under the same lock.
async fn here(config: Config, job: Job) -> anyhow::Result<Run> {
    let _lock = Lock::take(&config.state, &format!("logkeeper run-now {}", job.id))?;
    let store = Store::open(&config.state)?;
    let app = App::new(config, store, Arc::new(SystemClock));
    let now = app.clock.now();
    app.store.interrupt_open_runs(now)?;
    run_here(&app, job).await
}

/// Runs a job in this process and hands over the mail that is due.
pub async fn run_here(app: &Arc<App>, job: Job) -> anyhow::Result<Run> {
    let now = app.clock.now();
    let run = app.store.request_run(&job, now)?;
    app.execute(job, run, now).await;
    outbox::deliver_due(app).await?;
    app.store.run(run)?.ok_or_else(|| anyhow::anyhow!("run {run} is not on record"))
}

fn dry_run(config: &Config, job: &Job, json: bool) -> anyhow::Result<ExitCode> {
    let store = Store::open_for_reading(&config.state)?;
    let clock = SystemClock;
    let cancel = Cancel::default();
    let context = Context { job, run: 0, at: clock.now(), config, store: &store, clock: &clock, cancel: &cancel };
    let lines = jobs::kind(&job.work).preview(&context)?;
    if json {
        output::print_json(&serde_json::json!({ "job": job.id, "would": lines }))?;
    } else {
        lines.iter().for_each(|line| output::print(&format!("{}\n", printable(line.as_bytes()))));
    }
    Ok(ExitCode::SUCCESS)
}

/// A run in words: how it ended, what it did, what it printed.
pub fn told(run: &Run) -> String {
    let took = run.finished.zip(run.started).map_or(TimeDelta::zero(), |(end, start)| end - start);
    let mut text = format!("{}: {} after {} (run {})\n", run.job, run.state(), output::duration(took), run.id);
    if !run.summary.is_empty() {
        text.push_str(&format!("  {}\n", printable(run.summary.as_bytes())));
    }
    for note in &run.notes {
        text.push_str(&format!("  - {}\n", printable(note.as_bytes())));
    }
    for line in run.output.lines() {
        text.push_str(&format!("  | {}\n", printable(line.as_bytes())));
    }
    text
}
