//! The figures as tables (CSV), for those who want to count for themselves.

use super::Figures;
use super::sentence::finding_sentence;
use crate::model::untrusted::{csv, printable};
use crate::model::{Attachment, Tally};

/// The tables of a report.
pub fn attachments(figures: &Figures) -> Vec<Attachment> {
    let name = |what: &str| format!("{}-{}-{what}.csv", figures.host, figures.to);
    [("days", days(figures)), ("findings", findings(figures)), ("jobs", jobs(figures)), ("archives", archives(figures))]
        .into_iter()
        .map(|(what, csv)| Attachment { name: name(what), csv })
        .collect()
}

/// What was counted on each day; an empty field is not known, which is not 0.
fn days(figures: &Figures) -> String {
    let mut lines = vec![format!("date,{}", Tally::NAMES.join(","))];
    lines.extend(figures.days.iter().map(|day| {
        let values = match &day.tally {
            Some(tally) => tally.values().iter().map(u64::to_string).collect(),
            None => vec![String::new(); Tally::NAMES.len()],
        };
        format!("{},{}", day.date, values.join(","))
    }));
    finished(&lines)
}

/// The findings, most serious first, with a last line that counts those left out.
fn findings(figures: &Figures) -> String {
    let mut lines = vec!["id,severity,rule,subject,count,counted,first,last,sentence".to_owned()];
    let stamp = |seconds| {
        let instant = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        instant.with_timezone(&figures.zone).to_rfc3339()
    };
    lines.extend(figures.findings.iter().map(|stored| {
        let f = &stored.finding;
        let plain = |text: &str| csv(&printable(text.as_bytes()));
        let (subject, sentence) =
            (plain(&f.subject_words()), plain(&finding_sentence(stored, &figures.made.with_timezone(&figures.zone))));
        let (first, last) = (stamp(f.first), stamp(f.last));
        format!(
            "{},{},{},{subject},{},{},{first},{last},{sentence}",
            stored.id,
            f.severity,
            plain(&f.rule),
            f.count,
            f.counted
        )
    }));
    let left_out = figures.findings_total - figures.findings.len().min(figures.findings_total);
    if left_out > 0 {
        lines.push(format!(",,,{left_out} more of less weight are left out here: logkeeper findings --csv,,,,,"));
    }
    finished(&lines)
}

fn jobs(figures: &Figures) -> String {
    let mut lines = vec!["job,due,done,failed,partial,missed,late".to_owned()];
    lines.extend(figures.jobs.iter().map(|job| {
        let numbers = [job.due, job.done, job.failed, job.partial, job.missed, job.late];
        format!("{},{}", csv(&job.id), numbers.map(|n| n.to_string()).join(","))
    }));
    finished(&lines)
}

/// The archives that were made last, with their digests.
fn archives(figures: &Figures) -> String {
    let mut lines = vec!["archive,sha256".to_owned()];
    lines.extend(figures.archives.digests.iter().map(|(name, digest)| format!("{},{digest}", csv(name))));
    finished(&lines)
}

fn finished(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}
