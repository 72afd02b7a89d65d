//! `jobs/ID.toml`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono_tz::Tz;

use super::fields::{Fields, Placed, Text};
use super::main_file::Main;
use super::values::{AbsolutePath, Period, Zone};
use crate::model::problem::nearest;
use crate::model::{
    ArchiveSpec, CommandSpec, Expression, Job, JobId, Problem, ReportKind, ReportSpec, ScanSpec, Schedule, Work,
};

const KINDS: [&str; 4] = ["archive", "scan", "report", "command"];
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60 * 60);
const DEFAULT_OUTPUT_LIMIT: usize = 256 * 1024;

/// What the other files define; `None` where the main file itself is broken, so that nothing is blamed twice.
pub struct Known {
    zone: Tz,
    state: PathBuf,
    sources: Option<BTreeSet<String>>,
    recipients: Option<BTreeSet<String>>,
}

impl Known {
    /// What a main file defines.
    pub fn new(main: Option<&Main>, root: &Path) -> Self {
        Self {
            zone: main.map_or(Tz::UTC, Main::zone),
            state: main.map_or_else(|| root.to_owned(), |main| main.state().to_owned()),
            sources: main.map(|main| main.sources.keys().cloned().collect()),
            recipients: main.map(|main| main.recipients.keys().cloned().collect()),
        }
    }
}

pub(super) fn read(fields: &mut Fields<'_, '_>, name: &str, known: &Known, rules: &[String]) -> Option<Job> {
    let id = name.parse::<JobId>().map_err(|problem| fields.refuse(0..0, problem)).ok();
    let description = fields.parsed::<Text>("description").map_or_else(String::new, |text| text.0);
    let zone = fields.parsed::<Zone>("zone").map_or(known.zone, |zone| zone.0);
    let schedule = fields.parsed::<Expression>("schedule").map(|expression| Schedule { expression, zone });
    let enabled = fields.value("enabled").unwrap_or(true);
    let timeout = fields.parsed::<Period>("timeout").map_or(DEFAULT_TIMEOUT, |period| period.0);
    let work = match fields.present(&KINDS).as_slice() {
        ["archive"] => fields.table("archive").and_then(|table| read_archive(table, known)),
        ["scan"] => fields.table("scan").and_then(|table| read_scan(table, known, rules)),
        ["report"] => fields.table("report").and_then(|table| read_report(table, known)),
        ["command"] => fields.table("command").and_then(read_command),
        [] => fields.required("command", None, "give it one of the tables [archive], [scan], [report] or [command]"),
        [.., second] => {
            fields.refuse_key(second, Problem::new("a job is of one kind", "a second kind", "make two files of it"));
            None
        }
    };
    Some(Job { id: id?, description, schedule, enabled, timeout, work: work? })
}

fn read_archive(mut table: Fields<'_, '_>, known: &Known) -> Option<Work> {
    let sources = names(&mut table, "sources", "source", known.sources.as_ref());
    let store = table.parsed::<AbsolutePath>("store").map_or_else(|| known.state.join("archives"), |path| path.0);
    let remove_originals = table.value("remove_originals").unwrap_or(false);
    table.finish();
    Some(Work::Archive(ArchiveSpec { sources: sources?, store, remove_originals }))
}

fn read_scan(mut table: Fields<'_, '_>, known: &Known, rules: &[String]) -> Option<Work> {
    let sources = names(&mut table, "sources", "source", known.sources.as_ref());
    let rules = names(&mut table, "rules", "rule", Some(&rules.iter().cloned().collect()));
    let alert = optional_names(&mut table, "alert", "recipient group", known.recipients.as_ref());
    let record = table.parsed::<AbsolutePath>("record").map(|path| path.0);
    table.finish();
    Some(Work::Scan(ScanSpec { sources: sources?, rules: rules?, alert: alert?, record }))
}

fn read_report(mut table: Fields<'_, '_>, known: &Known) -> Option<Work> {
    let period: Option<ReportKind> = table.parsed("period");
    let period = table.required("period", period, "write period = \"weekly\"");
    let to = names(&mut table, "to", "recipient group", known.recipients.as_ref());
    table.finish();
    Some(Work::Report(ReportSpec { period: period?, to: to? }))
}

fn read_command(mut table: Fields<'_, '_>) -> Option<Work> {
    let argv = table.texts("run");
    let shell = table.parsed::<Text>("shell").map(|text| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.0]);
    let directory = table.parsed::<AbsolutePath>("directory").map(|path| path.0);
    let env = table.value("env").unwrap_or_default();
    let output_limit = table.value::<usize>("output_limit").unwrap_or(DEFAULT_OUTPUT_LIMIT).clamp(1024, 64 << 20);
    let argv = match (argv, shell) {
        (Some(_), Some(_)) => {
            let help = "keep run = [\"/usr/bin/program\", \"argument\"] or shell = \"a line for sh\"";
            table.refuse_key("shell", Problem::new("a command is either run or shell", "besides run", help));
            None
        }
        (argv, shell) => {
            table.required("run", argv.or(shell), "write run = [\"/usr/bin/program\", \"argument\"] or shell = \"…\"")
        }
    };
    if argv.as_ref().is_some_and(Vec::is_empty) {
        table.refuse_key(
            "run",
            Problem::new("run is an empty list", "names no program", "write run = [\"/usr/bin/program\"]"),
        );
        return None;
    }
    table.finish();
    Some(Work::Command(CommandSpec { argv: argv?, directory, env, output_limit }))
}

/// A list of names, at least one, each of which must be known.
fn names(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    what: &str,
    known: Option<&BTreeSet<String>>,
) -> Option<Vec<String>> {
    let read = table.parsed_list::<Text>(key);
    let read = table.required(key, read, &format!("name at least one {what}: {key} = [\"…\"]"))?;
    if read.is_empty() {
        table.refuse_key(
            key,
            Problem::new(format!("{key} is empty"), "names nothing", format!("name at least one {what}")),
        );
        return None;
    }
    checked(table, read, what, known)
}

fn optional_names(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    what: &str,
    known: Option<&BTreeSet<String>>,
) -> Option<Vec<String>> {
    let absent = table.present(&[key]).is_empty();
    let read = table.parsed_list::<Text>(key);
    if absent { Some(Vec::new()) } else { checked(table, read?, what, known) }
}

fn checked(
    table: &Fields<'_, '_>,
    read: Vec<Placed<Text>>,
    what: &str,
    known: Option<&BTreeSet<String>>,
) -> Option<Vec<String>> {
    let mut all_known = true;
    for placed in &read {
        let name = placed.value.0.as_str();
        let Some(known) = known.filter(|known| !known.contains(name)) else { continue };
        all_known = false;
        let help = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near:?}?"),
            None if known.is_empty() => format!("no {what} is defined yet"),
            None => format!("known: {}", known.iter().cloned().collect::<Vec<_>>().join(", ")),
        };
        table.refuse(placed.span.clone(), Problem::new(format!("there is no {what} {name:?}"), "not defined", help));
    }
    all_known.then(|| read.into_iter().map(|placed| placed.value.0).collect())
}
