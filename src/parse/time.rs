//! Stamps: small readers of fixed shapes, and wall-clock time to instants.

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Timelike};
use chrono_tz::Tz;

use super::Context;

/// How the year of a stamp without one is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YearRule {
    /// The latest year that puts the stamp at most a day after this instant (the file's last change,
    /// seconds since 1970 UTC): a December stamp in a file of January belongs to the year before.
    Before(i64),
    /// This year for the first line; a step from December to January begins the next; stamps of the days before may still come late.
    From(i32),
}

/// Converts wall-clock time of one zone to seconds since 1970 UTC; the last minute is remembered.
pub struct WallClock {
    zone: Tz,
    year: YearRule,
    /// Month and day of the last stamp without a year.
    last_date: (u32, u32),
    cached: Option<(NaiveDateTime, i64)>,
    /// The last minute without a year: month, day, hour and minute.
    yearless: Option<([u32; 4], i64)>,
}

impl WallClock {
    /// A converter.
    pub fn new(context: Context) -> Self {
        Self { zone: context.zone, year: context.year, last_date: (0, 0), cached: None, yearless: None }
    }

    /// The instant of a wall-clock time. In a repeated hour the first pass is meant; a time in a
    /// skipped hour is read with the offset before it.
    pub fn instant(&mut self, date: NaiveDate, clock: Clock) -> Option<i64> {
        let minute = date.and_hms_opt(clock.hour, clock.minute, 0)?;
        Some(self.minute_start(minute)? + i64::from(clock.second))
    }

    /// The instant of a date and time; its fraction is dropped.
    pub fn local(&mut self, local: NaiveDateTime) -> Option<i64> {
        let minute = local.with_second(0)?.with_nanosecond(0)?;
        Some(self.minute_start(minute)? + i64::from(local.second()))
    }

    /// The instant of a stamp like those of RFC 3339 without a zone.
    pub fn zoneless(&mut self, text: &[u8]) -> Option<i64> {
        let date = NaiveDate::from_ymd_opt(
            four(text.get(..4)?)?,
            two([*text.get(5)?, *text.get(6)?])?,
            two([*text.get(8)?, *text.get(9)?])?,
        )?;
        if !matches!((text[4], text[7], text.get(10)), (b'-', b'-', Some(b'T' | b't' | b' '))) {
            return None;
        }
        let fraction = text.get(19..)?;
        let plain = fraction.is_empty()
            || fraction.len() > 1 && matches!(fraction[0], b'.' | b',') && fraction[1..].iter().all(u8::is_ascii_digit);
        self.instant(date, clock(text.get(11..19)?)?).filter(|_| plain)
    }

    /// The instant of a stamp like those of RFC 3339 whose zone is told as `CET`: it must be what this zone is called then, which
    /// also tells the two passes of a repeated hour apart.
    pub fn named(&mut self, text: &[u8], zone: &str) -> Option<i64> {
        let first = self.zoneless(text)?;
        let local = |time: i64| Some(chrono::DateTime::from_timestamp(time, 0)?.with_timezone(&self.zone));
        let is_it = |time: i64| {
            local(time).is_some_and(|at| {
                at.naive_local() == local(first).map_or(at.naive_local(), |first| first.naive_local())
                    && at.format("%Z").to_string() == zone
            })
        };
        [first, first + 3600].into_iter().find(|time| is_it(*time))
    }

    /// The instant of a stamp without a year.
    pub fn yearless(&mut self, month: u32, day: u32, clock: Clock) -> Option<i64> {
        let minute = [month, day, clock.hour, clock.minute];
        match self.yearless {
            Some((cached, start)) if cached == minute && start + 60 < self.limit() => {
                Some(start + i64::from(clock.second))
            }
            _ => {
                let found = self.find_year(month, day, clock)?;
                self.yearless = Some((minute, found - i64::from(clock.second)));
                Some(found)
            }
        }
    }

    /// The latest instant that a stamp without a year may mean.
    pub fn limit(&self) -> i64 {
        match self.year {
            YearRule::Before(limit) => limit.saturating_add(24 * 60 * 60),
            YearRule::From(_) => i64::MAX,
        }
    }

    fn find_year(&mut self, month: u32, day: u32, clock: Clock) -> Option<i64> {
        let limit = self.limit();
        match self.year {
            YearRule::From(first) => {
                let year = match (self.last_date, (month, day)) {
                    ((12, _), (1, _)) => first + 1,
                    // One of the old year that comes late.
                    ((1, ..=2), (12, 30..)) => first - 1,
                    _ => first,
                };
                (self.year, self.last_date) = (YearRule::From(year), (month, day));
                self.instant(NaiveDate::from_ymd_opt(year, month, day)?, clock)
            }
            YearRule::Before(_) => {
                let latest = chrono::DateTime::from_timestamp(limit, 0)?.with_timezone(&self.zone).year();
                // Eight years back reach the last 29 February.
                let mut dates =
                    (latest - 8..=latest).rev().filter_map(|year| NaiveDate::from_ymd_opt(year, month, day));
                dates.find_map(|date| self.instant(date, clock).filter(|instant| *instant <= limit))
            }
        }
    }

    fn minute_start(&mut self, minute: NaiveDateTime) -> Option<i64> {
        if let Some((_, start)) = self.cached.filter(|(cached, _)| *cached == minute) {
            return Some(start);
        }
        let found = self.zone.from_local_datetime(&minute).earliest();
        let before_gap = || {
            self.zone.from_local_datetime(&(minute - TimeDelta::hours(3))).earliest().map(|t| t + TimeDelta::hours(3))
        };
        let start = found.or_else(before_gap)?.timestamp();
        self.cached = Some((minute, start));
        Some(start)
    }
}

/// A time of day; a leap second is `:60`.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    hour: u32,
    minute: u32,
    /// 0 to 60.
    pub second: u32,
}

impl Clock {
    /// Minutes since midnight.
    pub fn minute_of_day(self) -> u32 {
        self.hour * 60 + self.minute
    }
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second)
    }
}

/// Reads `HH:MM:SS`.
pub fn clock(text: &[u8]) -> Option<Clock> {
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = text else { return None };
    let clock = Clock { hour: two([h1, h2])?, minute: two([m1, m2])?, second: two([s1, s2])? };
    (clock.hour < 24 && clock.minute < 60 && clock.second <= 60).then_some(clock)
}

/// Reads two digits; the first may be a blank.
pub fn two(digits: [u8; 2]) -> Option<u32> {
    let tens = if digits[0] == b' ' { 0 } else { digit(digits[0])? };
    Some(tens * 10 + digit(digits[1])?)
}

/// Reads four digits.
pub fn four(text: &[u8]) -> Option<i32> {
    let &[a, b, c, d] = text else { return None };
    Some((digit(a)? * 1000 + digit(b)? * 100 + digit(c)? * 10 + digit(d)?) as i32)
}

/// Reads `Jan` to `Dec`.
pub fn month(name: &[u8]) -> Option<u32> {
    const NAMES: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    NAMES.iter().position(|known| known.as_slice() == name).map(|index| index as u32 + 1)
}

/// Reads the name that a month has in other languages (as glibc's locales shorten it: German, French, Spanish, Italian, Portuguese, Dutch,
/// Nordic ones, Polish, Czech, Hungarian, Russian, Ukrainian, Turkish), or a number with the Chinese, Japanese or Korean word. A name that is
/// another month's elsewhere is none (`lis` is November in Polish, and October in Croatian).
pub fn month_elsewhere(name: &[u8]) -> Option<u32> {
    const NAMES: [&str; 12] = [
        "jan janv ene gen tammi sty led янв січ oca",
        "feb févr fev helmi lut úno febr фев лют Şub",
        "mar mars mär mrt maalis bře márc мар бер",
        "apr april avril abr huhti kwi dub ápr апр кві nis",
        "may mai mag mei maj touko kvě máj мая май тра",
        "jun juin juni giu kesä cze čen jún июн чер haz",
        "jul juil juli lug heinä čec júl июл лип tem",
        "aug août ago elo sie авг сер ağu",
        "sep sept set syys wrz zář szept сен вер eyl",
        "oct okt ott out loka paź říj окт жов eki",
        "nov marras ноя лис kas",
        "dec dez déc dic des joulu gru pro дек гру ara",
    ];
    let name = std::str::from_utf8(name).ok()?;
    let number = ["月", "월"].iter().find_map(|word| name.strip_suffix(word));
    if let Some(number) = number {
        return crate::parse::syslog::number(number.as_bytes()).filter(|month| (1..=12).contains(month));
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let known = |names: &&str| names.split(' ').any(|known| known.eq_ignore_ascii_case(name));
    NAMES.iter().position(known).map(|index| index as u32 + 1)
}

/// Reads a zone offset `+0100`, `+01:00` or `Z` as seconds.
pub fn offset(text: &[u8]) -> Option<i64> {
    let (sign, h, m) = match *text {
        [b'Z'] => return Some(0),
        [sign, h1, h2, m1, m2] | [sign, h1, h2, b':', m1, m2] => (sign, two([h1, h2])?, two([m1, m2])?),
        _ => return None,
    };
    let seconds = i64::from(h) * 3600 + i64::from(m) * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// The instant of a date and time of day with a known offset.
pub fn with_offset(date: NaiveDate, clock: Clock, offset: i64) -> Option<i64> {
    let midnight = date.and_hms_opt(0, 0, 0)?.and_utc().timestamp();
    Some(midnight + i64::from(clock.hour * 3600 + clock.minute * 60 + clock.second) - offset)
}

/// Reads an RFC 3339 stamp, also with a blank before its zone; fractions of a second are dropped.
pub fn rfc3339(text: &[u8]) -> Option<i64> {
    let date = NaiveDate::from_ymd_opt(
        four(text.get(..4)?)?,
        two([*text.get(5)?, *text.get(6)?])?,
        two([*text.get(8)?, *text.get(9)?])?,
    )?;
    let punctuation = (text[4], text[7], text.get(10));
    if !matches!(punctuation, (b'-', b'-', Some(b'T' | b't' | b' '))) {
        return None;
    }
    let clock = clock(text.get(11..19)?)?;
    let rest = &text[19..];
    let zone = match rest {
        // Programs of countries with a decimal comma write one (ISO 8601 has both).
        [b'.' | b',', fraction @ ..] => &fraction[fraction.iter().position(|b| !b.is_ascii_digit())?..],
        rest => rest,
    };
    with_offset(date, clock, offset(zone.strip_prefix(b" ").unwrap_or(zone))?)
}

fn digit(byte: u8) -> Option<u32> {
    byte.is_ascii_digit().then(|| u32::from(byte - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp()
    }

    #[test]
    fn december_in_a_january_file_is_last_year() {
        let year = YearRule::Before(at("2027-01-02T00:00:00Z"));
        let mut wall = WallClock::new(Context { zone: Tz::UTC, year });
        let noon = clock(b"12:00:00").unwrap();
        assert_eq!(wall.yearless(12, 31, noon), Some(at("2026-12-31T12:00:00Z")));
        assert_eq!(wall.yearless(1, 1, noon), Some(at("2027-01-01T12:00:00Z")));
        assert_eq!(wall.yearless(2, 29, noon), Some(at("2024-02-29T12:00:00Z")));
    }

    #[test]
    fn a_given_year_goes_on_after_new_year() {
        let mut wall = WallClock::new(Context { zone: Tz::UTC, year: YearRule::From(2015) });
        let noon = clock(b"12:00:00").unwrap();
        assert_eq!(wall.yearless(12, 31, noon), Some(at("2015-12-31T12:00:00Z")));
        assert_eq!(wall.yearless(1, 1, noon), Some(at("2016-01-01T12:00:00Z")));
        assert_eq!(wall.yearless(12, 31, noon), Some(at("2015-12-31T12:00:00Z")), "late");
        assert_eq!(wall.yearless(1, 2, noon), Some(at("2016-01-02T12:00:00Z")));
        assert_eq!(wall.yearless(12, 1, noon), Some(at("2016-12-01T12:00:00Z")), "eleven months without a line");
    }

    #[test]
    fn a_date_and_time_in_a_skipped_hour_is_read_with_the_offset_before_it() {
        let mut wall = WallClock::new(Context { zone: Tz::Europe__Berlin, year: YearRule::From(2026) });
        for (local, instant) in [("01:59:59", "00:59:59"), ("02:30:09", "01:30:09"), ("03:00:00", "01:00:00")] {
            let local = format!("2026-03-29T{local}").parse().unwrap();
            assert_eq!(wall.local(local), Some(at(&format!("2026-03-29T{instant}Z"))));
        }
    }

    #[test]
    fn stamps_with_a_zone_are_exact() {
        assert_eq!(rfc3339(b"2026-11-20T10:15:30.123456+01:00"), Some(at("2026-11-20T09:15:30Z")));
        assert_eq!(rfc3339(b"2026-11-20T10:15:60Z"), Some(at("2026-11-20T10:16:00Z")));
        assert_eq!(rfc3339(b"2026-11-20 10:15:30.123456 +0100"), Some(at("2026-11-20T09:15:30Z")));
        assert_eq!(rfc3339(b"2026-11-20"), None);
        assert_eq!(rfc3339(b"2026-11-20T10:15:30"), None);
    }
}
