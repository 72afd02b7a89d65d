//! `logkeeper archive verify`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{find, keys, open};
use crate::archive::{Effort, manifest_path, read_manifest, verify_inside};
use crate::cli::output;
use crate::cli::progress::Bar;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::jobs::keep::{check, check_catalogued};
use crate::jobs::{counted, share_of};
use crate::store::{ArchiveFilter, Store};

#[derive(clap::Args)]
pub struct Args {
    /// Only these: names, or paths of files
    #[arg(value_name = "ARCHIVE")]
    archives: Vec<String>,
    /// The secret key of an encrypted archive: a file as age-keygen writes it
    #[arg(short, long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Only so many of those on record, those first that were not read for the longest time
    #[arg(long, value_name = "PERCENT", conflicts_with = "archives", value_parser = percent)]
    subset: Option<u32>,
}

fn percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|number| (1..=100).contains(number));
    number.ok_or_else(|| "a number from 1 to 100, as 10%".to_owned())
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (mut whole, mut damaged) = (0, 0);
    let bar = Bar::new(0);
    let step = |bytes| {
        bar.advance(bytes);
        false
    };
    let mut tell = |path: &Path, found: Result<(), String>| {
        let line = match found {
            Ok(()) => {
                whole += 1;
                format!("{}: whole\n", path.display())
            }
            Err(error) => {
                damaged += 1;
                format!("{error}\n")
            }
        };
        bar.print(|| output::print(&line));
    };
    let effort = Effort::up_to(4, false);
    let keys = keys(args.identity.as_deref())?;
    let inside = |path: &Path| match &keys {
        Some(keys) => read_manifest(path).and_then(|entry| match &entry.inside {
            Some(_) => verify_inside(path, &entry, keys, effort, &|_| false),
            None => Ok(()),
        }),
        None => Ok(()),
    };
    if args.archives.is_empty() {
        let config = Config::load(&crate::cli::absolute(root))?;
        let mut archives = Store::open_for_reading(&config.state)?.catalogue(&ArchiveFilter::default())?;
        archives.sort_by(|a, b| (a.checked, &a.path).cmp(&(b.checked, &b.path)));
        archives.truncate(share_of(archives.len(), args.subset.unwrap_or(100)));
        bar.extend(archives.iter().map(|archive| archive.entry.text_size()).sum());
        // Whoever may not write to the database may still look at archives.
        let record = crate::runner::refuse_foreign(&config.state).ok().and_then(|()| Store::open(&config.state).ok());
        for archive in archives {
            let found = check_catalogued(&archive, effort, &step)
                .and_then(|()| inside(&archive.path))
                .map_err(|error| error.to_string());
            if let Some(store) = &record {
                store.record_verification(
                    &archive.path,
                    found.as_ref().err().map(String::as_str),
                    SystemClock.now(),
                )?;
            }
            tell(&archive.path, found);
        }
    }
    for name in &args.archives {
        let path: PathBuf = find(root, name)?;
        if !manifest_path(&path).exists() {
            // Another program's, or its manifest is lost: all that can be said is that it can be read.
            open(&path, None)?;
            output::print(&format!("{}: it can be read, but has no manifest to compare it with\n", path.display()));
            continue;
        }
        bar.extend(read_manifest(&path).map_or(0, |entry| entry.text_size()));
        // What is inside tells more of a damage.
        let found = inside(&path).and_then(|()| check(&path, effort, &step));
        tell(&path, found.map_err(|error| error.to_string()));
    }
    drop(bar);
    let all = counted(whole + damaged, "archive");
    output::print(&match damaged {
        0 => format!("{all} verified, all whole\n"),
        n => format!("{n} of {all} damaged\n"),
    });
    Ok(ExitCode::from(u8::from(damaged > 0)))
}
