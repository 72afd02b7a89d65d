//! `logkeeper rules`: what is looked for, and whether a rule does what it should.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{output, scan};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, shipped_rules};
use crate::jobs::dropped_in_words;
use crate::jobs::scanner::Scanner;
use crate::logs::logs;
use crate::model::{Problem, Rule, Work};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// List the rules, what they look for and which jobs use them
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say in words what a rule looks for, what a finding means and what to do
    Explain {
        /// The rule: the name of its file in config/rules without .toml
        rule: String,
    },
    /// Run all rules over log files, and tell how many lines each of them counts and what it finds
    Test {
        /// Log files, plain or compressed (gzip, zstd, xz, bzip2), or event logs of Windows; - is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Only this rule
        #[arg(long)]
        rule: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reading: scan::ReadingArgs,
    },
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let known = Known::load(root)?;
    match &args.what {
        What::List { json } => known.list(*json),
        What::Explain { rule } => known.explain(rule),
        What::Test { files, rule, json, reading } => {
            let rules = match rule {
                Some(name) => vec![known.rule(name)?],
                None => known.rules.iter().collect(),
            };
            test(&rules, files, &reading.resolve(root)?, *json)
        }
    }
}

/// The configured rules, or without a configuration those that come with logkeeper.
struct Known {
    rules: Vec<Rule>,
    config: Option<Config>,
}

impl Known {
    fn load(root: &Path) -> anyhow::Result<Self> {
        if !root.join("config/logkeeper.toml").exists() {
            return Ok(Self { rules: shipped_rules(), config: None });
        }
        let config = Config::load(&super::absolute(root))?;
        Ok(Self { rules: config.rules.values().cloned().collect(), config: Some(config) })
    }

    fn rule(&self, name: &str) -> Result<&Rule, Problem> {
        self.rules.iter().find(|rule| rule.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.rules.iter().map(|rule| rule.name.as_str()).collect();
            Problem::new(format!("there is no rule {name:?}"), "", format!("one of: {}", names.join(" ")))
        })
    }

    /// The jobs that use a rule.
    fn jobs(&self, rule: &Rule) -> Vec<String> {
        let jobs = self.config.iter().flat_map(|config| config.jobs.values());
        let uses = jobs.filter(|job| matches!(&job.work, Work::Scan(spec) if spec.rules.contains(&rule.name)));
        uses.map(|job| job.id.to_string()).collect()
    }

    fn list(&self, json: bool) -> anyhow::Result<ExitCode> {
        if json {
            let rule = |rule: &Rule| {
                serde_json::json!({
                    "rule": rule.name, "kind": rule.kind.as_str(), "severity": rule.severity, "jobs": self.jobs(rule),
                    "looks_for": rule.looks_for(), "meaning": rule.meaning, "advice": rule.advice,
                    "attack": texts(&rule.attack), "only": texts(&rule.only), "allow": texts(&rule.allow),
                    "cooldown_seconds": rule.cooldown.as_secs(), "merge_seconds": rule.merge.as_secs(),
                })
            };
            output::print_json(&self.rules.iter().map(rule).collect::<Vec<_>>())?;
            return Ok(ExitCode::SUCCESS);
        }
        let row = |rule: &Rule| {
            let jobs = self.jobs(rule);
            let jobs = if jobs.is_empty() { "-".to_owned() } else { jobs.join(" ") };
            let attack = texts(&rule.attack).join(" ");
            vec![rule.name.clone(), rule.severity.to_string(), attack, jobs, rule.looks_for()]
        };
        output::print_table(
            &["RULE", "SEVERITY", "ATT&CK", "USED BY", "LOOKS FOR"],
            self.rules.iter().map(row).collect(),
        );
        Ok(ExitCode::SUCCESS)
    }

    fn explain(&self, name: &str) -> anyhow::Result<ExitCode> {
        let rule = self.rule(name)?;
        let jobs = self.jobs(rule);
        output::print(&format!("{} ({}, {})\n", rule.name, rule.kind.as_str(), rule.severity));
        let mut fields = vec![
            ("looks for", rule.looks_for()),
            ("means", rule.meaning.clone()),
            ("what to do", rule.advice.clone()),
            ("told again", format!("after {} at the earliest", humantime::format_duration(rule.cooldown))),
        ];
        if !rule.merge.is_zero() {
            let longest = humantime::format_duration(rule.merge);
            fields.push(("one finding", format!("as long as pauses are at most {longest}")));
        }
        let lists = [("ATT&CK", texts(&rule.attack)), ("only", texts(&rule.only)), ("never", texts(&rule.allow))];
        let told = lists.into_iter().filter(|(_, list)| !list.is_empty());
        fields.extend(told.map(|(what, list)| (what, list.join(", "))));
        match &self.config {
            Some(_) if jobs.is_empty() => fields.push(("used by", "no job: name it in rules of a [scan]".to_owned())),
            Some(_) => fields.push(("used by", jobs.join(", "))),
            None => fields.push(("file", "none: it comes with logkeeper; there is no configuration here".to_owned())),
        }
        if let Some(config) = &self.config {
            let file = config.root.join("config/rules").join(format!("{name}.toml"));
            fields.push(("file", file.display().to_string()));
        }
        output::print_fields(fields);
        Ok(ExitCode::SUCCESS)
    }
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(T::to_string).collect()
}

/// Says for each rule how many lines it counted, as fail2ban-regex does for its filters.
fn test(rules: &[&Rule], files: &[PathBuf], reading: &scan::Reading, json: bool) -> anyhow::Result<ExitCode> {
    let mut scanner = Scanner::new(rules.iter().copied(), SystemClock.now().timestamp(), reading.zone);
    scanner.triage_by(reading.triage.clone());
    let files = scan::once(files);
    let access_logs = reading.access_logs(&files);
    let logs = logs(&files);
    let read = logs.iter().flat_map(|log| scan::scan_log(&mut scanner, log, reading, &access_logs, None));
    let read: Vec<scan::FileResult> = read.collect();
    let findings = scanner.findings();
    let (lines, unparsed) = (scanner.total.lines, scanner.total.unparsed);
    let found = |name: &str| findings.iter().filter(|finding| finding.rule == name).count();
    let counted = scanner.counted_lines();
    let dropped = scanner.dropped();
    if json {
        let rule = |(name, matched): &(String, u64)| serde_json::json!({ "rule": name, "matched": matched, "not_matched": lines - matched, "findings": found(name) });
        let rules: Vec<_> = counted.iter().map(rule).collect();
        let dropped: BTreeMap<&str, u64> = dropped.iter().map(|(rule, events)| (rule.as_str(), *events)).collect();
        output::print_json(
            &serde_json::json!({ "lines": lines, "parsed": lines - unparsed, "rules": rules, "dropped": dropped }),
        )?;
    } else {
        output::print(&format!("{lines} lines, {} parsed, {unparsed} not\n\n", lines - unparsed));
        let row = |(name, matched): &(String, u64)| {
            vec![name.clone(), matched.to_string(), (lines - matched).to_string(), found(name).to_string()]
        };
        let rows = counted.iter().map(row).collect();
        output::print_table(&["RULE", "MATCHED", "NOT MATCHED", "FINDINGS"], rows);
        for (rule, events) in dropped {
            output::print(&format!("{}\n", dropped_in_words(&rule, events)));
        }
    }
    let unreadable = read.iter().any(scan::FileResult::is_unreadable);
    Ok(if unreadable { ExitCode::from(super::FAILED) } else { ExitCode::SUCCESS })
}
