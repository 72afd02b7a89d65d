//! `logkeeper next`

use std::path::Path;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::output;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::model::{Expression, Problem, Schedule};
use crate::schedule::next_after;

#[derive(clap::Args)]
pub struct Args {
    /// Only this job
    job: Option<String>,
    /// Any cron expression instead of the jobs; needs no configuration
    #[arg(long, value_name = "EXPR", conflicts_with = "job")]
    cron: Option<String>,
    /// The time zone of the expression
    #[arg(long, value_name = "ZONE", requires = "cron", default_value = "UTC")]
    zone: String,
    /// Begin after this instant (RFC 3339) instead of now
    #[arg(long, value_name = "INSTANT")]
    from: Option<DateTime<Utc>>,
    /// How many instants to show
    #[arg(short = 'n', long, default_value_t = 10)]
    count: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let now = args.from.unwrap_or_else(|| SystemClock.now());
    match &args.cron {
        Some(cron) => of_expression(cron, now, args),
        None => of_jobs(root, now, args),
    }
}

fn of_expression(cron: &str, now: DateTime<Utc>, args: &Args) -> anyhow::Result<ExitCode> {
    let underlined = |problem: Problem| match problem.place.clone() {
        Some(place) => {
            let line = format!("{}\n{}{}", problem.message, " ".repeat(2 + place.start), "^".repeat(place.len()));
            let (message, mark) = line.split_once('\n').unwrap_or((&line, ""));
            Problem { message: format!("{message}\n  {cron}\n{mark} {}", problem.label), ..problem }
        }
        None => problem,
    };
    let expression: Expression = cron.parse().map_err(underlined)?;
    let zone: Tz = crate::config::zone(&args.zone)?;
    let schedule = Schedule { expression, zone };
    let instants: Vec<DateTime<Tz>> = following(&schedule, now, args.count).map(|at| at.with_timezone(&zone)).collect();
    if args.json {
        let next: Vec<String> = instants.iter().map(DateTime::to_rfc3339).collect();
        output::print_json(&serde_json::json!({ "means": schedule.explain(), "next": next }))?;
    } else {
        output::print(&format!("{}\n", schedule.explain()));
        instants.iter().for_each(|at| output::print(&format!("    {}\n", output::stamp(at.to_utc(), zone))));
    }
    Ok(ExitCode::SUCCESS)
}

fn of_jobs(root: &Path, now: DateTime<Utc>, args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    if let Some(id) = &args.job {
        super::job_named(&config, id)?;
    }
    let wanted = |id: &str| args.job.as_ref().is_none_or(|job| job == id);
    let mut slots = Vec::new();
    for job in config.jobs.values().filter(|job| job.enabled && wanted(job.id.as_str())) {
        let Some(schedule) = &job.schedule else { continue };
        slots.extend(following(schedule, now, args.count).map(|at| (at, job.id.to_string(), schedule)));
    }
    slots.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    slots.truncate(args.count);
    if args.json {
        let next = slots.iter().map(|(at, job, schedule)| {
            serde_json::json!({ "job": job, "at": at.with_timezone(&schedule.zone).to_rfc3339(), "means": schedule.explain() })
        });
        output::print_json(&next.collect::<Vec<_>>())?;
    } else {
        let rows = slots.into_iter().map(|(at, job, schedule)| {
            vec![output::stamp(at, schedule.zone), output::duration(at - now), job, schedule.explain()]
        });
        output::print_table(&["NEXT", "LEFT", "JOB", "SCHEDULE"], rows.collect());
    }
    Ok(ExitCode::SUCCESS)
}

/// The next `count` instants at which a schedule is due.
pub fn following(schedule: &Schedule, after: DateTime<Utc>, count: usize) -> impl Iterator<Item = DateTime<Utc>> {
    std::iter::successors(next_after(schedule, after), |at| next_after(schedule, *at)).take(count)
}
