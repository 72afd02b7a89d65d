//! `logkeeper import crontab`

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{Told, print, share_like};
use crate::cli::{self, next, output};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::crontab::{self, Crontab, Imported, Layout, Written};
use crate::model::{Job, Problem};

/// How many fires of both are compared.
const COMPARED: usize = 1000;

#[derive(clap::Args)]
pub struct Args {
    /// Crontabs, anacrontabs, run-parts folders such as /etc/cron.daily, or - for standard input
    #[arg(required_unless_present_any = ["system", "user"])]
    files: Vec<PathBuf>,
    /// This machine's: /etc/crontab and what lies in /etc/cron.d
    #[arg(long)]
    system: bool,
    /// The crontab of an account
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The files have a column for the account, as /etc/crontab has; found out by itself for files below /etc
    #[arg(long)]
    with_accounts: bool,
    /// Write nothing; compare the next 1,000 fires of crontabs and imported jobs
    #[arg(long)]
    check: bool,
    /// Overwrite job files that are there already
    #[arg(long)]
    force: bool,
    /// Where crontab and cron.d lie
    #[arg(long, value_name = "DIR", default_value = "/etc")]
    etc: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A crontab and the jobs it becomes.
struct Source {
    path: PathBuf,
    crontab: Crontab,
    jobs: Vec<Written>,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let root = cli::absolute(root);
    let config = Config::load(&root)?;
    let sources = read_sources(args, &config)?;
    let mut told = if args.check { compare(&sources, &config) } else { write(&sources, &root, args)? };
    let place_of = |file: &Path| sources.iter().position(|source| source.path == file);
    told.sort_by_key(|told| (place_of(&told.file), told.line));
    let all_well = told.iter().all(|told| told.state == "same" || told.state == "written");
    if args.json {
        output::print_json(&told)?;
    } else {
        print(&told);
        if !args.check {
            output::print(
                "\nNow: logkeeper check; logkeeper import crontab --check with the same files; then stop cron.\n",
            );
            if sources.iter().flat_map(|source| &source.jobs).any(|written| written.entry.user.is_some()) {
                output::print(
                    "Jobs of several accounts need a daemon that runs as root: the unit logkeeper-root.service.\n",
                );
            }
        }
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::from(cli::FAILED) })
}

fn read_sources(args: &Args, config: &Config) -> anyhow::Result<Vec<Source>> {
    let mut paths = args.files.clone();
    if args.system {
        paths.extend([args.etc.join("crontab")].into_iter().filter(|path| path.exists()));
        paths.extend(crontab::cron_d_files(&args.etc.join("cron.d")));
    }
    let spool = |name: &String| Path::new("/var/spool/cron/crontabs").join(name);
    paths.extend(args.user.as_ref().map(spool));
    let mut taken = std::collections::BTreeSet::new();
    let mail_to = config.recipients.contains_key("admins").then_some("admins");
    let zone = crate::config::system_zone();
    let read = |path: PathBuf| {
        let path = if path == Path::new("-") { path } else { cli::absolute(&path) };
        let crontab = read_one(&path, args)?;
        let owner = args.user.clone().unwrap_or_else(|| owner_of(&path));
        let home = |user: &str| {
            let home = account(user).map(|user| user.dir).filter(|home| home.is_dir());
            home.map(|home| home.to_string_lossy().into_owned())
        };
        let jobs = crontab::job_files(&crontab, &path, zone.name(), &owner, mail_to, home, &mut taken);
        Ok(Source { path, crontab, jobs })
    };
    paths.into_iter().map(read).collect()
}

/// As whom cron runs a crontab without a column for the account: whoever owns it.
fn owner_of(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let me = nix::unistd::geteuid().as_raw();
    let uid = std::fs::metadata(path).map_or(me, |meta| meta.uid());
    account(&uid.to_string()).map_or_else(|| uid.to_string(), |user| user.name)
}

fn read_one(path: &Path, args: &Args) -> anyhow::Result<Crontab> {
    let unreadable = |error: std::io::Error| {
        let help = "name a file that can be read, or - for standard input";
        Problem::new(format!("can't read {}: {error}", path.display()), "", help)
    };
    if path.is_dir() {
        return crontab::run_parts(path).ok_or_else(|| {
            let help = "folders are cron.hourly, cron.daily, cron.weekly and cron.monthly; name other files one by one";
            Problem::new(format!("{} is no run-parts folder", path.display()), "", help).into()
        });
    }
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        bytes = std::fs::read(path).map_err(unreadable)?;
    }
    let text = String::from_utf8_lossy(&bytes);
    let below_etc = path.parent() == Some(&args.etc.join("cron.d")) || *path == args.etc.join("crontab");
    let layout = match path.file_name() {
        Some(name) if name == crontab::ANACRONTAB => Layout::Anacron,
        _ if args.with_accounts || below_etc || path.starts_with("/etc/cron.d") => Layout::System,
        _ => Layout::User,
    };
    Ok(crontab::read(&text, layout))
}

fn write(sources: &[Source], root: &Path, args: &Args) -> anyhow::Result<Vec<Told>> {
    let mut imported = Imported::load(root);
    if args.system {
        imported.etc = cli::absolute(&args.etc);
        imported.cron_d = Some(crontab::cron_d_files(&imported.etc.join("cron.d")));
    }
    let mut told = Vec::new();
    for source in sources {
        let mut lines = Vec::new();
        for written in &source.jobs {
            let path = root.join("jobs").join(format!("{}.toml", written.id));
            let detail = meaning(written);
            let (state, detail) = match detail {
                Err(reason) => ("refused", reason),
                Ok(_) if path.exists() && !args.force => {
                    lines.push(written.entry.text.clone());
                    ("exists", "kept as it is; --force overwrites it".to_owned())
                }
                Ok(words) => {
                    crate::fs::replace(&path, written.text.as_bytes())?;
                    share_like(&path, &source.path)?;
                    lines.push(written.entry.text.clone());
                    ("written", words)
                }
            };
            told.push(line_told(source, written, state, detail));
        }
        told.extend(refused(source));
        if source.path.is_absolute() {
            imported.lines.insert(source.path.clone(), lines);
        }
    }
    imported.save(root)?;
    Ok(told)
}

/// What a job's schedule means, or why it can't be carried over: a file that is wrong would break the whole configuration.
fn meaning(written: &Written) -> Result<String, String> {
    if let Some(zone) = &written.entry.zone {
        crate::config::zone(zone).map_err(|problem| format!("CRON_TZ: {problem}; {}", problem.help))?;
    }
    for recipient in crontab::recipients(&written.entry, None) {
        crate::config::address(&recipient).map_err(|problem| format!("MAILTO: {problem}; {}", problem.help))?;
    }
    let expression: crate::model::Expression =
        written.entry.schedule.parse().map_err(|problem: Problem| format!("{problem}; {}", problem.help))?;
    let leaves = ["nohup ", "setsid ", "screen -d", "tmux new", "start-stop-daemon"];
    let command = &written.entry.command;
    let stays = expression.is_at_boot()
        || command.trim_end().ends_with('&')
        || leaves.iter().any(|word| command.contains(word));
    let note = if stays { "; look at it: what it leaves running is ended with the run" } else { "" };
    Ok(format!("{}{note}", expression.explain()))
}

/// Compares when cron and when the imported jobs run.
fn compare(sources: &[Source], config: &Config) -> Vec<Told> {
    let now = SystemClock.now();
    let mut told = Vec::new();
    for source in sources {
        for written in &source.jobs {
            let (state, detail) = match config.jobs.get(&written.id) {
                None => ("missing", "this line was not imported".to_owned()),
                Some(job) => difference(written, job, now),
            };
            told.push(line_told(source, written, state, detail));
        }
        told.extend(refused(source));
    }
    told
}

fn difference(written: &Written, job: &Arc<Job>, now: DateTime<Utc>) -> (&'static str, String) {
    let zone = written.entry.zone.as_deref().and_then(|zone| zone.parse::<Tz>().ok());
    let zone = zone.unwrap_or_else(crate::config::system_zone);
    let Some(schedule) = job.schedule.as_ref().filter(|_| job.enabled) else {
        return ("differs", "the job follows no schedule".to_owned());
    };
    let Some(cron) = crontab::fires(&written.entry.schedule, zone, now, COMPARED) else {
        let same = schedule.expression.as_str() == written.entry.schedule;
        return (if same { "same" } else { "differs" }, schedule.explain());
    };
    let ours: Vec<_> = next::following(schedule, now, cron.len()).collect();
    match cron.iter().zip(&ours).find(|(cron, ours)| cron != ours) {
        None if cron.len() == ours.len() => ("same", format!("the next {} fires; {}", cron.len(), schedule.explain())),
        None => ("differs", format!("cron has {} fires, the job {}", cron.len(), ours.len())),
        Some((cron, ours)) => {
            let stamp = |at: &DateTime<Utc>| output::stamp(*at, zone);
            ("differs", format!("cron runs at {}, the job at {}", stamp(cron), stamp(ours)))
        }
    }
}

fn line_told(source: &Source, written: &Written, state: &'static str, detail: String) -> Told {
    Told { file: source.path.clone(), line: written.entry.line, job: Some(written.id.to_string()), state, detail }
}

fn refused(source: &Source) -> impl Iterator<Item = Told> {
    source.crontab.refused.iter().map(|(line, text, reason)| Told {
        file: source.path.clone(),
        line: *line,
        job: None,
        state: "refused",
        detail: format!("{reason}: {text}"),
    })
}

/// An account by its name or number.
fn account(name: &str) -> Option<nix::unistd::User> {
    match name.parse() {
        Ok(number) => nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(number)).ok().flatten(),
        Err(_) => nix::unistd::User::from_name(name).ok().flatten(),
    }
}
