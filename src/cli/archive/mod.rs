//! `logkeeper archive`: one file per subcommand.

mod cat;
mod fetch;
mod hold;
mod list;
mod pack;
mod prune;
mod reindex;
mod restore;
mod search;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::scan::configured;
use crate::archive::{Keys, Opened, TextTimes};
use crate::config::{Config, shipped_formats, system_zone};
use crate::jobs::log_times;
use crate::model::{ArchiveEntry, Problem};
use crate::store::{ArchiveFilter, Catalogued, Store};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Pack log files into a new archive, here and now, without any configuration
    Pack(pack::Args),
    /// List archives, or the logs in one
    List(list::Args),
    /// Read archives again and compare them with what they should hold
    Verify(verify::Args),
    /// Print the text of the logs in an archive
    Cat(cat::Args),
    /// Print the lines of archived logs that a pattern fits
    Search(search::Args),
    /// Take logs out of an archive
    Restore(restore::Args),
    /// Get an archive back from a place that has a copy
    Fetch(fetch::Args),
    /// Remove the archives that the rules of their jobs don't keep
    Prune(prune::Args),
    /// Have archives stay whatever the rules say
    Hold(hold::Args),
    /// Put the archives that are in the store on record again
    Reindex(reindex::Args),
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    match &args.what {
        What::Pack(args) => pack::run(root, args),
        What::List(args) => list::run(root, args),
        What::Verify(args) => verify::run(root, args),
        What::Cat(args) => cat::run(root, args),
        What::Search(args) => search::run(root, args),
        What::Restore(args) => restore::run(root, args),
        What::Fetch(args) => fetch::run(root, args),
        What::Prune(args) => prune::run(root, args),
        What::Hold(args) => hold::run(root, args),
        What::Reindex(args) => reindex::run(root, args),
    }
}

/// The archives on record.
fn catalogue(root: &Path, filter: &ArchiveFilter) -> anyhow::Result<Vec<Catalogued>> {
    let (_, store) = super::open(root)?;
    Ok(store.catalogue(filter)?)
}

/// The file of an archive: a path, or the name of one on record, with or without its ending.
fn find(root: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(name);
    if name.contains('/') {
        return Ok(path.to_owned());
    }
    let is_it = |archive: &Catalogued| {
        let full = &archive.entry.name;
        full == name || archive.entry.stem() == name
    };
    let found = match configured(root)? {
        Some(config) => Store::open_for_reading(&config.state)?.catalogue(&ArchiveFilter::default())?,
        None => Vec::new(),
    };
    let mut found: Vec<PathBuf> = found.into_iter().filter(is_it).map(|archive| archive.path).collect();
    match found.len() {
        0 if path.exists() => Ok(path.to_owned()),
        0 => {
            let help = "\"logkeeper archive list\" shows those on record; else give the path of its file";
            Err(Problem::new(format!("there is no archive {name}"), "", help).into())
        }
        1 => Ok(found.swap_remove(0)),
        n => {
            let paths: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
            let help = format!("give the path of the one that you mean: {}", paths.join(", "));
            Err(Problem::new(format!("{n} archives are called {name}"), "", &help).into())
        }
    }
}

/// Finds times in the logs of an archive as its source says they are written.
fn times_of(entry: &ArchiveEntry, config: Option<&Config>) -> impl Fn(i64) -> TextTimes + use<> {
    let source = config.and_then(|config| config.sources.get(&entry.source));
    let zone = match (source, entry.zone.parse()) {
        (Some(source), _) => source.zone,
        (None, Ok(zone)) => zone,
        (None, Err(_)) => system_zone(),
    };
    let formats = source.map_or_else(shipped_formats, |source| source.formats.clone());
    move |modified| log_times(zone, &formats, modified)
}

/// Opens an archive for reading, with secret keys where it is encrypted; the times in one without a manifest are found as well as may be.
fn open(path: &Path, keys: Option<&Arc<Keys>>) -> anyhow::Result<Opened> {
    let (zone, formats) = (system_zone(), shipped_formats());
    Ok(Opened::new(path, keys, &|modified| log_times(zone, &formats, modified))?)
}

/// The secret keys in a file, if one is named.
fn keys(path: Option<&Path>) -> anyhow::Result<Option<Arc<Keys>>> {
    let Some(path) = path else { return Ok(None) };
    let read = Keys::read(path).map_err(|error| {
        let help = "name a file as age-keygen writes it";
        Problem::new(format!("can't take keys from {}: {error}", path.display()), "", help)
    });
    Ok(Some(Arc::new(read?)))
}

/// A size in the largest unit of which there is at least one.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let fits = units.into_iter().find(|(_, unit)| bytes >= *unit);
    fits.map_or(format!("{bytes} B"), |(name, unit)| format!("{:.1} {name}", bytes as f64 / unit as f64))
}
