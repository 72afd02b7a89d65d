//! When jobs are due: pure functions of expression, zone and instant.
//!
//! Daylight saving follows Debian's cron(8), for shifts of up to three hours. A job whose minute or hour
//! starts with `*` follows elapsed time. Any other job keeps to the wall clock: in a skipped hour it runs once,
//! right after the hour; in a repeated hour it runs in the first pass only. An expression with seconds is not made up
//! for in a skipped hour: who counts seconds wants that second or none.

pub mod due;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::model::{Expression, Schedule};

/// A fixed-time job whose day holds a longer shift than this is not made up for (cron(8)).
pub const LONGEST_SHIFT: TimeDelta = TimeDelta::hours(3);

/// Local time is at most so far from UTC.
const FARTHEST_ZONE: TimeDelta = TimeDelta::hours(16);

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
    // The next whole second: an instant between two seconds must not hide the second one.
    let start = DateTime::from_timestamp(after.timestamp().checked_add(1)?, 0)?.naive_utc();
    // One day back, because a fold at midnight can put a later instant on the earlier date.
    let mut date = after.with_timezone(zone).date_naive().pred_opt()?;
    loop {
        date = expression.first_date_from(date)?;
        let following = date.succ_opt()?;
        if let Some(found) = first_on(expression, *zone, date, start) {
            let late = steady_offset(*zone, date).is_none() && expression.matches_date(following);
            // Where the clock goes back just after midnight, the new day has begun before the old one ends.
            let other = if late { first_on(expression, *zone, following, start) } else { None };
            return Some(other.map_or(found, |other| other.min(found)).and_utc());
        }
        date = following;
    }
}

/// A stretch of time during which a zone keeps its offset.
struct Stretch {
    start: NaiveDateTime,
    end: NaiveDateTime,
    offset: TimeDelta,
}

/// All of a calendar day and its neighbourhood, in whatever zone.
fn around(date: NaiveDate) -> (NaiveDateTime, NaiveDateTime) {
    let midnight = date.and_time(NaiveTime::MIN);
    (midnight - FARTHEST_ZONE, midnight + TimeDelta::days(1) + FARTHEST_ZONE)
}

/// The zone's offset when it is the same all around a calendar day.
fn steady_offset(zone: Tz, date: NaiveDate) -> Option<TimeDelta> {
    let (from, to) = around(date);
    let offset = offset_at(zone, from);
    (offset == offset_at(zone, to)).then_some(offset)
}

/// The first matching instant of one calendar day at or after `start`.
fn first_on(expression: &Expression, zone: Tz, date: NaiveDate, start: NaiveDateTime) -> Option<NaiveDateTime> {
    let (from, to) = around(date);
    if let Some(offset) = steady_offset(zone, date) {
        return first_in(expression, date, &Stretch { start, end: to, offset });
    }
    let mut found = Vec::new();
    let mut before: Option<Stretch> = None;
    for stretch in stretches(zone, from, to) {
        let mut first = stretch.start;
        if let Some(before) = before.filter(|_| !expression.is_wildcard()) {
            let shift = stretch.offset - before.offset;
            let local = stretch.start + before.offset;
            let skipped = expression.first_time_from(if local.date() < date { NaiveTime::MIN } else { local.time() });
            let skipped = skipped.map(|time| date.and_time(time));
            if skipped.is_some_and(|time| (local..local + shift).contains(&time))
                && shift <= LONGEST_SHIFT
                && !expression.has_seconds()
                && stretch.start >= start
            {
                found.push(whole_minute(stretch.start));
            }
            if -shift <= LONGEST_SHIFT {
                // What the first pass through a repeated hour has seen is over.
                first = first.max(local - stretch.offset);
            }
        }
        let usable = Stretch { start: first.max(start), ..stretch };
        found.extend(first_in(expression, date, &usable));
        before = Some(stretch);
    }
    found.into_iter().filter(|instant| *instant >= start).min()
}

/// The first match of a calendar day within a stretch.
fn first_in(expression: &Expression, date: NaiveDate, stretch: &Stretch) -> Option<NaiveDateTime> {
    let earliest = (stretch.start + stretch.offset).max(date.and_time(NaiveTime::MIN));
    if earliest.date() > date {
        return None;
    }
    let found = date.and_time(expression.first_time_from(earliest.time())?) - stretch.offset;
    (found < stretch.end).then_some(found)
}

/// The stretches from `from` to `to`. No zone ever changed twice within an hour.
fn stretches(zone: Tz, from: NaiveDateTime, to: NaiveDateTime) -> Vec<Stretch> {
    let (mut found, mut start, mut at) = (Vec::new(), from, from);
    while at < to {
        let next = (at + TimeDelta::hours(1)).min(to);
        let offset = offset_at(zone, at);
        if offset_at(zone, next) != offset {
            let (mut low, mut high) = (at, next);
            while high - low > TimeDelta::seconds(1) {
                let middle = low + TimeDelta::seconds((high - low).num_seconds() / 2);
                if offset_at(zone, middle) == offset { low = middle } else { high = middle }
            }
            found.push(Stretch { start, end: high, offset });
            start = high;
        }
        at = next;
    }
    found.push(Stretch { start, end: to, offset: offset_at(zone, start) });
    found
}

/// Until 1972 some zones changed at odd seconds.
fn whole_minute(instant: NaiveDateTime) -> NaiveDateTime {
    let seconds = (instant.and_utc().timestamp() + 30).div_euclid(60) * 60;
    DateTime::from_timestamp(seconds, 0).map_or(instant, |whole| whole.naive_utc())
}

fn offset_at(zone: Tz, utc: NaiveDateTime) -> TimeDelta {
    TimeDelta::seconds(i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_of_a_second_hides_no_slot() {
        let next = |expression: &str, after: &str| {
            let schedule = Schedule { expression: expression.parse().unwrap(), zone: Tz::UTC };
            next_after(&schedule, after.parse().unwrap()).unwrap().format("%H:%M:%S%.3f").to_string()
        };
        assert_eq!(next("* * * * *", "2026-11-21T11:59:59.500Z"), "12:00:00.000");
        assert_eq!(next("* * * * *", "2026-11-21T12:00:00Z"), "12:01:00.000");
        assert_eq!(next("* * * * * *", "2026-11-21T12:00:00.999Z"), "12:00:01.000");
    }
}
