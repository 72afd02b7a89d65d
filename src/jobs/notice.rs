//! Notices: the mail about one run that failed or printed something, as cron's MAILTO.

use maud::{DOCTYPE, html};

use crate::config::Config;
use crate::model::{Mail, Outcome, Run};

/// How many lines of output a mail shows: the last ones, because there the reason stands.
const SHOWN: usize = 200;

/// The mail about a run.
pub fn compose(run: &Run, config: &Config) -> Mail {
    let text = text(run, config);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; meta name="viewport" content="width=device-width, initial-scale=1"; meta name="color-scheme" content="light"; }
            body style="margin:0;padding:16px;background:#ffffff;color:#1f2328" {
                pre style="font-family:monospace;font-size:13px;white-space:pre-wrap;overflow-wrap:anywhere;margin:0" { (text) }
            }
        }
    };
    Mail {
        subject: subject(run, config),
        text,
        html: page.into_string(),
        images: Vec::new(),
        key: format!("run {} {} {}", config.host, config.state.display(), run.id),
    }
}

fn subject(run: &Run, config: &Config) -> String {
    let word = match run.outcome {
        Some(Outcome::Succeeded) => "Output",
        Some(Outcome::Partial) => "PARTIAL",
        _ => "FAILED",
    };
    format!("[{}] {word}: {}: {}", config.host, run.job, run.summary)
}

fn text(run: &Run, config: &Config) -> String {
    let stamp = |at: chrono::DateTime<chrono::Utc>| at.with_timezone(&config.zone).format("%a %Y-%m-%d %H:%M:%S %Z");
    let mut lines = vec![format!("{} on {}: {} - {}", run.job, config.host, run.state(), run.summary)];
    lines.extend(run.slot.map(|slot| format!("  due       {}", stamp(slot))));
    lines.extend(run.started.map(|at| format!("  started   {}", stamp(at))));
    lines.extend(run.finished.map(|at| format!("  finished  {}", stamp(at))));
    if run.attempt > 1 {
        lines.push(format!("  attempt   {}", run.attempt));
    }
    lines.extend(run.notes.iter().map(|note| format!("  - {note}")));
    if !run.output.is_empty() {
        let left_out = run.output.len().saturating_sub(SHOWN);
        lines.push(String::new());
        if left_out > 0 {
            lines.push(format!("[{left_out} lines left out; \"logkeeper show {}\" has them]", run.id));
        }
        lines.extend(run.output[left_out..].iter().map(|line| line.text.clone()));
    }
    lines.push(String::new());
    lines.push(format!("More: logkeeper show {}; again: logkeeper run-now {}", run.id, run.job));
    lines.join("\n") + "\n"
}
