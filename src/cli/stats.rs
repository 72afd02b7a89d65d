//! `logkeeper stats`: what was counted, as a table with bars.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;

use chrono::{DateTime, Datelike, DurationRound, TimeDelta, Utc};
use chrono_tz::Tz;

use super::output;
use crate::clock::{Clock, SystemClock};
use crate::model::tally::BUCKET;
use crate::model::untrusted::csv;
use crate::model::{Problem, Tally, TopKind};
use crate::store::{BucketTally, Store};

#[derive(clap::Args)]
pub struct Args {
    /// What to tell apart
    #[arg(long, value_enum, default_value = "status")]
    by: By,
    /// How far to look back, as "7d" or "12h"
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = output::period)]
    since: std::time::Duration,
    /// Up to how long ago, as "1d"
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = output::period)]
    until: std::time::Duration,
    /// Only of this source
    #[arg(long)]
    source: Option<String>,
    /// How many addresses, accounts or paths to show
    #[arg(short = 'n', long, default_value = "20")]
    count: NonZeroUsize,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV
    #[arg(long)]
    csv: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// Answers of web servers
    Status,
    /// Addresses, by requests, logins and attempts
    Ip,
    /// Accounts, by requests, logins and attempts
    User,
    /// Paths on web servers
    Path,
    /// Addresses, by failed logins
    Attacker,
    /// Addresses, by successful logins
    Login,
    /// Accounts, by failed logins
    Target,
    /// Paths on web servers, by answers with an error
    ErrorPath,
    /// Hours of the day
    Hour,
    /// Days of the week
    Weekday,
    /// Days
    Day,
    /// Sources, with the lines that were not understood
    Source,
}

/// A table: what is told apart, and the counts of each.
struct Stats {
    header: Vec<&'static str>,
    rows: Vec<(String, Vec<u64>)>,
    /// What has to be known besides.
    note: &'static str,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (config, store) = super::open(root)?;
    if let Some(source) = args.source.as_ref().filter(|source| !config.sources.contains_key(*source)) {
        let known: Vec<&str> = config.sources.keys().map(String::as_str).collect();
        let help = format!("one of: {}", known.join(" "));
        return Err(Problem::new(format!("there is no source {source:?}"), "", help).into());
    }
    let now = SystemClock.now();
    let (from, to) = (output::ago(now, args.since), output::ago(now, args.until));
    // Whole hours are counted, and the one that goes on.
    let begun = |time: DateTime<Utc>| time.duration_trunc(TimeDelta::hours(1)).unwrap_or(time);
    let (from, hour) = (begun(from), begun(to));
    let to = if args.until.is_zero() && hour < to { hour + TimeDelta::hours(1) } else { hour };
    if from >= to {
        let (since, until) = (humantime::format_duration(args.since), humantime::format_duration(args.until));
        let message = format!("--since {since} begins where --until {until} is over");
        return Err(Problem::new(message, "", "give --since the longer time").into());
    }
    let stats = stats(&store, args, (from, to), config.zone)?;
    if args.json {
        output::print_json(&stats.json())?;
    } else if args.csv {
        output::print(&stats.csv());
    } else {
        output::print(&format!("{} to {}\n\n", output::stamp(from, config.zone), output::stamp(to, config.zone)));
        stats.print();
    }
    Ok(ExitCode::SUCCESS)
}

fn stats(store: &Store, args: &Args, span: (DateTime<Utc>, DateTime<Utc>), zone: Tz) -> anyhow::Result<Stats> {
    let top = match args.by {
        By::Ip => Some((TopKind::Ip, "ADDRESS")),
        By::User => Some((TopKind::User, "ACCOUNT")),
        By::Path => Some((TopKind::Path, "PATH")),
        By::Attacker => Some((TopKind::Attacker, "ADDRESS")),
        By::Target => Some((TopKind::Target, "ACCOUNT")),
        By::Login => Some((TopKind::Login, "ADDRESS")),
        By::ErrorPath => Some((TopKind::ErrorPath, "PATH")),
        _ => None,
    };
    if let Some((kind, header)) = top {
        let rows = store.tops(kind, span, args.source.as_deref(), args.count.get())?;
        let rows = rows.into_iter().map(|(name, count)| (name, vec![count])).collect();
        let note = "Of each past hour only the 20 most frequent are on record: others may be missing here, or have been there more often.";
        return Ok(Stats { header: vec![header, "COUNT"], rows, note });
    }
    let mut tallies = store.tallies(span.0, span.1)?;
    tallies.retain(|tally| args.source.as_ref().is_none_or(|source| *source == tally.source));
    Ok(match args.by {
        By::Status => by_status(&tallies),
        By::Source => {
            let rows = grouped(
                &tallies,
                |tally| (tally.source.clone(), tally.source.clone()),
                |tally| vec![tally.lines, tally.urgent, tally.unparsed],
            );
            Stats { header: vec!["SOURCE", "LINES", "URGENT", "NOT PARSED"], rows, note: "" }
        }
        _ => by_time(&tallies, args.by, zone),
    })
}

fn by_status(tallies: &[BucketTally]) -> Stats {
    let mut all = Tally::default();
    tallies.iter().for_each(|tally| all.add(&tally.tally));
    // Of two jobs that read the same the larger count is believed, for each count by itself.
    let other = all.status_4xx.saturating_sub(all.status_401 + all.status_403 + all.status_404);
    let rows = [
        ("1xx to 3xx", all.requests.saturating_sub(all.status_4xx + all.status_5xx)),
        ("401 not logged in", all.status_401),
        ("403 forbidden", all.status_403),
        ("404 not found", all.status_404),
        ("other 4xx", other),
        ("5xx the server failed", all.status_5xx),
    ];
    let rows = rows.map(|(name, count)| (name.to_owned(), vec![count])).to_vec();
    Stats { header: vec!["STATUS", "ANSWERS"], rows, note: "" }
}

fn by_time(tallies: &[BucketTally], by: By, zone: Tz) -> Stats {
    let key = |tally: &BucketTally| {
        let time = DateTime::from_timestamp(tally.bucket * BUCKET, 0).unwrap_or_default().with_timezone(&zone);
        match by {
            By::Hour => (time.format("%H").to_string(), time.format("%H:00").to_string()),
            By::Weekday => (time.weekday().number_from_monday().to_string(), time.format("%A").to_string()),
            _ => (time.format("%F").to_string(), time.format("%a %F").to_string()),
        }
    };
    let counts =
        |tally: &Tally| vec![tally.requests, tally.status_4xx + tally.status_5xx, tally.failed_logins, tally.logins];
    let mut rows = grouped(tallies, key, counts);
    if by == By::Hour && !rows.is_empty() {
        // Hours of silence are hours, too.
        let known: BTreeMap<String, Vec<u64>> = rows.into_iter().collect();
        let hours = (0..24).map(|hour| format!("{hour:02}:00"));
        rows =
            hours.map(|hour| known.get(&hour).cloned().map_or((hour.clone(), vec![0; 4]), |row| (hour, row))).collect();
    }
    let first = match by {
        By::Hour => "HOUR",
        By::Weekday => "WEEKDAY",
        _ => "DAY",
    };
    Stats { header: vec![first, "REQUESTS", "ERRORS", "FAILED LOGINS", "LOGINS"], rows, note: "" }
}

/// Sums by a key, of which the first part gives the order and the second the name.
fn grouped(
    tallies: &[BucketTally],
    key: impl Fn(&BucketTally) -> (String, String),
    counts: impl Fn(&Tally) -> Vec<u64>,
) -> Vec<(String, Vec<u64>)> {
    let mut sums: BTreeMap<(String, String), Tally> = BTreeMap::new();
    for tally in tallies {
        sums.entry(key(tally)).or_default().add(&tally.tally);
    }
    sums.into_iter().map(|((_, name), tally)| (name, counts(&tally))).collect()
}

/// How long the longest bar is, in characters.
const WIDEST: u64 = 30;

impl Stats {
    fn json(&self) -> Vec<serde_json::Value> {
        let names: Vec<String> = self.header.iter().map(|name| name.to_lowercase().replace(' ', "_")).collect();
        let row = |(name, counts): &(String, Vec<u64>)| {
            let mut object = serde_json::Map::from_iter([(names[0].clone(), name.clone().into())]);
            object.extend(names[1..].iter().cloned().zip(counts.iter().map(|count| (*count).into())));
            object.into()
        };
        self.rows.iter().map(row).collect()
    }

    fn csv(&self) -> String {
        let mut out = self.header.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>().join(",") + "\r\n";
        for (name, counts) in &self.rows {
            let counts: String = counts.iter().map(|count| format!(",{count}")).collect();
            out.push_str(&format!("{}{counts}\r\n", csv(name)));
        }
        out
    }

    fn print(&self) {
        let most = self.rows.iter().map(|(_, counts)| counts[0]).max().unwrap_or(0);
        if most == 0 && self.rows.iter().all(|(_, counts)| counts.iter().all(|count| *count == 0)) {
            output::print(
                "Nothing of this was counted in this time: run the scan jobs, look further back with --since, or at something else with --by.\n",
            );
            return;
        }
        let row = |(name, counts): &(String, Vec<u64>)| {
            let bar = "\u{2588}".repeat((counts[0] * WIDEST).div_ceil(most.max(1)) as usize);
            let counts = counts.iter().map(u64::to_string);
            [name.clone()].into_iter().chain(counts).chain([bar]).collect()
        };
        let header: Vec<&str> = self.header.iter().copied().chain([""]).collect();
        output::print_table(&header, self.rows.iter().map(row).collect());
        if !self.note.is_empty() {
            output::print(&format!("\n{}\n", self.note));
        }
    }
}
