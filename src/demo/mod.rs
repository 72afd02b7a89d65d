//! The demo's logs: four weeks of a small web server, ending now.
//!
//! Normal traffic with a peak on Thursdays, when all members log in; password guessing that fails, and some that succeeds;
//! a scanner looking for holes; an outage. All addresses are those reserved for documentation (RFC 5737).

mod auth;
pub(crate) mod random;
mod web;

use std::io::{self, Write};
use std::path::Path;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use flate2::Compression;
use flate2::write::GzEncoder;

use random::Random;

/// How many days the logs reach back.
const DAYS: u64 = 28;

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Files.
    pub files: usize,
    /// Lines in them.
    pub lines: usize,
}

/// One log line and its instant.
type Lines = Vec<(DateTime<Utc>, String)>;

/// Writes the logs below `folder` (`apache2/access.log`, `apache2/error.log`, `auth.log`, and their rotated siblings).
///
/// # Errors
/// Fails where a file can't be written.
pub fn write_logs(folder: &Path, now: DateTime<Utc>, zone: Tz) -> io::Result<Written> {
    let mut random = Random::new(7);
    let today = now.with_timezone(&zone).date_naive();
    let days: Vec<NaiveDate> = (0..=DAYS).rev().map(|back| today - Days::new(back)).collect();
    let (mut access, mut errors) = web::lines(&days, zone, &mut random);
    let mut logins = auth::lines(&days, zone, &mut random);
    for lines in [&mut access, &mut errors, &mut logins] {
        lines.retain(|(at, _)| *at <= now);
        lines.sort_by_key(|(at, _)| *at);
    }
    let mut written = Written::default();
    let apache = folder.join("apache2");
    std::fs::create_dir_all(&apache)?;
    write_rotated(&apache, "access.log", &access, now, zone, 1, &mut written)?;
    write_rotated(&apache, "error.log", &errors, now, zone, 1, &mut written)?;
    write_rotated(folder, "auth.log", &logins, now, zone, 7, &mut written)?;
    Ok(written)
}

/// Appends password guessing that goes on right now.
///
/// # Errors
/// Fails where the file can't be written.
pub fn append_attack(folder: &Path, now: DateTime<Utc>, zone: Tz) -> io::Result<()> {
    let lines: String = auth::guessing("203.0.113.99", "root", now - TimeDelta::minutes(4), 24, zone, 9000)
        .into_iter()
        .map(|(_, line)| line + "\n")
        .collect();
    crate::fs::append(&folder.join("auth.log"), lines.as_bytes())
}

/// Splits lines into the live file and rotated ones of `length` days each, as logrotate leaves them:
/// `.1` plain, older ones gzipped.
fn write_rotated(
    folder: &Path,
    name: &str,
    lines: &Lines,
    now: DateTime<Utc>,
    zone: Tz,
    length: u64,
    written: &mut Written,
) -> io::Result<()> {
    let today = now.with_timezone(&zone).date_naive();
    let mut rest = lines.as_slice();
    for age in (0..=DAYS / length).rev() {
        let end = instant(today - Days::new(age * length) + Days::new(1), 0, zone).min(now);
        let cut = if age == 0 { rest.len() } else { rest.partition_point(|(at, _)| *at < end) };
        let (part, later) = rest.split_at(cut);
        rest = later;
        if part.is_empty() && age > 0 {
            continue;
        }
        let text: String = part.iter().map(|(_, line)| format!("{line}\n")).collect();
        let (file_name, bytes) = match age {
            0 => (name.to_owned(), text.into_bytes()),
            1 => (format!("{name}.1"), text.into_bytes()),
            n => (format!("{name}.{n}.gz"), gzip(text.as_bytes())?),
        };
        let path = folder.join(file_name);
        std::fs::write(&path, bytes)?;
        let modified = part.last().map_or(now, |(at, _)| *at);
        std::fs::File::options().write(true).open(&path)?.set_modified(modified.into())?;
        written.files += 1;
        written.lines += part.len();
    }
    Ok(())
}

fn gzip(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(5));
    encoder.write_all(text)?;
    encoder.finish()
}

/// An instant of a day, `minutes` after midnight; in a skipped hour, an hour later.
fn instant(date: NaiveDate, minutes: i64, zone: Tz) -> DateTime<Utc> {
    let naive = date.and_time(chrono::NaiveTime::MIN) + TimeDelta::minutes(minutes);
    let found = zone.from_local_datetime(&naive).earliest();
    let found = found.or_else(|| zone.from_local_datetime(&(naive + TimeDelta::hours(1))).earliest());
    found.map_or(naive.and_utc(), |at| at.to_utc())
}
