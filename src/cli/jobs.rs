//! `logkeeper jobs`

use std::path::Path;
use std::process::ExitCode;

use super::output;
use crate::clock::{Clock, SystemClock};
use crate::model::{Job, Work};
use crate::schedule::next_after;

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How wide a window has to be for descriptions to stand beside all else.
const WITH_DESCRIPTIONS: u16 = 110;

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (config, store) = super::open(root)?;
    let now = SystemClock.now();
    let paused = store.paused()?;
    let is_wide = output::window().is_none_or(|columns| columns >= WITH_DESCRIPTIONS);
    let (mut rows, mut json) = (Vec::new(), Vec::new());
    for job in config.jobs.values() {
        let paused_since = paused.get(job.id.as_str());
        let followed = job.enabled && paused_since.is_none();
        let next = job.schedule.as_ref().filter(|_| followed).and_then(|schedule| next_after(schedule, now));
        let last = store.last_run(job.id.as_str())?;
        let started = last.as_ref().and_then(|run| run.started);
        let state = last.as_ref().map_or("-", |run| run.state());
        json.push(serde_json::json!({
            "job": job.id, "kind": job.work.kind(), "description": job.description, "enabled": job.enabled,
            "paused": paused_since, "after": job.after, "means": when(job),
            "schedule": job.schedule.as_ref().map(|schedule| schedule.expression.as_str()),
            "zone": job.schedule.as_ref().map(|schedule| schedule.zone.name()),
            "next": next, "last": last,
        }));
        let none_next = match (job.enabled, paused_since) {
            (false, _) => "disabled",
            (_, Some(_)) => "paused",
            _ => "-",
        };
        rows.push(vec![
            next.map_or(none_next.to_owned(), |at| output::short_stamp(at, config.zone)),
            next.map_or("-".to_owned(), |at| output::duration(at - now)),
            started.map_or("-".to_owned(), |at| output::short_stamp(at, config.zone)),
            started.map_or("-".to_owned(), |at| output::duration(now - at)),
            state.to_owned(),
            job.id.to_string(),
            job.work.kind().to_owned(),
            if is_wide { job.description.clone() } else { String::new() },
        ]);
    }
    if args.json {
        output::print_json(&json)?;
    } else {
        output::print_times(config.zone);
        let description = if is_wide { "DESCRIPTION" } else { "" };
        output::print_table(&["NEXT", "LEFT", "LAST", "PASSED", "OUTCOME", "JOB", "KIND", description], rows);
    }
    Ok(ExitCode::SUCCESS)
}

/// When a job runs, in plain English.
pub fn when(job: &Job) -> String {
    let after = || job.after.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(" and ");
    let follows = matches!(&job.work, Work::Scan(scan) if scan.follow);
    match &job.schedule {
        _ if !job.enabled => "disabled".to_owned(),
        Some(schedule) => schedule.explain(),
        None if !job.after.is_empty() => {
            format!("after {}{}", after(), if follows { ", and whenever its logs grow" } else { "" })
        }
        None if follows => "whenever its logs grow".to_owned(),
        None => "only by hand".to_owned(),
    }
}
