//! `logkeeper status`: is all well, and if not, what is wrong and what to do.

use std::path::Path;
use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};

use super::{jobs, output};
use crate::api::{Client, ClientError, socket_path};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::model::Run;
use crate::model::untrusted::printable;
use crate::store::Store;

/// How far back mails that could not be delivered are told.
const MAIL_PERIOD: TimeDelta = TimeDelta::days(7);

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What there is to tell.
#[derive(serde::Serialize)]
struct Status {
    /// Whether the daemon runs.
    daemon: bool,
    /// How many runs go on and how many wait for their turn, where the daemon tells.
    running: usize,
    waiting: usize,
    /// What somebody should do something about.
    problems: Vec<Trouble>,
    /// Runs that go on, or wait.
    open_runs: Vec<Run>,
    paused: Vec<String>,
    jobs: usize,
    next: Option<Next>,
}

/// What is due next.
#[derive(serde::Serialize)]
struct Next {
    job: String,
    at: DateTime<Utc>,
}

/// Something that is wrong, and what to do.
#[derive(serde::Serialize)]
struct Trouble {
    what: String,
    help: String,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (config, store) = super::open(root)?;
    let status = gather(&config, &store)?;
    if args.json {
        output::print_json(&status)?;
    } else {
        tell(&status, &config);
    }
    Ok(match (status.daemon, status.problems.is_empty()) {
        (false, _) => ExitCode::from(super::DAEMON_DOWN),
        (true, false) => ExitCode::from(super::FAILED),
        (true, true) => ExitCode::SUCCESS,
    })
}

fn gather(config: &Config, store: &Store) -> anyhow::Result<Status> {
    let load = super::daemon::runtime()?.block_on(async {
        match Client::connect(&socket_path(&config.state)).await {
            Ok(mut client) => client.load().await.map(Some),
            Err(ClientError::NoDaemon) => Ok(None),
            Err(error) => Err(error),
        }
    })?;
    let now = SystemClock.now();
    let mut problems = Vec::new();
    if load.is_none() {
        problems.push(Trouble {
            what: "no daemon runs, so no job is started".to_owned(),
            help: "systemctl start logkeeper, or by hand: logkeeper daemon".to_owned(),
        });
    }
    problems.extend(failing(config, store)?);
    problems.extend(undelivered(store, now)?);
    problems
        .extend(crate::crontab::still_run_by_cron(&config.root).into_iter().map(|(what, help)| Trouble { what, help }));
    let open = store.open_runs()?.into_iter().filter_map(|open| store.run(open.id).transpose());
    let paused = store.paused()?;
    let followed = config.jobs.values().filter(|job| job.enabled && !paused.contains_key(job.id.as_str()));
    let next = followed.filter_map(|job| {
        let at = crate::schedule::next_after(job.schedule.as_ref()?, now)?;
        Some(Next { job: job.id.to_string(), at })
    });
    Ok(Status {
        daemon: load.is_some(),
        running: load.map_or(0, |load| load.0),
        waiting: load.map_or(0, |load| load.1),
        problems,
        open_runs: open.collect::<Result<_, _>>()?,
        paused: paused.keys().cloned().collect(),
        jobs: config.jobs.len(),
        next: next.min_by_key(|next| next.at),
    })
}

/// Jobs whose last run did not do its work.
fn failing(config: &Config, store: &Store) -> anyhow::Result<Vec<Trouble>> {
    let mut found = Vec::new();
    for job in config.jobs.values() {
        let Some(run) = store.last_ended_run(job.id.as_str())? else { continue };
        let Some(outcome) = run.outcome.filter(|outcome| outcome.is_failure()) else { continue };
        let when = output::stamp(run.finished.unwrap_or(run.requested), config.zone);
        let summary = printable(run.summary.as_bytes());
        found.push(Trouble {
            what: format!("{}: {outcome} on {when}: {summary}", job.id),
            help: format!("logkeeper show {}; again: logkeeper run-now {}", run.id, job.id),
        });
    }
    Ok(found)
}

/// Mails that were given up, or wait because they could not be handed over.
fn undelivered(store: &Store, now: DateTime<Utc>) -> anyhow::Result<Vec<Trouble>> {
    let recent = store.deliveries(1000)?;
    let recent = recent.into_iter().filter(|delivery| delivery.at >= (now - MAIL_PERIOD).timestamp());
    let troubled = recent.filter(|delivery| delivery.error.is_some() && delivery.state != "sent");
    let trouble = |delivery: crate::store::DeliveryRow| {
        let state = if delivery.state == "dead" { "was given up" } else { "waits and is tried again" };
        let error = printable(delivery.error.unwrap_or_default().as_bytes());
        let (subject, recipient) = (printable(delivery.subject.as_bytes()), delivery.recipient);
        Trouble {
            what: format!("the mail {subject:?} to {recipient} {state}: {error}"),
            help: "check [mail] in config/logkeeper.toml, then: logkeeper test-mail".to_owned(),
        }
    };
    Ok(troubled.map(trouble).collect())
}

fn tell(status: &Status, config: &Config) {
    let verdict = if status.problems.is_empty() { "all is well" } else { "needs attention" };
    let daemon = if status.daemon { "the daemon runs" } else { "no daemon runs" };
    output::print(&format!("{}: {verdict}; {daemon}, {} jobs\n", config.host, status.jobs));
    for problem in &status.problems {
        output::print(&format!("\nproblem: {}\n  help: {}\n", problem.what, problem.help));
    }
    if !status.open_runs.is_empty() {
        output::print("\n");
        let rows = status.open_runs.iter().map(|run| {
            let since = output::stamp(run.started.or(run.begin).unwrap_or(run.requested), config.zone);
            vec![run.id.to_string(), run.state().to_owned(), since, run.job.clone()]
        });
        output::print_table(&["RUN", "STATE", "SINCE", "JOB"], rows.collect());
    }
    if !status.paused.is_empty() {
        output::print(&format!("\npaused: {}\n", status.paused.join(", ")));
    }
    if let Some(Next { job, at }) = &status.next {
        let when =
            config.jobs.values().find(|known| known.id.as_str() == job).map_or_else(String::new, |job| jobs::when(job));
        output::print(&format!("\nnext: {job} at {} ({when})\n", output::stamp(*at, config.zone)));
    }
}
