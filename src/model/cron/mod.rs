//! Cron expressions: the usual five fields as Debian's cron reads them (crontab(5)), and what other crons added.
//!
//! Six fields begin with seconds, unless the last one is a year; seven have both. `L`, `W`, `#` and `?` mean what they
//! mean in Quartz, `~` what it means in OpenBSD's cron: one value of the range, here always the same for one job.

mod english;
mod parse;

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, Days, NaiveDate, NaiveTime, Timelike};

use super::problem::Problem;

/// How far ahead a matching day is looked for: the Gregorian calendar repeats itself, weekdays included, after 400
/// years, and 29 February on a given weekday may need 40.
const HORIZON_YEARS: i32 = 60;

/// A cron expression: which seconds of which days match.
///
/// ```
/// use logkeeper::model::Expression;
/// let friday: Expression = "0 12 * * FRI".parse().unwrap();
/// assert_eq!(friday.explain(), "Fridays at 12:00");
/// assert!(!friday.is_wildcard());
/// assert!("0 12 * * FRY".parse::<Expression>().is_err());
/// assert!("0 0 30 2 *".parse::<Expression>().is_err(), "30 February never comes");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Expression {
    text: Box<str>,
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: DaysOfMonth,
    months: u64,
    weekdays: Weekdays,
    /// Sorted; `None`: every year.
    years: Option<Box<[u16]>>,
    wildcard_time: bool,
    both_days: bool,
    has_seconds: bool,
    at_boot: bool,
}

/// Days counted within a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct DaysOfMonth {
    /// Bit n: the nth.
    dates: u64,
    /// Bit n: n days before the last one.
    from_last: u64,
    /// Bit n: the weekday (Monday to Friday) nearest to the nth, within the month; bit 0: the last weekday.
    nearest: u64,
}

/// Days counted within a week.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Weekdays {
    /// Bit 0: Sundays … bit 6: Saturdays.
    every: u64,
    /// Per weekday: bit n is its nth one in the month, bit 0 the last.
    nth: [u8; 7],
}

impl Expression {
    /// Reads an expression for a job: `~` picks values that are always the same for a job of that name.
    ///
    /// # Errors
    /// Says which part is wrong, and where.
    pub fn for_job(text: &str, job: &str) -> Result<Self, Problem> {
        parse::expression(text, job)
    }

    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Debian's notion of a wildcard job: minute or hour starts with `*`. Such jobs follow
    /// elapsed time through clock changes; the others keep to the wall clock (cron(8)).
    pub fn is_wildcard(&self) -> bool {
        self.wildcard_time
    }

    /// Whether it has a field for seconds.
    pub fn has_seconds(&self) -> bool {
        self.has_seconds
    }

    /// `@reboot`: due once when the machine has started, and at no time of the clock.
    pub fn is_at_boot(&self) -> bool {
        self.at_boot
    }

    /// Says in plain English when it is due, without the zone.
    pub fn explain(&self) -> String {
        english::explain(self)
    }

    /// Whether any second of this calendar day matches. Day of the month and weekday are
    /// alternatives, unless one of them starts with `*`: then both must match (crontab(5)).
    pub fn matches_date(&self, date: NaiveDate) -> bool {
        if !self.matches_month(date) {
            return false;
        }
        let (day, weekday) = (self.days.has(date), self.weekdays.has(date));
        if self.both_days { day && weekday } else { day || weekday }
    }

    /// The first matching calendar day at or after `from`, if there is one within 60 years.
    pub fn first_date_from(&self, from: NaiveDate) -> Option<NaiveDate> {
        let mut date = from;
        while !self.at_boot && date.year() <= from.year() + HORIZON_YEARS {
            if !self.matches_year(date.year()) {
                let later = self.years.as_ref()?.iter().find(|year| i32::from(**year) > date.year())?;
                date = NaiveDate::from_ymd_opt(i32::from(*later), 1, 1)?;
                continue;
            }
            if !has(self.months, date.month()) {
                date = first_of_next_month(date)?;
                continue;
            }
            if self.matches_date(date) {
                return Some(date);
            }
            date = date.succ_opt()?;
        }
        None
    }

    /// The first matching second of a day at or after `from`.
    pub fn first_time_from(&self, from: NaiveTime) -> Option<NaiveTime> {
        let (mut hour, mut minute, mut second) = (from.hour(), from.minute(), from.second());
        second += u32::from(from.nanosecond() > 0);
        loop {
            let found = next_bit(self.hours, hour)?;
            if found > hour {
                (hour, minute, second) = (found, 0, 0);
            }
            let Some(found) = next_bit(self.minutes, minute) else {
                (hour, minute, second) = (hour + 1, 0, 0);
                continue;
            };
            if found > minute {
                (minute, second) = (found, 0);
            }
            match next_bit(self.seconds, second) {
                Some(second) => return NaiveTime::from_hms_opt(hour, minute, second),
                None => (minute, second) = (minute + 1, 0),
            }
        }
    }

    fn matches_month(&self, date: NaiveDate) -> bool {
        !self.at_boot && has(self.months, date.month()) && self.matches_year(date.year())
    }

    fn matches_year(&self, year: i32) -> bool {
        self.years.as_ref().is_none_or(|years| u16::try_from(year).is_ok_and(|year| years.binary_search(&year).is_ok()))
    }

    fn ever_fires(&self) -> bool {
        let first = self.years.as_ref().and_then(|years| years.first()).map_or(2000, |year| i32::from(*year));
        NaiveDate::from_ymd_opt(first, 1, 1).is_some_and(|from| self.first_date_from(from).is_some())
    }
}

impl DaysOfMonth {
    fn has(&self, date: NaiveDate) -> bool {
        let (day, last) = (date.day(), last_of_month(date));
        has(self.dates, day)
            || has(self.from_last, last - day)
            || (self.nearest != 0 && date.weekday().num_days_from_monday() < 5 && self.nearest_to(date, last))
    }

    /// Whether this weekday is the nearest one to one of the wanted dates.
    fn nearest_to(&self, date: NaiveDate, last: u32) -> bool {
        let (day, weekday) = (date.day(), date.weekday().num_days_from_monday());
        let (monday, friday) = (weekday == 0, weekday == 4);
        has(self.nearest, day)
            || (monday && day > 1 && has(self.nearest, day - 1))
            || (friday && has(self.nearest, day + 1) && day < last)
            || (monday && day == 3 && has(self.nearest, 1))
            || (friday && day + 2 == last && has(self.nearest, last))
            || (has(self.nearest, 0) && (day == last || (friday && day + 2 >= last)))
    }
}

impl Weekdays {
    fn has(&self, date: NaiveDate) -> bool {
        let weekday = date.weekday().num_days_from_sunday();
        let nth = u64::from(self.nth[weekday as usize]);
        has(self.every, weekday)
            || (nth != 0
                && (has(nth, (date.day() - 1) / 7 + 1) || (has(nth, 0) && date.day() + 7 > last_of_month(date))))
    }
}

impl FromStr for Expression {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Self::for_job(text, "")
    }
}

impl TryFrom<String> for Expression {
    type Error = Problem;
    fn try_from(text: String) -> Result<Self, Problem> {
        text.parse()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.text)
    }
}

fn last_of_month(date: NaiveDate) -> u32 {
    let next = first_of_next_month(date).and_then(|first| first.checked_sub_days(Days::new(1)));
    next.map_or(31, |last| last.day())
}

fn first_of_next_month(date: NaiveDate) -> Option<NaiveDate> {
    let (year, month) = if date.month() == 12 { (date.year() + 1, 1) } else { (date.year(), date.month() + 1) };
    NaiveDate::from_ymd_opt(year, month, 1)
}

fn has(set: u64, bit: u32) -> bool {
    bit < 64 && set >> bit & 1 == 1
}

fn next_bit(set: u64, from: u32) -> Option<u32> {
    let rest = if from < 64 { set >> from } else { 0 };
    (rest != 0).then(|| from + rest.trailing_zeros())
}

/// The bits of a set, in order.
fn bits(set: u64) -> impl Iterator<Item = u32> + Clone {
    (0..64).filter(move |bit| has(set, *bit))
}
