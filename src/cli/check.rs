//! `logkeeper check`

use std::path::Path;
use std::process::ExitCode;

use super::{jobs, next, output};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::model::{Job, Work};

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
    let upcoming = |job: &Job| {
        let schedule = job.schedule.as_ref().filter(|_| job.enabled);
        schedule.map_or_else(Vec::new, |schedule| next::following(schedule, now, SHOWN).collect())
    };
    let warnings: Vec<String> = config.jobs.values().flat_map(|job| warnings(job)).collect();
    if args.json {
        let jobs = config.jobs.values().map(|job| {
            let zone = job.schedule.as_ref().map_or(config.zone, |schedule| schedule.zone);
            let next: Vec<String> = upcoming(job).into_iter().map(|at| at.with_timezone(&zone).to_rfc3339()).collect();
            serde_json::json!({ "job": job.id, "kind": job.work.kind(), "means": jobs::when(job), "next": next })
        });
        let jobs: Vec<_> = jobs.collect();
        output::print_json(&serde_json::json!({ "ok": true, "jobs": jobs, "warnings": warnings }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (jobs, rules, sources) = (config.jobs.len(), config.rules.len(), config.sources.len());
    output::print(&format!(
        "{} is in order: {jobs} jobs, {rules} rules, {sources} sources.\n\n",
        config.root.display()
    ));
    for job in config.jobs.values() {
        let expression = job.schedule.as_ref().map_or_else(String::new, |s| format!(", \"{}\"", s.expression));
        output::print(&format!("{} ({}{expression}): {}\n", job.id, job.work.kind(), jobs::when(job)));
        for at in upcoming(job) {
            let zone = job.schedule.as_ref().map_or(config.zone, |schedule| schedule.zone);
            output::print(&format!("    {}\n", output::stamp(at, zone)));
        }
    }
    for warning in warnings {
        output::print(&format!("\nwarning: {warning}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What a job needs and does not have: it would run into this only at night.
fn warnings(job: &Job) -> Vec<String> {
    let root = rustix::process::geteuid().is_root();
    let (id, mut found) = (&job.id, Vec::new());
    let root_needed = |what: &str| {
        format!("{id}: {what} needs root, and this check does not run as root; the unit logkeeper-root.service does")
    };
    match &job.work {
        Work::Command(command) => {
            if let Some(user) = &command.user {
                match nix::unistd::User::from_name(user) {
                    Ok(Some(account)) if !root && account.uid != nix::unistd::geteuid() => {
                        found.push(root_needed(&format!("user = {user:?}")));
                    }
                    Ok(Some(_)) | Err(_) => {}
                    Ok(None) => found.push(format!("{id}: there is no account {user:?} on this machine")),
                }
            }
            if command.nice.is_some_and(|nice| nice < 0) && !root {
                found.push(root_needed("a negative nice"));
            }
            let program = Path::new(&command.argv[0]);
            if program.is_absolute() && !program.exists() {
                found.push(format!("{id}: there is no program {}", program.display()));
            }
        }
        Work::Archive(archive) if archive.remove_originals && !root => {
            found.push(root_needed("removing originals of other accounts"));
        }
        Work::Archive(_) | Work::Scan(_) | Work::Report(_) => {}
    }
    if let Some(schedule) = job.schedule.as_ref().filter(|schedule| !schedule.expression.is_at_boot())
        && next::following(schedule, SystemClock.now(), 1).next().is_none()
    {
        found.push(format!("{id}: \"{}\" lies in the past and never comes again", schedule.expression));
    }
    found
}
