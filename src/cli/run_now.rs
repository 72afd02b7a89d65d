//! `logkeeper run-now JOB…`

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::output;
use super::progress::Bar;
use super::show::told;
use crate::api::{Client, ClientError, socket_path};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::daemon::outbox;
use crate::jobs::{self, Cancel, Context, Live};
use crate::model::untrusted::printable;
use crate::model::{Glance, Job, Outcome, OutputLine, Problem, Run, RunId};
use crate::runner::{App, Lock};
use crate::store::Store;
use crate::supervise::Pool;
use crate::threads::blocking;

/// How often new output is asked for.
const GLANCE: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub struct Args {
    /// The jobs' ids: the names of their files in jobs/ without .toml
    #[arg(required = true)]
    jobs: Vec<String>,
    /// Show what the jobs print while they print it
    #[arg(short, long)]
    follow: bool,
    /// Say what the jobs would do and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Replay the slot of this instant (RFC 3339): reports and archives take it for the present
    #[arg(long, value_name = "INSTANT")]
    at: Option<DateTime<Utc>>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    let jobs = args.jobs.iter().map(|id| super::job_named(&config, id).cloned());
    let jobs: Vec<Arc<Job>> = jobs.collect::<Result<_, Problem>>()?;
    if args.dry_run {
        return dry_run(&config, &jobs, args);
    }
    super::daemon::log_to_stderr("warn");
    let runtime = super::daemon::runtime()?;
    let runs = runtime.block_on(async {
        match Client::connect(&socket_path(&config.state)).await {
            Ok(client) => through_daemon(client, &config, &jobs, args).await,
            Err(ClientError::NoDaemon) => here(config, &jobs, args).await,
            Err(error) => Err(error.into()),
        }
    })?;
    if args.json && args.jobs.len() == 1 {
        output::print_json(&runs[0])?;
    } else if args.json {
        output::print_json(&runs)?;
    }
    let all_well = runs.iter().all(|run| run.outcome == Some(Outcome::Succeeded));
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) })
}

async fn through_daemon(
    mut client: Client,
    config: &Config,
    jobs: &[Arc<Job>],
    args: &Args,
) -> anyhow::Result<Vec<Run>> {
    let mut started = Vec::new();
    for job in jobs {
        let run = client.start(&job.id, args.at).await?;
        if !args.json {
            output::print(&format!("{}: run {run} begins, through the daemon\n", job.id));
        }
        started.push(run);
    }
    let mut ended = Vec::new();
    for run in started {
        let watched = !args.json && (args.follow || std::io::stderr().is_terminal());
        let end = if watched { watch(&mut client, config, run, args.follow).await? } else { client.end(run).await? };
        if !args.json {
            output::print(&told(&end, !args.follow));
        }
        ended.push(end);
    }
    Ok(ended)
}

/// Shows how far a run of the daemon's is and, if wanted, what it prints, until it ends, and returns it.
pub async fn watch(client: &mut Client, config: &Config, run: RunId, show: bool) -> anyhow::Result<Run> {
    let bar = Bar::new(0);
    let mut waiting = Client::connect(&socket_path(&config.state)).await?;
    let end = waiting.end(run);
    tokio::pin!(end);
    let mut seen = 0;
    loop {
        let ended = tokio::time::timeout(GLANCE, &mut end).await.ok();
        let glance = client.glance(run, seen).await?;
        show_glance(&glance, seen, show, &bar);
        seen = glance.next;
        let Some(ended) = ended.transpose()? else { continue };
        if !show {
            return Ok(ended);
        }
        // What came at the very end is only on record.
        let rest = ended.output.len().saturating_sub(seen);
        if seen == 0 || rest > 0 && !ended.output.iter().any(|line| line.text.starts_with("[…")) {
            show_lines(&ended.output[ended.output.len() - rest..], 0);
        }
        return Ok(ended);
    }
}

fn show_glance(glance: &Glance, seen: usize, show: bool, bar: &Bar) {
    if let Some(progress) = glance.progress {
        bar.set(progress);
    }
    let missed = glance.next - seen.min(glance.next) - glance.lines.len();
    if show && !(glance.lines.is_empty() && missed == 0) {
        bar.print(|| show_lines(&glance.lines, missed));
    }
}

fn show_lines(lines: &[OutputLine], missed: usize) {
    if missed > 0 {
        output::print(&format!("  [… {missed} lines not shown here …]\n"));
    }
    for line in lines {
        output::print(&format!("  | {}\n", printable(line.text.as_bytes())));
    }
}

/// Without a daemon: in this process, under the same lock.
async fn here(config: Config, jobs: &[Arc<Job>], args: &Args) -> anyhow::Result<Vec<Run>> {
    let _lock = Lock::take(&config.state, &format!("logkeeper run-now {}", args.jobs.join(" ")))?;
    let store = Store::open(&config.state)?;
    // What follows from the runs of a dead daemon is left to the next one, on record.
    let (app, _) = App::new(config, store, Arc::new(SystemClock));
    let recovering = app.clone();
    blocking(move || recovering.recover()).await??;
    let mut runs = Vec::new();
    for job in jobs {
        let bar = (!args.json).then(|| Bar::new(0));
        let run = run_here(&app, job, args.at, args.follow && !args.json, bar.as_ref()).await?;
        drop(bar);
        if !args.json {
            output::print(&told(&run, !args.follow));
        }
        runs.push(run);
    }
    Ok(runs)
}

/// Runs a job in this process and hands over the mail that is due.
pub async fn run_here(
    app: &Arc<App>,
    job: &Arc<Job>,
    at: Option<DateTime<Utc>>,
    show: bool,
    bar: Option<&Bar>,
) -> anyhow::Result<Run> {
    let run = app.store.request_run(job, at, app.clock.now())?;
    let id = run.id;
    app.begin(vec![run]);
    let ended = app.ended(id);
    tokio::pin!(ended);
    let mut seen = 0;
    let run = loop {
        let end = tokio::time::timeout(GLANCE, &mut ended).await.ok();
        if let Some(bar) = bar {
            let glance = app.glance(id, seen);
            show_glance(&glance, seen, show, bar);
            seen = glance.next;
        }
        if let Some(end) = end.transpose()? {
            if let Some(bar) = bar.filter(|_| show) {
                bar.print(|| show_lines(&end.output[seen.min(end.output.len())..], 0));
            }
            break end;
        }
    };
    outbox::deliver_due(app).await?;
    Ok(run)
}

fn dry_run(config: &Config, jobs: &[Arc<Job>], args: &Args) -> anyhow::Result<ExitCode> {
    let store = Store::open_for_reading(&config.state)?;
    let clock = SystemClock;
    let mut told = Vec::new();
    let (cancel, live, supervisors) = (Cancel::default(), Live::default(), Pool::default());
    for job in jobs {
        let at = args.at.unwrap_or_else(|| clock.now());
        let context = Context {
            job,
            run: 0,
            at,
            config,
            store: &store,
            clock: &clock,
            cancel: &cancel,
            live: &live,
            supervisors: &supervisors,
        };
        let lines = jobs::kind(&job.work).preview(&context)?;
        if args.json {
            told.push(serde_json::json!({ "job": job.id, "would": lines }));
        } else {
            lines.iter().for_each(|line| output::print(&format!("{}\n", printable(line.as_bytes()))));
        }
    }
    match told.as_slice() {
        [] => {}
        [one] => output::print_json(one)?,
        all => output::print_json(&all)?,
    }
    Ok(ExitCode::SUCCESS)
}
