//! Writing job files that do what logrotate's entries say.

use std::collections::BTreeSet;
use std::path::PathBuf;

use toml::Value;

use super::{Directive, Entry};
use crate::model::{Create, JobId};

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
struct Wanted {
    schedule: &'static str,
    weekday: Option<String>,
    every: Option<&'static str>,
    rotate: i64,
    min_size: Option<String>,
    max_size: Option<String>,
    copytruncate: bool,
    create: Option<String>,
    compress: bool,
    zstd: bool,
    dated: bool,
    missing_ok: bool,
    shared: bool,
    max_age: Option<String>,
    before: Option<String>,
    after: Option<String>,
}

/// What logrotate does where nothing is said (logrotate.conf(5)).
const UNSAID: Wanted = Wanted {
    schedule: DAILY,
    weekday: None,
    every: Some("daily"),
    rotate: 0,
    min_size: None,
    max_size: None,
    copytruncate: false,
    create: None,
    compress: false,
    zstd: false,
    dated: false,
    missing_ok: false,
    shared: false,
    max_age: None,
    before: None,
    after: None,
};

/// When distributions start logrotate.
const DAILY: &str = "0 0 * * *";
/// How often the size of logs is looked at that may be rotated before their time.
const HOURLY: &str = "0 * * * *";

/// The job file for an entry. `zone` is the machine's, `taken` holds the ids of jobs from other entries.
pub fn job_file(entry: &Entry, zone: &str, taken: &mut BTreeSet<String>) -> Option<Written> {
    let mut wanted = UNSAID;
    let mut notes = Vec::new();
    for directive in &entry.directives {
        if let Err(text) = wanted.take(directive) {
            notes.push(Note { file: directive.file.clone(), line: directive.line, text });
        }
    }
    if wanted.rotate == 0 {
        let text = "rotate 0: one rotated log stays here, until the next rotation".to_owned();
        notes.push(Note { file: entry.file.clone(), line: entry.line, text });
    }
    let name = entry.file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(48).collect();
    let mut id = format!("rotate-{}", name.trim_matches('-'));
    let mut number = 1;
    while !taken.insert(id.clone()) {
        number += 1;
        id = format!("rotate-{}-{number}", name.trim_matches('-'));
    }
    Some(Written { id: id.parse().ok()?, text: wanted.job_text(entry, zone), notes })
}

impl Wanted {
    /// Takes a directive in; says what of it can't be done.
    fn take(&mut self, directive: &Directive) -> Result<(), String> {
        let Directive { name, words, script, .. } = directive;
        let first = words.first().cloned();
        let size = || first.as_deref().and_then(bytes).ok_or_else(|| format!("{name}: this is no size"));
        let mut every = |schedule, every| (self.schedule, self.every, self.weekday) = (schedule, Some(every), None);
        match name.as_str() {
            "hourly" => every(HOURLY, "hourly"),
            "daily" => every(DAILY, "daily"),
            "weekly" => {
                every("0 0 * * 0", "weekly");
                self.weekday = first.filter(|day| matches!(day.as_str(), "0" | "1" | "2" | "3" | "4" | "5" | "6"));
            }
            "monthly" => every("0 0 1 * *", "monthly"),
            "yearly" => every("0 0 1 1 *", "yearly"),
            "size" => (self.schedule, self.every, self.min_size) = (DAILY, None, Some(size()?)),
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
            "dateformat" if first.as_deref() == Some("-%Y%m%d") => {}
            "missingok" => self.missing_ok = true,
            "nomissingok" => self.missing_ok = false,
            "sharedscripts" => self.shared = true,
            "nosharedscripts" => self.shared = false,
            "prerotate" => self.before.clone_from(script),
            "postrotate" => self.after.clone_from(script),
            // What is so here in any case: finished logs only are compressed, links are not followed, empty logs left alone.
            "delaycompress" | "nodelaycompress" | "su" | "notifempty" | "nomail" | "noolddir" | "nocopy"
            | "noshred" | "norenamecopy" | "compressext" | "uncompresscmd" => {}
            "start" if first.as_deref() == Some("1") => {}
            "ifempty" => return Err("ifempty: empty logs are left alone".to_owned()),
            "dateformat" | "datehourago" | "dateyesterday" => {
                return Err(format!("{name}: rotated logs are called NAME-YYYYMMDD, by the day of the run"));
            }
            "olddir" => return Err("olddir: rotated logs stay beside the live one".to_owned()),
            "firstaction" | "lastaction" | "preremove" => {
                return Err(format!("{name}: this script is not run; [rotate.before] and [rotate.after] are there"));
            }
            other => return Err(format!("{other}: not done")),
        }
        Ok(())
    }

    fn job_text(&self, entry: &Entry, zone: &str) -> String {
        let mut lines = vec![format!("# Imported from {}:{}, to do the same.", entry.file.display(), entry.line)];
        let mut line = |key: &str, value: Value| lines.push(format!("{key} = {value}"));
        let day = self.weekday.as_ref().map(|day| format!("0 0 * * {day}"));
        // A log that may be rotated before its time needs to be told when that is.
        let hourly = self.max_size.is_some() && self.every.is_some();
        line("schedule", text(if hourly { HOURLY } else { day.as_deref().unwrap_or(self.schedule) }));
        line("zone", text(zone));
        lines.push("\n[rotate]".to_owned());
        let mut line = |key: &str, value: Value| lines.push(format!("{key} = {value}"));
        line("files", Value::Array(entry.patterns.iter().map(|pattern| text(pattern)).collect()));
        if let Some(every) = self.every.filter(|_| hourly) {
            line("every", text(every));
        }
        let texts = [("min_size", &self.min_size), ("max_size", &self.max_size), ("max_age", &self.max_age)];
        for (key, value) in texts {
            if let Some(value) = value {
                line(key, text(value));
            }
        }
        line("method", text(if self.copytruncate { "copytruncate" } else { "rename" }));
        line("names", text(if self.dated { "dated" } else { "numbered" }));
        line("create", text(self.create.as_deref().unwrap_or("none")));
        if self.compress {
            line("compress", text(if self.zstd { "zstd" } else { "gzip" }));
        }
        if self.rotate >= 0 {
            line("keep", Value::Integer(self.rotate.max(1)));
        }
        line("missing_ok", Value::Boolean(self.missing_ok));
        if !self.shared && (self.before.is_some() || self.after.is_some()) {
            line("each", Value::Boolean(true));
        }
        for (table, script) in [("before", &self.before), ("after", &self.after)] {
            if let Some(script) = script.as_ref().filter(|script| !script.trim().is_empty()) {
                lines.push(format!("\n[rotate.{table}]"));
                lines.push(format!("shell = {}", text(script)));
            }
        }
        lines.join("\n") + "\n"
    }
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
