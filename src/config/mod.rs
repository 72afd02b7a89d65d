//! Configuration: `config/logkeeper.toml`, `config/rules/*.toml`, `jobs/*.toml` under one root folder.
//!
//! Everything is read before anything is refused, so that one look shows every mistake of every file.

mod diagnostic;
mod fields;
mod job_file;
mod main_file;
mod rule_file;
mod shipped;
mod values;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono_tz::Tz;

pub use diagnostic::{Diagnostic, SourceText};
pub use shipped::{SHIPPED, shipped_rules};

use fields::Reader;

use crate::model::{Job, JobId, MailSpec, Problem, Rule, Source};

/// Where the configuration lies unless told otherwise.
pub const DEFAULT_ROOT: &str = "/etc/logkeeper";

/// Everything that is configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that holds `config/` and `jobs/`.
    pub root: PathBuf,
    /// The zone of schedules, dates and reports.
    pub zone: Tz,
    /// The name of this machine in archives and mails.
    pub host: String,
    /// The folder for database, socket and lock.
    pub state: PathBuf,
    /// Sources by name.
    pub sources: BTreeMap<String, Source>,
    /// Rules by name.
    pub rules: BTreeMap<String, Rule>,
    /// How mail leaves.
    pub mail: MailSpec,
    /// Addresses by recipient group.
    pub recipients: BTreeMap<String, Vec<String>>,
    /// Jobs by id.
    pub jobs: BTreeMap<JobId, Job>,
}

/// Every mistake in a configuration.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<Diagnostic>);

impl ConfigErrors {
    /// All mistakes as text for a terminal, with colours if `color`.
    pub fn render(&self, color: bool) -> String {
        let mut shown: Vec<String> = self.0.iter().map(|diagnostic| diagnostic.render(color)).collect();
        let files = self.0.iter().map(|d| &d.file).collect::<std::collections::BTreeSet<_>>().len();
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        let (errors, s, fs) = (self.0.len(), plural(self.0.len()), plural(files));
        shown.push(format!("{errors} error{s} in {files} file{fs}; nothing was started or changed"));
        shown.join("\n\n")
    }
}

impl std::fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigErrors {}

impl Config {
    /// Reads the configuration under `root`.
    ///
    /// # Errors
    /// Every mistake of every file, each with its place.
    pub fn load(root: &Path) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let main = read(root, Path::new("config/logkeeper.toml"), &mut errors, |fields| main_file::read(fields, root));
        let mut rules = BTreeMap::new();
        for path in toml_files(root, "config/rules", &mut errors) {
            let name = stem(&path);
            if let Some(rule) = read(root, &path, &mut errors, |fields| rule_file::read(fields, &name)) {
                rules.insert(name, rule);
            }
        }
        let known = job_file::Known::new(main.as_ref(), root);
        let mut jobs = BTreeMap::new();
        for path in toml_files(root, "jobs", &mut errors) {
            let name = stem(&path);
            let rule_names: Vec<String> =
                toml_files(root, "config/rules", &mut Vec::new()).iter().map(|p| stem(p)).collect();
            let job = read(root, &path, &mut errors, |fields| job_file::read(fields, &name, &known, &rule_names));
            if let Some(job) = job {
                jobs.insert(job.id.clone(), job);
            }
        }
        match main {
            Some(main) if errors.is_empty() => Ok(main.into_config(root, rules, jobs)),
            _ => Err(ConfigErrors(errors)),
        }
    }

    /// The addresses of recipient groups, each once.
    pub fn addresses(&self, groups: &[String]) -> Vec<String> {
        let mut all: Vec<String> =
            groups.iter().filter_map(|group| self.recipients.get(group)).flatten().cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// The sources of that name, in the order given.
    pub fn sources_named<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a Source> {
        names.iter().filter_map(|name| self.sources.get(name))
    }
}

/// Reads one file with `make`; puts every mistake into `errors` and returns nothing if there was one.
fn read<T>(
    root: &Path,
    file: &Path,
    errors: &mut Vec<Diagnostic>,
    make: impl FnOnce(&mut fields::Fields<'_, '_>) -> Option<T>,
) -> Option<T> {
    let bytes = match load_bytes(root, file) {
        Ok(bytes) => bytes,
        Err(problem) => {
            errors.push(Diagnostic::of_file(file, problem));
            return None;
        }
    };
    let source = match String::from_utf8(bytes) {
        Ok(text) => SourceText::new(file, text),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let source = SourceText::new(file, String::from_utf8_lossy(error.as_bytes()).into_owned());
            let problem = Problem::new("this is not UTF-8 text", "not UTF-8", "save the file as UTF-8");
            errors.push(source.diagnostic(at..at + 1, problem));
            return None;
        }
    };
    let found = std::cell::RefCell::new(Vec::new());
    let made = Reader::new(&source, &found).document(make);
    let found = found.into_inner();
    let flawless = found.is_empty();
    errors.extend(found);
    made.filter(|_| flawless)
}

fn load_bytes(root: &Path, file: &Path) -> Result<Vec<u8>, Problem> {
    let path = root.join(file);
    let unreadable = |error: std::io::Error| {
        let message = format!("can't read {}: {error}", path.display());
        let help =
            "create it from the shipped files, or name another folder with --config DIR; \"logkeeper demo\" needs none";
        Problem::new(message, "", help)
    };
    let mode = std::fs::metadata(&path).map_err(unreadable)?.permissions().mode();
    let folder_mode = path.parent().and_then(|p| std::fs::metadata(p).ok()).map_or(0, |m| m.permissions().mode());
    if mode & 0o002 != 0 || (folder_mode & 0o002 != 0 && folder_mode & 0o1000 == 0) {
        let message = format!("{} can be changed by every user of this machine", path.display());
        return Err(Problem::new(message, "", "take that right away: chmod o-w on the file and its folder"));
    }
    std::fs::read(&path).map_err(unreadable)
}

/// The `*.toml` files of a folder under root, sorted; an absent folder has none.
fn toml_files(root: &Path, folder: &str, errors: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let problem = Problem::new(format!("can't read the folder: {error}"), "", "make it readable for logkeeper");
            errors.push(Diagnostic::of_file(Path::new(folder), problem));
            return Vec::new();
        }
    };
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
    let visible = names.filter(|name| {
        let name = name.to_string_lossy();
        name.ends_with(".toml") && !name.starts_with('.')
    });
    let mut files: Vec<PathBuf> = visible.map(|name| Path::new(folder).join(name)).collect();
    files.sort();
    files
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
