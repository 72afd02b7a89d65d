//! Figures in plain words.

use std::collections::BTreeSet;

use chrono::{Datelike, NaiveDate, TimeDelta};

use super::sentence::{finding_sentence, quoted_accounts, when};
use super::{Figures, is_outage};
use crate::model::{Counted, ReportKind, Severity, StoredFinding, Tally};

/// The verdict of a report: a traffic light with its word and one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Light {
    /// `All well`, `Worth a look`, `Attention` or `No data`.
    pub word: &'static str,
    /// Its colour.
    pub color: &'static str,
    /// One sentence.
    pub sentence: String,
    /// What we ask of the reader; empty: nothing.
    pub asks: Vec<String>,
    /// How many things there are to look at.
    pub things: usize,
}

/// The verdict on a period: attention where an attack got in, a look where the server or a job failed or days are
/// missing. Attempts alone, however many, are everyday life of a server on the internet.
pub fn light(figures: &Figures) -> Light {
    let outage = figures.findings.iter().find(|f| is_outage(f));
    let failed = figures.jobs.iter().filter(|job| job.needs_a_look()).count();
    let gaps = figures.gaps();
    let now = figures.made.with_timezone(&figures.zone);
    // Several rules may have found the same login.
    let mut known = BTreeSet::new();
    let is_first =
        |found: &&StoredFinding| found.finding.logins().filter(|login| known.insert(login.clone())).count() > 0;
    let breaches = figures.findings.iter().filter(is_first);
    let breaches: Vec<&StoredFinding> = breaches.take(ASKED).collect();
    let mut asks: Vec<String> = breaches.iter().filter_map(|finding| breach_request(finding)).collect();
    let asked = breaches.iter().flat_map(|found| found.finding.logins()).collect::<BTreeSet<_>>().len();
    if figures.breaches > asked {
        let more = figures.breaches - asked;
        asks.push(format!("Have {} more looked at where somebody got in after failing.", counted(more, "login")));
    }
    let others = match figures.outages {
        0 | 1 => String::new(),
        n => format!(", and {} more", counted(n - 1, "time")),
    };
    if let Some(outage) = outage.map(|finding| &finding.finding) {
        let (when, requests) = (when(outage.first, outage.last, &now), grouped(outage.count));
        asks.push(format!(
            "Ask whoever runs the web site what happened {when}: the server failed to answer {requests} requests{others}."
        ));
    } else if figures.outages > 0 {
        let times = counted(figures.outages, "time");
        asks.push(format!("Ask whoever runs the web site why the server failed to answer many requests, {times}."));
    }
    if let Some(first) = figures.findings.iter().find(|finding| is_grave(finding)) {
        let more = figures.findings.iter().filter(|finding| is_grave(finding)).count() - 1;
        let more = match more {
            0 => String::new(),
            1 => " There is one more like it.".to_owned(),
            more => format!(" There are {more} more like it."),
        };
        asks.push(format!("Ask the administrator about this: {}{more}", finding_sentence(first, &now)));
    }
    if failed > 0 {
        asks.push(format!(
            "Ask the administrator about the {failed} job{} that failed, or did not do all of {} work.",
            plural(failed),
            if failed == 1 { "its" } else { "their" }
        ));
    }
    if !figures.archives.damaged.is_empty() {
        let damaged = counted(figures.archives.damaged.len(), "archive");
        asks.push(format!("Ask the administrator about {damaged} that can't be read as a whole any more."));
    }
    if !gaps.is_empty() {
        asks.push(format!("Ask the administrator why there is no data for {}.", span_words(&gaps)));
    }
    let silent: Vec<&str> =
        figures.sources.iter().filter(|source| source.fell_silent()).map(|source| source.name.as_str()).collect();
    if !silent.is_empty() {
        asks.push(format!("Ask the administrator why nothing came from the logs {} any more.", silent.join(", ")));
    }
    let things = asks.len();
    let period = noun(figures.kind);
    let (word, color, sentence) = if figures.breaches > 0 {
        let times = |n: usize| if n == 1 { "once".to_owned() } else { format!("{n} times") };
        let when = match (figures.breaches - figures.breaches_late, figures.breaches_late) {
            (now, 0) => format!("{} in this {period}", times(now)),
            (0, late) => format!("{} before this {period}, which was found only now", times(late)),
            (now, late) => {
                format!("{} in this {period} and {} before, which was found only now", times(now), times(late))
            }
        };
        ("Attention", "#b3261e", format!("After wrong passwords somebody got in, {when}."))
    } else if figures.days.iter().all(|day| day.tally.is_none()) {
        ("No data", "#57606a", format!("logkeeper read no logs of this {period}, so it can't tell."))
    } else if things > 0 {
        (
            "Worth a look",
            "#8a5a00",
            format!(
                "No login followed wrong passwords, but {} a look.",
                if things == 1 { "one thing deserves" } else { "some things deserve" }
            ),
        )
    } else if figures.findings_total == 0 {
        ("All well", "#1b6e3c", format!("Nothing unusual happened in this {period}."))
    } else {
        ("All well", "#1b6e3c", "There were attempts to get in, as on every server; none succeeded.".to_owned())
    };
    Light { word, color, sentence, asks, things }
}

/// Whether a finding is one to look at at any rate: no mere attempt, and no outage, which is asked about by itself.
fn is_grave(finding: &StoredFinding) -> bool {
    let f = &finding.finding;
    let attempts = [
        Counted::FailedLogins,
        Counted::Probes,
        Counted::Answers,
        Counted::Accounts,
        Counted::Addresses,
        Counted::Networks,
        Counted::Paths,
    ];
    let grave = f.severity >= Severity::High && !attempts.contains(&f.counted);
    (grave || matches!(f.counted, Counted::ClearedLogs | Counted::QuietMinutes))
        && f.breach.is_none()
        && !is_outage(finding)
}

/// How many break-ins are asked about one by one.
const ASKED: usize = 3;

/// The period of a kind of report in a word.
pub fn noun(kind: ReportKind) -> &'static str {
    match kind {
        ReportKind::Daily => "day",
        ReportKind::Weekly => "week",
        ReportKind::Monthly => "month",
    }
}

/// One of the numbers at the top: what it is, its value, and how it compares.
pub struct Number {
    /// What is counted, in plain words.
    pub name: &'static str,
    /// Exactly what is counted.
    pub definition: &'static str,
    /// The value.
    pub value: String,
    /// Compared with the period before, and for a day with the same weekday.
    pub changes: Vec<String>,
}

/// The five numbers at the top.
pub fn numbers(figures: &Figures) -> Vec<Number> {
    let web: fn(&Tally) -> u64 = |t| t.access_lines;
    let logins: fn(&Tally) -> u64 = |t| t.auth_lines;
    // An answer 401 of a web server is a failed login, too.
    let attempts: fn(&Tally) -> u64 = |t| t.auth_lines + t.access_lines;
    let number = |name, definition, pick: fn(&Tally) -> u64, read: fn(&Tally) -> u64| {
        let (value, changes) = value_and_changes(figures, pick, read);
        Number { name, definition, value, changes }
    };
    let requests = "requests that the web server answered, of any kind";
    let failures = "requests that the web server failed to answer (status 5xx)";
    vec![
        number("Requests answered", requests, |t| t.requests, web),
        number("Wrong passwords", "failed logins, each attempt counted once", |t| t.failed_logins, attempts),
        number("Logins", "successful logins to the server", |t| t.logins, logins),
        number("Server errors", failures, |t| t.status_5xx, web),
        number("Pages not found", "requests for pages that don't exist (status 404)", |t| t.status_404, web),
    ]
}

/// A number of the period and how it compares; what was not read is not known, which is not 0.
fn value_and_changes(figures: &Figures, pick: fn(&Tally) -> u64, read: fn(&Tally) -> u64) -> (String, Vec<String>) {
    let (now, before) = (figures.total(), figures.total_before());
    if read(&now) == 0 {
        return ("no data".to_owned(), Vec::new());
    }
    let (value, period) = (pick(&now), noun(figures.kind));
    let known = figures.days.iter().filter(|day| day.tally.is_some()).count();
    let days = figures.days.len();
    let than = format!("the {period} before");
    if known < days {
        // Five days are not less than seven.
        return (grouped(value), vec![format!("{known} of {days} days, not compared")]);
    }
    if figures.read_until.is_some() {
        return (grouped(value), vec!["not all of it is read yet, not compared".to_owned()]);
    }
    let mut changes = match before.as_ref().filter(|before| read(before) > 0) {
        Some(before) if figures.days_before.len() == days => vec![change(value, Some(pick(before)), &than)],
        Some(before) => {
            // Months have different lengths.
            let scaled = pick(before) * days as u64 / figures.days_before.len().max(1) as u64;
            vec![format!("{}, day for day", change(value, Some(scaled), &than))]
        }
        None if figures.days_before.iter().any(|day| day.tally.is_some()) => vec![format!("{than} is not all known")],
        None => vec!["no comparison yet".to_owned()],
    };
    if let Some(day) = &figures.week_ago {
        let than = format!("{} a week ago", day.date.format("%A"));
        let tally = day.tally.as_ref().filter(|tally| read(tally) > 0);
        changes.extend(tally.map(|tally| change(value, Some(pick(tally)), &than)));
    }
    (grouped(value), changes)
}

/// `▲ 12 % more than the week before`, in words even without the arrow.
fn change(now: u64, before: Option<u64>, than: &str) -> String {
    match before {
        None => "no comparison yet".to_owned(),
        Some(before) if before == now => format!("= as {than}"),
        Some(0) => format!("\u{25b2} up from none {than}"),
        Some(before) if now > before && now >= before * 2 => {
            format!("\u{25b2} {} times {than}", compact_ratio(now, before))
        }
        Some(before) if now > before => format!("\u{25b2} {} % more than {than}", percent(now - before, before)),
        Some(before) => format!("\u{25bc} {} % less than {than}", percent(before - now, before)),
    }
}

fn breach_request(finding: &StoredFinding) -> Option<String> {
    let breach = finding.finding.breach.as_ref()?;
    let subject = &finding.finding.subject;
    let address = subject.get("source.ip").or(subject.get("source.domain"));
    let from = address.map_or_else(String::new, |address| format!(" from {address}"));
    let accounts = quoted_accounts(breach.accounts());
    Some(if breach.others.is_empty() {
        format!(
            "Have the password of the account {accounts} changed today and ask its owner whether the login{from} was theirs."
        )
    } else {
        format!(
            "Have the passwords of the accounts {accounts} changed today and ask their owners whether the logins{from} were theirs."
        )
    })
}

/// `Tue 10 Nov`, `Tue 10 to Thu 12 Nov`, or a list.
pub fn span_words(days: &[NaiveDate]) -> String {
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return String::new() };
    let name = |day: &NaiveDate| day.format("%a %-d %b").to_string();
    if days.len() == 1 {
        return name(first);
    }
    if *last - *first == TimeDelta::days(days.len() as i64 - 1) {
        return format!("{} to {}", name(first), name(last));
    }
    days.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// `Friday 13 to Thursday 19 November 2026`; of a day, that day.
pub fn period_words(figures: &Figures) -> String {
    let (from, to) = (figures.from, figures.to);
    let end = to.format("%A %-d %B %Y").to_string();
    if from == to {
        return end;
    }
    let start = match (from.month() == to.month(), from.year() == to.year()) {
        (true, true) => from.format("%A %-d"),
        (false, true) => from.format("%A %-d %B"),
        (_, false) => from.format("%A %-d %B %Y"),
    };
    format!("{start} to {end}")
}

/// `week 47`, `Thu 19 Nov`, `November 2026`; of another month, its days.
pub fn period_short(figures: &Figures) -> String {
    let (from, to) = (figures.from, figures.to);
    match figures.kind {
        ReportKind::Weekly => format!("week {}", super::week(to)),
        ReportKind::Daily => to.format("%a %-d %b").to_string(),
        ReportKind::Monthly if from.month() == to.month() => to.format("%B %Y").to_string(),
        ReportKind::Monthly => format!("{} to {}", from.format("%-d %b"), to.format("%-d %b")),
    }
}

/// `Weekly summary`.
pub fn heading(figures: &Figures) -> &'static str {
    match figures.kind {
        ReportKind::Daily => "Daily summary",
        ReportKind::Weekly => "Weekly summary",
        ReportKind::Monthly => "Monthly summary",
    }
}

/// How many findings there are beyond those shown, and how many there were before.
pub fn rest_words(figures: &Figures, shown: usize) -> String {
    let rest = match figures.findings_total.saturating_sub(shown) {
        0 => String::new(),
        n => format!("{} more of less weight. ", grouped(n as u64)),
    };
    let period = noun(figures.kind);
    let before = match figures.findings_before {
        None if figures.days_before.iter().any(|day| day.tally.is_some()) => {
            format!("The {period} before is not all known.")
        }
        None => format!("First {period}, no comparison yet."),
        Some(n) => {
            format!("{} in all, {} the {period} before.", grouped(figures.findings_total as u64), grouped(n as u64))
        }
    };
    format!("{rest}{before}")
}

/// A number of bytes: `1.5 GB`.
pub fn bytes(n: u64) -> String {
    indicatif::DecimalBytes(n).to_string()
}

/// A number with thin groups: `12 345`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{a0}');
        }
        out.push(digit);
    }
    out
}

/// A number in few characters: `999`, `1.2k`, `34k`, `5.6M`.
pub fn compact(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..10_000 if n % 1_000 >= 100 => format!("{}.{}k", n / 1_000, n % 1_000 / 100),
        1_000..1_000_000 => format!("{}k", n / 1_000),
        _ => format!("{}.{}M", n / 1_000_000, n % 1_000_000 / 100_000),
    }
}

fn compact_ratio(now: u64, before: u64) -> String {
    let tenths = now * 10 / before.max(1);
    if tenths >= 100 || tenths.is_multiple_of(10) {
        (tenths / 10).to_string()
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

/// A share in per cent, rounded; what is there is never called nothing.
pub fn percent(part: u64, whole: u64) -> String {
    match (part * 200 / whole.max(1)).div_ceil(2) {
        0 if part > 0 => "less than 1".to_owned(),
        n => n.to_string(),
    }
}

/// `1 job`, `2 jobs`.
pub fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", plural(n))
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
