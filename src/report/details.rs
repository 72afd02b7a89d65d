//! The tables of a report, worded once for page and text: what was watched, and what administrators want to look into.

use super::Figures;
use super::words::{bytes, counted, grouped, percent, span_words};
use crate::model::untrusted::printable;

/// A table with a heading.
pub struct Table {
    /// What it tells.
    pub title: &'static str,
    /// What its numbers are.
    pub definition: String,
    /// Its rows: a name, and what there is to say.
    pub rows: Vec<(String, String)>,
}

/// How many archives are named.
const NAMED: usize = 10;

/// Whether everything was watched: for everybody.
pub fn compliance(figures: &Figures) -> Vec<(String, String)> {
    let total = figures.total();
    let gaps = figures.gaps();
    let known = figures.days.iter().filter(|day| day.tally.is_some()).count();
    let (due, missed) =
        figures.jobs.iter().fold((0, 0), |(due, missed), job| (due + job.due, missed + job.failed + job.missed));
    let scanned = figures.sources.iter().filter(|source| source.scanned);
    let with_lines = scanned.clone().filter(|source| source.lines > 0).count();
    let mut rows = vec![("Days with data".to_owned(), format!("{known} of {}", figures.days.len()))];
    if !gaps.is_empty() {
        rows.push(("No data".to_owned(), span_words(&gaps)));
    }
    if let Some(until) = figures.read_until {
        rows.push(("Logs read up to".to_owned(), stamp(until, figures)));
    }
    rows.push(("Logs covered".to_owned(), format!("{with_lines} of {}", scanned.count())));
    rows.push(("Log lines read".to_owned(), grouped(total.lines)));
    rows.push(("Lines not understood".to_owned(), unparsed(total.unparsed, total.lines)));
    let ran = match due {
        0 => "none was due".to_owned(),
        due => format!("{} of {}", grouped((due - missed.min(due)) as u64), grouped(due as u64)),
    };
    rows.push(("Jobs that ran when due".to_owned(), ran));
    if figures.findings_late > 0 {
        rows.push(("Found only now, of earlier times".to_owned(), grouped(figures.findings_late as u64)));
    }
    rows.push(("Archives made and verified".to_owned(), archives(figures)));
    if !figures.archives.damaged.is_empty() {
        rows.push(("Archives found damaged".to_owned(), figures.archives.damaged.len().to_string()));
    }
    rows
}

fn archives(figures: &Figures) -> String {
    match figures.archives.made {
        0 => "none".to_owned(),
        made => format!("{made}, holding {}", counted(figures.archives.logs, "log")),
    }
}

fn unparsed(unparsed: u64, lines: u64) -> String {
    match unparsed {
        0 => "none".to_owned(),
        n => format!("{} ({} %)", grouped(n), percent(n, lines)),
    }
}

/// What administrators want to look into.
pub fn tables(figures: &Figures) -> Vec<Table> {
    let top = |rows: &[(String, u64)]| {
        rows.iter().map(|(name, count)| (printable(name.as_bytes()), grouped(*count))).collect::<Vec<_>>()
    };
    let span = format!("{} to {}", stamp(figures.told_since, figures), stamp(figures.made, figures));
    let all = vec![
        Table {
            title: "Addresses with the most wrong passwords",
            definition: "failed logins, at least so many; of each hour the 20 most frequent addresses are on record"
                .to_owned(),
            rows: top(&figures.attackers),
        },
        Table {
            title: "Accounts that were tried most",
            definition: "failed logins for that name, whether it exists or not".to_owned(),
            rows: top(&figures.targets),
        },
        Table {
            title: "Paths with the most errors",
            definition: "requests answered with 4xx or 5xx, by whole hours".to_owned(),
            rows: top(&figures.error_paths),
        },
        Table {
            title: "Jobs",
            definition: format!("{span}; of each time a job was due its last attempt counts"),
            rows: figures.jobs.iter().map(|job| (job.id.clone(), job_words(job))).collect(),
        },
        Table {
            title: "Sources",
            definition: "lines of this period, and how many no format fitted".to_owned(),
            rows: figures.sources.iter().map(|source| (source.name.clone(), source_words(source, figures))).collect(),
        },
        Table {
            title: "Archives",
            definition: format!("{span}; the last ones that were made, with the beginning of their SHA-256"),
            rows: archive_rows(figures),
        },
        Table {
            title: "Disks",
            definition: "free for logkeeper".to_owned(),
            rows: figures
                .disks
                .iter()
                .map(|disk| (disk.path.clone(), format!("{} of {}", bytes(disk.free), bytes(disk.total))))
                .collect(),
        },
    ];
    all.into_iter().filter(|table| !table.rows.is_empty()).collect()
}

fn stamp(at: chrono::DateTime<chrono::Utc>, figures: &Figures) -> String {
    at.with_timezone(&figures.zone).format("%a %-d %b %H:%M").to_string()
}

fn job_words(job: &super::JobRecord) -> String {
    let mut value = format!("due {}, done {}", grouped(job.due as u64), grouped(job.done as u64));
    for (n, what) in [
        (job.failed, "failed"),
        (job.partial, "in part"),
        (job.missed, "missed, skipped or stopped"),
        (job.late, "late"),
    ] {
        if n > 0 {
            value.push_str(&format!(", {n} {what}"));
        }
    }
    value
}

fn source_words(source: &super::SourceRecord, figures: &Figures) -> String {
    if !source.scanned {
        return "not scanned by any job".to_owned();
    }
    let gap = match figures.days.len() - source.days.min(figures.days.len()) {
        0 => String::new(),
        n => format!(", {} without a line", counted(n, "day")),
    };
    format!("{} lines, not understood: {}{gap}", grouped(source.lines), unparsed(source.unparsed, source.lines))
}

fn archive_rows(figures: &Figures) -> Vec<(String, String)> {
    let archives = &figures.archives;
    let short = |(name, digest): &(String, String)| (name.clone(), digest.chars().take(16).collect());
    let mut rows: Vec<(String, String)> = archives.digests.iter().take(NAMED).map(short).collect();
    if archives.made > rows.len() {
        rows.push((format!("{} more", archives.made - rows.len()), String::new()));
    }
    if archives.made > 0 {
        rows.push(("Size of all of them".to_owned(), bytes(archives.bytes)));
    }
    if archives.verified > 0 {
        rows.push(("Read again and found whole".to_owned(), archives.verified.to_string()));
    }
    rows.extend(archives.damaged.iter().take(NAMED).map(|name| (name.clone(), "DAMAGED".to_owned())));
    rows
}
