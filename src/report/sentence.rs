//! A finding in plain words.

use chrono::{DateTime, Datelike};
use chrono_tz::Tz;

use super::words::grouped;
use crate::model::untrusted::printable;
use crate::model::{Breach, Counted, Finding, StoredFinding};

/// A finding in one or two sentences for somebody who doesn't read logs; days of another year than this one's are told with theirs.
pub fn finding_sentence(finding: &StoredFinding, now: &DateTime<Tz>) -> String {
    let f = &finding.finding;
    let note = f.note.as_deref().unwrap_or_default();
    let lasts = f.open && f.counted == Counted::QuietMinutes;
    let when = if lasts { format!("since {}", stamp(f.first, now)) } else { when(f.first, f.last, now) };
    let mut sentence = format!("{}, {when}", what(finding));
    match f.counted {
        _ if note.is_empty() => sentence.push('.'),
        Counted::Newcomers | Counted::QuietMinutes => sentence.push_str(&format!("; {note}.")),
        Counted::Answers => sentence.push_str(&format!(". At its worst {note}.")),
        _ => sentence.push_str(&format!("; {note}.")),
    }
    if let Some(breach) = &f.breach {
        let then = if breach.time > f.last { "Then" } else { "Meanwhile" };
        let is_address = f.subject.keys().any(|field| field.starts_with("source."));
        let (who, at) = (if is_address { "it" } else { "somebody" }, stamp(breach.time, now));
        let first = quoted_accounts([breach.user.as_str()]);
        let others = quoted_accounts(breach.accounts().skip(1));
        let later = if others.is_empty() { others } else { format!(", and as {others}") };
        sentence.push_str(&format!(" {then} {who} got in as {first} on {at}{later}."));
    }
    sentence
}

/// These accounts, or the first of very many and how many more there are.
pub fn quoted_accounts<'a>(accounts: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = |user: &str| format!("\u{201c}{}\u{201d}", printable(user.as_bytes()));
    let mut words: Vec<String> = accounts.into_iter().map(quoted).collect();
    if let Some(more) = words.len().checked_sub(Breach::NAMED).filter(|more| *more > 1) {
        words.truncate(Breach::NAMED);
        words.push(format!("and {more} more"));
    }
    words.join(", ")
}

/// What happened, without when.
fn what(finding: &StoredFinding) -> String {
    let f = &finding.finding;
    let (who, count, times) = (f.subject_words(), grouped(f.count), times(f.count));
    let of = |field: &str| f.subject.get(field).map(String::as_str);
    let (field, value) = f.subject.iter().next().map_or(("", ""), |(field, value)| (field.as_str(), value.as_str()));
    let is_host = field == "host.name" && f.subject.len() == 1;
    match f.counted {
        Counted::Lockouts if is_host => format!("Accounts of {who} were locked {times} because of failed logins"),
        Counted::Lockouts => format!("{who} was locked {times} because of failed logins"),
        Counted::Logins if is_host => format!("{who} was logged in to {times}"),
        Counted::Logins => format!("{who} logged in {times}"),
        Counted::Newcomers => match (of("user.name"), of("source.ip").or(of("source.network"))) {
            (Some(user), Some(place)) => format!("\u{201c}{user}\u{201d} was seen from {place} for the first time"),
            _ => format!("{who} was seen for the first time"),
        },
        Counted::QuietMinutes => {
            let of_host = of("host.name").map_or_else(String::new, |host| format!(" of {host}"));
            let said = if f.open { "has said" } else { "said" };
            format!("The log {value}{of_host} {said} nothing for {}", length(f.count))
        }
        Counted::UrgentLines if field == "log.kind" && f.subject.len() == 1 => {
            format!("There {}", were(f.count, &format!("urgent {value} line")))
        }
        Counted::UrgentLines => format!("There {} of {who}", were(f.count, "urgent line")),
        Counted::Errors => format!("There {} of {who}", were(f.count, "error")),
        Counted::ClearedLogs => format!("{who} had its logs emptied"),
        Counted::Addresses | Counted::Networks if field == "source.network" => {
            format!("{count} different {} of {value} tried to log in and failed", f.counted)
        }
        Counted::Addresses | Counted::Networks => format!("{who} was tried from {count} different {}", f.counted),
        Counted::Accounts if is_host => format!("{count} different accounts of {who} were tried"),
        Counted::Accounts => format!("{who} tried {count} different accounts"),
        Counted::Paths => format!("{who} asked for {count} different paths that it did not get"),
        Counted::Probes if is_host => format!("{who} was connected to {times} by somebody who did not log in"),
        Counted::Probes => format!("{who} connected {times} without logging in"),
        Counted::FailedLogins => failed_logins(finding),
        Counted::Answers if field == "http.status" => {
            format!("The web server answered {count} requests with \u{201c}{}\u{201d}", status_words(value))
        }
        Counted::Answers => format!("{who} was answered {times} with an error"),
        Counted::Lines if field == "keyword" => format!("The logs say \u{201c}{value}\u{201d} {times}"),
        Counted::Lines => format!("{}: {count} events", f.rule),
        _ => format!("{who} had to do with {count} different {}", f.counted),
    }
}

fn failed_logins(finding: &StoredFinding) -> String {
    let f = &finding.finding;
    let of = |field: &str| f.subject.get(field);
    let times = times(f.count);
    let network = of("source.network").map(|network| format!("The addresses of {network}"));
    let host = of("host.name").map_or_else(String::new, |host| format!(" on host {host}"));
    match (network.or(of("source.ip").or(of("source.domain")).cloned()), of("user.name")) {
        (Some(who), Some(user)) => format!("{who} tried to log in as \u{201c}{user}\u{201d}{host} {times} and failed"),
        (Some(who), None) => format!("{who} tried to log in{host} {times} and failed"),
        (None, Some(user)) => format!("Logins to the account \u{201c}{user}\u{201d}{host} failed {times}"),
        (None, None) if host.is_empty() => format!("{}: {} events", f.rule, grouped(f.count)),
        (None, None) => format!("There {}{host}", were(f.count, "failed login")),
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{} times", grouped(count)) }
}

fn were(count: u64, what: &str) -> String {
    if count == 1 { format!("was one {what}") } else { format!("were {} {what}s", grouped(count)) }
}

/// How much was counted, in short: a number, or for how long.
pub fn size_words(finding: &Finding) -> String {
    if finding.counted == Counted::QuietMinutes { length(finding.count) } else { grouped(finding.count) }
}

/// A length of time in minutes, as people say it.
fn length(minutes: u64) -> String {
    let (days, hours, rest) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    let part = |n: u64, unit: &str| (n > 0).then(|| super::words::counted(n as usize, unit));
    let parts =
        if days > 0 { [part(days, "day"), part(hours, "hour")] } else { [part(hours, "hour"), part(rest, "minute")] };
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(" and ")
}

fn status_words(status: &str) -> String {
    let meaning = match status {
        "401" => "not logged in",
        "403" => "forbidden",
        "404" => "page not found",
        s if s.starts_with('5') => "server error",
        _ => return format!("status {status}"),
    };
    format!("{meaning} ({status})")
}

/// `on Tue 17 Nov between 03:10 and 03:56`.
pub fn when(first: i64, last: i64, now: &DateTime<Tz>) -> String {
    let time = |seconds: i64| local(seconds, now).format("%H:%M").to_string();
    let (first_day, last_day) = (day(first, now), day(last, now));
    match (first_day == last_day, time(first) == time(last)) {
        (true, true) => format!("on {first_day} at {}", time(first)),
        (true, false) => format!("on {first_day} between {} and {}", time(first), time(last)),
        (false, _) => format!("between {} and {}", stamp(first, now), stamp(last, now)),
    }
}

/// `Tue 10 Nov 03:10`.
fn stamp(seconds: i64, now: &DateTime<Tz>) -> String {
    format!("{} {}", day(seconds, now), local(seconds, now).format("%H:%M"))
}

fn day(seconds: i64, now: &DateTime<Tz>) -> String {
    let local = local(seconds, now);
    // What is half a year ago was in this year, too, as far as anybody asks.
    let is_far = local.year() != now.year() && (*now - local).num_days().abs() > 182;
    local.format(if is_far { "%a %-d %b %Y" } else { "%a %-d %b" }).to_string()
}

fn local(seconds: i64, now: &DateTime<Tz>) -> DateTime<Tz> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().with_timezone(&now.timezone())
}
