//! Writing job files that do what crontab lines do.

use std::collections::BTreeSet;
use std::path::Path;

use toml::Value;

use super::{Crontab, Entry};
use crate::model::JobId;

/// The path that cron gives its commands (cron(8)).
const CRON_PATH: &str = "/usr/bin:/bin";

/// A job file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The job's id.
    pub id: JobId,
    /// What stands in the file.
    pub text: String,
    /// The entry it comes from.
    pub entry: Entry,
}

/// The job files for a crontab. `zone` is the one cron itself goes by, `owner` the account where a line names none,
/// `mail_to` the recipient where no `MAILTO` is set, `home` tells the home of an account, and `taken` holds the ids of jobs
/// from other crontabs.
pub fn job_files(
    crontab: &Crontab,
    origin: &Path,
    zone: &str,
    owner: &str,
    mail_to: Option<&str>,
    home: impl Fn(&str) -> Option<String>,
    taken: &mut BTreeSet<String>,
) -> Vec<Written> {
    let many = crontab.entries.len() > 1;
    let written = crontab.entries.iter().enumerate().filter_map(|(place, entry)| {
        let id = job_id(origin, entry, many.then_some(place + 1), taken)?;
        let user = entry.user.as_deref().unwrap_or(owner);
        let text = job_text(entry, origin, zone, user, mail_to, home(user));
        Some(Written { id, text, entry: entry.clone() })
    });
    written.collect()
}

/// `php-sessionclean`, `crontab-02-run-parts`: where it comes from, its place there, what it runs.
fn job_id(origin: &Path, entry: &Entry, place: Option<usize>, taken: &mut BTreeSet<String>) -> Option<JobId> {
    let word = |text: &str| {
        let kept: String =
            text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        kept.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
    };
    let name = word(&origin.file_name().unwrap_or_default().to_string_lossy());
    let name = if name.is_empty() { "crontab".to_owned() } else { name };
    let parts = [Some(name), place.map(|place| format!("{place:02}")), program(&entry.command).map(word)];
    let joined = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    let mut id: String = joined.chars().take(56).collect();
    while !taken.insert(id.clone()) {
        id.push_str("-2");
    }
    id.parse().ok()
}

/// The name of the program a shell line is about: the first word that is a path, else the first that is no shell keyword.
fn program(command: &str) -> Option<&str> {
    let is_name = |word: &&str| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && !word.contains('=');
    let words = || command.split([' ', '\t', ';', '&', '|', '(', ')', '{', '}']).filter(is_name);
    let keywords = ["cd", "test", "if", "then", "command", "exec", "nice", "ionice", "timeout", "env", "sudo"];
    let useful = |word: &&str| !keywords.contains(word) && !word.starts_with("/dev/") && *word != "/";
    let named = words().filter(useful).find(|word| !command.contains(&format!("-x {word}")) || words().count() < 3);
    named.or_else(|| words().find(useful)).map(|word| word.rsplit('/').next().unwrap_or(word))
}

fn job_text(
    entry: &Entry,
    origin: &Path,
    zone: &str,
    user: &str,
    mail_to: Option<&str>,
    home: Option<String>,
) -> String {
    let mut lines = vec![format!("# Imported from {}:{}, to do the same:", origin.display(), entry.line)];
    lines.push(format!("#   {}", one_line(&entry.text)));
    lines.extend(entry.comments.iter().map(|comment| format!("# {}", one_line(comment))));
    let mut line = |key: &str, value: Value| lines.push(format!("{key} = {value}"));
    line("schedule", text(&entry.schedule));
    line("zone", text(entry.zone.as_deref().unwrap_or(zone)));
    line("catch_up", text(if entry.catch_up_days.is_some() { "last" } else { "none" }));
    if let Some(days) = entry.catch_up_days {
        line("catch_up_window", text(&format!("{days}d")));
    }
    line("overlap", text("allow"));
    line("timeout", text("none"));
    line("retries", Value::Integer(0));
    if let Some(minutes) = entry.jitter.filter(|minutes| *minutes > 0) {
        line("jitter", text(&format!("{minutes}m")));
    }
    let told: Vec<Value> = recipients(entry, mail_to).iter().map(|recipient| text(recipient)).collect();
    line("on_output", Value::Array(told));
    lines.push("\n[command]".to_owned());
    let mut line = |key: &str, value: Value| lines.push(format!("{key} = {value}"));
    match entry.shell.as_deref() {
        None | Some("/bin/sh") => line("shell", text(&entry.command)),
        Some(shell) => line("run", Value::Array([shell, "-c", &entry.command].map(text).to_vec())),
    }
    line("user", text(user));
    let home = entry.env.iter().find(|(name, _)| name == "HOME").map(|(_, value)| value.clone()).or(home);
    if let Some(home) = home.filter(|home| home.starts_with('/')) {
        line("directory", text(&home));
    }
    if let Some(stdin) = &entry.stdin {
        line("stdin", text(stdin));
    }
    lines.push("\n[command.env]".to_owned());
    let mut line = |key: &str, value: Value| lines.push(format!("{key} = {value}"));
    if !entry.env.iter().any(|(name, _)| name == "PATH") {
        line("PATH", text(CRON_PATH));
    }
    if let Some(shell) = &entry.shell {
        line("SHELL", text(shell));
    }
    entry.env.iter().for_each(|(name, value)| line(name, text(value)));
    lines.join("\n") + "\n"
}

/// Who gets the output: names without a domain are accounts of this machine.
pub fn recipients(entry: &Entry, default: Option<&str>) -> Vec<String> {
    let Some(mail_to) = entry.mail_to.as_deref() else { return default.map(str::to_owned).into_iter().collect() };
    let names = mail_to.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| if name.contains('@') { name.to_owned() } else { format!("{name}@localhost") }).collect()
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// A comment can't hold control characters.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
