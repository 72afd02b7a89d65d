//! `logkeeper check`

use std::path::Path;
use std::process::ExitCode;

use nix::unistd::Uid;

use super::{jobs, next, output};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::model::{Job, Severity, Work};

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
    let daemon = daemon_account(&config);
    let found = config.jobs.values().flat_map(|job| warnings(job, daemon).into_iter().chain(unmet(job, &config)));
    let found = found.chain(config.jobs.values().flat_map(|job| told_to_nobody(job, &config)));
    let found = found.chain(unreadable_secrets(&config, daemon));
    let warnings: Vec<String> = found.chain(rotated_twice(&config)).collect();
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
    let all = [(config.jobs.len(), "job"), (config.rules.len(), "rule"), (config.sources.len(), "source")];
    let all = all.map(|(n, what)| crate::jobs::counted(n, what)).join(", ");
    output::print(&format!("{} is in order: {all}.\n\n", config.root.display()));
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

/// Whether an account can read a file, as far as its owner and mode tell.
fn is_readable(path: &Path, account: Uid) -> bool {
    use std::os::unix::fs::MetadataExt;
    let readable = |meta: std::fs::Metadata| meta.uid() == account.as_raw() || meta.mode() & 0o044 != 0;
    account.is_root() || std::fs::metadata(path).is_ok_and(readable)
}

/// The secrets of channels that are out of the daemon's reach.
fn unreadable_secrets(config: &Config, daemon: Uid) -> Vec<String> {
    let files = config.channels.values().flat_map(|channel| channel.way.files());
    let unreadable = files.filter(|path| !is_readable(path, daemon));
    unreadable
        .map(|path| format!("{} can't be read by logkeeper's account; chown it to that account", path.display()))
        .collect()
}

/// What a job would tell, and nobody would hear: the groups it names are empty.
fn told_to_nobody(job: &Job, config: &Config) -> Vec<String> {
    let mail = &job.mail;
    let mut lists: Vec<(&str, &[String])> = vec![
        ("on_failure", &mail.on_failure),
        ("on_recovery", &mail.on_recovery),
        ("on_success", &mail.on_success),
        ("on_output", &mail.on_output),
        ("on_missed", &mail.on_missed),
        ("on_slow", &mail.on_slow),
    ];
    match &job.work {
        Work::Scan(scan) => lists.push(("alert", &scan.alert)),
        Work::Report(report) => lists.push(("to", &report.to)),
        _ => {}
    }
    let empty =
        |(_, names): &(&str, &[String])| !names.is_empty() && config.routes(names, Severity::Critical).is_empty();
    let warning = |(key, names): (&str, &[String])| {
        format!("{}: {key} tells nobody: [recipients] has no address or channel for {}", job.id, names.join(", "))
    };
    lists.into_iter().filter(empty).map(warning).collect()
}

/// Why a job that comes after others never can: they are never due at the same instant.
fn unmet(job: &Job, config: &Config) -> Option<String> {
    let before: Vec<_> = job.after.iter().filter_map(|id| config.jobs.get(id)).collect();
    if let Some(idle) = before.iter().find(|job| !job.enabled || (job.schedule.is_none() && job.after.is_empty())) {
        return Some(format!("{}: comes after {}, which follows no schedule", job.id, idle.id));
    }
    let slots: std::collections::BTreeSet<_> = before.iter().filter_map(|job| slots_of(job, config, 0)).collect();
    let names = job.after.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(" and ");
    (slots.len() > 1)
        .then(|| format!("{}: comes after {names}, which are due at different times: give them one schedule", job.id))
}

/// The schedule whose slots a job has, its own or that of the first job it comes after.
fn slots_of(job: &Job, config: &Config, depth: usize) -> Option<String> {
    match (&job.schedule, job.after.first()) {
        (Some(schedule), _) => Some(schedule.fingerprint()),
        // The configuration has no circles, but it costs nothing to be sure.
        (None, Some(first)) if depth < config.jobs.len() => slots_of(config.jobs.get(first)?, config, depth + 1),
        _ => None,
    }
}

/// Logs that two jobs rotate: each would do it again.
fn rotated_twice(config: &Config) -> Vec<String> {
    let mut known: std::collections::BTreeMap<std::path::PathBuf, &crate::model::JobId> = Default::default();
    let mut found = Vec::new();
    for job in config.jobs.values().filter(|job| job.enabled) {
        let Work::Rotate(rotate) = &job.work else { continue };
        let source = crate::model::Source { files: rotate.files.clone(), ..Default::default() };
        for stream in crate::logs::streams(&source).0 {
            if let Some(other) = known.insert(stream.path.clone(), &job.id) {
                found.push(format!("{} is rotated by two jobs, {other} and {}", stream.path.display(), job.id));
            }
        }
    }
    found
}

/// As whom the daemon runs: as the owner of its state folder; before its first start, as whoever checks.
fn daemon_account(config: &Config) -> Uid {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(&config.state).map_or_else(|_| nix::unistd::geteuid(), |meta| Uid::from_raw(meta.uid()))
}

/// What a job needs and does not have: it would run into this only at night.
fn warnings(job: &Job, daemon: Uid) -> Vec<String> {
    let root = daemon.is_root();
    let (id, mut found) = (&job.id, Vec::new());
    let root_needed = |what: &str| {
        format!(
            "{id}: {what} needs root, and logkeeper does not run as root here; the unit logkeeper-root.service does"
        )
    };
    match &job.work {
        Work::Command(command) => {
            if let Some(user) = &command.user {
                match nix::unistd::User::from_name(user) {
                    Ok(Some(account)) if !root && account.uid != daemon => {
                        found.push(root_needed(&format!("user = {user:?}")));
                    }
                    Ok(Some(_)) | Err(_) => {}
                    Ok(None) => found.push(format!("{id}: there is no account {user:?} on this machine")),
                }
            }
            if command.nice.is_some_and(|nice| nice < 0) && !root {
                found.push(root_needed("a negative nice"));
            }
            let files = command.secrets.values().chain(&command.env_file);
            found.extend(files.filter(|path| !is_readable(path, daemon)).map(|path| {
                format!("{id}: {} can't be read by logkeeper's account; chown it to that account", path.display())
            }));
            let program = Path::new(&command.argv[0]);
            if program.is_absolute() && !program.exists() {
                found.push(format!("{id}: there is no program {}", program.display()));
            }
        }
        Work::Archive(archive) if archive.remove_originals && !root => {
            found.push(root_needed("removing originals of other accounts"));
        }
        Work::Rotate(rotate) if !root && !rotate.files.is_empty() => {
            found.push(root_needed("rotating logs of other accounts"));
        }
        Work::Rotate(_) | Work::Archive(_) | Work::Verify(_) | Work::Scan(_) | Work::Report(_) => {}
    }
    if let Some(schedule) = job.schedule.as_ref().filter(|schedule| !schedule.expression.is_at_boot())
        && next::following(schedule, SystemClock.now(), 1).next().is_none()
    {
        found.push(format!("{id}: \"{}\" lies in the past and never comes again", schedule.expression));
    }
    found
}
