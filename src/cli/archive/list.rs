//! `logkeeper archive list`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::DateTime;
use chrono_tz::Tz;

use super::{find, keys, open, size};
use crate::archive::{hold, read_manifest};
use crate::cli::output;
use crate::cli::scan::configured;
use crate::config::system_zone;
use crate::model::ArchiveEntry;
use crate::store::{ArchiveFilter, Catalogued};

#[derive(clap::Args)]
pub struct Args {
    /// List the logs in this one: its name or the path of its file, also of another program's
    archive: Option<String>,
    /// Only of this source
    #[arg(long)]
    source: Option<String>,
    /// Only of this host
    #[arg(long)]
    host: Option<String>,
    /// The secret key of an encrypted archive: a file as age-keygen writes it
    #[arg(short, long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(name) = &args.archive {
        let zone = configured(root)?.map_or_else(system_zone, |config| config.zone);
        let (path, keys) = (find(root, name)?, keys(args.identity.as_deref())?);
        // An index that is not encrypted needs no key.
        let entry = match read_manifest(&path) {
            Ok(entry) if entry.inside.as_ref().is_none_or(|inside| inside.index.is_none()) => entry,
            _ => open(&path, keys.as_ref())?.entry,
        };
        list_logs(&entry, zone, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (config, store) = crate::cli::open(root)?;
    let filter = ArchiveFilter { source: args.source.clone(), host: args.host.clone(), ..ArchiveFilter::default() };
    let archives = store.catalogue(&filter)?;
    if args.json {
        output::print_json(&archives.iter().map(json).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = archives.iter().map(|archive| row(archive, config.zone)).collect();
    output::print_table(&["ARCHIVE", "FROM", "TO", "LOGS", "SIZE", "VERIFIED", ""], rows);
    Ok(ExitCode::SUCCESS)
}

fn row(archive: &Catalogued, zone: Tz) -> Vec<String> {
    let entry = &archive.entry;
    let remark = match (&archive.damage, hold(&archive.path)) {
        (Some(damage), _) => format!("DAMAGED: {damage}"),
        (None, Ok(Some(why))) => format!("on hold: {why}"),
        (None, _) if !archive.path.exists() => "NOT THERE".to_owned(),
        (None, _) => String::new(),
    };
    vec![
        // As the other subcommands take it, too, so that a row fits a window.
        entry.stem().to_owned(),
        minute(entry.first(), zone),
        minute(entry.last(), zone),
        if entry.inside.is_some() && entry.members.is_empty() {
            "?".to_owned()
        } else {
            entry.members.len().to_string()
        },
        size(entry.size),
        archive.verified.map_or("never".to_owned(), |at| at.with_timezone(&zone).format("%Y-%m-%d").to_string()),
        remark,
    ]
}

fn minute(seconds: Option<i64>, zone: Tz) -> String {
    let instant = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    instant.map_or("?".to_owned(), |at| at.with_timezone(&zone).format("%Y-%m-%d %H:%M").to_string())
}

fn json(archive: &Catalogued) -> serde_json::Value {
    let entry = &archive.entry;
    let instant = |seconds: Option<i64>| {
        seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)).map(|at| at.to_rfc3339())
    };
    serde_json::json!({
        "path": archive.path, "host": entry.host, "source": entry.source, "date": entry.date,
        "first": instant(entry.first()), "last": instant(entry.last()), "logs": entry.members.len(),
        "size": entry.size, "sha256": entry.sha256, "verified": archive.verified.map(|at| at.to_rfc3339()),
        "damage": archive.damage, "hold": hold(&archive.path).ok().flatten(),
    })
}

fn list_logs(entry: &ArchiveEntry, zone: Tz, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::print_json(&entry.without_blocks());
    }
    let rows = entry.members.iter().map(|log| {
        let (first, last) = (minute(log.first, zone), minute(log.last, zone));
        vec![log.name.to_string(), size(log.size), minute(Some(log.modified), zone), first, last]
    });
    output::print_table(&["LOG", "SIZE", "CHANGED", "FROM", "TO"], rows.collect());
    Ok(())
}
