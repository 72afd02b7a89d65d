//! The stamps of syslog: BSD's (RFC 3164), which have no year unless a device or a daemon adds it, those of RFC 3339 (Debian 12 and
//! later), what `journalctl -o` writes (short-precise, short-iso, short-full, with-unit, short-unix), also in other languages, and
//! OpenWrt's `logread`.

use memchr::memchr;

use super::Context;
use super::syslog::number;
use super::syslog_head::{head, is_priority, plain_head, word};
use super::time::{WallClock, clock, four, month, month_elsewhere, offset, rfc3339, two};
use chrono::NaiveDate;

/// Reads stamps; it remembers the last minute.
pub struct Stamps {
    wall: WallClock,
    /// The last minute's stamp without its seconds, as `Nov 20 10:00:`, and when that minute began.
    minute: Option<([u8; MINUTE], i64)>,
}

/// The length of a stamp up to its seconds.
const MINUTE: usize = 13;

const WEEKDAYS: [&[u8]; 7] = [b"Mon ", b"Tue ", b"Wed ", b"Thu ", b"Fri ", b"Sat ", b"Sun "];

impl Stamps {
    /// For stamps in the context's zone.
    pub fn new(context: Context) -> Self {
        Self { wall: WallClock::new(context), minute: None }
    }

    /// Splits the stamp off a line: its instant and what follows the blank behind it.
    pub fn split<'a>(&mut self, line: &'a [u8]) -> Option<(i64, &'a [u8])> {
        if let Some((minute, start)) = &self.minute
            && let Some(&[s1, s2, b' ', ref rest @ ..]) = line.strip_prefix(minute)
            && let Some(second) = two([s1, s2]).filter(|second| *second <= 60)
            && !begins_with_year(rest)
        {
            return Some((start + i64::from(second), rest));
        }
        match line.first()? {
            b'0'..=b'9' => match four(&line[..4.min(line.len())]).filter(|_| line.get(4) == Some(&b' ')) {
                Some(year) => self.bsd(&line[5..], Some(year), false),
                None => self.numeric(line).or_else(|| self.local(line)),
            },
            // glibc pads a month that is a number; whatever else is indented goes on with the line before.
            b' ' => self.local(line.strip_prefix(b" ").filter(|rest| rest.first().is_some_and(u8::is_ascii_digit))?),
            _ if line.get(..4).is_some_and(|day| WEEKDAYS.contains(&day)) => {
                if line.get(4).is_some_and(u8::is_ascii_digit) {
                    self.full(&line[4..])
                } else {
                    self.logread(&line[4..]).or_else(|| self.bsd(&line[4..], None, true))
                }
            }
            b'A'..=b'Z' => self.bsd(line, None, false).or_else(|| self.local(line)),
            _ => self.local(line),
        }
    }

    /// `Nov 20 10:00:00 2026 auth.info `, as OpenWrt's `logread` writes behind the weekday; without facility and severity it is another
    /// program's stamp.
    fn logread<'a>(&mut self, text: &'a [u8]) -> Option<(i64, &'a [u8])> {
        let (&[m1, m2, m3, b' ', d1, d2, b' ', ref clock_year @ ..], rest) = text.split_first_chunk::<20>()? else {
            return None;
        };
        let clock = clock(&clock_year[..8]).filter(|_| clock_year[8] == b' ')?;
        let date = NaiveDate::from_ymd_opt(four(&clock_year[9..])?, month(&[m1, m2, m3])?, two([d1, d2])?)?;
        let (priority, rest) = word(rest.strip_prefix(b" ")?)?;
        if is_priority(priority) { Some((self.wall.instant(date, clock)?, rest)) } else { None }
    }

    /// `Okt 20 10:00:00 `, as `journalctl` writes where the month has its name in another language.
    fn local<'a>(&mut self, line: &'a [u8]) -> Option<(i64, &'a [u8])> {
        let (name, rest) = word(line)?;
        let (day, rest) = word(rest.trim_ascii_start())?;
        let (time, rest) = word(rest)?;
        let day = number(day).filter(|_| day.len() <= 2)?;
        Some((self.wall.yearless(month_elsewhere(name)?, day, clock(time)?)?, rest))
    }

    /// `Nov 20 10:00:00 `, with a fraction of the second as well, and `Nov 20 2026 10:00:00 `. A year behind the clock is part of other
    /// programs' stamps, as is a weekday in front, unless a line of syslog follows.
    fn bsd<'a>(&mut self, line: &'a [u8], year: Option<i32>, has_weekday: bool) -> Option<(i64, &'a [u8])> {
        // Some daemons do not pad the day.
        let padded = line.get(5) != Some(&b' ');
        let (day, mut rest) =
            if padded { (line.get(4..6)?, line.get(6..)?) } else { (line.get(4..5)?, line.get(5..)?) };
        let day = if let &[digit] = day { two([b' ', digit])? } else { two([day[0], day[1]])? };
        let month = month(line.get(..3)?)?;
        if line[3] != b' ' || rest.first() != Some(&b' ') {
            return None;
        }
        let year = year.or_else(|| {
            let (year, after) = rest[1..].split_at_checked(4).filter(|(_, after)| after.first() == Some(&b' '))?;
            let year = four(year)?;
            rest = after;
            Some(year)
        });
        let clock = clock(rest.get(1..9)?)?;
        let mut after = &rest[9..];
        let year = match after.strip_prefix(b" ") {
            // sudo's own file names neither host nor program.
            Some(text)
                if year.is_none()
                    && begins_with_year(text)
                    && (plain_head(&text[5..]).is_some() || text[5..].starts_with(b": ")) =>
            {
                after = &after[5..];
                four(&text[..4])
            }
            _ => year,
        };
        let has_program = |text| head(text).is_some_and(|head| !head.said.program.is_empty());
        if has_weekday && !after.strip_prefix(b" ").is_some_and(has_program) {
            return None;
        }
        let time = match year {
            Some(year) => self.wall.instant(NaiveDate::from_ymd_opt(year, month, day)?, clock)?,
            None => self.wall.yearless(month, day, clock)?,
        };
        if after.first() == Some(&b' ') {
            let start = time - i64::from(clock.second);
            // Near the latest instant that a stamp may mean, the seconds tell the year.
            let is_far = start + 60 < self.wall.limit();
            self.minute =
                line.first_chunk().filter(|_| padded && year.is_none() && is_far).map(|minute| (*minute, start));
            return Some((time, &after[1..]));
        }
        // What macOS says of the line before has no host.
        if after.starts_with(b": --- ") {
            return Some((time, &after[2..]));
        }
        let end = memchr(b' ', after)?;
        is_fraction(&after[..end]).then_some((time, &after[end + 1..]))
    }

    /// A stamp of RFC 3339, also with a blank for the `T` and without a zone, or seconds since 1970 with a fraction.
    fn numeric<'a>(&mut self, line: &'a [u8]) -> Option<(i64, &'a [u8])> {
        let date_only = line.get(10) == Some(&b' ');
        let from = if date_only { 11 } else { 0 };
        let mut end = from + memchr(b' ', &line[from..])?;
        // The zone may stand behind a blank, too.
        if date_only && matches!(line.get(end + 1), Some(b'+' | b'-')) {
            let zone = memchr(b' ', &line[end + 1..]).map(|length| end + 1 + length);
            end = zone.filter(|zone_end| offset(&line[end + 1..*zone_end]).is_some()).unwrap_or(end);
        }
        let (stamp, rest) = (&line[..end], &line[end + 1..]);
        // Others, as Squid, write thousandths, and blanks behind them.
        let since_1970 = || {
            let (seconds, fraction) = stamp.split_at_checked(10)?;
            let is_one = fraction.len() == 7 && is_fraction(fraction) && !rest.starts_with(b" ");
            std::str::from_utf8(seconds).ok()?.parse().ok().filter(|_| is_one)
        };
        Some((rfc3339(stamp).or_else(|| self.wall.zoneless(stamp)).or_else(since_1970)?, rest))
    }

    /// `2026-11-20 10:00:00 CET `: the zone is UTC, or the log's own as it is called then.
    fn full<'a>(&mut self, text: &'a [u8]) -> Option<(i64, &'a [u8])> {
        let (stamp, rest) = text.split_at_checked(19)?;
        let rest = rest.strip_prefix(b" ")?;
        let end = memchr(b' ', rest)?;
        let time = match &rest[..end] {
            b"UTC" => rfc3339(&[stamp, b"Z"].concat())?,
            zone => self.wall.named(stamp, std::str::from_utf8(zone).ok()?)?,
        };
        Some((time, &rest[end + 1..]))
    }
}

/// `2026 `
fn begins_with_year(text: &[u8]) -> bool {
    text.get(4) == Some(&b' ') && four(&text[..4]).is_some()
}

/// `.123456`
fn is_fraction(text: &[u8]) -> bool {
    text.len() > 1 && text[0] == b'.' && text[1..].iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::YearRule;

    #[test]
    fn stamps_of_many_kinds_are_read() {
        let context = Context { zone: chrono_tz::Europe::Berlin, year: YearRule::Before(1_795_200_000) };
        let mut stamps = Stamps::new(context);
        for stamp in [
            "Nov 20 10:00:05",
            "Nov 20 10:00:05.123456",
            "Nov 20 2026 10:00:05",
            "2026 Nov 20 10:00:05",
            "2026-11-20T10:00:05.123456+01:00",
            "2026-11-20T10:00:05+0100",
            "2026-11-20T10:00:05,123+01:00",
            "2026-11-20 10:00:05,123",
            "Fri 2026-11-20 10:00:05 CET",
            "Fri 2026-11-20 09:00:05 UTC",
            "1795165205.123456",
            "2026-11-20 10:00:05 +0100",
            "2026-11-20 10:00:05.123 +01:00",
            "nov. 20 10:00:05",
            "Nov. 20 10:00:05",
            "ноя 20 10:00:05",
            "11月 20 10:00:05",
            "Fri Nov 20 2026 10:00:05",
            "Wed Nov 20 10:00:05",
            "Fri Nov 20 10:00:05 2026",
            "Nov 20 10:00:05 2026",
            " 11월 20 10:00:05",
        ] {
            let line = format!("{stamp} web1 sshd[7]: x");
            // Also where the minute before is known.
            for _ in 0..2 {
                assert_eq!(stamps.split(line.as_bytes()), Some((1_795_165_205, &b"web1 sshd[7]: x"[..])), "{stamp}");
            }
        }
        let line = b"Fri Nov 20 10:00:05 2026 auth.info sshd[7]: x";
        assert_eq!(stamps.split(line), Some((1_795_165_205, &b"sshd[7]: x"[..])));
        for other in [
            "Fri Jan 19 12:20:33 2007 [pid 7] x",
            "Fri Nov 20 10:00:05 2026 web1 y",
            "Fri Nov 20 10:00:05 CET 2026 sshd[7]: x",
            "Fri Nov 20 10:00:05 web1 y",
            "13月 20 10:00:05 web1 y",
            "+11月 20 10:00:05 web1 y",
            // What a visitor wrote may stand in a line that goes on.
            "\tNov 20 10:00:05 web1 y",
            " Nov 20 10:00:05 web1 y",
            "  11月 20 10:00:05 web1 y",
            "Vendredi 20 10:00:05 web1 y",
            "nov. 20 10:00 web1 y",
            "Nov 20 10:00:05x web1 y",
            "1795165205 web1 y",
            "Nov 20",
            "Fri 2026",
            "2026 ",
            "",
        ] {
            assert_eq!(stamps.split(other.as_bytes()), None, "{other}");
        }
    }
}
