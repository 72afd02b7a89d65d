//! Writing job files that do what logrotate's entries say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use toml::Value;

use super::{Directive, Entry};
use crate::model::untrusted::printable;
use crate::model::{Create, JobId, Problem};

/// What a job doesn't do as the entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where it says so.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What differs.
    pub text: String,
}

/// A job file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The job's id.
    pub id: JobId,
    /// What stands in the file.
    pub text: String,
    /// What differs.
    pub notes: Vec<Note>,
}

/// What an entry asks for, in the words of a `[rotate]` table.
#[derive(Default)]
struct Wanted {
    every: Option<&'static str>,
    /// The day of the week, from Sunday as 0, where one is given.
    weekday: Option<String>,
    /// Rotated for its size alone.
    size: Option<String>,
    rotate: i64,
    min_size: Option<String>,
    max_size: Option<String>,
    copytruncate: bool,
    create: Option<String>,
    compress: bool,
    zstd: bool,
    dated: bool,
    missing_ok: bool,
    not_empty: bool,
    shared: bool,
    max_age: Option<String>,
    before: Option<String>,
    after: Option<String>,
    /// Those that run once for all logs, before and after all others.
    first: Option<String>,
    last: Option<String>,
    /// Why there can't be a job.
    refused: Option<String>,
    /// What differs, by the directive that says so.
    notes: BTreeMap<String, Note>,
}

/// When distributions start logrotate.
const DAILY: &str = "0 0 * * *";
const HOURLY: &str = "0 * * * *";

/// The job file for an entry, or why there can't be one. `zone` is the machine's, `taken` holds the ids of jobs from other entries.
///
/// # Errors
/// Says what no job does.
pub fn job_file(entry: &Entry, zone: &str, taken: &mut BTreeSet<String>) -> Result<Written, String> {
    let mut wanted = Wanted::default();
    for directive in &entry.directives {
        if let Err(text) = wanted.take(directive) {
            let note = Note { file: directive.file.clone(), line: directive.line, text };
            wanted.notes.insert(directive.name.clone(), note);
        }
    }
    if let Some(pattern) = entry.patterns.iter().find(|pattern| !pattern.starts_with('/')) {
        return Err(format!("{pattern:?} is not a full path"));
    }
    if let Some(why) = wanted.refused.take() {
        return Err(why);
    }
    wanted.join_scripts(entry);
    let mut notes: Vec<Note> = std::mem::take(&mut wanted.notes).into_values().collect();
    let mut note = |text: &str| notes.push(Note { file: entry.file.clone(), line: entry.line, text: text.to_owned() });
    if wanted.rotate == 0 {
        note("rotate 0: one rotated log stays here, until the next rotation");
    }
    if !wanted.not_empty && wanted.size.is_none() {
        note("empty logs are left alone; logrotate rotates them unless told notifempty");
    }
    let name = entry.file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(48).collect();
    let mut id = format!("rotate-{}", name.trim_matches('-'));
    let mut number = 1;
    while !taken.insert(id.clone()) {
        number += 1;
        id = format!("rotate-{}-{number}", name.trim_matches('-'));
    }
    let id = id.parse().map_err(|problem: Problem| problem.to_string())?;
    Ok(Written { id, text: wanted.job_text(entry, zone, &notes), notes })
}

impl Wanted {
    /// Takes a directive in; says what of it is done otherwise.
    fn take(&mut self, directive: &Directive) -> Result<(), String> {
        let Directive { name, words, script, .. } = directive;
        let first = words.first().cloned();
        let size = || first.as_deref().and_then(bytes).ok_or_else(|| format!("{name}: this is no size"));
        match name.as_str() {
            "hourly" | "daily" | "weekly" | "monthly" | "yearly" => self.take_period(name, first.as_deref())?,
            "size" => (self.every, self.weekday, self.size) = (None, None, Some(size()?)),
            "minsize" => self.min_size = Some(size()?),
            "maxsize" => self.max_size = Some(size()?),
            "rotate" => {
                let number = first.and_then(|number| number.parse().ok());
                self.rotate = number.ok_or("rotate: this is no number")?;
            }
            "maxage" => {
                let days = first.filter(|days| days.parse::<u32>().is_ok_and(|days| days > 0));
                self.max_age = Some(format!("{}d", days.ok_or("maxage: this is no number of days")?));
            }
            "compress" => self.compress = true,
            "nocompress" => self.compress = false,
            "compresscmd" => {
                let program = first.unwrap_or_default();
                self.zstd = program.contains("zstd");
                if !self.zstd && !program.contains("gzip") && !program.contains("pigz") {
                    return Err(format!("compresscmd {program}: gzip is used"));
                }
            }
            "copytruncate" => self.copytruncate = true,
            "nocopytruncate" => self.copytruncate = false,
            "create" if words.is_empty() => self.create = Some("same".to_owned()),
            "create" => {
                let like = words.join(" ");
                like.parse::<Create>().map_err(|problem| format!("create: {problem}"))?;
                self.create = Some(like);
            }
            "nocreate" => self.create = None,
            "dateext" => self.dated = true,
            "nodateext" => self.dated = false,
            "dateformat" if first.as_deref() == Some("-%Y%m%d") => drop(self.notes.remove("dateformat")),
            "missingok" => self.missing_ok = true,
            "nomissingok" => self.missing_ok = false,
            "notifempty" => self.not_empty = true,
            "ifempty" => self.not_empty = false,
            "sharedscripts" => self.shared = true,
            "nosharedscripts" => self.shared = false,
            "prerotate" => self.before.clone_from(script),
            "postrotate" => self.after.clone_from(script),
            "firstaction" => self.first.clone_from(script),
            "lastaction" => self.last.clone_from(script),
            "copy" | "renamecopy" => self.refused = Some(format!("{name}: no job leaves the log as it is")),
            "nocopy" | "norenamecopy" => self.refused = None,
            // What is so here in any case: finished logs only are compressed.
            "delaycompress" | "nodelaycompress" | "compressext" | "uncompresscmd" => {}
            "nomail" | "noolddir" | "noshred" => drop(self.notes.remove(&name[2..])),
            "start" if first.as_deref() == Some("1") => {}
            other => return Err(differs(other)),
        }
        Ok(())
    }

    fn take_period(&mut self, name: &str, day: Option<&str>) -> Result<(), String> {
        let known = ["hourly", "daily", "weekly", "monthly", "yearly"];
        (self.every, self.size, self.weekday) = (known.into_iter().find(|known| *known == name), None, None);
        match (name, day) {
            ("weekly", Some("7")) => Err("weekly 7: rotated on Sundays".to_owned()),
            ("weekly", day) => {
                self.weekday = day.map(str::to_owned);
                Ok(())
            }
            ("hourly", _) => {
                Err("hourly: rotated every hour; logrotate itself is often started but once a day".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Makes one script each of those before and after rotation, which is the same where they run once for all logs.
    fn join_scripts(&mut self, entry: &Entry) {
        for script in [&mut self.before, &mut self.after, &mut self.first, &mut self.last] {
            // One of comments only does nothing, and in brackets it would be an error.
            *script = script.take().filter(|script| does_something(script));
        }
        if !self.shared && (self.before.is_some() || self.after.is_some()) && is_log_of_many(entry) {
            for (name, script) in [("firstaction", self.first.take()), ("lastaction", self.last.take())] {
                let said = entry.directives.iter().rfind(|directive| directive.name == name);
                if let Some(directive) = said.filter(|_| script.is_some()) {
                    let text = format!("{name}: this script is not run, because the others run for each log by itself");
                    let note = Note { file: directive.file.clone(), line: directive.line, text };
                    self.notes.insert(name.to_owned(), note);
                }
            }
            return;
        }
        self.shared |= self.first.is_some() || self.last.is_some();
        // Where the first fails, logrotate goes no further; the last runs in any case.
        self.before = match (self.first.take(), self.before.take()) {
            (Some(first), Some(before)) => Some(format!("(\n{}\n) || exit\n{}", plain(&first), plain(&before))),
            (one, other) => one.or(other),
        };
        self.after = match (self.after.take(), self.last.take()) {
            (Some(after), Some(last)) => {
                Some(format!("(\n{}\n)\nstatus=$?\n(\n{}\n) || exit\nexit $status", plain(&after), plain(&last)))
            }
            (one, other) => one.or(other),
        };
    }

    fn job_text(&self, entry: &Entry, zone: &str, notes: &[Note]) -> String {
        let mut lines = vec![format!("# Imported from {}:{}.", comment(&entry.file.to_string_lossy()), entry.line)];
        lines.extend(notes.iter().map(|note| format!("# Differs: {}", comment(&note.text))));
        let mut line = |key: &str, value: Value| lines.push(format!("{key} = {value}"));
        // Looked at as often as logrotate would; what is due is said by the calendar.
        let schedule = match (self.every, &self.weekday) {
            (_, Some(day)) => format!("0 0 * * {day}"),
            (Some("hourly"), _) => HOURLY.to_owned(),
            _ => DAILY.to_owned(),
        };
        line("schedule", text(&schedule));
        line("zone", text(zone));
        lines.push("\n[rotate]".to_owned());
        let mut line = |key: &str, value: Value| lines.push(format!("{key} = {value}"));
        line("files", Value::Array(entry.patterns.iter().map(|pattern| text(pattern)).collect()));
        let every = self.every.or(self.size.is_none().then_some("daily")).filter(|_| self.weekday.is_none());
        let texts = [
            ("every", every),
            ("min_size", self.size.as_deref().or(self.min_size.as_deref())),
            ("max_size", self.max_size.as_deref()),
            ("max_age", self.max_age.as_deref()),
            ("method", Some(if self.copytruncate { "copytruncate" } else { "rename" })),
            ("names", Some(if self.dated { "dated" } else { "numbered" })),
            ("create", Some(self.create.as_deref().unwrap_or("none"))),
            ("compress", self.compress.then_some(if self.zstd { "zstd" } else { "gzip" })),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                line(key, text(value));
            }
        }
        if self.rotate >= 0 {
            line("keep", Value::Integer(self.rotate.max(1)));
        }
        line("missing_ok", Value::Boolean(self.missing_ok));
        if !self.shared && (self.before.is_some() || self.after.is_some()) {
            line("each", Value::Boolean(true));
        }
        for (table, script) in [("before", &self.before), ("after", &self.after)] {
            if let Some(script) = script {
                lines.push(format!("\n[rotate.{table}]"));
                lines.push(format!("shell = {}", shell(script)));
            }
        }
        lines.join("\n") + "\n"
    }
}

/// What is done instead of a directive that no job knows.
fn differs(directive: &str) -> String {
    let instead = match directive {
        "dateformat" | "datehourago" | "dateyesterday" => {
            "rotated logs are called NAME-YYYYMMDD, by the day of the run"
        }
        "olddir" => "rotated logs stay beside the live one",
        "su" => "done as logkeeper's own account; links that others could have made are refused",
        "preremove" => "this script is not run",
        _ => "not done",
    };
    format!("{directive}: {instead}")
}

/// Whether a script holds more than comments.
fn does_something(script: &str) -> bool {
    script.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Whether there may be more than one log.
fn is_log_of_many(entry: &Entry) -> bool {
    entry.patterns.len() > 1 || entry.patterns.iter().any(|pattern| pattern.contains(['*', '?', '[', '{']))
}

/// A comment can't hold control characters.
fn comment(text: &str) -> String {
    printable(text.as_bytes())
}

/// A script without what all its lines are indented by.
fn plain(script: &str) -> String {
    let lines = || script.lines().filter(|line| !line.trim().is_empty());
    let indent = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let plain: Vec<&str> = script.lines().map(|line| line.get(indent..).unwrap_or_default().trim_end()).collect();
    plain.join("\n").trim_matches('\n').to_owned()
}

/// A script as a text of several lines where TOML can hold it so.
fn shell(script: &str) -> String {
    let plain = plain(script);
    let is_literal =
        plain.contains('\n') && !plain.contains("'''") && !plain.chars().any(|c| c.is_control() && !"\n\t".contains(c));
    if is_literal { format!("'''\n{plain}\n'''") } else { text(&plain).to_string() }
}

/// `10k` as a size of ours.
fn bytes(text: &str) -> Option<String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let fits = number.parse::<u64>().is_ok_and(|number| number > 0) && matches!(unit, "" | "k" | "M" | "G");
    fits.then(|| format!("{number}{}", unit.to_uppercase()))
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}
