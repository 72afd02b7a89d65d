//! `logkeeper scan FILE…`: an answer here and now, without any configuration.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono_tz::Tz;
use serde::Serialize;

use super::output;
use super::saver::Saver;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigErrors, shipped_formats, shipped_rules};
use crate::jobs::access_logs::is_access_log;
use crate::jobs::ahead::each_piece;
use crate::jobs::scanner::{AddressCounts, Scanner, Triaged};
use crate::jobs::settler::{Input, Piece};
use crate::jobs::status_counts::FewCounts;
use crate::jobs::stream_state::StreamState;
use crate::jobs::{dropped_in_words, left_in_words};
use crate::logs::{BLOCK, Ending, Lines, Patterns, logs};
use crate::model::short::ShortBytes;
use crate::model::untrusted::{csv, printable};
use crate::model::{Evidence, Finding, Formats, Problem, Severity, Source, Subject, Triage, WebLogins};
use crate::parse::{AutoParser, Context, YearRule};

/// The rules that say of each address, account and minute at most one thing.
const BASIC: [&str; 5] = ["failed-logins", "failed-logins-account", "error-spikes", "urgent-lines", "urgent-bursts"];

/// How many addresses, and how many findings, the text shows.
const SHOWN: usize = 20;
const SHOWN_FINDINGS: usize = 100;

#[derive(clap::Args)]
pub struct Args {
    /// Log files, plain or compressed (gzip, zstd, xz, bzip2), or event logs of Windows; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Apply all rules that come with logkeeper, not only those for failed logins, error spikes and urgent lines
    #[arg(long)]
    all_rules: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print addresses and statuses as CSV
    #[arg(long)]
    csv: bool,
    /// Write the flagged lines into a file of this folder, and every line into one of its kind (access, error, auth, system,
    /// unknown; urgent or standard), with a date stamp
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    #[command(flatten)]
    reading: ReadingArgs,
}

/// How lines are to be read.
#[derive(clap::Args)]
pub(super) struct ReadingArgs {
    /// The zone of stamps without one, and of the times shown; default: that of the file's source, else the configuration's, else this
    /// machine's
    #[arg(long)]
    zone: Option<Tz>,
    /// The year of stamps without one; default: found from the file's time
    #[arg(long, value_parser = clap::value_parser!(i32).range(1970..=9998))]
    year: Option<i32>,
    /// A format that lines don't tell by themselves: the name of its file in config/formats without .toml
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
}

impl ReadingArgs {
    pub(super) fn resolve(&self, root: &Path) -> anyhow::Result<Reading> {
        let formats = crate::config::formats(&super::absolute(root), self.format.as_deref())?;
        Ok(self.reading(formats, configured(root)?))
    }

    /// The same where mistakes in the configuration are only told: nobody's logs have to wait until these are mended. A format that was
    /// asked for is in none but that.
    fn resolve_anyway(&self, root: &Path) -> anyhow::Result<Reading> {
        let error = match self.resolve(root) {
            Err(error) if self.format.is_none() => error,
            resolved => return resolved,
        };
        output::warn_of(&error.downcast::<ConfigErrors>()?);
        Ok(self.reading(shipped_formats(), None))
    }

    fn reading(&self, formats: Formats, config: Option<Config>) -> Reading {
        let (zone, triage, sources) = match config {
            Some(config) => (config.zone, config.triage, config.sources.into_values().map(Configured::new).collect()),
            None => (crate::config::system_zone(), Triage::default(), Vec::new()),
        };
        let (given_zone, zone) = (self.zone, self.zone.unwrap_or(zone));
        Reading { zone, given_zone, year: self.year, formats, has_format: self.format.is_some(), triage, sources }
    }
}

/// How lines are read.
pub(super) struct Reading {
    pub zone: Tz,
    /// What was asked for goes before what is configured.
    given_zone: Option<Tz>,
    year: Option<i32>,
    formats: Formats,
    has_format: bool,
    pub triage: Triage,
    sources: Vec<Configured>,
}

/// A source and what tells its files, so that they are read as in a job.
struct Configured {
    source: Source,
    patterns: Patterns,
}

impl Configured {
    fn new(source: Source) -> Self {
        Self { patterns: Patterns::new(std::slice::from_ref(&source)), source }
    }
}

impl Reading {
    /// The source that a file belongs to, and its path there.
    fn source_of(&self, path: &Path) -> Option<(&Source, PathBuf)> {
        let paths = [Some(super::absolute(path)), path.canonicalize().ok()];
        paths.into_iter().flatten().find_map(|path| {
            let configured = self.sources.iter().find(|configured| configured.patterns.may_hold(&path))?;
            Some((&configured.source, path))
        })
    }

    /// What the lines of a file of this source, or of none, may look like.
    fn formats_of<'r>(&'r self, source: Option<&'r Source>) -> &'r Formats {
        source.map(|source| &source.formats).filter(|_| !self.has_format).unwrap_or(&self.formats)
    }

    /// The access logs among these files; what comes through a pipe can't be looked at before it is read.
    pub(super) fn access_logs<'f>(&self, files: &'f [PathBuf]) -> Vec<&'f PathBuf> {
        let is_one = |path: &PathBuf| {
            let configured = self.source_of(path);
            is_access_log(&path.canonicalize().ok()?, self.formats_of(configured.as_ref().map(|(source, _)| *source)))
        };
        files.iter().filter(|path| is_one(path) == Some(true)).collect()
    }
}

#[derive(Serialize)]
pub(super) struct FileResult {
    path: String,
    format: String,
    lines: u64,
    parsed: u64,
    unparsed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl FileResult {
    /// Whether not all of it could be read.
    pub(super) fn is_unreadable(&self) -> bool {
        self.error.is_some()
    }
}

/// The answer as JSON, borrowed, because there may be very many addresses.
#[derive(Serialize)]
struct Json<'a> {
    files: &'a [FileResult],
    status: &'a BTreeMap<u16, u64>,
    addresses: Vec<JsonAddress<'a>>,
    findings: Vec<JsonFinding<'a>>,
    failed_logins: u64,
    /// Those of error logs that are the answers 401 of access logs, and not counted again.
    left_to_access_logs: u64,
    urgent: u64,
    /// Lines per category, standard and urgent.
    triage: BTreeMap<&'static str, serde_json::Value>,
    /// Events that rules dropped because there were too many subjects at once.
    dropped: BTreeMap<&'a str, u64>,
}

#[derive(Serialize)]
struct JsonAddress<'a> {
    address: Cow<'a, str>,
    events: u64,
    failures: u64,
    status: &'a FewCounts,
}

#[derive(Serialize)]
struct JsonFinding<'a> {
    rule: &'a str,
    severity: Severity,
    subject: &'a Subject,
    count: u64,
    first: String,
    last: String,
    reached: String,
    breach: Option<JsonBreach<'a>>,
    note: Option<&'a str>,
    can_wait: bool,
    evidence: &'a [Evidence],
}

#[derive(Serialize)]
struct JsonBreach<'a> {
    time: String,
    user: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<JsonLogin<'a>>,
}

#[derive(Serialize)]
struct JsonLogin<'a> {
    time: String,
    user: &'a str,
}

struct Results {
    files: Vec<FileResult>,
    status: BTreeMap<u16, u64>,
    /// Those that are shown.
    addresses: Vec<(ShortBytes, AddressCounts)>,
    /// How many there are.
    all_addresses: usize,
    findings: Vec<Finding>,
    failed_logins: u64,
    left_to_access_logs: u64,
    urgent: u64,
    triage: BTreeMap<&'static str, [u64; 2]>,
    dropped: Vec<(String, u64)>,
    zone: Tz,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let reading = args.reading.resolve_anyway(root)?;
    let zone = reading.zone;
    let now = SystemClock.now();
    let mut saver = args
        .save
        .as_deref()
        .map(|folder| Saver::create(folder, &now.with_timezone(&zone).format("%Y-%m-%d").to_string()))
        .transpose()?;
    let rules = shipped_rules();
    let rules = rules.iter().filter(|rule| args.all_rules || BASIC.contains(&rule.name.as_str()));
    let mut scanner = Scanner::new(rules, now.timestamp(), zone);
    scanner.triage_by(reading.triage.clone());
    scanner.count_addresses();
    let mut files = Vec::new();
    let paths = once(&args.files);
    let access_logs = reading.access_logs(&paths);
    let logs = logs(&paths);
    for (index, log) in logs.iter().enumerate() {
        if index + 1 == logs.len() {
            scanner.read_until_others(&[], std::iter::empty());
        }
        files.extend(scan_log(&mut scanner, log, &reading, &access_logs, saver.as_mut()));
    }
    let mut findings = scanner.settle(std::iter::empty());
    findings.extend(scanner.findings());
    findings.sort_by(|a, b| {
        (b.severity, b.count, &a.subject, a.first, &a.rule).cmp(&(a.severity, a.count, &b.subject, b.first, &b.rule))
    });
    let lists_all = args.json || args.csv;
    let (addresses, all_addresses) = scanner.addresses(if lists_all { usize::MAX } else { SHOWN });
    let (failed_logins, urgent) = (scanner.total.failed_logins, scanner.total.urgent);
    let left_to_access_logs = scanner.left_to_access_logs;
    let dropped = scanner.dropped();
    let triage = scanner.triage();
    let results = Results {
        files,
        status: scanner.status(),
        addresses,
        all_addresses,
        findings,
        failed_logins,
        left_to_access_logs,
        urgent,
        triage,
        dropped,
        zone,
    };
    if args.json {
        output::print_json(&results.json())?;
    } else if args.csv {
        output::print(&results.csv());
    } else {
        results.print();
    }
    if let Some(saver) = saver {
        let saved = saver.finish()?;
        if !args.json && !args.csv {
            let rows = saved.into_iter().map(|(path, lines)| vec![path.display().to_string(), lines.to_string()]);
            output::print("\n");
            output::print_table(&["SAVED TO", "LINES"], rows.collect());
        }
    }
    let unreadable = results.files.iter().any(FileResult::is_unreadable);
    Ok(if unreadable { ExitCode::from(super::FAILED) } else { ExitCode::SUCCESS })
}

/// Each file once, by whatever names it is given; `-` is standard input.
pub(super) fn once(paths: &[PathBuf]) -> Vec<PathBuf> {
    let (mut known, mut first) = (BTreeMap::new(), Vec::new());
    for path in paths {
        let path = if path.as_os_str() == "-" { Path::new("/dev/stdin") } else { path };
        // What can't be read is told where it is opened.
        let file = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
        match file.and_then(|file| known.insert((file.dev(), file.ino()), path)) {
            None => first.push(path.to_owned()),
            Some(other) => {
                let message = format!("{} is {} once more", path.display(), other.display());
                output::warn(&Problem::new(message, "", "it is scanned once"));
            }
        }
    }
    first
}

/// The configuration, where there is one.
pub(super) fn configured(root: &Path) -> anyhow::Result<Option<Config>> {
    let exists = root.join("config/logkeeper.toml").exists();
    exists.then(|| super::readable(root)).transpose()
}

/// Scans the files of a log, oldest first. These access logs are read with it, and may be of the same server.
pub(super) fn scan_log(
    scanner: &mut Scanner,
    log: &[&Path],
    reading: &Reading,
    access_logs: &[&PathBuf],
    mut saver: Option<&mut Saver>,
) -> Vec<FileResult> {
    let (mut stream, mut header) = (StreamState::default(), String::new());
    let scan = |path| scan_file(scanner, &mut stream, &mut header, path, reading, access_logs, saver.as_deref_mut());
    let results: Vec<FileResult> = log.iter().copied().map(scan).collect();
    let source = results.last().map_or("", |last| last.path.as_str());
    scanner.flush_sessions(&mut stream, source, false);
    results
}

/// Scans one file; what is wrong with it is told at once.
fn scan_file(
    scanner: &mut Scanner,
    stream: &mut StreamState,
    header: &mut String,
    path: &Path,
    reading: &Reading,
    access_logs: &[&PathBuf],
    saver: Option<&mut Saver>,
) -> FileResult {
    let shown = path.to_string_lossy().into_owned();
    let mut lines = match Lines::open_named(path) {
        Ok(lines) => lines,
        Err(error) => {
            let message = format!("can't read {}: {error}", path.display());
            let help = match error.kind() {
                std::io::ErrorKind::IsADirectory => "name its files, as FOLDER/*",
                std::io::ErrorKind::NotSeekable => "event logs of Windows can't come through a pipe: name the file",
                _ => "check the name and your right to read it",
            };
            output::complain(&Problem::new(message, "", help).into());
            let error = Some(error.to_string());
            return FileResult { path: shown, format: "unknown".to_owned(), lines: 0, parsed: 0, unparsed: 0, error };
        }
    };
    let before = scanner.total;
    let (fallback, present) = (lines.identity.modified(), SystemClock.now().timestamp());
    let year = reading.year.map_or(YearRule::Before(fallback), YearRule::From);
    let place = reading.source_of(path);
    let configured = place.as_ref().map(|(source, _)| *source);
    let zone = reading.given_zone.or(configured.map(|source| source.zone)).unwrap_or(reading.zone);
    // A file that was rotated away took its header with it.
    let parser = AutoParser::new(Context { zone, year }, reading.formats_of(configured)).named(path);
    let mut parser = parser.continuing(header, false);
    let (source, file, usual) = (shown.as_str(), shown.as_str().into(), WebLogins::default());
    let web_logins = configured.map_or(&usual, |source| &source.web_logins);
    let host = &place.as_ref().map(|(source, path)| source.host_of(path)).unwrap_or_default();
    let requests_are_read = access_logs.iter().any(|other| **other != path);
    let input = Input { source, file, fallback, present, host, web_logins, requests_are_read, access_logs: None };
    let mut save = saver.map(|saver| |line: &Triaged<'_>| saver.save(line));
    let mut settler = scanner.settler(&input, stream, 0);
    let read = each_piece(&mut lines, &mut parser, None, &mut settler, |piece| {
        scanner.take_in(&input, piece, save.as_mut().map(|save| save as _));
        Ok::<_, Infallible>(())
    });
    let Ok(()) = read;
    let mut last = Piece::of(lines.tail().to_vec(), lines.overlong, &mut parser);
    settler.settle(&mut last);
    scanner.take_in(&input, &last, save.as_mut().map(|save| save as _));
    lines.take_tail();
    *header = parser.header();
    scanner.overlong(&input, stream, lines.overlong);
    if lines.overlong > 0 {
        let long = crate::jobs::counted(lines.overlong as usize, "line");
        let message = format!("{shown} has {long} of more than {} KiB", BLOCK >> 10);
        output::warn(&Problem::new(message, "", "what is so long is counted, but neither looked at nor kept"));
    }
    let error = match lines.ending() {
        Ending::Whole => None,
        Ending::Damaged(reason) => {
            let help = "what could be read is counted";
            output::complain(&Problem::new(format!("{shown} is damaged: {reason}"), "", help).into());
            Some(reason)
        }
    };
    let (read, unparsed) = (scanner.total.lines - before.lines, scanner.total.unparsed - before.unparsed);
    FileResult {
        path: shown,
        format: parser.format().to_owned(),
        lines: read,
        parsed: read - unparsed,
        unparsed,
        error,
    }
}

impl<'a> JsonAddress<'a> {
    fn new(address: &'a ShortBytes, counts: &'a AddressCounts) -> Self {
        let AddressCounts { events, failures, status } = counts;
        Self { address: shown(address), events: *events, failures: *failures, status }
    }
}

/// An address as it is printed.
fn shown(address: &ShortBytes) -> Cow<'_, str> {
    String::from_utf8_lossy(address.as_slice())
}

impl<'a> JsonFinding<'a> {
    fn new(f: &'a Finding, zone: Tz) -> Self {
        let time = |seconds| output::rfc3339(seconds, zone);
        Self {
            rule: &f.rule,
            severity: f.severity,
            subject: &f.subject,
            count: f.count,
            first: time(f.first),
            last: time(f.last),
            reached: time(f.reached),
            breach: f.breach.as_ref().map(|breach| JsonBreach {
                time: time(breach.time),
                user: &breach.user,
                others: breach
                    .others
                    .iter()
                    .map(|login| JsonLogin { time: time(login.time), user: &login.user })
                    .collect(),
            }),
            note: f.note.as_deref(),
            can_wait: f.can_wait,
            evidence: &f.evidence,
        }
    }
}

impl Results {
    fn json(&self) -> Json<'_> {
        Json {
            files: &self.files,
            status: &self.status,
            addresses: self.addresses.iter().map(|(address, counts)| JsonAddress::new(address, counts)).collect(),
            findings: self.findings.iter().map(|finding| JsonFinding::new(finding, self.zone)).collect(),
            failed_logins: self.failed_logins,
            left_to_access_logs: self.left_to_access_logs,
            urgent: self.urgent,
            triage: self
                .triage
                .iter()
                .map(|(category, [standard, urgent])| {
                    (*category, serde_json::json!({ "standard": standard, "urgent": urgent }))
                })
                .collect(),
            dropped: self.dropped.iter().map(|(rule, events)| (rule.as_str(), *events)).collect(),
        }
    }

    /// A row per address and status; logins that failed without a request have an empty status.
    fn csv(&self) -> String {
        let mut out = "address,status,count\r\n".to_owned();
        for (address, counts) in &self.addresses {
            let address = csv(&shown(address));
            for (code, n) in by_count(&counts.status.all()) {
                out.push_str(&format!("{address},{code},{n}\r\n"));
            }
            let other = counts.events - counts.status.all().values().sum::<u64>();
            if other > 0 {
                out.push_str(&format!("{address},,{other}\r\n"));
            }
        }
        out
    }

    fn print(&self) {
        let files = self.files.iter().map(|file| {
            let counts = [file.lines, file.parsed, file.unparsed].map(|n| n.to_string());
            [vec![file.path.clone(), file.format.clone()], counts.to_vec()].concat()
        });
        output::print_table(&["FILE", "FORMAT", "LINES", "PARSED", "NOT PARSED"], files.collect());
        let [failed, urgent] = [(self.failed_logins, "failed login"), (self.urgent, "urgent line")]
            .map(|(n, what)| crate::jobs::counted(n as usize, what));
        output::print(&format!("\n{failed}, {urgent}\n"));
        if self.left_to_access_logs > 0 {
            let none = if self.status.contains_key(&401) {
                ""
            } else {
                ", of which there are none: scan the error logs alone"
            };
            output::print(&format!("{}{none}\n", left_in_words(self.left_to_access_logs)));
        }
        let triage = self
            .triage
            .iter()
            .map(|(category, [standard, urgent])| format!("{category}: {standard} standard, {urgent} urgent"));
        if !self.triage.is_empty() {
            output::print(&format!("lines by kind: {}\n", triage.collect::<Vec<_>>().join("; ")));
        }
        for (rule, events) in &self.dropped {
            output::print(&format!("{}\n", dropped_in_words(rule, *events)));
        }
        if !self.status.is_empty() {
            let status: Vec<String> = self.status.iter().map(|(code, n)| format!("{code}: {n}")).collect();
            output::print(&format!("answers by status: {}\n", status.join("  ")));
        }
        output::print("\n");
        let shown = self.addresses.iter().map(|(address, counts)| {
            let status: Vec<String> =
                by_count(&counts.status.all()).into_iter().map(|(code, n)| format!("{code}: {n}")).collect();
            vec![shown(address).into_owned(), counts.events.to_string(), counts.failures.to_string(), status.join("  ")]
        });
        if !self.addresses.is_empty() {
            output::print_table(&["ADDRESS", "EVENTS", "FAILED LOGINS", "STATUS"], shown.collect());
        }
        if self.all_addresses > SHOWN {
            output::print(&format!("and {} more addresses; --json or --csv lists all\n", self.all_addresses - SHOWN));
        }
        output::print("\n");
        if self.findings.is_empty() {
            output::print("No threshold was crossed.\n");
            return;
        }
        let time = |seconds| output::time(seconds, self.zone);
        let findings = self.findings.iter().take(SHOWN_FINDINGS).map(|f| {
            vec![
                f.severity.to_string(),
                f.rule.clone(),
                f.subject_words(),
                f.count.to_string(),
                time(f.first),
                time(f.last),
                printable(f.remark().as_bytes()),
            ]
        });
        output::print_times(self.zone);
        output::print_table(&["SEVERITY", "RULE", "OFFENDER", "COUNT", "FIRST", "LAST", ""], findings.collect());
        if self.findings.len() > SHOWN_FINDINGS {
            let more = self.findings.len() - SHOWN_FINDINGS;
            output::print(&format!("and {more} more findings; --json lists all\n"));
        }
    }
}

/// The counts, most first.
fn by_count(status: &BTreeMap<u16, u64>) -> Vec<(u16, u64)> {
    let mut list: Vec<(u16, u64)> = status.iter().map(|(code, n)| (*code, *n)).collect();
    list.sort_by_key(|(code, n)| (std::cmp::Reverse(*n), *code));
    list
}
