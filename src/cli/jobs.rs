//! `logkeeper jobs`

use std::path::Path;
use std::process::ExitCode;

use super::output;
use crate::clock::{Clock, SystemClock};
use crate::schedule::next_after;

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (config, store) = super::open(root)?;
    let now = SystemClock.now();
    let (mut rows, mut json) = (Vec::new(), Vec::new());
    for job in config.jobs.values() {
        let next = job.schedule.as_ref().filter(|_| job.enabled).and_then(|schedule| next_after(schedule, now));
        let last = store.last_run(job.id.as_str())?;
        let started = last.as_ref().and_then(|run| run.started);
        let state = last.as_ref().map_or("-", |run| run.state());
        json.push(serde_json::json!({
            "job": job.id, "kind": job.work.kind(), "description": job.description, "enabled": job.enabled,
            "schedule": job.schedule.as_ref().map(|schedule| schedule.expression.as_str()),
            "zone": job.schedule.as_ref().map(|schedule| schedule.zone.name()),
            "next": next, "last": last,
        }));
        rows.push(vec![
            next.map_or("-".to_owned(), |at| output::stamp(at, config.zone)),
            next.map_or("-".to_owned(), |at| output::duration(at - now)),
            started.map_or("-".to_owned(), |at| output::stamp(at, config.zone)),
            started.map_or("-".to_owned(), |at| output::duration(now - at)),
            state.to_owned(),
            job.id.to_string(),
            job.work.kind().to_owned(),
            job.description.clone(),
        ]);
    }
    if args.json {
        output::print_json(&json)?;
    } else {
        output::print_table(&["NEXT", "LEFT", "LAST", "PASSED", "OUTCOME", "JOB", "KIND", "DESCRIPTION"], rows);
    }
    Ok(ExitCode::SUCCESS)
}
