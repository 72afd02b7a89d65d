//! `logkeeper status`: is all well, and if not, what is wrong and what to do.

use std::path::Path;
use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};

use super::{jobs, output};
use crate::api::{Client, ClientError, socket_path};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::jobs::counted;
use crate::model::channel::MAIL;
use crate::model::untrusted::printable;
use crate::model::{DeliveryState, Outcome, Run};
use crate::store::{DeliveryRow, Store};

/// How many messages that were given up are told one by one.
const TOLD: usize = 5;

/// How far back messages that could not be delivered are told.
const MAIL_PERIOD: TimeDelta = TimeDelta::days(7);

/// With less room than this, in bytes, the database may not be written.
const LEAST_SPACE: u64 = 8 << 20;

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
    problems.extend(full_disk(config));
    problems.extend(failing(config, store)?);
    problems.extend(undelivered(store, config, now)?);
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

/// A disk on which nothing can be put on record any more.
fn full_disk(config: &Config) -> Option<Trouble> {
    let space = rustix::fs::statvfs(&config.state).ok()?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    (free < LEAST_SPACE).then(|| Trouble {
        what: format!(
            "{} KiB are left on the disk of {}: runs can't be put on record",
            free >> 10,
            config.state.display()
        ),
        help: format!("make room there: df {}", config.state.display()),
    })
}

/// Jobs whose last run did not do its work.
fn failing(config: &Config, store: &Store) -> anyhow::Result<Vec<Trouble>> {
    let mut found = Vec::new();
    for job in config.jobs.values() {
        let Some(run) = store.last_ended_run(job.id.as_str())? else { continue };
        let is_trouble = |outcome: &Outcome| outcome.is_failure() || *outcome == Outcome::Partial;
        let Some(outcome) = run.outcome.filter(is_trouble) else { continue };
        let when = output::stamp(run.finished.unwrap_or(run.requested), config.zone);
        let summary = printable(run.summary.as_bytes());
        found.push(Trouble {
            what: format!("{}: {outcome} on {when}: {summary}", job.id),
            help: format!("logkeeper show {}; again: logkeeper run-now {}", run.id, job.id),
        });
    }
    Ok(found)
}

/// Channels that don't work, and messages that were given up or wait because they could not be handed over.
fn undelivered(store: &Store, config: &Config, now: DateTime<Utc>) -> anyhow::Result<Vec<Trouble>> {
    let mut found = Vec::new();
    for trouble in store.troubles()? {
        let waiting = store.waiting_for(&trouble.channel)?;
        let (since, error) = (output::stamp(trouble.since, config.zone), printable(trouble.error.as_bytes()));
        let how = if trouble.paused { "is paused" } else { "does not work" };
        let waiting = counted(waiting, "message");
        found.push(Trouble {
            what: format!("the channel {} {how} since {since}, and {waiting} wait for it: {error}", trouble.channel),
            help: format!(
                "check it in config/logkeeper.toml, then: logkeeper test-mail --to {}",
                if trouble.channel == MAIL { "ADDRESS" } else { &trouble.channel }
            ),
        });
    }
    let dead = store.deliveries(Some(DeliveryState::Dead), 1000)?;
    let recent: Vec<_> = dead.into_iter().filter(|delivery| delivery.at >= now - MAIL_PERIOD).collect();
    let given_up = |delivery: &DeliveryRow| {
        let error = printable(delivery.error.as_deref().unwrap_or_default().as_bytes());
        let whom = if delivery.recipient.is_empty() { &delivery.channel } else { &delivery.recipient };
        Trouble {
            what: format!("{:?} to {whom} was given up: {error}", printable(delivery.subject.as_bytes())),
            help: format!("once that is mended: logkeeper outbox retry {}", delivery.message),
        }
    };
    found.extend(recent.iter().take(TOLD).map(given_up));
    if recent.len() > TOLD {
        let what = format!("{} more messages were given up", recent.len() - TOLD);
        found.push(Trouble { what, help: "logkeeper outbox --state dead lists them".to_owned() });
    }
    let put_off = store.deliveries(Some(DeliveryState::Queued), 1000)?;
    let put_off = put_off.iter().filter(|delivery| delivery.error.is_some() && delivery.next > now);
    if let Some(delivery) = put_off.clone().next() {
        let error = printable(delivery.error.as_deref().unwrap_or_default().as_bytes());
        found.push(Trouble {
            what: format!(
                "{} put off, for example to {}: {error}",
                counted(put_off.count(), "message"),
                delivery.recipient
            ),
            help: "they are tried again for two days; logkeeper outbox lists them".to_owned(),
        });
    }
    Ok(found)
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
