//! `logkeeper archive cat`

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::find;
use crate::archive::Opened;
use crate::model::{Member, Problem};

#[derive(clap::Args)]
pub struct Args {
    /// Its name or the path of its file
    archive: String,
    /// Only these logs: names as "archive list" shows them, or the ends of such names
    #[arg(long = "member", value_name = "LOG")]
    members: Vec<String>,
    /// Print logs that were compressed before as they are
    #[arg(long)]
    stored: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let opened = Opened::new(&find(root, &args.archive)?)?;
    refuse_unknown(&opened, &args.members)?;
    let mut out = io::stdout().lock();
    let printed = opened.each(
        |member| is_wanted(member, &args.members),
        |member, text| match opened.text(member)? {
            Some(mut text) if !args.stored => io::copy(&mut text, &mut out).map(drop),
            _ => io::copy(text, &mut out).map(drop),
        },
    );
    match printed.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(anyhow::anyhow!("{}: {error}", args.archive)),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

/// Whether a log was asked for: by its name, or the end of its path; without names, all are.
pub(super) fn is_wanted(member: &Member, names: &[String]) -> bool {
    names.is_empty() || names.iter().any(|name| named(member, name))
}

fn named(member: &Member, name: &str) -> bool {
    let name = name.trim_start_matches('/').as_bytes();
    let above = member.name.0.strip_suffix(name);
    above.is_some_and(|above| above.is_empty() || above.ends_with(b"/"))
}

/// Refuses names of logs that are not in an archive.
pub(super) fn refuse_unknown(opened: &Opened, names: &[String]) -> Result<(), Problem> {
    let unknown = |name: &&String| !opened.entry.members.iter().any(|member| named(member, name));
    names.iter().find(unknown).map_or(Ok(()), |name| {
        let help = "\"logkeeper archive list ARCHIVE\" shows what is in it";
        Err(Problem::new(format!("there is no log {name} in {}", opened.entry.name), "", help))
    })
}
