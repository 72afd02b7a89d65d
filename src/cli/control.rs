//! `logkeeper stop`, `pause`, `resume`, `reload`: what changes a running logkeeper.

use std::path::Path;
use std::process::ExitCode;

use super::output;
use crate::api::{Client, ClientError, socket_path};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::model::RunId;
use crate::store::Store;

#[derive(clap::Args)]
pub struct StopArgs {
    /// The run's number, as history and status list it
    run: RunId,
}

#[derive(clap::Args)]
pub struct JobArgs {
    /// The jobs' ids
    #[arg(required = true)]
    jobs: Vec<String>,
}

#[derive(clap::Args)]
pub struct ReloadArgs {}

/// Has the daemon end a run.
pub fn stop(root: &Path, args: &StopArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    super::daemon::runtime()?.block_on(async {
        let mut client = Client::connect(&socket_path(&config.state)).await?;
        client.stop(args.run).await?;
        let run = client.end(args.run).await?;
        output::print(&format!("{}: run {} {}\n", run.job, run.id, run.state()));
        Ok(ExitCode::SUCCESS)
    })
}

/// Stops following the schedules of jobs.
pub fn pause(root: &Path, args: &JobArgs) -> anyhow::Result<ExitCode> {
    for_each_job(root, args, |store, job| {
        let paused = store.pause(job, SystemClock.now())?;
        Ok(if paused { "paused; its slots are skipped until \"logkeeper resume\"" } else { "was paused already" })
    })
}

/// Follows the schedules of paused jobs again.
pub fn resume(root: &Path, args: &JobArgs) -> anyhow::Result<ExitCode> {
    for_each_job(root, args, |store, job| {
        Ok(if store.resume(job)? { "follows its schedule again" } else { "was not paused" })
    })
}

/// The daemon looks at every slot whether its job is paused, so the database is all there is to change.
fn for_each_job(
    root: &Path,
    args: &JobArgs,
    change: impl Fn(&Store, &crate::model::JobId) -> anyhow::Result<&'static str>,
) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    let jobs = args.jobs.iter().map(|id| super::job_named(&config, id)).collect::<Result<Vec<_>, _>>()?;
    let store = Store::open(&config.state)?;
    for job in jobs {
        output::print(&format!("{}: {}\n", job.id, change(&store, &job.id)?));
    }
    Ok(ExitCode::SUCCESS)
}

/// Has the daemon read its configuration again.
pub fn reload(root: &Path, _: &ReloadArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    super::daemon::runtime()?.block_on(async {
        match Client::connect(&socket_path(&config.state)).await?.reload().await {
            Ok(()) => output::print("the daemon has read the configuration again\n"),
            Err(ClientError::Refused(errors)) => {
                eprintln!("error: {errors}");
                return Ok(ExitCode::from(super::USAGE));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(ExitCode::SUCCESS)
    })
}
