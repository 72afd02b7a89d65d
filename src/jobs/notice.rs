//! Notices: what became of a job's runs: one failed, was missed, goes on for too long, printed something, as cron's MAILTO.

use chrono::{DateTime, Utc};

use crate::config::Config;
use crate::model::untrusted::{evidence, printable};
use crate::model::{Document, DocumentKind, Item, Mail, Message, Outcome, Run, RunNews, Severity, Telling};
use crate::report::text_page;

/// How many lines of output a mail shows: the last ones, because there the reason stands.
const SHOWN: usize = 200;

/// How many runs of the same kind a message tells of; of more, the last ones.
pub const NOTICED_RUNS: usize = 21;

/// How many bytes of output a mail shows, and of one line of it.
const SHOWN_BYTES: usize = 64 * 1024;
const LINE_BYTES: usize = 1000;

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

/// The message about the last of these runs of a job; the others, oldest first, are only listed, and `more` before them counted.
pub fn compose(
    runs: &[Run],
    more: usize,
    news: RunNews,
    key: &str,
    config: &Config,
    now: DateTime<Utc>,
) -> Option<Message> {
    let (run, before) = runs.split_last()?;
    let text = text(run, before, more, news, config);
    let title = title(run, before.len() + more, news);
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
        held_back: before.len() + more,
        items: vec![Item {
            at: run.finished.or(run.started).unwrap_or(run.requested),
            name: run.job.clone(),
            severity: severity(news),
            subject: [("event.outcome".to_owned(), run.state().to_owned())].into(),
            count: (runs.len() + more) as u64,
            sentence: format!("{}: {summary}", title.split_once(": ").map_or(title.as_str(), |(head, _)| head)),
            advice: format!("More: logkeeper show {}", run.id),
            location: format!("run {}", run.id),
        }],
        more_items: 0,
    };
    let html = text_page(&title, &text);
    let subject = format!("[{}] {title}", config.host);
    let mail = Mail { subject, text, html, images: Vec::new(), attachments: Vec::new(), key: key.to_owned() };
    Some(Message { document, mail })
}

fn title(run: &Run, before: usize, news: RunNews) -> String {
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
    let others = match before {
        0 => String::new(),
        n => format!(" ({} times since the last mail)", n + 1),
    };
    let what = match news {
        RunNews::Slow => "takes much longer than usual and goes on".to_owned(),
        _ => evidence(run.summary.as_bytes()),
    };
    format!("{word}: {}: {what}{others}", run.job)
}

fn text(run: &Run, before: &[Run], more: usize, news: RunNews, config: &Config) -> String {
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
        if more > 0 {
            lines.push(format!("  [{more} more]"));
        }
        lines.extend(before.iter().map(|run| {
            let at = stamp(run.slot.unwrap_or(run.requested));
            format!("  run {}  {at}  {}: {}", run.id, run.state(), printable(run.summary.as_bytes()))
        }));
    }
    lines.extend(output(run));
    lines.push(String::new());
    let again = match news {
        RunNews::Slow => format!("end it: logkeeper stop {}", run.id),
        _ => format!("again: logkeeper run-now {}", run.job),
    };
    lines.push(format!("More: logkeeper show {}; {again}", run.id));
    lines.join("\n") + "\n"
}

/// The last lines of what a run printed.
fn output(run: &Run) -> Vec<String> {
    if run.output.is_empty() {
        return Vec::new();
    }
    let mut bytes = 0;
    let fits = |line: &String| {
        bytes += line.len() + 1;
        bytes <= SHOWN_BYTES
    };
    let cut = |text: &str| match text.as_bytes().get(..LINE_BYTES) {
        Some(head) => format!("{} [cut]", printable(head)),
        None => printable(text.as_bytes()),
    };
    let last = run.output.iter().rev().take(SHOWN).map(|line| cut(&line.text)).take_while(fits);
    let mut shown: Vec<String> = last.collect();
    let left_out = run.output.len() - shown.len();
    if left_out > 0 {
        shown.push(format!("[{left_out} lines left out; \"logkeeper show {}\" has them]", run.id));
    }
    shown.push(String::new());
    shown.reverse();
    shown
}
