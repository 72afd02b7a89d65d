//! `logkeeper archive cat`

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{find, keys, open};
use crate::archive::Opened;
use crate::cli::output;
use crate::model::untrusted::{printable, without_line_break};
use crate::model::{Member, Problem};

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
    /// Print logs that were compressed before as they are
    #[arg(long)]
    stored: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let opened = open(&find(root, &args.archive)?, keys(args.identity.as_deref())?.as_ref())?;
    refuse_unknown(&opened, &args.members)?;
    let mut out = Out { out: io::stdout().lock(), to_person: io::stdout().is_terminal(), failed: None };
    let mut problems = Vec::new();
    let read = opened.each(
        |member| is_wanted(member, &args.members),
        |member, text| -> io::Result<()> {
            let whole = match opened.text(member) {
                Ok(Some(mut text)) if !args.stored => io::copy(&mut text, &mut out),
                Ok(_) => io::copy(text, &mut out),
                Err(error) => Err(error),
            };
            if let Some(error) = out.failed.take() {
                return Err(error);
            }
            problems.extend(whole.err().map(|error| format!("{}: {error}", member.name)));
            Ok(())
        },
    );
    match read.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        Err(error) => problems.push(error.to_string()),
        Ok(()) => {}
    }
    for problem in &problems {
        output::complain(&anyhow::anyhow!("{}: {problem}", args.archive));
    }
    Ok(ExitCode::from(u8::from(!problems.is_empty())))
}

/// Standard output, which keeps its own failures apart from the archive's, and gives a terminal no orders from a log.
struct Out {
    out: io::StdoutLock<'static>,
    to_person: bool,
    failed: Option<io::Error>,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = if self.to_person {
            let lines = bytes.split_inclusive(|byte| *byte == b'\n');
            let shown: String = lines
                .map(|line| {
                    let end = if line.ends_with(b"\n") { "\n" } else { "" };
                    printable(without_line_break(line)) + end
                })
                .collect();
            self.out.write_all(shown.as_bytes()).map(|()| bytes.len())
        } else {
            self.out.write(bytes)
        };
        written.map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
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
