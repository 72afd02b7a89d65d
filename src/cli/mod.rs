//! The command line: one file per subcommand.

mod allow;
mod archive;
mod check;
mod completions;
mod control;
mod daemon;
mod demo;
mod findings;
mod history;
mod import;
mod jobs;
mod next;
mod outbox;
mod output;
mod progress;
mod report;
mod rules;
mod run_now;
mod saver;
mod scan;
mod send;
mod show;
mod stats;
mod status;
mod test_mail;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::api::ClientError;
use crate::config::{Config, ConfigErrors, DEFAULT_ROOT};
use crate::model::{Job, Problem};
use crate::runner::LockError;
use crate::store::Store;

/// A job failed.
const FAILED: u8 = 1;

/// Wrong usage or configuration.
const USAGE: u8 = 2;

/// No daemon runs.
const DAEMON_DOWN: u8 = 69;

/// logkeeper is already running.
const ALREADY_RUNNING: u8 = 75;

/// Runs jobs on cron expressions, archives and scans logs, alerts, and mails a weekly summary.
#[derive(Parser)]
#[command(name = "logkeeper", version, disable_help_subcommand = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 all well, 1 a job failed, 2 wrong usage or configuration, 69 no daemon runs, 75 already running."
)]
struct Cli {
    /// The folder that holds config/ and jobs/
    #[arg(long, global = true, value_name = "DIR", env = "LOGKEEPER_CONFIG", default_value = DEFAULT_ROOT)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the configuration and show the next three runs of each job
    Check(check::Args),
    /// Run due jobs until told to end (SIGTERM); SIGHUP reads the configuration again
    Daemon(daemon::Args),
    /// Tell whether all is well, and what is wrong if not
    Status(status::Args),
    /// Start jobs now and wait for their end
    RunNow(run_now::Args),
    /// End a run that goes on, or take one that waits off the list
    Stop(control::StopArgs),
    /// Skip the slots of jobs until they are resumed
    Pause(control::JobArgs),
    /// Follow the schedules of paused jobs again
    Resume(control::JobArgs),
    /// Have the daemon read the configuration again
    Reload(control::ReloadArgs),
    /// List the jobs with their next and last runs
    Jobs(jobs::Args),
    /// Show when jobs are due next
    Next(next::Args),
    /// List past runs, newest first
    History(history::Args),
    /// Show one run with its notes and output
    Show(show::Args),
    /// List what scans found, latest first
    Findings(findings::Args),
    /// Show what scans counted: answers, addresses, accounts, paths, by hour and day
    Stats(stats::Args),
    /// List, explain and try out the rules
    Rules(rules::Args),
    /// Have every rule of scan jobs let an address, a network or an account alone for a while
    Allow(allow::Args),
    /// Pack, list, verify, search, restore and remove archives
    Archive(archive::Args),
    /// Scan log files here and now, without any configuration
    Scan(scan::Args),
    /// Show a report, write it as a page, or send it
    Report(report::Args),
    /// List messages and whether they arrived; try again what did not
    Outbox(outbox::Args),
    /// Send a test mail the way alerts and reports go
    TestMail(test_mail::Args),
    /// Make four weeks of logs, run the shipped jobs on them and show what comes out
    Demo(demo::Args),
    /// Take over what cron or logrotate does
    Import(import::Args),
    /// Print completions for a shell
    Completions(completions::Args),
    /// Run one command under supervision (used by the daemon)
    #[command(hide = true)]
    Supervise,
    /// Become a command with its account and limits (used by the supervisor)
    #[command(hide = true)]
    Enter,
}

/// Parses the command line, does what it says, and returns the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => match output::failure() {
            None => code,
            Some(error) => {
                output::complain(&anyhow::anyhow!("not all could be printed: {error}"));
                ExitCode::from(FAILED)
            }
        },
        Err(error) => {
            output::complain(&error);
            ExitCode::from(code_of(&error))
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let root = cli.config;
    match cli.command {
        Command::Check(args) => check::run(&root, &args),
        Command::Daemon(args) => daemon::run(&root, &args),
        Command::Status(args) => status::run(&root, &args),
        Command::RunNow(args) => run_now::run(&root, &args),
        Command::Stop(args) => control::stop(&root, &args),
        Command::Pause(args) => control::pause(&root, &args),
        Command::Resume(args) => control::resume(&root, &args),
        Command::Reload(args) => control::reload(&root, &args),
        Command::Jobs(args) => jobs::run(&root, &args),
        Command::Next(args) => next::run(&root, &args),
        Command::History(args) => history::run(&root, &args),
        Command::Show(args) => show::run(&root, &args),
        Command::Findings(args) => findings::run(&root, &args),
        Command::Rules(args) => rules::run(&root, &args),
        Command::Allow(args) => allow::run(&root, &args),
        Command::Archive(args) => archive::run(&root, &args),
        Command::Stats(args) => stats::run(&root, &args),
        Command::Scan(args) => scan::run(&root, &args),
        Command::Report(args) => report::run(&root, &args),
        Command::Outbox(args) => outbox::run(&root, &args),
        Command::TestMail(args) => test_mail::run(&root, &args),
        Command::Demo(args) => demo::run(&args),
        Command::Import(args) => import::run(&root, &args),
        Command::Completions(args) => Ok(completions::run(&args)),
        Command::Enter => Ok(crate::supervise::enter::main()?),
        Command::Supervise => Ok(crate::supervise::main().map(|()| ExitCode::SUCCESS)?),
    }
}

fn code_of(error: &anyhow::Error) -> u8 {
    let is_usage = error.is::<ConfigErrors>() || error.is::<Problem>();
    match (error.downcast_ref::<LockError>(), error.downcast_ref::<ClientError>()) {
        (Some(LockError::Held { .. }), _) => ALREADY_RUNNING,
        (_, Some(ClientError::NoDaemon)) => DAEMON_DOWN,
        _ if is_usage => USAGE,
        _ => FAILED,
    }
}

/// The configuration and, for reading, its store.
fn open(root: &std::path::Path) -> anyhow::Result<(Config, Store)> {
    let config = readable(root)?;
    let store = Store::open_for_reading(&config.state)?;
    Ok((config, store))
}

/// The configuration, for reading: a mistake in a rule or a job is told, and hides nothing else.
fn readable(root: &std::path::Path) -> anyhow::Result<Config> {
    let (config, errors) = Config::load_for_reading(&absolute(root))?;
    if let Some(errors) = errors {
        output::warn_of(&errors);
    }
    Ok(config)
}

/// The root as a full path, so that it stays right wherever jobs run.
fn absolute(root: &std::path::Path) -> PathBuf {
    std::path::absolute(root).unwrap_or_else(|_| root.to_owned())
}

/// The job of that id.
fn job_named<'a>(config: &'a Config, id: &str) -> Result<&'a Arc<Job>, Problem> {
    let known = || config.jobs.keys().map(crate::model::JobId::as_str);
    let job = config.jobs.values().find(|job| job.id.as_str() == id);
    job.ok_or_else(|| {
        let help = match crate::model::problem::nearest(id, known()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("jobs are: {}", known().collect::<Vec<_>>().join(", ")),
        };
        Problem::new(format!("there is no job {id:?} in {}/jobs", config.root.display()), "", help)
    })
}
