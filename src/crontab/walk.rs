//! When cron itself would run a line: minute by minute, as Debian's cron does it, and on purpose without anything of
//! [`crate::schedule`], so that comparing both means something.

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

/// How far ahead is walked.
const HORIZON: TimeDelta = TimeDelta::days(366 * 12);

/// cron(8): larger shifts are corrections.
const LONGEST_SHIFT: TimeDelta = TimeDelta::hours(3);

/// A line's five fields as sets.
struct Fields {
    sets: [u64; 5],
    wildcard: bool,
    both_days: bool,
}

/// The next `count` instants after `from` at which cron runs a line in a zone, as far as twelve years reach; `None` where
/// the line has no such instants, as `@reboot` has.
pub fn fires(schedule: &str, zone: Tz, from: DateTime<Utc>, count: usize) -> Option<Vec<DateTime<Utc>>> {
    let fields = Fields::read(schedule)?;
    let minute = TimeDelta::minutes(1);
    let mut at = DateTime::from_timestamp(from.timestamp().div_euclid(60) * 60, 0)?;
    let mut seen = at.with_timezone(&zone).naive_local();
    let mut found = Vec::new();
    while found.len() < count && at < from + HORIZON {
        at += minute;
        let local = at.with_timezone(&zone).naive_local();
        let ahead = local - seen;
        let due = if fields.wildcard || ahead > LONGEST_SHIFT + minute || ahead < -LONGEST_SHIFT {
            seen = local;
            fields.matches(local)
        } else {
            let mut due = false;
            while seen < local {
                seen += minute;
                due |= fields.matches(seen);
            }
            due
        };
        if due {
            found.push(at);
        }
    }
    Some(found)
}

impl Fields {
    fn read(schedule: &str) -> Option<Self> {
        let schedule = match schedule {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let words: Vec<&str> = schedule.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = words[..] else { return None };
        let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        let weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
        let mut sets = [
            set(minute, 0, 59, &[])?,
            set(hour, 0, 23, &[])?,
            set(day, 1, 31, &[])?,
            set(month, 1, 12, &months)?,
            set(weekday, 0, 7, &weekdays)?,
        ];
        sets[4] |= sets[4] >> 7 & 1;
        let star = |field: &str| field.starts_with('*');
        Some(Self { sets, wildcard: star(minute) || star(hour), both_days: star(day) || star(weekday) })
    }

    fn matches(&self, at: NaiveDateTime) -> bool {
        let has = |field: usize, value: u32| self.sets[field] >> value & 1 == 1;
        let (day, weekday) = (has(2, at.day()), has(4, at.weekday().num_days_from_sunday()));
        has(0, at.minute())
            && has(1, at.hour())
            && has(3, at.month())
            && if self.both_days { day && weekday } else { day || weekday }
    }
}

fn set(field: &str, low: u32, high: u32, names: &[&str]) -> Option<u64> {
    let value = |word: &str| {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(word)).map(|at| at as u32 + low);
        named.or_else(|| word.parse().ok()).filter(|value| (low..=high).contains(value))
    };
    let mut all = 0;
    for item in field.split(',') {
        let (span, step) = item.split_once('/').map_or((item, Some(1)), |(span, step)| (span, step.parse().ok()));
        let (first, last) = match span.split_once('-') {
            _ if span == "*" => (low, high),
            Some((first, last)) => (value(first)?, value(last)?),
            None => (value(span)?, value(span)?),
        };
        (first..=last).step_by(step.filter(|step| *step > 0)?).for_each(|value| all |= 1 << value);
    }
    Some(all)
}
