//! `logkeeper show RUN`

use std::path::Path;
use std::process::ExitCode;

use super::{output, run_now};
use crate::model::{Problem, RunId};

#[derive(clap::Args)]
pub struct Args {
    /// The run's number, as history lists it
    run: RunId,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (config, store) = super::open(root)?;
    let run = store.run(args.run)?.ok_or_else(|| {
        Problem::new(format!("there is no run {}", args.run), "", "\"logkeeper history\" lists the runs")
    })?;
    if args.json {
        output::print_json(&run)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::print(&run_now::told(&run));
    let stamp = |at| output::stamp(at, config.zone);
    let slot = run.slot.map_or("none".to_owned(), stamp);
    output::print(&format!("  kind {}, trigger {}, slot {slot}\n", run.kind, run.trigger));
    for (what, at) in [("requested", Some(run.requested)), ("started", run.started), ("finished", run.finished)] {
        if let Some(at) = at {
            output::print(&format!("  {what:<9} {}\n", stamp(at)));
        }
    }
    Ok(ExitCode::SUCCESS)
}
