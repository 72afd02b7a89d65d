//! `logkeeper archive pack`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::DateTime;

use super::size;
use crate::archive::{Bundle, Candidate, Effort, PackOutcome, Packed, Sealing, TextTimes, inspect, pack, recipient};
use crate::cli::output;
use crate::cli::progress::Bar;
use crate::cli::scan::configured;
use crate::config::system_zone;
use crate::jobs::{alone_in, counted, log_times};
use crate::model::Problem;
use crate::model::archive::{Codec, DateRule, plain_name};
use crate::model::untrusted::printable;

#[derive(clap::Args)]
pub struct Args {
    /// Log files, plain or compressed
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The folder that receives the archive
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// What the archive is called after the host: default, the first file's name up to its first dot
    #[arg(long)]
    name: Option<String>,
    /// Make a .tar.zst
    #[arg(long)]
    zstd: bool,
    /// Encrypt it to a public key, as age-keygen prints it
    #[arg(long, value_name = "KEY")]
    encrypt: Vec<String>,
    /// Print JSON: the manifest
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(wrong) = args.encrypt.iter().find(|key| recipient(key).is_err()) {
        let help = "\"age-keygen -o key.txt\" makes a key and prints its public part, which begins with age1";
        let wrong = wrong.get(..4).filter(|start| *start == "age1").map_or("this", |_| wrong);
        return Err(Problem::new(format!("{wrong} is no public key of age-keygen's"), "", help).into());
    }
    let (zone, host) = match configured(root)? {
        Some(config) => (config.zone, config.host),
        None => (system_zone(), host_name()),
    };
    let formats = crate::config::formats(&crate::cli::absolute(root), None)?;
    let times_of = |modified| -> TextTimes { log_times(zone, &formats, modified) };
    let (mut logs, mut skipped): (Vec<Candidate>, _) = (Vec::new(), Vec::new());
    for file in &args.files {
        match inspect(file.parent().unwrap_or(Path::new("")), file, &times_of) {
            Ok(log) => logs.push(log),
            Err(error) => skipped.push((file.clone(), error.to_string())),
        }
    }
    let latest = logs.iter().map(|log| log.times.map_or(log.identity.modified(), |(_, last)| last)).max();
    let source = source_name(args)?;
    if let Some(latest) = latest {
        let date = DateTime::from_timestamp(latest, 0).unwrap_or_default().with_timezone(&zone);
        let bundle = Bundle {
            folder: args.into.clone(),
            host: &host,
            source: &source,
            date: date.format("%Y-%m-%d").to_string(),
            date_rule: DateRule::Content,
            zone: zone.name(),
            codec: if args.zstd { Codec::Zstd } else { Codec::Gzip },
            sealing: (!args.encrypt.is_empty()).then_some(Sealing { recipients: &args.encrypt, hide_index: false }),
            announce: &|_, _| Ok(()),
            is_taken: &|_| false,
        };
        let _alone = alone_in(&args.into, &|| Ok(()))?;
        // Each is read once to be packed and once to be verified.
        let bar = Bar::new(2 * logs.iter().map(|log| log.identity.size).sum::<u64>());
        let step = |bytes| {
            bar.advance(bytes);
            false
        };
        let done = pack(&bundle, &logs, Effort::up_to(4, false), &times_of, &step);
        drop(bar);
        let PackOutcome { packed, skipped: more } = done?;
        skipped.extend(more);
        if let Some(packed) = packed {
            tell(&packed, args)?;
        }
    }
    for (path, reason) in &skipped {
        let path = printable(path.as_os_str().as_encoded_bytes());
        output::complain(&anyhow::anyhow!("{path} is not in it: {reason}"));
    }
    Ok(ExitCode::from(u8::from(!skipped.is_empty())))
}

fn tell(packed: &Packed, args: &Args) -> anyhow::Result<()> {
    if args.json {
        return output::print_json(&packed.entry);
    }
    let before: u64 = packed.entry.members.iter().map(|member| member.size).sum();
    let logs = counted(packed.entry.members.len(), "log");
    let (before, after) = (size(before), size(packed.entry.size));
    output::print(&format!("{}: {logs}, {before} in {after}, verified\n", packed.path.display()));
    Ok(())
}

fn source_name(args: &Args) -> Result<String, Problem> {
    let first = args.files[0].file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = args.name.as_deref().unwrap_or(first.split('.').next().unwrap_or_default());
    let name = plain_name(name);
    if name.is_empty() {
        return Err(Problem::new("the archive needs a name", "", "give it one, as --name web-access"));
    }
    Ok(name)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
