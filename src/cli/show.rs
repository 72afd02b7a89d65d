//! `logkeeper show RUN`

use std::path::Path;
use std::process::ExitCode;

use chrono::TimeDelta;
use indicatif::HumanBytes;

use super::{output, run_now};
use crate::api::{Client, socket_path};
use crate::config::Config;
use crate::model::untrusted::printable;
use crate::model::{Problem, Progress, Run, RunId, Stream};

#[derive(clap::Args)]
pub struct Args {
    /// The run's number, as history lists it
    run: RunId,
    /// Show what the run prints while it goes on
    #[arg(short, long)]
    follow: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (config, store) = super::open(root)?;
    let mut run = store.run(args.run)?.ok_or_else(|| {
        Problem::new(format!("there is no run {}", args.run), "", "\"logkeeper history\" lists the runs")
    })?;
    let follow = args.follow && run.outcome.is_none();
    if follow {
        run = watch(&config, args.run)?;
    }
    let progress = run.outcome.is_none().then(|| progress_of(&config, run.id)).flatten();
    if args.json {
        let mut json = serde_json::to_value(&run)?;
        json["progress"] = serde_json::to_value(progress)?;
        output::print_json(&json)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::print(&told(&run, !follow));
    let stamp = |at| output::stamp(at, config.zone);
    let slot = run.slot.map_or("none".to_owned(), stamp);
    output::print(&format!("  kind {}, trigger {}, attempt {}, slot {slot}\n", run.kind, run.trigger, run.attempt));
    let times = [
        ("requested", Some(run.requested)),
        ("waits till", run.begin),
        ("started", run.started),
        ("finished", run.finished),
    ];
    for (what, at) in times {
        if let Some(at) = at {
            output::print(&format!("  {what:<10} {}\n", stamp(at)));
        }
    }
    if let Some(progress) = progress {
        let (percent, done, total) = (progress.percent(), HumanBytes(progress.done), HumanBytes(progress.total));
        output::print(&format!("  progress   {percent} %: {done} of {total}\n"));
    }
    if let Some((cpu, peak)) = run.cpu_ms.zip(run.peak_bytes) {
        let cpu = output::duration(TimeDelta::milliseconds(cpu));
        output::print(&format!("  processor time {cpu}, at most {} MiB of memory\n", (peak + (1 << 20) - 1) >> 20));
    }
    Ok(ExitCode::SUCCESS)
}

/// How far a run is; `None` where that isn't known.
fn progress_of(config: &Config, run: RunId) -> Option<Progress> {
    super::daemon::runtime().ok()?.block_on(async {
        let mut client = Client::connect(&socket_path(&config.state)).await.ok()?;
        client.glance(run, usize::MAX).await.ok()?.progress
    })
}

/// Shows what a run prints until it ends.
fn watch(config: &Config, run: RunId) -> anyhow::Result<Run> {
    super::daemon::runtime()?.block_on(async {
        let mut client = Client::connect(&socket_path(&config.state)).await?;
        run_now::watch(&mut client, config, run, true).await
    })
}

/// A run in words: how it ended, what it did and, if wanted, what it printed.
pub fn told(run: &Run, with_output: bool) -> String {
    let took = run.finished.zip(run.started).map_or(TimeDelta::zero(), |(end, start)| end - start);
    let mut text = format!("{}: {} after {} (run {})\n", run.job, run.state(), output::duration(took), run.id);
    if !run.summary.is_empty() {
        text.push_str(&format!("  {}\n", printable(run.summary.as_bytes())));
    }
    for note in &run.notes {
        text.push_str(&format!("  - {}\n", printable(note.as_bytes())));
    }
    for line in run.output.iter().filter(|_| with_output) {
        let mark = if line.stream == Stream::Err { '!' } else { '|' };
        text.push_str(&format!("  {mark} {}\n", printable(line.text.as_bytes())));
    }
    text
}
