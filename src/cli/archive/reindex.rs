//! `logkeeper archive reindex`

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use super::times_of;
use crate::archive::{Effort, Shelf, read_manifest, rebuild, write_manifest};
use crate::cli::output;
use crate::cli::progress::Bar;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::jobs::keep::check;
use crate::jobs::{alone_in, counted};
use crate::model::{ArchiveEntry, Work};
use crate::runner::refuse_foreign;
use crate::store::{ArchiveFilter, Store};

#[derive(clap::Args)]
pub struct Args {
    /// Forget archives on record that are not there
    #[arg(long)]
    forget: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&crate::cli::absolute(root))?;
    refuse_foreign(&config.state)?;
    let store = Store::open(&config.state)?;
    let stores: BTreeSet<&Path> = config
        .jobs
        .values()
        .filter_map(|job| if let Work::Archive(spec) = &job.work { Some(spec.store.as_path()) } else { None })
        .collect();
    let now = SystemClock.now();
    store.mend_archive_times(now)?;
    let (mut recorded, mut forgotten, mut problems) = (0, 0, Vec::new());
    let known = store.catalogue(&ArchiveFilter::default())?;
    let bar = Bar::new(0);
    for folder in stores {
        let _alone = alone_in(folder, &|| Ok(()))?;
        let shelf = Shelf::look(folder);
        problems.extend(shelf.problems);
        for path in &shelf.archives {
            let on_record = known.iter().find(|archive| archive.path == *path).map(|archive| &archive.entry);
            if read_manifest(path).is_ok_and(|manifest| on_record.is_some_and(|entry| entry.has_manifest(&manifest))) {
                continue;
            }
            match entry_of(path, &config, &bar) {
                Ok(entry) => {
                    store.forget_archive(path)?;
                    store.record_archive(None, folder, path, &entry, now)?;
                    recorded += 1;
                    let hidden = entry.inside.as_ref().is_some_and(|inside| inside.index.is_some());
                    let logs = if hidden { "encrypted".to_owned() } else { counted(entry.members.len(), "log") };
                    bar.print(|| output::print(&format!("{}: {logs}\n", path.display())));
                }
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
    }
    drop(bar);
    for lost in known.iter().filter(|archive| !archive.path.exists()) {
        if args.forget {
            store.forget_archive(&lost.path)?;
            forgotten += 1;
            output::print(&format!("{}: not there, forgotten\n", lost.path.display()));
        } else {
            let help = "where it is gone for good, and not on a disk that is not mounted, add --forget";
            problems.push(format!("{} is not there; {help}", lost.path.display()));
        }
    }
    let recorded = counted(recorded, "archive");
    output::print(&format!("{recorded} put on record, {forgotten} forgotten\n"));
    for problem in &problems {
        output::complain(&anyhow::anyhow!("{problem}"));
    }
    Ok(ExitCode::from(u8::from(!problems.is_empty())))
}

/// What an archive holds: as its manifest says where it has one that is whole, else as it shows itself.
fn entry_of(path: &Path, config: &Config, bar: &Bar) -> anyhow::Result<ArchiveEntry> {
    match read_manifest(path) {
        Ok(entry) => {
            bar.extend(entry.text_size());
            let step = |bytes| {
                bar.advance(bytes);
                false
            };
            check(path, Effort::up_to(4, false), &step)?;
            return Ok(entry);
        }
        Err(error) if error.is_lost() => {}
        Err(error) => return Err(error.into()),
    }
    let plain = rebuild(path, &|_| Box::new(|_| None))?;
    let entry = rebuild(path, &times_of(&plain, Some(config)))?;
    write_manifest(path, &entry)?;
    Ok(entry)
}
