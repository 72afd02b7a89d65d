//! `config/rules/NAME.toml`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fields::{Fields, Text};
use super::job_file::{RECIPIENTS, optional_names};
use super::values::Period;
use crate::model::{Category, Field, Needle, Problem, Rule, RuleKind, Selection, Severity, StatusClass, Who};

const KINDS: [&str; 8] = ["count", "distinct", "sequence", "ratio", "spike", "new", "silent", "pattern"];
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

pub(super) fn read(fields: &mut Fields<'_, '_>, name: &str, recipients: Option<&BTreeSet<String>>) -> Option<Rule> {
    let severity: Option<Severity> = fields.parsed("severity");
    let severity = fields.required("severity", severity, "write severity = \"high\" (or low, medium, critical)");
    let meaning = fields.parsed::<Text>("meaning");
    let meaning = fields.required("meaning", meaning, "say in a sentence what a finding means");
    let advice = fields.parsed::<Text>("advice");
    let advice = fields.required("advice", advice, "say in a sentence what to do about it");
    let attack = list(fields, "attack");
    let only: Option<Vec<Who>> = list(fields, "only");
    let allow: Option<Vec<Who>> = list(fields, "allow");
    if let (Some(only), Some(allow)) = (&only, &allow)
        && !only.is_empty()
        && only.iter().all(|one| allow.iter().any(|allowed| allowed.covers(one)))
    {
        let help = "leave allow out, or let it name a part of whom only names";
        fields.refuse_key("allow", Problem::new("allow lets everybody alone whom only names", "nobody is left", help));
    }
    let alerts = !fields.present(&["alert"]).is_empty();
    let alert = optional_names(fields, "alert", RECIPIENTS, recipients).filter(|_| alerts);
    let cooldown = fields.parsed::<Period>("cooldown").map_or(Duration::from_secs(6 * HOUR), |period| period.0);
    let merge = fields.parsed::<Period>("merge").map(|period| period.0);
    let present = fields.present(&KINDS);
    let kind = match present.as_slice() {
        ["count"] => fields.table("count").and_then(read_count),
        ["distinct"] => fields.table("distinct").and_then(read_distinct),
        ["sequence"] => fields.table("sequence").and_then(read_sequence),
        ["ratio"] => fields.table("ratio").and_then(read_ratio),
        ["spike"] => fields.table("spike").and_then(read_spike),
        ["new"] => fields.table("new").and_then(read_new),
        ["silent"] => fields.table("silent").and_then(read_silent),
        ["pattern"] => fields.table("pattern").and_then(read_pattern),
        [] => fields.required(
            "count",
            None,
            "give it one of the tables [count], [distinct], [sequence], [ratio], [spike], [new], [silent] or [pattern]",
        ),
        [.., second] => {
            let help = "make two files of it";
            fields.refuse_key(second, Problem::new("a rule is of one kind", "a second kind", help));
            None
        }
    };
    let kind = kind?;
    if matches!(kind, RuleKind::Silent { .. }) {
        for key in fields.present(&["only", "allow"]) {
            let help = "leave it out: what is silent is a source, whoever its lines are about";
            fields.refuse_key(key, Problem::new(format!("{key} means nothing here"), "of no use", help));
        }
    }
    let (window, default_merge) = match kind {
        RuleKind::Count { window, .. }
        | RuleKind::Distinct { window, .. }
        | RuleKind::Sequence { window, .. }
        | RuleKind::Pattern { window, .. } => (window, DAY),
        RuleKind::Ratio { window, .. } => (window, 10 * MINUTE),
        RuleKind::Spike { .. } => (Duration::ZERO, 10 * MINUTE),
        RuleKind::New { .. } | RuleKind::Silent { .. } => (Duration::MAX, 0),
    };
    if merge.is_some() && window == Duration::MAX {
        let help = "leave it out: what is new or silent is one finding each time";
        fields.refuse_key("merge", Problem::new("merge means nothing here", "of no use", help));
    } else if merge.is_some_and(|merge| merge < window) {
        let problem = Problem::new(
            "merge is shorter than the window",
            "at least the window",
            "leave merge out: it is a day then",
        );
        fields.refuse_key("merge", problem);
    }
    let least = if window == Duration::MAX { Duration::ZERO } else { window };
    let merge = merge.unwrap_or(Duration::from_secs(default_merge).max(least));
    Some(Rule {
        name: name.to_owned(),
        severity: severity?,
        meaning: meaning?.0,
        advice: advice?.0,
        attack: attack?,
        only: only?,
        allow: allow?,
        alert,
        cooldown,
        merge,
        kind,
    })
}

/// A list that may be missing, which is an empty one.
fn list<T: std::str::FromStr<Err = Problem>>(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Vec<T>> {
    if fields.present(&[key]).is_empty() {
        return Some(Vec::new());
    }
    Some(fields.parsed_list::<T>(key)?.into_iter().map(|placed| placed.value).collect())
}

/// Statuses, none where the key is missing; a list of none would be a mistake.
fn statuses(fields: &mut Fields<'_, '_>) -> Option<Vec<StatusClass>> {
    let statuses = list(fields, "statuses")?;
    if statuses.is_empty() && !fields.present(&["statuses"]).is_empty() {
        let problem =
            Problem::new("statuses is empty", "holds nothing", "name one, as \"404\" or \"5xx\", or leave it out");
        fields.refuse_key("statuses", problem);
        return None;
    }
    if (1..statuses.len()).any(|at| statuses[..at].contains(&statuses[at])) {
        fields.refuse_key("statuses", Problem::new("a status is named twice", "twice the same", "name each once"));
    }
    Some(statuses)
}

/// The fields that make a subject, each once.
fn subject(table: &mut Fields<'_, '_>, help: &str) -> Option<Vec<Field>> {
    let by: Option<Vec<Field>> = table.one_or_more("by");
    let by = table.required("by", by, help)?;
    if (1..by.len()).any(|at| by[..at].contains(&by[at])) {
        table.refuse_key("by", Problem::new("a field is named twice", "twice the same", "name each once"));
    }
    Some(by)
}

/// Refuses paths to tell subjects or values apart by where the events have none.
fn need_paths(table: &mut Fields<'_, '_>, key: &'static str, fields: &[Field], of: Option<&Selection>) {
    if let Some(of) = of
        && fields.contains(&Field::UrlPath)
        && !of.has_paths()
    {
        let message = format!("{of} are about no path");
        let help = "name another field, or count requests: statuses = [\"404\"]";
        table.refuse_key(key, Problem::new(message, "no event has one", help));
    }
}

/// Answers with these statuses, or else the events named, or else failed logins.
fn selection(table: &mut Fields<'_, '_>) -> Option<Selection> {
    let statuses = statuses(table)?;
    let named = !table.present(&["events"]).is_empty();
    let events: Option<Selection> = table.parsed("events");
    if named && !statuses.is_empty() {
        let problem =
            Problem::new("a rule counts either events or statuses", "besides statuses", "keep one of the two");
        table.refuse_key("events", problem);
        return None;
    }
    let kinds = list::<Category>(table, "kinds")?;
    if !kinds.is_empty() && !matches!(events, Some(Selection::Urgent(_))) {
        let problem = Problem::new("kinds of logs are for urgent lines", "of no use here", "leave it out");
        table.refuse_key("kinds", problem);
    }
    match (named, statuses.is_empty()) {
        (true, _) if !kinds.is_empty() => Some(Selection::Urgent(kinds)),
        (true, _) => events,
        (false, true) => Some(Selection::FailedLogins),
        (false, false) => Some(Selection::Answers(statuses)),
    }
}

fn read_distinct(mut table: Fields<'_, '_>) -> Option<RuleKind> {
    let of = selection(&mut table);
    let value: Option<Field> = table.parsed("values");
    let value = table.required("values", value, "write values = \"user.name\": what is told apart");
    let by = subject(&mut table, "write by = \"source.ip\"");
    let is_one = |by: &[Field], value: Field| {
        by.contains(&value) || value == Field::SourceNetwork && by.contains(&Field::SourceIp)
    };
    if by.as_ref().zip(value).is_some_and(|(by, value)| is_one(by, value)) {
        let help = "of one subject it is always the same: count another field";
        table.refuse_key("values", Problem::new("values is one of the fields of by", "one of by", help));
    }
    need_paths(&mut table, "values", value.as_slice(), of.as_ref());
    need_paths(&mut table, "by", by.as_deref().unwrap_or_default(), of.as_ref());
    let threshold = positive(&mut table, "threshold", 5);
    let window = table.parsed::<Period>("window").map_or(Duration::from_secs(30 * MINUTE), |period| period.0);
    let static_files = table.value("static_files").unwrap_or(true);
    if !static_files && value.is_some_and(|value| value != Field::UrlPath) {
        let help = "leave it out, or count values = \"url.path\"";
        table.refuse_key("static_files", Problem::new("static files are told by paths", "no paths are counted", help));
    }
    table.finish();
    Some(RuleKind::Distinct { of: of?, value: value?, by: by?, threshold: threshold?, window, static_files })
}

fn read_ratio(mut table: Fields<'_, '_>) -> Option<RuleKind> {
    let statuses = statuses(&mut table).filter(|statuses| !statuses.is_empty());
    let statuses = table.required("statuses", statuses, "write statuses = [\"5xx\"]");
    let percent = table.number("percent", 1..=100);
    let percent = table.required("percent", percent, "write percent = 10");
    let at_least = positive(&mut table, "at_least", 100);
    let window = table.parsed::<Period>("window").map_or(Duration::from_secs(5 * MINUTE), |period| period.0);
    table.finish();
    Some(RuleKind::Ratio { statuses: statuses?, percent: percent? as u32, at_least: at_least?, window })
}

fn read_count(mut table: Fields<'_, '_>) -> Option<RuleKind> {
    let read = read_window(&mut table);
    table.finish();
    read.map(|(of, by, threshold, window)| RuleKind::Count { of, by, threshold, window })
}

fn read_sequence(mut table: Fields<'_, '_>) -> Option<RuleKind> {
    let read = read_window(&mut table);
    if matches!(read, Some((Selection::Logins, ..))) {
        let help = "leave it out, or name what comes before the login, as events = \"probes\"";
        table.refuse_key("events", Problem::new("a sequence ends with a login", "what it ends with", help));
    }
    table.finish();
    read.map(|(of, by, threshold, window)| RuleKind::Sequence { of, by, threshold, window })
}

/// So many events of one subject within a time.
fn read_window(table: &mut Fields<'_, '_>) -> Option<(Selection, Vec<Field>, u32, Duration)> {
    let of = selection(table);
    let by = subject(table, "write by = \"source.ip\" or by = \"user.name\"");
    need_paths(table, "by", by.as_deref().unwrap_or_default(), of.as_ref());
    let threshold = positive(table, "threshold", 5);
    let window = table.parsed::<Period>("window").map_or(Duration::from_secs(30 * MINUTE), |period| period.0);
    Some((of?, by?, threshold?, window))
}

fn read_new(mut table: Fields<'_, '_>) -> Option<RuleKind> {
    let of = selection(&mut table);
    let by = subject(&mut table, "write by = \"source.ip\" or by = [\"user.name\", \"source.ip\"]");
    need_paths(&mut table, "by", by.as_deref().unwrap_or_default(), of.as_ref());
    let learn = table.parsed::<Period>("learn").map_or(Duration::from_secs(14 * DAY), |period| period.0);
    let forget = table.parsed::<Period>("forget").map_or(Duration::from_secs(90 * DAY), |period| period.0);
    if forget < learn {
        let help = "what was learnt would be forgotten before: write forget = \"90d\", or leave both out";
        table.refuse_key("forget", Problem::new("forget is shorter than learn", "at least as long as learn", help));
    }
    table.finish();
    Some(RuleKind::New { of: of?, by: by?, learn, forget })
}

fn read_silent(mut table: Fields<'_, '_>) -> Option<RuleKind> {
    let after = table.parsed::<Period>("after").map_or(Duration::from_secs(HOUR), |period| period.0);
    if after < Duration::from_secs(HOUR) {
        let help = "chance leaves some quarters of an hour without a line: write after = \"1h\", or leave it out";
        table.refuse_key("after", Problem::new("after is shorter than an hour", "too short", help));
    }
    if after > Duration::from_secs(14 * DAY) {
        let help = "whoever is silent for longer is given up: write after = \"7d\", or leave it out";
        table.refuse_key("after", Problem::new("after is longer than two weeks", "too long", help));
    }
    table.finish();
    Some(RuleKind::Silent { after })
}

fn read_spike(mut table: Fields<'_, '_>) -> Option<RuleKind> {
    let statuses = statuses(&mut table).filter(|statuses| !statuses.is_empty());
    let statuses = table.required("statuses", statuses, "write statuses = [\"401\", \"403\", \"404\", \"5xx\"]");
    let threshold = positive(&mut table, "per_minute", 5);
    let report_factor = positive(&mut table, "report_factor", 6);
    let mail_factor = positive(&mut table, "mail_factor", 8);
    if let (Some(report), Some(mail)) = (report_factor, mail_factor)
        && mail < report
    {
        let message = format!("mail_factor is {mail}, but report_factor is {report}");
        let help = "what is not even reported is not mailed: write mail_factor = 8, or leave both out";
        table.refuse_key("mail_factor", Problem::new(message, "less than report_factor", help));
    }
    table.finish();
    let (report_factor, mail_factor) = (report_factor?, mail_factor?);
    Some(RuleKind::Spike { statuses: statuses?, threshold: threshold?, report_factor, mail_factor })
}

fn read_pattern(mut table: Fields<'_, '_>) -> Option<RuleKind> {
    let text = table.parsed::<Text>("text").map(|text| Needle::Text(text.0));
    let regex = table.parsed::<Regex>("regex").map(|regex| Needle::Regex(regex.0));
    let both = text.is_some() && regex.is_some();
    if both {
        let problem = Problem::new("a pattern is either text or regex", "besides text", "keep one of the two");
        table.refuse_key("regex", problem);
    }
    let holds_nothing = |regex: &str| regex::bytes::Regex::new(regex).is_ok_and(|regex| regex.is_match(b""));
    if matches!(&regex, Some(Needle::Regex(regex)) if holds_nothing(regex)) {
        let help = "write what the lines hold that are looked for: regex = '(?i)out of memory'";
        table.refuse_key(
            "regex",
            Problem::new("a regular expression that fits every line", "fits nothing at all, too", help),
        );
    }
    let needle = if table.present(&["regex"]).is_empty() {
        table.required("text", text, "write text = \"Urgent log detected\", or regex = \"…\"")
    } else {
        regex
    };
    let kinds = list::<Category>(&mut table, "kinds");
    let more_than = positive(&mut table, "more_than", 3);
    let window = table.parsed::<Period>("window").map_or(Duration::from_secs(DAY), |period| period.0);
    table.finish();
    Some(RuleKind::Pattern { needle: needle?, kinds: kinds?, threshold: more_than? + 1, window })
}

/// A regular expression that compiles.
pub(super) struct Regex(pub String);

impl std::str::FromStr for Regex {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        match regex::bytes::Regex::new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let help =
                    "the syntax is that of https://docs.rs/regex; single quotes keep backslashes: regex = '\\d+'";
                Err(Problem::new(format!("this is not a regular expression: {reason}"), "does not compile", help))
            }
        }
    }
}

fn positive(table: &mut Fields<'_, '_>, key: &'static str, default: u32) -> Option<u32> {
    if table.present(&[key]).is_empty() {
        return Some(default);
    }
    let value: i64 = table.value(key)?;
    if (1..=10_000).contains(&value) {
        return u32::try_from(value).ok();
    }
    let problem = Problem::new(format!("{key} is {value}"), "1 to 10000", format!("the usual is {key} = {default}"));
    table.refuse_key(key, problem);
    None
}
