//! `logkeeper demo`: the whole job in one go, without root, network or configuration.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{output, run_now};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, SHIPPED};
use crate::jobs::{ReportRequest, compose_report};
use crate::model::channel::MAIL;
use crate::model::{Audience, Outcome, Problem, ReportKind, Way};
use crate::runner::{App, Lock};
use crate::store::{FindingFilter, Store};
use crate::{demo, report};

/// Marks a folder as a demo's, which the next demo may replace.
const MARKER: &str = "made-by-logkeeper-demo";

/// How many findings are shown.
const SHOWN: usize = 8;

#[derive(clap::Args)]
pub struct Args {
    /// The folder to write into; replaced if it holds an earlier demo
    #[arg(default_value = "logkeeper-demo")]
    dir: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    super::daemon::log_to_stderr("error");
    let dir = prepared(&args.dir)?;
    let clock = SystemClock;
    write_configuration(&dir)?;
    let config = Config::load(&dir)?;
    let logs = dir.join("var/log");
    let written = demo::write_logs(&logs, clock.now(), config.zone)?;
    output::print(&format!(
        "Four weeks of logs: {} lines in {} files below {}\n\n",
        written.lines,
        written.files,
        logs.display()
    ));
    let _lock = Lock::take(&config.state, "logkeeper demo")?;
    let store = Store::open(&config.state)?;
    let (app, _) = App::new(config, store, Arc::new(clock));
    let runtime = super::daemon::runtime()?;
    let mut all_well = true;
    for id in ["archive-logs", "verify-archives", "failed-logins", "error-spikes", "failed-logins", "weekly-summary"] {
        let job = super::job_named(&app.config(), id)?.clone();
        let run = runtime.block_on(run_now::run_here(&app, &job, None, false, None))?;
        all_well &= run.outcome == Some(Outcome::Succeeded);
        output::print(&super::show::told(&run, true));
        if id == "error-spikes" {
            demo::append_attack(&logs, app.clock.now(), app.config().zone)?;
            output::print("\nSomebody begins to guess passwords right now; the next scan of failed-logins alerts:\n\n");
        }
    }
    show_findings(&app)?;
    show_results(&app, &dir)?;
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) })
}

/// An empty folder to work in.
fn prepared(dir: &Path) -> anyhow::Result<PathBuf> {
    let dir = super::absolute(dir);
    let shown = dir.display();
    if dir.to_string_lossy().contains(['*', '?', '[', ']', '{', '}', '"', '\\', '\n']) {
        return Err(Problem::new(
            format!("{shown} has a character that file patterns use"),
            "",
            "choose another folder: logkeeper demo DIR",
        )
        .into());
    }
    if dir.join(MARKER).exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let occupied = std::fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        return Err(
            Problem::new(format!("{shown} is not empty"), "", "choose another folder: logkeeper demo DIR").into()
        );
    }
    std::fs::create_dir_all(&dir).map_err(|error| anyhow::anyhow!("can't create {shown}: {error}"))?;
    std::fs::write(dir.join(MARKER), "logkeeper demo replaces this folder\n")?;
    Ok(dir)
}

/// The shipped files, pointed at the demo's folder.
fn write_configuration(dir: &Path) -> anyhow::Result<()> {
    let here = dir.to_string_lossy();
    for (path, text) in SHIPPED {
        let text = text
            .replace("/var/log/", &format!("{here}/var/log/"))
            .replace("# record = \"/var/lib/logkeeper/", "record = \"/var/lib/logkeeper/")
            .replace("/var/lib/logkeeper", &format!("{here}/state"))
            .replace("# host = \"web1\"", "host = \"web1\"")
            .replace("# from = \"logkeeper@web1.example.org\"", "from = \"logkeeper@web1.example.org\"")
            .replace("admins = [\"root@localhost\"]", "admins = [\"admin@example.org\"]")
            .replace("management = [\"root@localhost\"]", "management = [\"management@example.org\"]");
        let target = dir.join(path);
        target.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(target, text)?;
    }
    Ok(())
}

fn show_findings(app: &App) -> anyhow::Result<()> {
    let mut found = app.store.findings(&FindingFilter::default())?;
    found.sort_by_key(|f| (std::cmp::Reverse((f.finding.severity, f.finding.count)), f.id));
    output::print(&format!("\nFound, of {} in all:\n", found.len()));
    let now = SystemClock.now().with_timezone(&app.config().zone);
    for finding in found.iter().take(SHOWN) {
        let words = crate::model::untrusted::printable(report::finding_sentence(finding, &now).as_bytes());
        output::print(&format!("  {:<8} {words}\n", finding.finding.severity.to_string()));
    }
    Ok(())
}

fn show_results(app: &App, dir: &Path) -> anyhow::Result<()> {
    let config = app.config();
    let page = dir.join("weekly-summary.html");
    let (zone, made) = (config.zone, app.clock.now());
    let request = ReportRequest { kind: ReportKind::Weekly, audience: Audience::Management, zone, made };
    let figures = compose_report(&request, &config, &app.store)?;
    std::fs::write(&page, report::page(&figures))?;
    output::print("\nMails:\n");
    for delivery in app.store.deliveries(None, 20)?.into_iter().rev() {
        output::print(&format!(
            "  {:<5} {:<24} {}\n",
            delivery.state.to_string(),
            delivery.recipient,
            delivery.subject
        ));
    }
    if let Some(Way::Folder(folder)) = config.channels.get(MAIL).map(|channel| &channel.way) {
        output::print(&format!("  as .eml files in {}\n", folder.path.display()));
    }
    output::print(&format!("\nThe weekly summary, to open in a browser: {}\n", page.display()));
    output::print(&format!("The archives: {}\n", config.state.join("archives").display()));
    output::print(&format!("The record, for less: {}\n", config.state.join("record.txt").display()));
    let program = std::env::args().next().unwrap_or_else(|| "logkeeper".to_owned());
    output::print(&format!(
        "\nGo on with: {program} --config {} history    (or jobs, findings, show 2, run-now failed-logins)\n",
        dir.display()
    ));
    Ok(())
}
