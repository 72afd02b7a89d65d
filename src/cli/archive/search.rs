//! `logkeeper archive search`

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono_tz::Tz;

use super::{find, keys, open, times_of};
use crate::archive::{Opened, Pattern, Window, search};
use crate::cli::output;
use crate::cli::scan::configured;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, system_zone};
use crate::model::untrusted::{printable, without_line_break};
use crate::model::{Member, Problem};
use crate::store::{ArchiveFilter, Store};

/// Not everything could be searched.
const UNREADABLE: u8 = 2;

#[derive(clap::Args)]
pub struct Args {
    /// A regular expression
    pattern: String,
    /// Only in these archives: names, or paths of files; default: in all on record
    #[arg(value_name = "ARCHIVE")]
    archives: Vec<String>,
    /// Only lines from then on: "2026-03-14", "2026-03-14 09:30", RFC 3339, or so long ago as "7d"
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only lines before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only of this source
    #[arg(long, conflicts_with = "archives")]
    source: Option<String>,
    /// Only of this host
    #[arg(long, conflicts_with = "archives")]
    host: Option<String>,
    /// The secret key of an encrypted archive: a file as age-keygen writes it
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// The pattern is a plain text
    #[arg(short = 'F', long)]
    fixed: bool,
    /// Capital and small letters are the same
    #[arg(short, long)]
    ignore_case: bool,
    /// Print only how many lines there are
    #[arg(short, long)]
    count: bool,
    /// Print before each line the archive and the log it is from
    #[arg(short, long)]
    names: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let config = if args.archives.iter().all(|name| name.contains('/')) && !args.archives.is_empty() {
        // Files named by their paths need no catalogue; a configuration that can't be read is no reason not to search them.
        configured(root).ok().flatten()
    } else {
        Some(Config::load(&crate::cli::absolute(root))?)
    };
    let zone = config.as_ref().map_or_else(system_zone, |config| config.zone);
    let instant = |text: &Option<String>| text.as_deref().map(|text| parse_instant(text, zone)).transpose();
    let window = Window { since: instant(&args.since)?, until: instant(&args.until)? };
    let pattern = Pattern::new(&args.pattern, args.fixed, args.ignore_case).map_err(|error| {
        Problem::new(format!("{:?} is no pattern: {error}", args.pattern), "", "with -F it is a plain text")
    })?;
    let keys = keys(args.identity.as_deref())?;
    let mut found = Found::new(args);
    let mut failed = false;
    for path in paths(root, args, window, config.as_ref())? {
        let opened = match open(&path, keys.as_ref()) {
            Ok(opened) => opened,
            Err(error) => {
                failed = true;
                output::complain(&error);
                continue;
            }
        };
        let times = times_of(&opened.entry, config.as_ref());
        let hand = &mut |member: &Member, line: &[u8]| found.line(&opened, member, line);
        match search(&opened, &pattern, window, &times, hand) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(error.into()),
            Ok(problems) => {
                failed |= !problems.is_empty();
                for problem in problems {
                    output::complain(&anyhow::anyhow!("{}: {problem}", path.display()));
                }
            }
        }
    }
    found.end()?;
    // As grep has it.
    Ok(ExitCode::from(if failed { UNREADABLE } else { u8::from(found.lines == 0) }))
}

fn paths(root: &Path, args: &Args, window: Window, config: Option<&Config>) -> anyhow::Result<Vec<PathBuf>> {
    if !args.archives.is_empty() {
        return args.archives.iter().map(|name| find(root, name)).collect();
    }
    let Some(config) = config else { return Ok(Vec::new()) };
    let (source, host) = (args.source.clone(), args.host.clone());
    let filter = ArchiveFilter { source, host, since: window.since, until: window.until };
    let mut archives = Store::open_for_reading(&config.state)?.catalogue(&filter)?;
    archives.sort_by_key(|archive| (archive.entry.first(), archive.path.clone()));
    Ok(archives.into_iter().map(|archive| archive.path).collect())
}

/// Prints what was found.
struct Found<'a> {
    args: &'a Args,
    out: io::BufWriter<io::StdoutLock<'static>>,
    to_person: bool,
    lines: u64,
}

impl<'a> Found<'a> {
    fn new(args: &'a Args) -> Self {
        let out = io::stdout();
        let to_person = out.is_terminal();
        Self { args, out: io::BufWriter::with_capacity(64 * 1024, out.lock()), to_person, lines: 0 }
    }

    fn line(&mut self, opened: &Opened, member: &Member, line: &[u8]) -> io::Result<()> {
        self.lines += 1;
        if self.args.count {
            return Ok(());
        }
        self.print(opened, member, line)
    }

    fn print(&mut self, opened: &Opened, member: &Member, line: &[u8]) -> io::Result<()> {
        if self.args.names {
            write!(self.out, "{}:{}: ", printable(opened.entry.name.as_bytes()), member.name)?;
        }
        if self.to_person {
            // A terminal must not take orders from a log.
            return writeln!(self.out, "{}", printable(without_line_break(line)));
        }
        self.out.write_all(line)?;
        if line.ends_with(b"\n") { Ok(()) } else { self.out.write_all(b"\n") }
    }

    fn end(&mut self) -> io::Result<()> {
        if self.args.count {
            writeln!(self.out, "{}", self.lines)?;
        }
        match self.out.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }
}

/// An instant as people write it, on the wall clock of a zone; seconds since 1970 UTC.
fn parse_instant(text: &str, zone: Tz) -> Result<i64, Problem> {
    if let Ok(instant) = chrono::DateTime::parse_from_rfc3339(text) {
        return Ok(instant.timestamp());
    }
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(SystemClock.now().timestamp() - i64::try_from(ago.as_secs()).unwrap_or(i64::MAX));
    }
    let full = match text.len() {
        10 => format!("{text} 00:00:00"),
        16 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    let wall = chrono::NaiveDateTime::parse_from_str(&full.replace('T', " "), "%Y-%m-%d %H:%M:%S");
    // A time that the clocks skipped is that after the change.
    let instant = wall.ok().and_then(|wall| {
        let after = || (wall + chrono::TimeDelta::hours(1)).and_local_timezone(zone).earliest();
        wall.and_local_timezone(zone).earliest().or_else(after)
    });
    instant.map(|instant| instant.timestamp()).ok_or_else(|| {
        let help = "write \"2026-03-14\", \"2026-03-14 09:30\", \"2026-03-14T09:30:00Z\", or how long ago as \"7d\"";
        Problem::new(format!("{text:?} is no time"), "", help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let berlin = chrono_tz::Europe::Berlin;
        let at = |text: &str| parse_instant(text, berlin).unwrap();
        let utc = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp();
        assert_eq!(at("2026-03-14"), utc("2026-03-13T23:00:00Z"));
        assert_eq!(at("2026-03-14 09:30"), utc("2026-03-14T08:30:00Z"));
        assert_eq!(at("2026-03-14T09:30:15"), utc("2026-03-14T08:30:15Z"));
        assert_eq!(at("2026-03-14T09:30:00Z"), utc("2026-03-14T09:30:00Z"));
        assert_eq!(at("2026-03-29 02:30"), utc("2026-03-29T01:30:00Z"));
        assert!(parse_instant("yesterday", berlin).is_err());
    }
}
