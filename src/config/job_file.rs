//! `jobs/ID.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono_tz::Tz;
use globset::GlobBuilder;

use super::fields::{Fields, Placed, Text};
use super::main_file::{Main, unsafe_secret};
use super::values::{AbsolutePath, Address, Bytes, Limit, Pattern, Percent, Period, Share, Umask, Url, Zone};
use crate::model::archive::Retention;
use crate::model::problem::nearest;
use crate::model::{
    ArchiveSpec, Audience, CatchUp, CommandSpec, Expression, Job, JobId, JobMail, Limits, Method, Names, Overlap,
    Policy, Problem, ReportKind, ReportSpec, RotateSpec, ScanSpec, Schedule, Signal, SignalSpec, VerifySpec, Work,
};

const KINDS: [&str; 6] = ["archive", "rotate", "verify", "scan", "report", "command"];
const DEFAULT_OUTPUT_LIMIT: u64 = 256 * 1024;
/// Where names of these are wanted, a mail address does as well.
pub(super) const RECIPIENTS: &str = "recipient group or channel";

const HOUR: Duration = Duration::from_secs(60 * 60);

/// What holds for jobs that say nothing else.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Without the two values that depend on the kind of job.
    policy: Policy,
    timeout: Option<Option<Duration>>,
    retries: Option<u32>,
    mail: JobMail,
    on_recovery: Option<Vec<String>>,
}

impl Default for Defaults {
    fn default() -> Self {
        let policy = Policy {
            catch_up: CatchUp::Last,
            catch_up_window: 7 * 24 * HOUR,
            overlap: Overlap::Skip,
            timeout: None,
            grace: Duration::from_secs(5),
            retries: 0,
            retry_delay: Duration::from_secs(60),
            jitter: Duration::ZERO,
        };
        Self {
            policy,
            timeout: None,
            retries: None,
            mail: JobMail { after_failures: 1, ..JobMail::default() },
            on_recovery: None,
        }
    }
}

impl Defaults {
    /// What a table says, and otherwise what `self` says.
    pub(super) fn read(&self, fields: &mut Fields<'_, '_>, recipients: Option<&BTreeSet<String>>) -> Self {
        let base = &self.policy;
        let period = |fields: &mut Fields<'_, '_>, key, or| fields.parsed::<Period>(key).map_or(or, |period| period.0);
        let policy = Policy {
            catch_up: fields.parsed("catch_up").unwrap_or(base.catch_up),
            catch_up_window: period(fields, "catch_up_window", base.catch_up_window),
            overlap: fields.parsed("overlap").unwrap_or(base.overlap),
            grace: period(fields, "grace", base.grace),
            retry_delay: period(fields, "retry_delay", base.retry_delay),
            jitter: period(fields, "jitter", base.jitter),
            ..*base
        };
        let said = |fields: &mut Fields<'_, '_>, key| {
            let present = !fields.present(&[key]).is_empty();
            present.then(|| optional_names(fields, key, RECIPIENTS, recipients).unwrap_or_default())
        };
        let told = |fields: &mut Fields<'_, '_>, key, or: &Vec<String>| said(fields, key).unwrap_or_else(|| or.clone());
        let base_mail = &self.mail;
        let after_failures = fields.number("after_failures", 1..=1000).map(|number| number as u32);
        let mail = JobMail {
            on_failure: told(fields, "on_failure", &base_mail.on_failure),
            after_failures: after_failures.unwrap_or(base_mail.after_failures),
            on_recovery: Vec::new(),
            on_success: told(fields, "on_success", &base_mail.on_success),
            on_output: told(fields, "on_output", &base_mail.on_output),
            on_missed: told(fields, "on_missed", &base_mail.on_missed),
            on_slow: told(fields, "on_slow", &base_mail.on_slow),
        };
        Self {
            policy,
            timeout: fields.parsed::<Limit>("timeout").map(|limit| limit.0).or(self.timeout),
            retries: fields.number("retries", 0..=100).map(|retries| retries as u32).or(self.retries),
            mail,
            on_recovery: said(fields, "on_recovery").or_else(|| self.on_recovery.clone()),
        }
    }

    /// The policy of a job that does this work. Commands are not repeated unless asked for, because not every
    /// command may be; they get more time, because cron sets no limit at all.
    fn policy_for(&self, work: &Work) -> Policy {
        let command = matches!(work, Work::Command(_));
        let timeout = self.timeout.unwrap_or(Some(if command { 24 * HOUR } else { HOUR }));
        Policy { timeout, retries: self.retries.unwrap_or(if command { 0 } else { 2 }), ..self.policy.clone() }
    }
}

/// What the other files define; `None` where the main file itself is broken, so that nothing is blamed twice.
pub struct Known {
    zone: Tz,
    root: PathBuf,
    state: PathBuf,
    defaults: Defaults,
    sources: Option<BTreeSet<String>>,
    /// The patterns of each source.
    patterns: BTreeMap<String, Vec<String>>,
    recipients: Option<BTreeSet<String>>,
    groups: Option<BTreeSet<String>>,
    copies: Option<BTreeSet<String>>,
    rules: BTreeSet<String>,
    jobs: BTreeSet<String>,
}

impl Known {
    /// What a main file defines, and the names of the rule and job files.
    pub fn new(main: Option<&Main>, root: &Path, rules: BTreeSet<String>, jobs: BTreeSet<String>) -> Self {
        Self {
            zone: main.map_or(Tz::UTC, Main::zone),
            root: root.to_owned(),
            state: main.map_or_else(|| root.to_owned(), |main| main.state().to_owned()),
            defaults: main.map_or_else(Defaults::default, |main| main.defaults.clone()),
            sources: main.map(|main| main.sources.keys().cloned().collect()),
            patterns: main.map(Main::patterns).unwrap_or_default(),
            recipients: main.map(Main::told),
            copies: main.map(|main| main.copies.keys().cloned().collect()),
            groups: main.map(|main| main.groups.keys().cloned().collect()),
            rules,
            jobs,
        }
    }
}

pub(super) fn read(fields: &mut Fields<'_, '_>, name: &str, known: &Known) -> Option<Job> {
    let id = name.parse::<JobId>().map_err(|problem| fields.refuse(0..0, problem)).ok();
    let description = fields.parsed::<Text>("description").map_or_else(String::new, |text| text.0);
    let zone = fields.parsed::<Zone>("zone").map_or(known.zone, |zone| zone.0);
    let schedule = fields.made("schedule", |text| Expression::for_job(text, name));
    let schedule = schedule.map(|expression| Schedule { expression, zone });
    let after = optional_names(fields, "after", "job", Some(&known.jobs)).unwrap_or_default();
    if schedule.is_some() && !after.is_empty() {
        let help = "keep the one or the other; a job with after inherits its slots";
        fields.refuse_key("after", Problem::new("a job has either schedule or after", "besides schedule", help));
    }
    let enabled = fields.value("enabled").unwrap_or(true);
    let heartbeat = fields.parsed::<Url>("heartbeat").map(|url| url.0);
    let group = fields.made("group", |text| check_name(text, "group", known.groups.as_ref()));
    let defaults = known.defaults.read(fields, known.recipients.as_ref());
    let work = match fields.present(&KINDS).as_slice() {
        ["archive"] => fields.table("archive").and_then(|table| read_archive(table, known)),
        ["rotate"] => fields.table("rotate").and_then(|table| read_rotate(table, known)),
        ["verify"] => fields.table("verify").and_then(|table| read_verify(table, known)),
        ["scan"] => fields.table("scan").and_then(|table| read_scan(table, known)),
        ["report"] => fields.table("report").and_then(|table| read_report(table, known)),
        ["command"] => fields.table("command").and_then(|table| read_command(table, known)),
        [] => fields.required(
            "command",
            None,
            "give it one of the tables [archive], [rotate], [verify], [scan], [report] or [command]",
        ),
        [.., second] => {
            fields.refuse_key(second, Problem::new("a job is of one kind", "a second kind", "make two files of it"));
            None
        }
    };
    let work = work?;
    let policy = defaults.policy_for(&work);
    let Defaults { mail, on_recovery, .. } = defaults;
    // Who hears of a failure wants to hear of its end.
    let mail = JobMail { on_recovery: on_recovery.unwrap_or_else(|| mail.on_failure.clone()), ..mail };
    // A name that is no job id has been refused with its file.
    let after = after.iter().filter_map(|name| name.parse().ok()).collect();
    Some(Job { id: id?, description, schedule, after, enabled, policy, group, mail, heartbeat, work })
}

fn read_archive(mut table: Fields<'_, '_>, known: &Known) -> Option<Work> {
    let sources = names(&mut table, "sources", "source", known.sources.as_ref());
    let store = store_of(&mut table, known);
    let remove_originals = table.value("remove_originals").unwrap_or(false);
    let date = table.parsed("date").unwrap_or_default();
    let codec = table.parsed("compression").unwrap_or_default();
    let quiet = table.parsed::<Limit>("quiet").map_or(Some(QUIET), |quiet| quiet.0).unwrap_or_default();
    let keep = table.table("keep").map(read_keep).unwrap_or_default();
    let copies = optional_names(&mut table, "copies", "place of copies", known.copies.as_ref());
    let encrypt = table.parsed_list::<PublicKey>("encrypt").unwrap_or_default();
    let encrypt: Vec<String> = encrypt.into_iter().map(|key| key.value.0).collect();
    let index: Option<Index> = table.parsed("index");
    if index.is_some() && encrypt.is_empty() {
        let help = "add encrypt = [\"age1…\"], or remove it";
        table.refuse_key("index", Problem::new("index is about encrypted archives", "without encrypt", help));
    }
    let hide_index = index == Some(Index::Encrypted);
    table.finish();
    let (sources, copies) = (sources?, copies?);
    Some(Work::Archive(ArchiveSpec {
        sources,
        store,
        remove_originals,
        date,
        codec,
        quiet,
        keep,
        encrypt,
        hide_index,
        copies,
    }))
}

/// Where it is told what is in an encrypted archive.
#[derive(Debug, PartialEq, Eq)]
enum Index {
    Outside,
    Encrypted,
}

impl std::str::FromStr for Index {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "outside" => Ok(Self::Outside),
            "encrypted" => Ok(Self::Encrypted),
            _ => Err(Problem::new(
                format!("{text:?} is no place of an index"),
                "outside or encrypted",
                "write \"outside\" or \"encrypted\"",
            )),
        }
    }
}

/// A public key of age.
struct PublicKey(String);

impl std::str::FromStr for PublicKey {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let help = "\"age-keygen -o key.txt\" makes a key and prints its public part, which begins with age1";
        if text.to_uppercase().starts_with("AGE-SECRET-KEY") {
            let help = "keep it to yourself; \"age-keygen -y FILE\" prints its public part, which begins with age1";
            return Err(Problem::new("this is a secret key", "a public one", help));
        }
        let wrong = |_| Problem::new(format!("{text:?} is no public key of age-keygen's"), "age1…", help);
        crate::archive::recipient(text).map_err(wrong).map(|_| Self(text.to_owned()))
    }
}

/// How long a log must have been left alone where nothing else is said.
const QUIET: Duration = Duration::from_secs(60);

fn read_keep(mut table: Fields<'_, '_>) -> Retention {
    let mut count = |key| table.number(key, 1..=100_000).map_or(0, |number| number as u32);
    let (last, daily, weekly, monthly, yearly) =
        (count("last"), count("daily"), count("weekly"), count("monthly"), count("yearly"));
    let within = table.parsed::<Period>("within").map(|period| period.0);
    let max_total = table.parsed::<Bytes>("max_total").map(|bytes| bytes.0);
    let min_free = table.parsed::<Bytes>("min_free").map(|bytes| bytes.0);
    table.finish();
    Retention { last, daily, weekly, monthly, yearly, within, max_total, min_free }
}

fn store_of(table: &mut Fields<'_, '_>, known: &Known) -> PathBuf {
    table.parsed::<AbsolutePath>("store").map_or_else(|| known.state.join("archives"), |path| path.0)
}

fn read_verify(mut table: Fields<'_, '_>, known: &Known) -> Option<Work> {
    let store = store_of(&mut table, known);
    let share = table.parsed::<Share>("share").map_or(100, |share| share.0);
    table.finish();
    Some(Work::Verify(VerifySpec { store, share }))
}

fn read_rotate(mut table: Fields<'_, '_>, known: &Known) -> Option<Work> {
    let records = table.value("records").unwrap_or(false);
    let files = table.parsed_list::<Pattern>("files");
    let files = if records {
        Some(files.unwrap_or_default())
    } else {
        table.required("files", files, "name the live logs: files = [\"/var/log/nginx/*.log\"]")
    };
    let signal: Option<Signal> = table.parsed("signal");
    let pid_file = table.parsed::<AbsolutePath>("pid_file").map(|path| path.0);
    if signal.is_some() != pid_file.is_some() {
        let key = if signal.is_some() { "pid_file" } else { "signal" };
        table.required(key, None::<()>, "a signal needs both, as signal = \"USR1\" and pid_file = \"/run/nginx.pid\"");
    }
    let spec = RotateSpec {
        files: Vec::new(),
        records,
        method: table.parsed("method").unwrap_or(Method::Rename),
        names: table.parsed("names").unwrap_or(Names::Dated),
        every: table.parsed("every"),
        min_size: table.parsed::<Bytes>("min_size").map_or(0, |bytes| bytes.0),
        max_size: table.parsed::<Bytes>("max_size").map(|bytes| bytes.0),
        create: table.parsed("create").unwrap_or_default(),
        compress: table.parsed("compress"),
        keep: table.number("keep", 1..=100_000).map(|number| number as u32),
        max_age: table.parsed::<Period>("max_age").map(|period| period.0),
        missing_ok: table.value("missing_ok").unwrap_or(false),
        signal: signal.zip(pid_file).map(|(signal, pid_file)| SignalSpec { signal, pid_file }),
        before: table.table("before").and_then(|table| read_program(table, known)).map(Box::new),
        after: table.table("after").and_then(|table| read_program(table, known)).map(Box::new),
        each: table.value("each").unwrap_or(false),
    };
    if spec.each && spec.before.is_none() && spec.after.is_none() {
        let help = "add [rotate.after], or remove it";
        table.refuse_key("each", Problem::new("each is about the commands", "no command is there", help));
    }
    table.finish();
    let files = files?.into_iter().map(|placed| placed.value.0).collect();
    Some(Work::Rotate(Box::new(RotateSpec { files, ..spec })))
}

fn read_scan(mut table: Fields<'_, '_>, known: &Known) -> Option<Work> {
    let sources = names(&mut table, "sources", "source", known.sources.as_ref());
    let rules = names(&mut table, "rules", "rule", Some(&known.rules));
    let alert = optional_names(&mut table, "alert", RECIPIENTS, known.recipients.as_ref());
    let record = table.parsed::<AbsolutePath>("record").map(|path| path.0);
    let read = sources.iter().flatten().filter_map(|source| known.patterns.get(source)).flatten();
    if let Some(path) = &record
        && read
            .filter_map(|pattern| GlobBuilder::new(pattern).literal_separator(true).build().ok())
            .any(|glob| glob.compile_matcher().is_match(path))
    {
        let help = "name a file that is none of the job's logs";
        table.refuse_key("record", Problem::new("the job would read its own records", "is one of its logs", help));
    }
    let follow = table.value("follow").unwrap_or(false);
    table.finish();
    Some(Work::Scan(ScanSpec { sources: sources?, rules: rules?, alert: alert?, follow, record }))
}

fn read_report(mut table: Fields<'_, '_>, known: &Known) -> Option<Work> {
    let period: Option<ReportKind> = table.parsed("period");
    let period = table.required("period", period, "write period = \"weekly\" (or daily, monthly)");
    let audience: Audience = table.parsed("for").unwrap_or(Audience::Management);
    let to = names(&mut table, "to", RECIPIENTS, known.recipients.as_ref());
    table.finish();
    Some(Work::Report(ReportSpec { period: period?, audience, to: to? }))
}

fn read_command(table: Fields<'_, '_>, known: &Known) -> Option<Work> {
    read_program(table, known).map(|spec| Work::Command(Box::new(spec)))
}

fn read_program(mut table: Fields<'_, '_>, known: &Known) -> Option<CommandSpec> {
    let argv = read_argv(&mut table);
    let secrets: BTreeMap<String, String> = table.value("secrets").unwrap_or_default();
    let secrets: BTreeMap<String, PathBuf> =
        secrets.into_iter().map(|(name, path)| (name, known.root.join(path))).collect();
    for problem in secrets.values().filter_map(|path| unsafe_secret(path)) {
        table.refuse_key("secrets", problem);
    }
    let spec = CommandSpec {
        argv: Vec::new(),
        directory: table.parsed::<AbsolutePath>("directory").map(|path| path.0),
        env: table.value("env").unwrap_or_default(),
        env_file: table.parsed::<Text>("env_file").map(|text| known.root.join(text.0)),
        secrets,
        user: table.parsed::<Text>("user").map(|text| text.0),
        group: table.parsed::<Text>("group").map(|text| text.0),
        umask: table.parsed::<Umask>("umask").map(|mask| mask.0),
        nice: table.number("nice", -20..=19).map(|nice| nice as i32),
        limits: Limits {
            memory: table.parsed::<Bytes>("memory").map(|bytes| bytes.0),
            cpu_percent: table.parsed::<Percent>("cpu_quota").map(|percent| percent.0),
            cpu_seconds: table.parsed::<Period>("cpu_time").map(|period| period.0.as_secs()),
            open_files: table.number("open_files", 3..=1 << 20).map(|files| files as u64),
            file_size: table.parsed::<Bytes>("file_size").map(|bytes| bytes.0),
        },
        stdin: table.value("stdin"),
        success_codes: table.value("success_codes").unwrap_or_else(|| vec![0]),
        output_limit: table
            .parsed::<Bytes>("output_limit")
            .map_or(DEFAULT_OUTPUT_LIMIT, |bytes| bytes.0)
            .clamp(1024, 64 << 20) as usize,
    };
    if spec.group.is_some() && spec.user.is_none() {
        table.refuse_key("group", Problem::new("a group needs a user", "without user", "add user = \"…\""));
    }
    for name in spec.env.keys().chain(spec.secrets.keys()).filter(|name| name.is_empty() || name.contains(['=', '\0']))
    {
        let key = if spec.env.contains_key(name) { "env" } else { "secrets" };
        let message = format!("{name:?} is not the name of a variable");
        table.refuse_key(key, Problem::new(message, "a name without =", "write NAME = \"value\""));
    }
    table.finish();
    Some(CommandSpec { argv: argv?, ..spec })
}

fn read_argv(table: &mut Fields<'_, '_>) -> Option<Vec<String>> {
    let argv = table.texts("run");
    let shell = table.parsed::<Text>("shell").map(|text| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.0]);
    let argv = match (argv, shell) {
        (Some(_), Some(_)) => {
            let help = "keep run = [\"/usr/bin/program\", \"argument\"] or shell = \"a line for sh\"";
            table.refuse_key("shell", Problem::new("a command is either run or shell", "besides run", help));
            None
        }
        (argv, shell) => {
            table.required("run", argv.or(shell), "write run = [\"/usr/bin/program\", \"argument\"] or shell = \"…\"")
        }
    }?;
    if argv.is_empty() {
        let problem = Problem::new("run is an empty list", "names no program", "write run = [\"/usr/bin/program\"]");
        table.refuse_key("run", problem);
        return None;
    }
    Some(argv)
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

pub(super) fn optional_names(
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
        let checked = if what == RECIPIENTS && name.contains('@') {
            name.parse::<Address>().map(drop)
        } else {
            check_name(name, what, known).map(drop)
        };
        if let Err(problem) = checked {
            all_known = false;
            table.refuse(placed.span.clone(), problem);
        }
    }
    all_known.then(|| read.into_iter().map(|placed| placed.value.0).collect())
}

/// The name, if it is one of the known.
fn check_name(name: &str, what: &str, known: Option<&BTreeSet<String>>) -> Result<String, Problem> {
    let Some(known) = known.filter(|known| !known.contains(name)) else { return Ok(name.to_owned()) };
    let help = match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near:?}?"),
        None if known.is_empty() => format!("no {what} is defined yet"),
        None => format!("known: {}", known.iter().cloned().collect::<Vec<_>>().join(", ")),
    };
    Err(Problem::new(format!("there is no {what} {name:?}"), "not defined", help))
}
