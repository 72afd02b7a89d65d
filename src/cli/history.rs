//! `logkeeper history`

use std::path::Path;
use std::process::ExitCode;

use super::output;
use crate::store::RunFilter;

#[derive(clap::Args)]
pub struct Args {
    /// Only this job
    job: Option<String>,
    /// How many runs to show
    #[arg(short = 'n', long, default_value_t = 20)]
    count: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (config, store) = super::open(root)?;
    let runs = store.runs(&RunFilter { job: args.job.clone(), since: None, limit: Some(args.count) })?;
    if args.json {
        output::print_json(&runs)?;
        return Ok(ExitCode::SUCCESS);
    }
    let stamp = |at| output::short_stamp(at, config.zone);
    let rows = runs.into_iter().map(|run| {
        let took = run.started.zip(run.finished).map(|(start, end)| output::duration(end - start));
        vec![
            run.id.to_string(),
            run.slot.map_or("-".to_owned(), stamp),
            stamp(run.started.unwrap_or(run.requested)),
            took.unwrap_or_else(|| "-".to_owned()),
            run.trigger.to_string(),
            run.state().to_owned(),
            run.job,
            run.summary,
        ]
    });
    output::print_times(config.zone);
    output::print_table(&["RUN", "SLOT", "STARTED", "TOOK", "TRIGGER", "OUTCOME", "JOB", "SUMMARY"], rows.collect());
    Ok(ExitCode::SUCCESS)
}
