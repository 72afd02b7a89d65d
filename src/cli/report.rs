//! `logkeeper report weekly`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{Days, NaiveDate};

use super::output;
use crate::clock::{Clock, SystemClock};
use crate::jobs::{compose_report, midnight};
use crate::model::ReportKind;
use crate::report;

#[derive(clap::Args)]
pub struct Args {
    /// Which report: weekly
    #[arg(value_parser = |text: &str| text.parse::<ReportKind>())]
    kind: ReportKind,
    /// Write the page to this file instead of printing the text
    #[arg(long, value_name = "FILE.html")]
    preview: Option<PathBuf>,
    /// The last day it covers, as 2026-11-19; default: yesterday
    #[arg(long, value_name = "DATE")]
    ending: Option<NaiveDate>,
    /// Print its figures as JSON
    #[arg(long, conflicts_with = "preview")]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (config, store) = super::open(root)?;
    let now = SystemClock.now();
    let made = args.ending.map_or(now, |to| midnight(to + Days::new(1), config.zone));
    let figures = compose_report(args.kind, made, &config, &store)?;
    let (from, to) = (figures.from, figures.to);
    match &args.preview {
        Some(path) => {
            std::fs::write(path, report::page(&figures))
                .map_err(|error| anyhow::anyhow!("can't write {}: {error}", path.display()))?;
            output::print(&format!("{} shows the {} report on {from} to {to}\n", path.display(), args.kind.name()));
        }
        None if args.json => output::print_json(&figures)?,
        None => output::print(&report::mail(&figures, now).text),
    }
    Ok(ExitCode::SUCCESS)
}
