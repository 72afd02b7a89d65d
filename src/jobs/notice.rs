//! Notices: what became of a job's runs: one failed, was missed, goes on for too long, printed something, as cron's MAILTO.

use chrono::{DateTime, Utc};
use maud::html;

use crate::config::Config;
use crate::model::untrusted::printable;
use crate::model::{Document, DocumentKind, Item, Mail, Message, Outcome, Run, RunNews, Severity, Telling};
use crate::report::mail_page;

/// How many lines of output a mail shows: the last ones, because there the reason stands.
const SHOWN: usize = 200;

/// How many runs of the same kind are listed.
const LISTED: usize = 20;

/// How much news of a run matters.
fn severity(news: RunNews) -> Severity {
    match news {
        RunNews::Failed => Severity::High,
        RunNews::Missed | RunNews::Slow => Severity::Medium,
        RunNews::Succeeded | RunNews::Recovered | RunNews::Output => Severity::Low,
    }
}

/// What is told to these recipient groups, addresses and channels.
pub fn tellings(config: &Config, to: &[String], news: RunNews) -> Vec<Telling> {
    let severity = severity(news);
    let routes = config.routes(to, severity).into_iter();
    routes.map(|(channel, to)| Telling { news, severity, channel, to }).collect()
}

/// The message about the last of these runs of a job; the others, oldest first, are only listed.
pub fn compose(runs: &[Run], news: RunNews, key: &str, config: &Config, now: DateTime<Utc>) -> Option<Message> {
    let (run, before) = runs.split_last()?;
    let text = text(run, before, news, config);
    let title = title(run, before, news);
    let summary = printable(run.summary.as_bytes());
    let document = Document {
        version: 1,
        id: crate::digest::sha256(key.as_bytes())[..32].to_owned(),
        kind: DocumentKind::Run,
        at: now,
        host: config.host.clone(),
        severity: severity(news),
        title: title.clone(),
        text: text.clone(),
        held_back: before.len(),
        items: vec![Item {
            at: run.finished.or(run.started).unwrap_or(run.requested),
            name: run.job.clone(),
            severity: severity(news),
            subject: [("event.outcome".to_owned(), run.state().to_owned())].into(),
            count: runs.len() as u64,
            sentence: format!("{}: {summary}", title.split_once(": ").map_or(title.as_str(), |(head, _)| head)),
            advice: format!("More: logkeeper show {}", run.id),
            location: format!("run {}", run.id),
        }],
        more_items: 0,
    };
    let html = mail_page(
        &title,
        &html! { pre style="font-family:monospace;font-size:13px;white-space:pre-wrap;overflow-wrap:anywhere;margin:0" { (text) } },
    );
    let subject = format!("[{}] {title}", config.host);
    let mail = Mail { subject, text, html, images: Vec::new(), attachments: Vec::new(), key: key.to_owned() };
    Some(Message { document, mail })
}

fn title(run: &Run, before: &[Run], news: RunNews) -> String {
    let word = match (news, run.outcome) {
        (RunNews::Failed, Some(Outcome::Partial)) => "PARTIAL",
        (RunNews::Failed, Some(Outcome::CouldNotStart)) => "COULD NOT START",
        (RunNews::Failed, _) => "FAILED",
        (RunNews::Succeeded, _) => "Done",
        (RunNews::Recovered, _) => "Recovered",
        (RunNews::Output, _) => "Output",
        (RunNews::Missed, Some(Outcome::Skipped)) => "SKIPPED",
        (RunNews::Missed, _) => "MISSED",
        (RunNews::Slow, _) => "SLOW",
    };
    let others = match before.len() {
        0 => String::new(),
        n => format!(" ({} times since the last mail)", n + 1),
    };
    let what = match news {
        RunNews::Slow => "takes much longer than usual and goes on".to_owned(),
        _ => printable(run.summary.as_bytes()),
    };
    format!("{word}: {}: {what}{others}", run.job)
}

fn text(run: &Run, before: &[Run], news: RunNews, config: &Config) -> String {
    let stamp = |at: DateTime<Utc>| at.with_timezone(&config.zone).format("%a %Y-%m-%d %H:%M:%S %Z");
    let summary = printable(run.summary.as_bytes());
    let state = if run.outcome.is_some() { run.state() } else { "still running" };
    let end = if summary.is_empty() { String::new() } else { format!(" - {summary}") };
    let mut lines = vec![format!("{} on {}: {state}{end}", run.job, config.host)];
    lines.extend(run.slot.map(|slot| format!("  due       {}", stamp(slot))));
    lines.extend(run.started.map(|at| format!("  started   {}", stamp(at))));
    lines.extend(run.finished.map(|at| format!("  finished  {}", stamp(at))));
    if run.attempt > 1 {
        lines.push(format!("  attempt   {}", run.attempt));
    }
    lines.extend(run.notes.iter().map(|note| format!("  - {}", printable(note.as_bytes()))));
    if !before.is_empty() {
        lines.push(String::new());
        lines.push("Since the last mail also:".to_owned());
        let left_out = before.len().saturating_sub(LISTED);
        if left_out > 0 {
            lines.push(format!("  [{left_out} more]"));
        }
        lines.extend(before[left_out..].iter().map(|run| {
            let at = stamp(run.slot.unwrap_or(run.requested));
            format!("  run {}  {at}  {}: {}", run.id, run.state(), printable(run.summary.as_bytes()))
        }));
    }
    if !run.output.is_empty() {
        let left_out = run.output.len().saturating_sub(SHOWN);
        lines.push(String::new());
        if left_out > 0 {
            lines.push(format!("[{left_out} lines left out; \"logkeeper show {}\" has them]", run.id));
        }
        lines.extend(run.output[left_out..].iter().map(|line| printable(line.text.as_bytes())));
    }
    lines.push(String::new());
    let again = match news {
        RunNews::Slow => format!("end it: logkeeper stop {}", run.id),
        _ => format!("again: logkeeper run-now {}", run.job),
    };
    lines.push(format!("More: logkeeper show {}; {again}", run.id));
    lines.join("\n") + "\n"
}
