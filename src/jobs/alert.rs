//! Alerts: one mail for everything a scan has to tell.

use std::fmt::Write as _;

use maud::{DOCTYPE, html};

use crate::config::Config;
use crate::model::{Mail, RunId, Severity, StoredFinding};
use crate::report::{finding_sentence, grouped};

/// How many findings a mail spells out; the rest is counted.
const SHOWN: usize = 10;

/// The mail about these findings of a run. A look back over old logs is told as one.
pub fn compose(run: RunId, findings: &[StoredFinding], looks_back: bool, config: &Config) -> Mail {
    let mut findings: Vec<&StoredFinding> = findings.iter().collect();
    findings.sort_by_key(|f| (std::cmp::Reverse((f.finding.severity as u8, f.finding.last)), f.id));
    let subject = subject(&findings, looks_back, config);
    let intro = match (looks_back, findings.len()) {
        (true, n) => format!(
            "logkeeper read these logs for the first time and looked back over all that they hold. It found {}:",
            things(n)
        ),
        (false, 1) => "A threshold was crossed:".to_owned(),
        (false, n) => format!("{n} thresholds were crossed:"),
    };
    let entries: Vec<Entry> = findings.iter().take(SHOWN).map(|finding| Entry::new(finding, config)).collect();
    let rest = findings.len().saturating_sub(SHOWN);
    let rest = (rest > 0).then(|| format!("And {rest} more: logkeeper findings shows all of them."));
    let footer = format!("Run {run} on {}. Times are those of {}.", config.host, config.zone.name());
    Mail {
        subject,
        text: text(&intro, &entries, rest.as_deref(), &footer),
        html: page(&intro, &entries, rest.as_deref(), &footer),
        images: Vec::new(),
        key: format!("alert {} {} {run} {looks_back}", config.host, config.state.display()),
    }
}

fn subject(findings: &[&StoredFinding], looks_back: bool, config: &Config) -> String {
    let host = &config.host;
    if looks_back {
        return format!("[{host}] Looking back: {} in logs read for the first time", things(findings.len()));
    }
    let Some(worst) = findings.first() else { return format!("[{host}] Alert") };
    let word = if worst.finding.severity >= Severity::High { "ALERT" } else { "Notice" };
    let others = match findings.len() {
        1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    let count = worst.finding.count;
    let what = if worst.finding.breach.is_some() { "got in after failing" } else { worst.finding.rule.as_str() };
    format!("[{host}] {word}: {what}: {} ({count}){others}", worst.finding.subject_words())
}

/// One finding as shown.
struct Entry {
    title: String,
    sentence: String,
    meaning: String,
    advice: String,
    evidence: Vec<String>,
}

impl Entry {
    fn new(finding: &StoredFinding, config: &Config) -> Self {
        let f = &finding.finding;
        let rule = config.rules.get(&f.rule);
        Self {
            title: format!(
                "{}: {} - {} ({})",
                f.severity.as_str().to_uppercase(),
                f.rule,
                f.subject_words(),
                grouped(f.count)
            ),
            sentence: finding_sentence(finding, config.zone),
            meaning: rule.map(|rule| rule.meaning.clone()).unwrap_or_default(),
            advice: rule.map(|rule| rule.advice.clone()).unwrap_or_default(),
            evidence: f.evidence.iter().map(|e| format!("{}:{}: {}", e.file, e.line, e.text)).collect(),
        }
    }
}

fn text(intro: &str, entries: &[Entry], rest: Option<&str>, footer: &str) -> String {
    let mut out = format!("{intro}\n\n");
    for entry in entries {
        // Writing to a String can't fail.
        let _ =
            writeln!(out, "{}\n  {}\n  {}\n  What to do: {}", entry.title, entry.sentence, entry.meaning, entry.advice);
        for line in &entry.evidence {
            let _ = writeln!(out, "    {line}");
        }
        out.push('\n');
    }
    if let Some(rest) = rest {
        let _ = writeln!(out, "{rest}\n");
    }
    out + footer + "\n"
}

fn page(intro: &str, entries: &[Entry], rest: Option<&str>, footer: &str) -> String {
    let font = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;color:#1f2328";
    let small = "font-size:13px;color:#57606a;margin:2px 0";
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; meta name="viewport" content="width=device-width, initial-scale=1"; meta name="color-scheme" content="light"; }
            body style={ "margin:0;padding:16px;background:#ffffff;max-width:640px;" (font) } {
                p style="font-size:15px" { (intro) }
                @for entry in entries {
                    h2 style="font-size:16px;margin:20px 0 4px 0" { (entry.title) }
                    p style="font-size:15px;margin:2px 0" { (entry.sentence) }
                    p style=(small) { (entry.meaning) }
                    p style="font-size:14px;margin:4px 0" { b { "What to do: " } (entry.advice) }
                    @for line in &entry.evidence {
                        div style="font-family:monospace;font-size:12px;word-break:break-all;background:#f6f8fa;padding:4px 6px;margin:2px 0" { (line) }
                    }
                }
                @if let Some(rest) = rest { p style="font-size:15px" { (rest) } }
                p style=(small) { (footer) }
            }
        }
    };
    page.into_string()
}

fn things(n: usize) -> String {
    if n == 1 { "1 finding".to_owned() } else { format!("{n} findings") }
}
