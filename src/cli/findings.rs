//! `logkeeper findings`

use std::path::Path;
use std::process::ExitCode;

use super::output;
use crate::clock::{Clock, SystemClock};
use crate::model::{Severity, StoredFinding};
use crate::store::FindingFilter;

#[derive(clap::Args)]
pub struct Args {
    /// Only those whose last event is at most so long ago, as "7d" or "12h"
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<std::time::Duration>,
    /// Only of this rule
    #[arg(long)]
    rule: Option<String>,
    /// Only about this address
    #[arg(long)]
    ip: Option<String>,
    /// Only about this account
    #[arg(long)]
    user: Option<String>,
    /// Only those that matter at least so much: low, medium, high or critical
    #[arg(long, value_parser = severity)]
    severity: Option<Severity>,
    /// How many to show
    #[arg(short = 'n', long, default_value_t = 50)]
    count: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn severity(text: &str) -> Result<Severity, String> {
    text.parse().map_err(|_| "one of low, medium, high and critical".to_owned())
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (config, store) = super::open(root)?;
    let since = args.since.map(|since| SystemClock.now() - since);
    let filter = FindingFilter {
        rule: args.rule.clone(),
        ip: args.ip.clone(),
        user: args.user.clone(),
        severity: args.severity,
        since,
        until: None,
        limit: Some(args.count),
    };
    let found = store.findings(&filter)?;
    if args.json {
        let zone = config.zone;
        let json = |f: &StoredFinding| {
            let mut value = serde_json::json!(f);
            for (name, seconds) in
                [("first", f.finding.first), ("last", f.finding.last), ("reached", f.finding.reached)]
            {
                value[name] = output::rfc3339(seconds, zone).into();
            }
            value
        };
        output::print_json(&found.iter().map(json).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let stamp = |seconds| {
        let instant = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        output::stamp(instant, config.zone)
    };
    let rows = found.into_iter().map(|stored| {
        let f = stored.finding;
        let (first, last, subject) = (stamp(f.first), stamp(f.last), f.subject_words());
        let got_in = f.breach.map_or(String::new(), |breach| format!("got in as {}", breach.user));
        vec![stored.id.to_string(), f.severity.to_string(), f.rule, subject, f.count.to_string(), first, last, got_in]
    });
    output::print_table(&["ID", "SEVERITY", "RULE", "SUBJECT", "COUNT", "FIRST", "LAST", ""], rows.collect());
    Ok(ExitCode::SUCCESS)
}
