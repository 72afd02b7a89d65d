//! When jobs are due: pure functions of expression, zone and instant.
//!
//! Daylight saving follows Debian's cron(8), for shifts of up to three hours. A job whose minute or hour
//! starts with `*` follows elapsed time. Any other job keeps to the wall clock: in a skipped hour it runs once,
//! right after the hour; in a repeated hour it runs in the first pass only.

pub mod due;

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::model::{Expression, Schedule};

/// How many years ahead a match is looked for; 29 February on a given weekday needs up to 40.
const HORIZON_YEARS: u64 = 60;

/// A fixed-time job whose day holds a longer shift than this is not made up for (cron(8)).
const LONGEST_SHIFT_HOURS: i64 = 3;

/// The first instant strictly after `after` at which the schedule is due; `None` when it never is again.
///
/// ```
/// use chrono::{DateTime, Utc};
/// use logkeeper::model::Schedule;
/// let schedule = Schedule { expression: "0 12 * * FRI".parse().unwrap(), zone: chrono_tz::Europe::Berlin };
/// let after: DateTime<Utc> = "2026-11-21T00:00:00Z".parse().unwrap();
/// let next = logkeeper::schedule::next_after(&schedule, after).unwrap();
/// assert_eq!(next.to_rfc3339(), "2026-11-27T11:00:00+00:00");
/// ```
pub fn next_after(schedule: &Schedule, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let Schedule { expression, zone } = schedule;
    let local = after.with_timezone(zone).naive_local();
    // One day back, because a fold at midnight can put a later instant on the earlier date.
    let mut date = local.date().checked_sub_days(Days::new(1))?;
    let last = local.date().checked_add_days(Days::new(HORIZON_YEARS * 366))?;
    while date <= last {
        if !expression.matches_month(date) {
            date = first_of_next_month(date)?;
            continue;
        }
        if expression.matches_date(date)
            && let Some(found) = first_on(expression, *zone, date, after)
        {
            return Some(found);
        }
        date = date.succ_opt()?;
    }
    None
}

/// The first matching instant of one calendar day strictly after `after`.
fn first_on(expression: &Expression, zone: Tz, date: NaiveDate, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match steady_offset(zone, date) {
        Some(offset) => {
            let earliest = (after.naive_utc() + offset + TimeDelta::seconds(1)).max(date.and_time(NaiveTime::MIN));
            if earliest.date() > date {
                return None;
            }
            let (hour, minute) = expression.first_time_from(earliest.time())?;
            Some((date.and_hms_opt(hour, minute, 0)? - offset).and_utc())
        }
        None => {
            let times = expression.times().filter_map(|(hour, minute)| date.and_hms_opt(hour, minute, 0));
            times.flat_map(|time| instants(expression, zone, time)).flatten().filter(|i| *i > after).min()
        }
    }
}

/// The zone's offset when it is the same all over a calendar day and its neighbourhood.
fn steady_offset(zone: Tz, date: NaiveDate) -> Option<TimeDelta> {
    let midnight = date.and_time(NaiveTime::MIN);
    let before = offset_at(zone, midnight - TimeDelta::hours(15));
    let after = offset_at(zone, midnight + TimeDelta::hours(24 + 15));
    (before == after).then_some(before)
}

/// The instants at which a matching wall-clock minute really is due: none, one or two.
fn instants(expression: &Expression, zone: Tz, time: NaiveDateTime) -> [Option<DateTime<Utc>>; 2] {
    match zone.from_local_datetime(&time) {
        chrono::LocalResult::Single(one) => [Some(one.to_utc()), None],
        chrono::LocalResult::Ambiguous(first, _) if !expression.is_wildcard() => [Some(first.to_utc()), None],
        chrono::LocalResult::Ambiguous(first, second) => [Some(first.to_utc()), Some(second.to_utc())],
        chrono::LocalResult::None if expression.is_wildcard() => [None, None],
        chrono::LocalResult::None => [gap_end(zone, time), None],
    }
}

/// The instant at which the gap that swallows `time` ends; `None` when it is longer than three hours.
fn gap_end(zone: Tz, time: NaiveDateTime) -> Option<DateTime<Utc>> {
    let (mut low, mut high) = (time - TimeDelta::hours(40), time + TimeDelta::hours(40));
    let before = offset_at(zone, low);
    if offset_at(zone, high) - before > TimeDelta::hours(LONGEST_SHIFT_HOURS) {
        return None;
    }
    while high - low > TimeDelta::seconds(1) {
        let middle = low + (high - low) / 2;
        if offset_at(zone, middle) == before {
            low = middle;
        } else {
            high = middle;
        }
    }
    let seconds = (high.and_utc().timestamp() + 30).div_euclid(60) * 60;
    DateTime::from_timestamp(seconds, 0)
}

fn offset_at(zone: Tz, utc: NaiveDateTime) -> TimeDelta {
    TimeDelta::seconds(i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()))
}

fn first_of_next_month(date: NaiveDate) -> Option<NaiveDate> {
    use chrono::Datelike;
    let (year, month) = if date.month() == 12 { (date.year() + 1, 1) } else { (date.year(), date.month() + 1) };
    NaiveDate::from_ymd_opt(year, month, 1)
}
