//! `logkeeper archive prune`

use std::path::Path;
use std::process::ExitCode;

use crate::archive::Verdict;
use crate::cli::output;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::jobs::copies::Places;
use crate::jobs::keep::{Judged, judge, prune};
use crate::jobs::{alone_in, counted};
use crate::model::{ArchiveSpec, Problem, Work};
use crate::runner::refuse_foreign;
use crate::store::Store;

#[derive(clap::Args)]
pub struct Args {
    /// Only tell what would go and what would stay, and why
    #[arg(long)]
    dry_run: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&crate::cli::absolute(root))?;
    let specs = config.jobs.values().filter_map(|job| match &job.work {
        Work::Archive(spec) if spec.keep.is_set() => Some(spec),
        _ => None,
    });
    let specs: Vec<&ArchiveSpec> = specs.collect();
    if specs.is_empty() {
        let help = "write for example [archive.keep] with daily = 14 and monthly = 13 into its file";
        return Err(Problem::new("no archive job says what is to be kept, so all archives stay", "", help).into());
    }
    let store = if args.dry_run {
        Store::open_for_reading(&config.state)?
    } else {
        refuse_foreign(&config.state)?;
        Store::open(&config.state)?
    };
    let now = SystemClock.now();
    let (mut rows, mut removed, mut problems) = (Vec::new(), 0, Vec::new());
    let mut places = Places::new(&config, &store);
    for spec in specs {
        let _alone = if args.dry_run { None } else { Some(alone_in(&spec.store, &|| Ok(()))?) };
        match judge(spec, &config, &store, now)? {
            Ok(judged) => {
                rows.extend(judged.iter().map(row));
                if !args.dry_run {
                    let pruned = prune(&judged, (&spec.store, &mut places), &store, now, &|_| false)?;
                    removed += pruned.removed.len();
                    problems.extend(pruned.problems);
                }
            }
            Err(why) => problems.push(why),
        }
    }
    output::print_table(&["ARCHIVE", "", "WHY"], rows);
    if !args.dry_run {
        output::print(&format!("removed {}\n", counted(removed, "archive")));
    }
    for problem in &problems {
        output::complain(&anyhow::anyhow!("{problem}"));
    }
    Ok(ExitCode::from(u8::from(!problems.is_empty())))
}

fn row(Judged { archive, verdict: Verdict { goes, reason }, .. }: &Judged) -> Vec<String> {
    vec![archive.entry.name.clone(), if *goes { "goes" } else { "stays" }.to_owned(), reason.clone()]
}
