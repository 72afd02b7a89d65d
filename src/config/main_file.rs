//! `config/logkeeper.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono_tz::Tz;

use super::channels;
use super::fields::{Fields, Text};
use super::formats::KnownFormats;
use super::job_file::Defaults;
use super::values::{AbsolutePath, Address, Pattern, Period, Url, Zone};
use super::{Config, Keep};
use crate::model::channel::MAIL;
use crate::model::{
    Channel, CopyPlace, Job, JobId, Problem, Rule, S3Spec, Selection, Source, StatusClass, Triage, WebLogins,
};

/// How many runs go on together unless the main file says otherwise.
const DEFAULT_PARALLEL: usize = 100;

/// Each run needs a thread.
const MOST_PARALLEL: i64 = 800;

/// What stands in the main file.
pub struct Main {
    zone: Tz,
    host: String,
    state: PathBuf,
    pub(super) sources: BTreeMap<String, Source>,
    pub(super) copies: BTreeMap<String, CopyPlace>,
    from: String,
    pub(super) channels: BTreeMap<String, Channel>,
    pub(super) recipients: BTreeMap<String, Vec<String>>,
    pub(super) defaults: Defaults,
    max_parallel: usize,
    pub(super) groups: BTreeMap<String, usize>,
    keep: Keep,
    triage: Triage,
    heartbeat: Option<String>,
}

impl Main {
    /// The zone of schedules that name none.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// Who and what can be told: recipient groups and channels but that of mail, which needs addresses.
    pub fn told(&self) -> BTreeSet<String> {
        let channels = self.channels.keys().filter(|name| *name != MAIL);
        self.recipients.keys().chain(channels).cloned().collect()
    }

    /// The patterns of each source's files.
    pub fn patterns(&self) -> BTreeMap<String, Vec<String>> {
        self.sources.iter().map(|(name, source)| (name.clone(), source.files.clone())).collect()
    }

    /// The state folder.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The whole configuration.
    pub fn into_config(self, root: &Path, rules: BTreeMap<String, Rule>, jobs: BTreeMap<JobId, Arc<Job>>) -> Config {
        let Self {
            zone,
            host,
            state,
            sources,
            copies,
            from,
            channels,
            recipients,
            max_parallel,
            groups,
            keep,
            triage,
            heartbeat,
            ..
        } = self;
        let root = root.to_owned();
        let chained = jobs.values().filter(|job| !job.after.is_empty()).cloned().collect();
        Config {
            chained,
            root,
            zone,
            host,
            state,
            sources,
            rules,
            copies,
            from,
            channels,
            recipients,
            max_parallel,
            groups,
            keep,
            triage,
            heartbeat,
            jobs,
        }
    }
}

pub(super) fn read(fields: &mut Fields<'_, '_>, root: &Path, formats: &KnownFormats) -> Option<Main> {
    let zone = fields.parsed::<Zone>("zone").map_or_else(system_zone, |zone| zone.0);
    let host = fields.parsed::<Host>("host").map_or_else(system_host, |host| host.0);
    let state =
        fields.parsed::<AbsolutePath>("state").map_or_else(|| PathBuf::from("/var/lib/logkeeper"), |path| path.0);
    let sources = fields
        .tables("sources")
        .into_iter()
        .filter_map(|(name, table)| read_source(name, table, zone, formats))
        .collect();
    let (from, channels) = channels::read(fields, &host, &state, root);
    let recipients = fields.table("recipients").map(|table| read_recipients(table, &channels)).unwrap_or_default();
    let names = recipients.keys().chain(channels.keys().filter(|name| *name != MAIL)).cloned().collect();
    let defaults = fields.table("defaults").map_or_else(Defaults::default, |mut table| {
        let defaults = Defaults::default().read(&mut table, Some(&names));
        table.finish();
        defaults
    });
    let max_parallel = fields.number("max_parallel", 1..=MOST_PARALLEL).map_or(DEFAULT_PARALLEL, |n| n as usize);
    let groups = fields.table("groups").map(read_groups).unwrap_or_default();
    let keep = fields.table("keep").map(read_keep).unwrap_or_default();
    let heartbeat = fields.parsed::<Url>("heartbeat").map(|url| url.0);
    let copies = fields.tables("copies").into_iter();
    let copies = copies.filter_map(|(name, table)| Some((name, read_place(table, root)?))).collect();
    let triage = fields.table("triage").map(read_triage).unwrap_or_default();
    Some(Main {
        zone,
        host,
        state,
        sources,
        copies,
        from,
        channels,
        recipients,
        defaults,
        max_parallel,
        groups,
        keep,
        triage,
        heartbeat,
    })
}

/// How many runs may go on together in each group.
fn read_groups(mut table: Fields<'_, '_>) -> BTreeMap<String, usize> {
    let mut groups = BTreeMap::new();
    for (name, limit) in table.entries::<i64>() {
        match usize::try_from(limit.value).ok().filter(|limit| *limit > 0) {
            Some(limit) => drop(groups.insert(name, limit)),
            None => table.refuse(limit.span, Problem::new(format!("{name} lets nothing run"), "at least 1", "write 1")),
        }
    }
    groups
}

fn read_keep(mut table: Fields<'_, '_>) -> Keep {
    let default = Keep::default();
    let keep = Keep {
        runs: table.parsed::<Period>("runs").map_or(default.runs, |period| period.0),
        findings: table.parsed::<Period>("findings").map_or(default.findings, |period| period.0),
        counts: table.parsed::<Period>("counts").map_or(default.counts, |period| period.0),
        messages: table.parsed::<Period>("messages").map_or(default.messages, |period| period.0),
        runs_per_job: table.number("runs_per_job", 1..=i64::MAX).map_or(default.runs_per_job, |n| n as usize),
    };
    table.finish();
    keep
}

fn read_triage(mut table: Fields<'_, '_>) -> Triage {
    let urgent = table.parsed_list::<Urgent>("urgent");
    let texts = table.parsed_list::<LineText>("texts").unwrap_or_default();
    let texts = texts.into_iter().map(|text| text.value.0).collect();
    table.finish();
    let mut triage = Triage::default();
    if let Some(urgent) = urgent {
        triage = Triage::new(urgent.into_iter().map(|of| of.value.0).collect());
    }
    triage.texts = texts;
    triage
}

/// A text that a line may hold.
struct LineText(String);

impl std::str::FromStr for LineText {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        if text.contains('\n') {
            return Err(Problem::new("no line holds a line break", "more than a line", "write a text for each line"));
        }
        text.parse::<Text>().map(|text| Self(text.0))
    }
}

/// A status, or a kind of event.
struct Urgent(Selection);

impl std::str::FromStr for Urgent {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return text.parse().map(|status| Self(Selection::Answers(vec![status])));
        }
        match text.parse()? {
            Selection::Urgent(_) => {
                let help = "say which lines are: for example \"404\", \"5xx\", \"errors\" or \"failed-logins\"";
                Err(Problem::new("urgent lines are what this list tells", "says nothing", help))
            }
            selection => Ok(Self(selection)),
        }
    }
}

/// A host's name, in small letters.
struct Host(String);

impl std::str::FromStr for Host {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        text.to_lowercase().parse::<JobId>().map(|name| Self(name.to_string()))
    }
}

fn read_source(name: String, mut table: Fields<'_, '_>, zone: Tz, formats: &KnownFormats) -> Option<(String, Source)> {
    let files = table.parsed_list::<Pattern>("files");
    let journal = table.texts("journal");
    let journal_folder = table.parsed::<AbsolutePath>("journal_folder").map(|path| path.0);
    let zone = table.parsed::<Zone>("zone").map_or(zone, |zone| zone.0);
    if files.is_none() && journal.is_none() {
        table.required("files", None::<()>, "name the logs: files = [\"/var/log/nginx/access.log\"]");
    }
    if let Err(problem) = name.parse::<JobId>() {
        table.refuse_key("files", problem);
    }
    let files = files.unwrap_or_default().into_iter().map(|placed| placed.value.0).collect();
    let configured = table.made("format", |name| formats.only(name));
    let host_pattern = table.made("host_pattern", host_pattern);
    let web_logins = read_web_logins(&mut table);
    table.finish();
    let (journal, formats) = (journal.unwrap_or_default(), configured.unwrap_or_else(|| formats.any()));
    Some((name.clone(), Source { name, files, journal, journal_folder, zone, formats, host_pattern, web_logins }))
}

fn host_pattern(text: &str) -> Result<regex::Regex, Problem> {
    let help = "write for example host_pattern = '^/srv/logs/([^/]+)/'";
    match regex::Regex::new(text) {
        Ok(pattern) if pattern.captures_len() == 2 => Ok(pattern),
        Ok(_) => Err(Problem::new("one group says what of a file's path is the host", "has not one group", help)),
        Err(_) => Err(text
            .parse::<super::rule_file::Regex>()
            .err()
            .unwrap_or_else(|| Problem::new("this is not a regular expression", "can't be used", help))),
    }
}

fn read_web_logins(table: &mut Fields<'_, '_>) -> WebLogins {
    let ignore_challenges = table.value("ignore_challenges").unwrap_or(false);
    let paths: Vec<String> =
        table.parsed_list::<UrlPath>("login_paths").unwrap_or_default().into_iter().map(|path| path.value.0).collect();
    let failed = table.parsed_list::<StatusClass>("login_failed");
    if failed.is_some() && paths.is_empty() {
        let problem = Problem::new("login_failed is about the login_paths", "of no use here", "name the login_paths");
        table.refuse_key("login_failed", problem);
    }
    let failed = failed.map(|failed| failed.into_iter().map(|status| status.value).collect());
    WebLogins { ignore_challenges, paths, failed: failed.unwrap_or_else(usual_failures) }
}

/// What forms usually answer: themselves again, or that it is forbidden. Who got in is sent elsewhere (302).
fn usual_failures() -> Vec<StatusClass> {
    ["200", "403", "422"].iter().filter_map(|status| status.parse().ok()).collect()
}

/// A path on a web server.
struct UrlPath(String);

impl std::str::FromStr for UrlPath {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        if text.starts_with('/') && !text.contains(['?', '#', ' ']) {
            return Ok(Self(text.to_owned()));
        }
        let help = "write for example login_paths = [\"/wp-login.php\"]";
        Err(Problem::new(format!("{text:?} is not a path on a web server"), "from / on, without ? and #", help))
    }
}

/// Addresses and channels by group.
fn read_recipients(mut table: Fields<'_, '_>, channels: &BTreeMap<String, Channel>) -> BTreeMap<String, Vec<String>> {
    let mut groups = BTreeMap::new();
    for (name, members) in table.lists() {
        let mut list = Vec::new();
        for placed in members {
            if placed.value != MAIL && channels.contains_key(&placed.value) {
                list.push(placed.value);
                continue;
            }
            match placed.value.parse::<Address>() {
                Ok(address) => list.push(address.0),
                Err(problem) => table.refuse(placed.span, problem),
            }
        }
        if channels.contains_key(&name) {
            let message = format!("{name:?} is the name of a channel, too");
            table.refuse_key(&name, Problem::new(message, "taken", "call the group otherwise"));
        }
        groups.insert(name, list);
    }
    groups
}

fn read_place(mut table: Fields<'_, '_>, root: &Path) -> Option<CopyPlace> {
    let folder = table.parsed::<AbsolutePath>("folder").map(|path| path.0);
    let bucket = table.parsed::<Text>("bucket").map(|text| text.0);
    if let Some(folder) = folder {
        if bucket.is_some() {
            let help = "make two places of it";
            table.refuse_key("bucket", Problem::new("a place is a folder or a bucket", "besides folder", help));
        }
        table.finish();
        return Some(CopyPlace::Folder(folder));
    }
    let bucket = table.required("bucket", bucket, "write folder = \"/mnt/backup\", or bucket = \"NAME\" for S3")?;
    let secret = |table: &mut Fields<'_, '_>, key| {
        let path = channels::secret_file(table, key, root);
        table.required(key, path, "name a file beside config/ and jobs/ that holds it, mode 0600")
    };
    let (key_id_file, secret_file) = (secret(&mut table, "key_id_file"), secret(&mut table, "secret_file"));
    let endpoint = table.made("endpoint", endpoint);
    let prefix = table.parsed::<Text>("prefix").map_or_else(String::new, |text| text.0.trim_matches('/').to_owned());
    let region = table.parsed::<Text>("region").map_or_else(|| "us-east-1".to_owned(), |text| text.0);
    let ca_file = table.parsed::<Text>("ca_file").map(|text| root.join(text.0));
    table.finish();
    let (key_id_file, secret_file) = (key_id_file?, secret_file?);
    Some(CopyPlace::S3(S3Spec { bucket, prefix, region, endpoint, key_id_file, secret_file, ca_file }))
}

/// Where a service is: over TLS, or on this machine.
fn endpoint(text: &str) -> Result<String, Problem> {
    let host = text.split_once("://").map_or("", |(_, host)| host);
    // What stands before an @ is no host.
    let host = if host.contains('@') { "" } else { host };
    let local = ["localhost", "127.0.0.1"]
        .iter()
        .any(|name| host.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/'])));
    if !host.is_empty() && (text.starts_with("https://") || local && text.starts_with("http://")) {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    let help = "write for example endpoint = \"https://s3.example.org\"";
    Err(Problem::new(format!("{text:?} is not where a service is"), "https://…; http:// only for localhost", help))
}

/// What is wrong with a file that holds a secret.
pub(super) fn unsafe_secret(path: &Path) -> Option<Problem> {
    match std::fs::metadata(path) {
        Err(error) => {
            let message = format!("can't read {}: {error}", path.display());
            Some(Problem::new(message, "this file", "create it with the secret as its first line, mode 0600"))
        }
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
            let message = format!("{} can be read by others", path.display());
            Some(Problem::new(message, "holds a secret", format!("chmod 600 {}", path.display())))
        }
        Ok(_) => None,
    }
}

/// This machine's time zone.
pub fn system_zone() -> Tz {
    iana_time_zone::get_timezone().ok().and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC)
}

/// The machine's name, made fit for file names.
fn system_host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let short = name.split('.').next().unwrap_or_default();
    let clean: String = short.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).take(63).collect();
    if clean.is_empty() { "localhost".to_owned() } else { clean }
}
