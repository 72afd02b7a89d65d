//! `logkeeper archive restore`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::cat::{is_wanted, refuse_unknown};
use super::{find, keys, open};
use crate::archive::{Restored, restore};
use crate::cli::output;
use crate::cli::progress::Bar;
use crate::jobs::counted;
use crate::model::Member;
use crate::model::untrusted::printable;

#[derive(clap::Args)]
pub struct Args {
    /// Its name or the path of its file
    archive: String,
    /// Only these logs: names as "archive list" shows them, or the ends of such names
    #[arg(long = "member", value_name = "LOG")]
    members: Vec<String>,
    /// The secret key of an encrypted archive: a file as age-keygen writes it
    #[arg(short, long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// The folder below which they are put, each under its full path
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let opened = open(&find(root, &args.archive)?, keys(args.identity.as_deref())?.as_ref())?;
    refuse_unknown(&opened, &args.members)?;
    crate::fs::create_folder(&args.to).map_err(|error| anyhow::anyhow!("{}: {error}", args.to.display()))?;
    let wanted = |member: &Member| is_wanted(member, &args.members);
    let bar = Bar::new(opened.entry.members.iter().filter(|member| wanted(member)).map(|member| member.size).sum());
    let done = restore(&opened, wanted, &args.to, &|bytes| bar.advance(bytes));
    drop(bar);
    let done = done.map_err(|error| anyhow::anyhow!("{}: {error}", args.archive))?;
    let mut whole = 0;
    for Restored { name, path, problems } in &done {
        let path = path.as_ref().map(|path| printable(path.to_string_lossy().as_bytes()));
        match (problems.is_empty(), path) {
            (true, Some(path)) => {
                whole += 1;
                output::print(&format!("{path}\n"));
            }
            (_, Some(path)) => output::complain(&anyhow::anyhow!("{path}: {}", problems.join("; "))),
            (_, None) => output::complain(&anyhow::anyhow!("{name} was not restored: {}", problems.join("; "))),
        }
    }
    output::print(&format!("{whole} of {} restored\n", counted(done.len(), "log")));
    Ok(ExitCode::from(u8::from(whole < done.len())))
}
