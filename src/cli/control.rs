//! `logkeeper stop`, `pause`, `resume`, `reload`: what changes a running logkeeper.

use std::path::Path;
use std::process::ExitCode;

use super::output;
use crate::api::{Client, ClientError, socket_path};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::model::RunId;
use crate::runner::refuse_foreign;
use crate::store::Store;

#[derive(clap::Args)]
pub struct StopArgs {
    /// The run's number, as history and status list it
    run: RunId,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct JobArgs {
    /// The jobs' ids
    #[arg(required = true)]
    jobs: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct ReloadArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Has the daemon end a run.
pub fn stop(root: &Path, args: &StopArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    let run = super::daemon::runtime()?.block_on(async {
        let mut client = Client::connect(&socket_path(&config.state)).await?;
        client.stop(args.run).await?;
        client.end(args.run).await
    })?;
    if args.json {
        output::print_json(&run)?;
    } else {
        output::print(&format!("{}: run {} {}\n", run.job, run.id, run.state()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Stops following the schedules of jobs.
pub fn pause(root: &Path, args: &JobArgs) -> anyhow::Result<ExitCode> {
    set_paused(root, args, true)
}

/// Follows the schedules of paused jobs again.
pub fn resume(root: &Path, args: &JobArgs) -> anyhow::Result<ExitCode> {
    set_paused(root, args, false)
}

/// Through the daemon where one runs; otherwise the database is all there is to change.
fn set_paused(root: &Path, args: &JobArgs, paused: bool) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    let jobs = args.jobs.iter().map(|id| super::job_named(&config, id)).collect::<Result<Vec<_>, _>>()?;
    let runtime = super::daemon::runtime()?;
    let mut told = Vec::new();
    for job in jobs {
        let changed = match runtime.block_on(Client::connect(&socket_path(&config.state))) {
            Ok(mut client) => runtime.block_on(client.set_paused(&job.id, paused))?,
            Err(ClientError::NoDaemon) => {
                refuse_foreign(&config.state)?;
                let store = Store::open(&config.state)?;
                if paused { store.pause(&job.id, SystemClock.now())? } else { store.resume(&job.id)? }
            }
            Err(error) => return Err(error.into()),
        };
        let words = match (paused, changed) {
            (true, true) => "paused; its slots are skipped until \"logkeeper resume\"",
            (true, false) => "was paused already",
            (false, true) => "follows its schedule again",
            (false, false) => "was not paused",
        };
        if args.json {
            told.push(serde_json::json!({ "job": job.id, "paused": paused, "changed": changed }));
        } else {
            output::print(&format!("{}: {words}\n", job.id));
        }
    }
    if args.json {
        output::print_json(&told)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Has the daemon read its configuration again.
pub fn reload(root: &Path, args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    let told = super::daemon::runtime()?.block_on(async {
        match Client::connect(&socket_path(&config.state)).await?.reload().await {
            Ok(()) => Ok(None),
            Err(ClientError::Refused(errors)) => Ok(Some(errors)),
            Err(error) => Err(error),
        }
    })?;
    if args.json {
        output::print_json(&serde_json::json!({ "ok": told.is_none(), "errors": told }))?;
    } else {
        match &told {
            None => output::print("the daemon has read the configuration again\n"),
            Some(errors) => output::complain(&anyhow::anyhow!("{errors}")),
        }
    }
    Ok(if told.is_none() { ExitCode::SUCCESS } else { ExitCode::from(super::USAGE) })
}
