//! `logkeeper check`

use std::path::Path;
use std::process::ExitCode;

use super::output;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::schedule::next_after;

/// How many runs of each job are shown.
const SHOWN: usize = 3;

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    let now = SystemClock.now();
    let next = |job: &crate::model::Job| {
        let schedule = job.schedule.clone().filter(|_| job.enabled);
        let first = schedule.as_ref().and_then(|schedule| next_after(schedule, now));
        let following =
            std::iter::successors(first, |at| schedule.as_ref().and_then(|schedule| next_after(schedule, *at)));
        following.take(SHOWN).collect::<Vec<_>>()
    };
    if args.json {
        let jobs: Vec<_> = config
            .jobs
            .values()
            .map(|job| {
                let zone = job.schedule.as_ref().map_or(config.zone, |schedule| schedule.zone);
                let next: Vec<String> = next(job).into_iter().map(|at| at.with_timezone(&zone).to_rfc3339()).collect();
                serde_json::json!({ "job": job.id, "kind": job.work.kind(), "next": next })
            })
            .collect();
        output::print_json(&serde_json::json!({ "ok": true, "jobs": jobs }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (jobs, rules, sources) = (config.jobs.len(), config.rules.len(), config.sources.len());
    output::print(&format!(
        "{} is in order: {jobs} jobs, {rules} rules, {sources} sources.\n\n",
        config.root.display()
    ));
    for job in config.jobs.values() {
        let when = match (&job.schedule, job.enabled) {
            (_, false) => "disabled".to_owned(),
            (None, _) => "only by hand".to_owned(),
            (Some(schedule), _) => format!("\"{}\" {}", schedule.expression, schedule.zone.name()),
        };
        output::print(&format!("{} ({}, {when})\n", job.id, job.work.kind()));
        for at in next(job) {
            let zone = job.schedule.as_ref().map_or(config.zone, |schedule| schedule.zone);
            output::print(&format!("    {}\n", output::stamp(at, zone)));
        }
    }
    Ok(ExitCode::SUCCESS)
}
