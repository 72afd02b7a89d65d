//! Configuration: `config/logkeeper.toml`, `config/rules/*.toml`, `jobs/*.toml` under one root folder.
//!
//! Everything is read before anything is refused, so that one look shows every mistake of every file.

mod channels;
mod diagnostic;
mod fields;
mod format_file;
mod formats;
mod job_file;
mod layout;
mod main_file;
mod rule_file;
mod shipped;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;

pub use diagnostic::{Diagnostic, SourceText};
pub use formats::{formats, shipped_formats};
pub use main_file::system_zone;
pub use shipped::{SHIPPED, shipped_rules};

use fields::Reader;
use formats::KnownFormats;
use main_file::Main;

use crate::model::channel::MAIL;
use crate::model::{Channel, CopyPlace, Job, JobId, Problem, Rule, Severity, Source, Triage};

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
    /// Places that get copies of archives, by name.
    pub copies: BTreeMap<String, CopyPlace>,
    /// The sender of mail.
    pub from: String,
    /// The ways in which messages leave, by name; `mail` always is one.
    pub channels: BTreeMap<String, Channel>,
    /// Addresses and names of channels by recipient group.
    pub recipients: BTreeMap<String, Vec<String>>,
    /// How many runs may go on together.
    pub max_parallel: usize,
    /// How many runs of the jobs of each group may go on together.
    pub groups: BTreeMap<String, usize>,
    /// How long things stay on record.
    pub keep: Keep,
    /// Which lines are urgent.
    pub triage: Triage,
    /// An address that the daemon pings each minute.
    pub heartbeat: Option<String>,
    /// Jobs by id.
    pub jobs: BTreeMap<JobId, Arc<Job>>,
    /// Those of the jobs that come after others.
    chained: Vec<Arc<Job>>,
}

/// How long things stay on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Runs older than this are forgotten, unless a finding or an archive rests on them.
    pub runs: Duration,
    /// Of each job, so many of the newest runs stay.
    pub runs_per_job: usize,
    /// Findings whose last event is older than this are forgotten.
    pub findings: Duration,
    /// Messages made before this are forgotten, once they were delivered or given up.
    pub messages: Duration,
    /// Counts of times longer ago than this, of which reports are made, are forgotten.
    pub counts: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        // Thirteen months, so that a month can be compared with the same one a year ago.
        let thirteen_months = Duration::from_secs(400 * 24 * 3600);
        Self {
            runs: thirteen_months,
            runs_per_job: 100_000,
            findings: thirteen_months,
            counts: thirteen_months,
            messages: Duration::from_secs(90 * 24 * 3600),
        }
    }
}

/// Every mistake in a configuration.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<Diagnostic>);

impl ConfigErrors {
    /// All mistakes, for whose sake nothing is done, as text for a terminal, with colours if `color`.
    pub fn render(&self, color: bool) -> String {
        self.render_as(color, "nothing was started or changed")
    }

    /// All mistakes where the rest is used nevertheless, as text for a terminal, with colours if `color`.
    pub fn render_beside(&self, color: bool) -> String {
        self.render_as(color, "what follows goes without that")
    }

    fn render_as(&self, color: bool, therefore: &str) -> String {
        let mut shown: Vec<String> = self.0.iter().map(|diagnostic| diagnostic.render(color)).collect();
        let files = self.0.iter().map(|d| &d.file).collect::<std::collections::BTreeSet<_>>().len();
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        let (errors, s, fs) = (self.0.len(), plural(self.0.len()), plural(files));
        shown.push(format!("{errors} error{s} in {files} file{fs}; {therefore}"));
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
        match Self::load_for_reading(root)? {
            (config, None) => Ok(config),
            (_, Some(errors)) => Err(errors),
        }
    }

    /// The same for whoever only wants to see what is on record: a mistake in the file of a rule or a job costs that alone. The mistakes
    /// come beside it.
    ///
    /// # Errors
    /// Every mistake where the main file is not right.
    pub fn load_for_reading(root: &Path) -> Result<(Self, Option<ConfigErrors>), ConfigErrors> {
        let mut errors = Vec::new();
        let whole = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        if let Some(open) = whole.ancestors().find(|part| is_open_to_all(part)) {
            let problem = open_to_all(open);
            return Err(ConfigErrors(vec![Diagnostic::of_file(Path::new("config/logkeeper.toml"), problem)]));
        }
        let formats = KnownFormats::read(root, &mut errors);
        let main = read(root, Path::new("config/logkeeper.toml"), &mut errors, |fields| {
            main_file::read(fields, root, &formats)
        });
        let told = main.as_ref().map(Main::told);
        let mut rules = BTreeMap::new();
        for path in toml_files(root, "config/rules", &mut errors) {
            let name = stem(&path);
            if let Some(rule) = read(root, &path, &mut errors, |fields| rule_file::read(fields, &name, told.as_ref())) {
                rules.insert(name, rule);
            }
        }
        let rule_names = toml_files(root, "config/rules", &mut Vec::new()).iter().map(|path| stem(path)).collect();
        let job_files = toml_files(root, "jobs", &mut errors);
        let job_names = job_files.iter().map(|path| stem(path)).collect();
        let known = job_file::Known::new(main.as_ref(), root, rule_names, job_names);
        let mut jobs = BTreeMap::new();
        for path in job_files {
            let name = stem(&path);
            if let Some(job) = read(root, &path, &mut errors, |fields| job_file::read(fields, &name, &known)) {
                jobs.insert(job.id.clone(), Arc::new(job));
            }
        }
        errors.extend(circles(&jobs));
        let errors = Some(ConfigErrors(errors)).filter(|errors| !errors.0.is_empty());
        match (main, errors) {
            (Some(main), errors) => Ok((main.into_config(root, rules, jobs), errors)),
            (None, errors) => Err(errors.unwrap_or(ConfigErrors(Vec::new()))),
        }
    }

    /// The addresses of recipient groups, each once; an address stands for itself.
    pub fn addresses(&self, names: &[String]) -> Vec<String> {
        let mut all: Vec<String> = self.members(names).filter(|member| member.contains('@')).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// The channels by which something that matters so much goes to these groups, addresses and channels, each with the names
    /// that it takes to addresses.
    pub fn routes(&self, names: &[String], severity: Severity) -> Vec<(String, Vec<String>)> {
        let mut routes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for name in names {
            for member in self.members(std::slice::from_ref(name)) {
                if member.contains('@') {
                    let to = routes.entry(MAIL).or_default();
                    if to.last() != Some(name) {
                        to.push(name.clone());
                    }
                } else {
                    routes.entry(member).or_default();
                }
            }
        }
        let least = |channel: &str| self.channels.get(channel).map_or(Severity::Low, |channel| channel.least);
        routes.retain(|channel, _| severity >= least(channel));
        routes.into_iter().map(|(channel, to)| (channel.to_owned(), to)).collect()
    }

    /// What stands in these groups; a name that is no group stands for itself.
    fn members<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a String> {
        names.iter().flat_map(|name| self.recipients.get(name).map_or(std::slice::from_ref(name), Vec::as_slice))
    }

    /// The enabled jobs that come after a job.
    pub fn followers(&self, job: &JobId) -> Vec<Arc<Job>> {
        let followers = self.chained.iter().filter(|other| other.enabled && other.after.contains(job));
        followers.cloned().collect()
    }

    /// The sources of that name, in the order given.
    pub fn sources_named<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a Source> {
        names.iter().filter_map(|name| self.sources.get(name))
    }
}

/// The time zone of that name.
///
/// # Errors
/// Says which name may have been meant.
pub fn zone(name: &str) -> Result<Tz, Problem> {
    name.parse::<values::Zone>().map(|zone| zone.0)
}

/// A mail address.
///
/// # Errors
/// Says how one looks.
pub fn address(text: &str) -> Result<String, Problem> {
    text.parse::<values::Address>().map(|address| address.0)
}

/// Jobs that come after themselves, by way of others or directly.
fn circles(jobs: &BTreeMap<JobId, Arc<Job>>) -> Vec<Diagnostic> {
    let reaches_itself = |job: &&Arc<Job>| {
        let (mut seen, mut next) = (std::collections::BTreeSet::new(), job.after.clone());
        while let Some(id) = next.pop() {
            if id == job.id {
                return true;
            }
            if seen.insert(id.clone()) {
                next.extend(jobs.get(&id).map(|job| job.after.clone()).unwrap_or_default());
            }
        }
        false
    };
    let circular = jobs.values().filter(|job| !job.after.is_empty()).filter(reaches_itself);
    let diagnostic = |job: &Arc<Job>| {
        let problem = Problem::new(
            format!("{} would have to run after itself", job.id),
            "",
            "follow the jobs named by after and break the circle",
        );
        Diagnostic::of_file(&Path::new("jobs").join(format!("{}.toml", job.id)), problem)
    };
    circular.map(diagnostic).collect()
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
    if let Some(open) = path.canonicalize().map_err(unreadable)?.ancestors().find(|part| is_open_to_all(part)) {
        return Err(open_to_all(open));
    }
    std::fs::read(&path).map_err(unreadable)
}

fn open_to_all(path: &Path) -> Problem {
    let message = format!("{} can be changed by every user of this machine", path.display());
    Problem::new(message, "", format!("take that right away: chmod o-w {}", path.display()))
}

/// Whether every user may change a file, or put another one in its place; a sticky folder of root's, as /tmp, protects what is in it.
fn is_open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(meta) = std::fs::metadata(path) else { return false };
    let protects = meta.is_dir() && meta.mode() & 0o1000 != 0 && meta.uid() == 0;
    meta.mode() & 0o002 != 0 && !protects
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
