//! `logkeeper findings`

use std::path::Path;
use std::process::ExitCode;

use ipnet::IpNet;

use super::output;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::logs::Lines;
use crate::model::rule::network_or_address;
use crate::model::untrusted::{self, csv, printable};
use crate::model::{About, Evidence, Problem, Severity, StoredFinding};
use crate::store::FindingFilter;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Only those whose last event is at most so long ago, as "7d" or "12h"
    #[arg(long, value_name = "TIME", value_parser = output::period)]
    since: Option<std::time::Duration>,
    /// Only of this rule
    #[arg(long)]
    rule: Option<String>,
    /// Only about this address, or the addresses of this network
    #[arg(long, value_parser = network)]
    ip: Option<IpNet>,
    /// Only about this account, or those that got in as that
    #[arg(long)]
    user: Option<String>,
    /// Only those that matter at least so much: low, medium, high or critical
    #[arg(long, value_parser = severity)]
    severity: Option<Severity>,
    /// How many to show; of a table 50, unless it is said, and of what is printed for programs all
    #[arg(short = 'n', long)]
    count: Option<usize>,
    /// Print JSON
    #[arg(long, conflicts_with_all = ["csv", "ecs"])]
    json: bool,
    /// Print CSV
    #[arg(long, conflicts_with = "ecs")]
    csv: bool,
    /// Print one JSON document a line with the field names of the Elastic Common Schema
    #[arg(long)]
    ecs: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Tell all about one finding, with its evidence as it stands in the log
    Show {
        /// Its number
        id: i64,
    },
}

fn network(text: &str) -> Result<IpNet, String> {
    network_or_address(text).ok_or_else(|| "an address, or a network such as 192.0.2.0/24".to_owned())
}

fn severity(text: &str) -> Result<Severity, String> {
    text.parse().map_err(|_| "one of low, medium, high and critical".to_owned())
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (config, store) = super::open(root)?;
    if let Some(What::Show { id }) = args.what {
        let found = store.finding(id)?.ok_or_else(|| {
            Problem::new(format!("there is no finding {id}"), "", "logkeeper findings lists them with their numbers")
        })?;
        let is_about = |about: &About| matches!(about, About::Findings { findings, .. } if findings.contains(&id));
        let waits = store.pending_intents()?.iter().any(|pending| is_about(&pending.intent.about));
        tell(&found, &config, waits);
        return Ok(ExitCode::SUCCESS);
    }
    let since = args.since.map(|since| output::ago(SystemClock.now(), since));
    let is_known = |rule: &String| config.rules.contains_key(rule);
    let is_table = !(args.json || args.csv || args.ecs);
    let most = args.count.unwrap_or(if is_table { SHOWN } else { usize::MAX });
    let filter = FindingFilter {
        rule: args.rule.clone(),
        user: args.user.clone(),
        severity: args.severity,
        since,
        until: None,
        // Addresses are looked at here.
        limit: Some(most).filter(|most| args.ip.is_none() && *most < usize::MAX),
        without_evidence: !args.json,
    };
    let mut found = store.findings(&filter)?;
    found.retain(|stored| args.ip.is_none_or(|network| is_about(stored, network)));
    let all = if args.ip.is_some() { found.len() } else { store.count_findings(&filter)? };
    if all == 0
        && let Some(rule) = args.rule.as_ref().filter(|rule| !is_known(rule))
    {
        let help = "logkeeper rules list lists them";
        return Err(Problem::new(format!("there is no rule {rule:?}, and nothing found by one"), "", help).into());
    }
    found.truncate(most);
    if args.json {
        output::print_json(&found.iter().map(|found| json(found, &config)).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.csv {
        output::print(&as_csv(&found, &config));
        return Ok(ExitCode::SUCCESS);
    }
    if args.ecs {
        let lines = found.iter().map(|found| format!("{}\n", as_ecs(found, &config)));
        output::print(&lines.collect::<String>());
        return Ok(ExitCode::SUCCESS);
    }
    let stamp = |seconds| output::short_time(seconds, config.zone);
    let rows = found.into_iter().map(|stored| {
        let f = stored.finding;
        let (first, last, subject) = (stamp(f.first), stamp(f.last), f.subject_words());
        let remark = f.remark();
        vec![stored.id.to_string(), f.severity.to_string(), f.rule, subject, f.count.to_string(), first, last, remark]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let shown = rows.len();
    output::print_times(config.zone);
    output::print_table(&["ID", "SEVERITY", "RULE", "SUBJECT", "COUNT", "FIRST", "LAST", ""], rows);
    if all == 0 {
        output::print("none\n");
    } else if shown < all {
        output::print(&format!("and {} more; -n {all} lists all\n", all - shown));
    }
    Ok(ExitCode::SUCCESS)
}

/// How many a table shows unless it is said.
const SHOWN: usize = 50;

/// Whether a finding is about an address of a network, or about a network that has one of its addresses.
fn is_about(stored: &StoredFinding, network: IpNet) -> bool {
    let of = |field: &str| stored.finding.subject.get(field).and_then(|text| network_or_address(text));
    let found = of("source.ip").or_else(|| of("source.network"));
    found.is_some_and(|found| network.contains(&found) || found.contains(&network))
}

fn json(found: &StoredFinding, config: &Config) -> serde_json::Value {
    let mut value = serde_json::json!(found);
    let f = &found.finding;
    let time = |seconds| output::rfc3339(seconds, config.zone);
    for (name, seconds) in [("first", f.first), ("last", f.last), ("reached", f.reached)] {
        value[name] = time(seconds).into();
    }
    for (name, seconds) in [("alerted", found.alerted), ("withdrawn", found.withdrawn)] {
        value[name] = seconds.map(time).into();
    }
    if let Some(breach) = &f.breach {
        value["breach"]["time"] = time(breach.time).into();
        for (place, login) in breach.others.iter().enumerate() {
            value["breach"]["others"][place]["time"] = time(login.time).into();
        }
    }
    value
}

fn as_csv(found: &[StoredFinding], config: &Config) -> String {
    let mut out = "id,severity,rule,subject,count,counted,first,last,job,reached,got_in,got_in_as,note\r\n".to_owned();
    for stored in found {
        let f = &stored.finding;
        let time = |seconds| output::rfc3339(seconds, config.zone);
        let fields = [
            stored.id.to_string(),
            f.severity.to_string(),
            f.rule.clone(),
            f.subject_words(),
            f.count.to_string(),
            f.counted.to_string(),
            time(f.first),
            time(f.last),
            stored.job.clone(),
            time(f.reached),
            f.breach.as_ref().map_or_else(String::new, |breach| time(breach.time)),
            f.breach.as_ref().map_or_else(String::new, |breach| breach.accounts().collect::<Vec<_>>().join(", ")),
            f.note.clone().unwrap_or_default(),
        ];
        out.push_str(&(fields.map(|field| csv(&field)).join(",") + "\r\n"));
    }
    out
}

/// <https://www.elastic.co/docs/reference/ecs>: an alert, its subject's fields under their own names.
fn as_ecs(found: &StoredFinding, config: &Config) -> serde_json::Value {
    let f = &found.finding;
    let time = |seconds| output::rfc3339(seconds, config.zone);
    let severity = match f.severity {
        Severity::Low => 21,
        Severity::Medium => 47,
        Severity::High => 73,
        Severity::Critical => 99,
    };
    let mut document = serde_json::json!({
        "@timestamp": time(f.reached), "ecs.version": "8.17.0", "event.kind": "alert", "event.start": time(f.first),
        "event.end": time(f.logins().map(|login| login.time).fold(f.last, i64::max)),
        "event.severity": severity, "event.dataset": "logkeeper.finding", "event.id": found.id.to_string(),
        "rule.name": f.rule, "rule.description": config.rules.get(&f.rule).map(|rule| rule.meaning.clone()),
        "observer.hostname": config.host, "logkeeper.count": f.count, "logkeeper.counted": f.counted,
        "message": crate::report::finding_sentence(found, &SystemClock.now().with_timezone(&config.zone)),
    });
    for (field, value) in &f.subject {
        match (field.as_str(), value.parse::<u16>()) {
            ("http.status", Ok(status)) => document["http.response.status_code"] = status.into(),
            // What the schema has no field for, or another one, as that of the document's own data set.
            ("http.status" | "event.dataset" | "keyword" | "log.kind" | "source.network", _) => {
                let name = field.rsplit('.').next().unwrap_or(field);
                document[format!("logkeeper.{name}")] = value.clone().into();
            }
            (field, _) => document[field] = value.clone().into(),
        }
    }
    if let Some(breach) = &f.breach {
        let accounts: Vec<&str> = breach.accounts().collect();
        document["logkeeper.entered_as"] =
            if let [account] = accounts[..] { account.into() } else { serde_json::json!(accounts) };
    }
    let attack = config.rules.get(&f.rule).map_or(&[][..], |rule| &rule.attack);
    if !attack.is_empty() {
        document["threat.technique.id"] = attack.iter().map(ToString::to_string).collect();
    }
    document
}

const DAY: i64 = 24 * 60 * 60;

/// How many lines before and after a line of evidence are shown.
const CONTEXT: u64 = 2;

fn tell(found: &StoredFinding, config: &Config, waits: bool) {
    let f = &found.finding;
    let stamp = |seconds| output::stamp(chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default(), config.zone);
    let (subject, count, counted) = (f.subject_words(), f.count, f.counted.word(f.count));
    output::print(&format!("finding {}: {} {} - {subject} ({count} {counted})\n", found.id, f.severity, f.rule));
    let mut fields =
        vec![("found", crate::report::finding_sentence(found, &SystemClock.now().with_timezone(&config.zone)))];
    if let Some(rule) = config.rules.get(&f.rule) {
        fields.push(("looks for", rule.looks_for()));
        fields.push(("means", rule.meaning.clone()));
        fields.push(("what to do", rule.advice.clone()));
    }
    // Of a log that nobody writes to any more nothing is heard that would end it.
    let merge = config.rules.get(&f.rule).map_or(0, |rule| rule.merge.as_secs() as i64);
    let goes_on = f.open && f.last + merge + DAY > SystemClock.now().timestamp();
    let last = format!("{}{}", stamp(f.last), if goes_on { " (may go on)" } else { "" });
    fields.extend([("first", stamp(f.first)), ("reached", stamp(f.reached)), ("last", last)]);
    fields.push(("found by", format!("{} (run {})", found.job, found.run)));
    let told = match found.alerted.map(stamp) {
        None => "nobody yet".to_owned(),
        Some(at) if waits => {
            format!(
                "{at}, but not by all channels yet: mails are one an hour for each rule, of who got in one in ten minutes, and none in quiet hours"
            )
        }
        Some(at) => at,
    };
    fields.push(("told", told));
    // The mail that told of it names its number.
    fields.extend(found.withdrawn.map(|at| ("withdrawn", format!("{}: further lines disproved it", stamp(at)))));
    output::print_fields(fields);
    for evidence in &f.evidence {
        // The log was rotated, or is gone: what was kept is shown.
        let kept = || vec![format!("  > {}", printable(evidence.text.as_bytes()))];
        let context = in_context(evidence);
        let note = if context.is_none() && evidence.line > 0 { " (not there any more; as it was then)" } else { "" };
        let context = context.unwrap_or_else(kept).join("\n");
        output::print(&format!("\n  {}{note}\n{context}\n", evidence.place()));
    }
}

/// The lines around a piece of evidence, where its file still has it at that place.
fn in_context(evidence: &Evidence) -> Option<Vec<String>> {
    if evidence.line == 0 {
        return None;
    }
    let mut lines = Lines::open(Path::new(&*evidence.file)).ok()?;
    let (mut number, mut passed_over, mut context, mut found) = (0, 0, Vec::new(), false);
    while lines.next_block().is_some() {
        number += lines.overlong - passed_over;
        passed_over = lines.overlong;
        for line in lines.block().split_inclusive(|byte| *byte == b'\n') {
            number += 1;
            if number > evidence.line + CONTEXT {
                return found.then_some(context);
            }
            if number + CONTEXT >= evidence.line {
                let text = untrusted::evidence(line);
                let is_it = number == evidence.line;
                found |= is_it && text == evidence.text;
                context.push(format!("  {} {text}", if is_it { '>' } else { ' ' }));
            }
        }
    }
    found.then_some(context)
}
