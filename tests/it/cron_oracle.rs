//! Daylight saving, compared with a slow oracle that walks minute by minute and knows nothing but Debian's rule.
//!
//! All zones and all their changes from 2000 to 2037 take a while: `LOGKEEPER_ORACLE=full cargo test --release
//! --test it oracle`. Otherwise every 60th zone is looked at.

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use logkeeper::model::{Expression, Schedule};
use logkeeper::schedule::next_after;

const LONGEST: TimeDelta = TimeDelta::hours(3);

/// One field: the set of its values, read in the simplest way there is.
fn field(text: &str, low: u32, high: u32) -> Vec<u32> {
    let mut values = Vec::new();
    for item in text.split(',') {
        let (span, step) = item.split_once('/').map_or((item, 1), |(span, step)| (span, step.parse().unwrap()));
        let (from, to) = match span.split_once('-') {
            _ if span == "*" => (low, high),
            Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
            None => (span.parse().unwrap(), span.parse().unwrap()),
        };
        values.extend((from..=to).step_by(step));
    }
    values
}

struct Oracle {
    fields: [Vec<u32>; 5],
    wildcard: bool,
    both_days: bool,
}

impl Oracle {
    fn new(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        let ranges = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
        Self {
            fields: std::array::from_fn(|n| field(words[n], ranges[n].0, ranges[n].1)),
            wildcard: words[0].starts_with('*') || words[1].starts_with('*'),
            both_days: words[2].starts_with('*') || words[4].starts_with('*'),
        }
    }

    fn matches(&self, local: NaiveDateTime) -> bool {
        let [minutes, hours, days, months, weekdays] = &self.fields;
        let (day, weekday) = (days.contains(&local.day()), weekdays.contains(&local.weekday().num_days_from_sunday()));
        minutes.contains(&local.minute())
            && hours.contains(&local.hour())
            && months.contains(&local.month())
            && if self.both_days { day && weekday } else { day || weekday }
    }

    /// cron(8): walks the minutes; `seen` is the latest wall-clock time that wall-clock jobs have lived through.
    fn fires(&self, minutes: &[(DateTime<Utc>, NaiveDateTime)]) -> Vec<DateTime<Utc>> {
        let minute = TimeDelta::minutes(1);
        let mut seen = minutes[0].1;
        let mut fires = Vec::new();
        for (at, local) in &minutes[1..] {
            let ahead = *local - seen;
            let fire = if self.wildcard || ahead > LONGEST + minute || ahead < -LONGEST {
                seen = *local;
                self.matches(*local)
            } else {
                let mut fire = false;
                while seen < *local {
                    seen += minute;
                    fire |= self.matches(seen);
                }
                fire
            };
            if fire {
                fires.push(*at);
            }
        }
        fires
    }
}

/// When the zone's offset changes, from 2000 to 2037.
fn changes(zone: Tz) -> Vec<DateTime<Utc>> {
    let offset = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local() - at.naive_utc();
    let (mut at, end) =
        (Utc.with_ymd_and_hms(2000, 1, 1, 0, 0, 0).unwrap(), Utc.with_ymd_and_hms(2038, 1, 1, 0, 0, 0).unwrap());
    let mut found = Vec::new();
    while at < end {
        let next = at + TimeDelta::hours(6);
        if offset(at) != offset(next) {
            let minutes = (0..=360).map(|minute| at + TimeDelta::minutes(minute));
            found
                .extend(minutes.clone().zip(minutes.skip(1)).filter(|(a, b)| offset(*a) != offset(*b)).map(|(_, b)| b));
        }
        at = next;
    }
    found
}

/// Expressions of all kinds whose hours lie around a change.
fn expressions(local: NaiveDateTime, n: usize) -> Vec<String> {
    let hour = |by: i64| (local + TimeDelta::hours(by)).hour();
    let (before, at, after) = (hour(-1), hour(0), hour(1));
    let weekday = local.weekday().num_days_from_sunday();
    let all = [
        format!("30 {at} * * *"),
        format!("0,15,30,45 {before} * * *"),
        format!("59 {before} * * {weekday}"),
        format!("0 {after} {} * *", local.day()),
        format!("*/20 {before} * * *"),
        "*/7 * * * *".to_owned(),
        "17 * * * *".to_owned(),
        "30 */1 * * *".to_owned(),
        format!("5-55/10 {before},{at},{after} * * *"),
        format!("0-59 {at} * * *"),
        "30 0-23/2 * * *".to_owned(),
        "0 0 * * *".to_owned(),
        "15 0,23 * * *".to_owned(),
        format!("30 {at} {} {} {weekday}", local.day(), local.month()),
        format!("1 {after} */2 * {weekday}"),
    ];
    let chosen = all.iter().enumerate().filter(|(place, _)| n == usize::MAX || (place + n).is_multiple_of(5));
    chosen.map(|(_, text)| text.clone()).collect()
}

#[test]
fn every_change_of_every_zone_agrees_with_a_walk_through_its_minutes() {
    let full = std::env::var("LOGKEEPER_ORACLE").is_ok_and(|value| value == "full");
    let (mut compared, mut wrong) = (0, Vec::new());
    for zone in TZ_VARIANTS.iter().step_by(if full { 1 } else { 60 }) {
        for (n, change) in changes(*zone).into_iter().enumerate() {
            let start = change - TimeDelta::hours(30);
            let minutes: Vec<_> = (0..60 * 60)
                .map(|minute| start + TimeDelta::minutes(minute))
                .map(|at| (at, at.with_timezone(zone).naive_local()))
                .collect();
            let (first, last) = (minutes[0].0, minutes[minutes.len() - 1].0);
            for text in expressions(minutes[30 * 60].1, if full { usize::MAX } else { n }) {
                let schedule = Schedule { expression: text.parse::<Expression>().unwrap(), zone: *zone };
                let fires = std::iter::successors(next_after(&schedule, first), |at| next_after(&schedule, *at));
                let got: Vec<_> = fires.take_while(|at| *at <= last).collect();
                let want = Oracle::new(&text).fires(&minutes);
                compared += 1;
                if got != want {
                    let odd = got.iter().find(|at| !want.contains(at)).or(want.iter().find(|at| !got.contains(at)));
                    wrong.push(format!("{zone} {change} {text:?}: {} and {}, first {odd:?}", got.len(), want.len()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    assert!(compared > 500, "only {compared} were compared");
    println!("{compared} compared");
}
