//! `logkeeper next`

use std::path::Path;
use std::process::ExitCode;

use super::output;
use crate::clock::{Clock, SystemClock};
use crate::schedule::next_after;

#[derive(clap::Args)]
pub struct Args {
    /// Only this job
    job: Option<String>,
    /// How many instants to show
    #[arg(short = 'n', long, default_value_t = 10)]
    count: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (config, _) = super::open(root)?;
    if let Some(id) = &args.job {
        super::job_named(&config, id)?;
    }
    let now = SystemClock.now();
    let wanted = |id: &str| args.job.as_ref().is_none_or(|job| job == id);
    let mut slots = Vec::new();
    for job in config.jobs.values().filter(|job| job.enabled && wanted(job.id.as_str())) {
        let Some(schedule) = &job.schedule else { continue };
        let following = std::iter::successors(next_after(schedule, now), |at| next_after(schedule, *at));
        slots.extend(following.take(args.count).map(|at| (at, job.id.to_string(), schedule.zone)));
    }
    slots.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    slots.truncate(args.count);
    if args.json {
        let next = slots
            .iter()
            .map(|(at, job, zone)| serde_json::json!({ "job": job, "at": at.with_timezone(zone).to_rfc3339() }));
        output::print_json(&next.collect::<Vec<_>>())?;
    } else {
        let rows =
            slots.into_iter().map(|(at, job, zone)| vec![output::stamp(at, zone), output::duration(at - now), job]);
        output::print_table(&["NEXT", "LEFT", "JOB"], rows.collect());
    }
    Ok(ExitCode::SUCCESS)
}
