//! Reading a cron expression, with the place of every mistake.

use std::ops::Range;

use super::{DaysOfMonth, Expression, Weekdays, has};
use crate::model::problem::{Problem, nearest};

const FIVE_FIELDS: &str = "five fields: minute hour day month weekday";
const EXAMPLE: &str = "every Friday at 12:00 is \"0 12 * * FRI\", every 10 minutes is \"*/10 * * * *\"";
const REBOOT: &str = "@reboot";
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A field of an expression: its name and the values it may have.
struct Kind {
    name: &'static str,
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const SECOND: Kind = Kind { name: "second", low: 0, high: 59, names: &[] };
const MINUTE: Kind = Kind { name: "minute", low: 0, high: 59, names: &[] };
const HOUR: Kind = Kind { name: "hour", low: 0, high: 23, names: &[] };
const DAY: Kind = Kind { name: "day of the month", low: 1, high: 31, names: &[] };
const MONTH: Kind = Kind { name: "month", low: 1, high: 12, names: &MONTHS };
const WEEKDAY: Kind = Kind { name: "weekday", low: 0, high: 7, names: &WEEKDAYS };
const YEAR: Kind = Kind { name: "year", low: 1970, high: 2199, names: &[] };

/// The text of an expression with what picks the values of `~`.
struct Source<'a> {
    text: &'a str,
    job: &'a str,
}

pub(super) fn expression(text: &str, job: &str) -> Result<Expression, Problem> {
    if text.starts_with('@') {
        return nickname(text);
    }
    let source = Source { text, job };
    let mut fields = split(text);
    let count = fields.len();
    let year = (count == 7 || (count == 6 && is_year(&text[fields[5].clone()]))).then(|| fields.pop()).flatten();
    let second = (fields.len() == 6).then(|| fields.remove(0));
    let [minute, hour, day, month, weekday] = fields.as_slice() else {
        let message = format!("a cron expression has five fields, this has {count}");
        return Err(Problem::new(message, FIVE_FIELDS, EXAMPLE));
    };
    let star = |field: &Range<usize>| text[field.clone()].starts_with(['*', '?']);
    let (weekday_text, both_asked) = match text[weekday.clone()].strip_prefix('+') {
        Some(_) => (weekday.start + 1..weekday.end, true),
        None => (weekday.clone(), false),
    };
    let expression = Expression {
        text: text.into(),
        seconds: second.clone().map_or(Ok(1), |place| source.set(place, &SECOND))?,
        minutes: source.set(minute.clone(), &MINUTE)?,
        hours: source.set(hour.clone(), &HOUR)?,
        days: source.days(day.clone())?,
        months: source.set(month.clone(), &MONTH)?,
        weekdays: source.weekdays(weekday_text)?,
        years: year.map(|place| source.years(place)).transpose()?.flatten(),
        wildcard_time: star(minute) || star(hour),
        both_days: star(day) || star(weekday) || both_asked,
        has_seconds: second.is_some(),
        at_boot: false,
    };
    if expression.ever_fires() {
        return Ok(expression);
    }
    let place = day.start..month.end;
    let message = format!("the date {:?} never comes", &text[place.clone()]);
    Err(Problem::new(message, "no month given here has such a day", "give a day that exists in that month").at(place))
}

fn nickname(text: &str) -> Result<Expression, Problem> {
    if text == REBOOT {
        // Any fields would do: what is due at the start of the machine is due at no time of the clock.
        return Ok(Expression { text: text.into(), at_boot: true, ..expression("* * * * *", "")? });
    }
    match NICKNAMES.iter().find(|(nickname, _)| *nickname == text) {
        Some((_, meaning)) => Ok(Expression { text: text.into(), ..expression(meaning, "")? }),
        None => {
            let known = NICKNAMES.iter().map(|(nickname, _)| *nickname).chain([REBOOT]);
            let help = nearest(text, known.clone()).map_or(EXAMPLE.to_owned(), |near| format!("did you mean {near}?"));
            let names = format!("one of {}", known.collect::<Vec<_>>().join(" "));
            Err(Problem::new(format!("{text:?} is not a nickname"), names, help).at(0..text.len()))
        }
    }
}

/// The byte ranges of the blank-separated fields.
fn split(text: &str) -> Vec<Range<usize>> {
    let start_of = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    text.split_ascii_whitespace().map(|word| start_of(word)..start_of(word) + word.len()).collect()
}

/// No weekday has four digits, so a sixth field that has is a year.
fn is_year(field: &str) -> bool {
    field.split(|c: char| !c.is_ascii_digit()).any(|number| number.len() == 4)
}

impl Source<'_> {
    /// The values of a field as bits.
    fn set(&self, place: Range<usize>, kind: &Kind) -> Result<u64, Problem> {
        let mut set = 0;
        self.each_item(place, |item, pick| {
            item_values(item, kind, pick)?.for_each(|value| set |= 1 << value);
            Ok(())
        })?;
        Ok(set)
    }

    fn days(&self, place: Range<usize>) -> Result<DaysOfMonth, Problem> {
        let mut days = DaysOfMonth::default();
        if &self.text[place.clone()] == "?" {
            return Ok(DaysOfMonth { dates: (1..=31).fold(0, |set, day| set | 1 << day), ..days });
        }
        self.each_item(place, |item, pick| {
            if item == "LW" || item == "WL" {
                days.nearest |= 1;
            } else if item == "L" {
                days.from_last |= 1;
            } else if let Some(before) = item.strip_prefix("L-") {
                days.from_last |=
                    1 << parse_value(before, &Kind { name: "number of days", low: 1, high: 30, names: &[] })?;
            } else if let Some(date) = item.strip_suffix('W') {
                days.nearest |= 1 << parse_value(date, &DAY)?;
            } else {
                item_values(item, &DAY, pick)?.for_each(|value| days.dates |= 1 << value);
            }
            Ok(())
        })?;
        Ok(days)
    }

    fn weekdays(&self, place: Range<usize>) -> Result<Weekdays, Problem> {
        let mut weekdays = Weekdays::default();
        if &self.text[place.clone()] == "?" {
            return Ok(Weekdays { every: 0x7f, ..weekdays });
        }
        let weekday = |word: &str| parse_value(word, &WEEKDAY).map(|value| value as usize % 7);
        self.each_item(place, |item, pick| {
            if item == "L" {
                let help =
                    "the last Friday of the month is \"5L\", the last day of the month stands in the third field";
                return Err(Problem::new("L needs a weekday before it", WEEKDAY.range_words(), help));
            }
            if let Some((day, nth)) = item.split_once('#') {
                weekdays.nth[weekday(day)?] |=
                    1 << parse_value(nth, &Kind { name: "count", low: 1, high: 5, names: &[] })?;
            } else if let Some(day) = item.strip_suffix('L') {
                weekdays.nth[weekday(day)?] |= 1;
            } else {
                item_values(item, &WEEKDAY, pick)?.for_each(|value| weekdays.every |= 1 << value);
            }
            Ok(())
        })?;
        if has(weekdays.every, 7) {
            weekdays.every = weekdays.every & 0x7f | 1;
        }
        Ok(weekdays)
    }

    fn years(&self, place: Range<usize>) -> Result<Option<Box<[u16]>>, Problem> {
        if &self.text[place.clone()] == "*" {
            return Ok(None);
        }
        let mut years = std::collections::BTreeSet::new();
        self.each_item(place, |item, pick| {
            // The highest year has four digits.
            years.extend(item_values(item, &YEAR, pick)?.map(|year| year as u16));
            Ok(())
        })?;
        Ok(Some(years.into_iter().collect()))
    }

    /// Reads the comma-separated items of a field; a mistake gets the item's place.
    fn each_item(
        &self,
        place: Range<usize>,
        mut read: impl FnMut(&str, u64) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let mut start = place.start;
        for item in self.text[place].split(',') {
            let pick = fnv(self.job.bytes().chain(start.to_le_bytes()));
            read(item, pick).map_err(|problem| problem.at(start..start + item.len().max(1)))?;
            start += item.len() + 1;
        }
        Ok(())
    }
}

/// One list item: `*`, `N`, `N-M`, `N~M`, each but the plain `N` and the random one with an optional `/STEP`.
fn item_values(item: &str, kind: &Kind, pick: u64) -> Result<impl Iterator<Item = u32> + use<>, Problem> {
    let (span, step) = match item.split_once('/') {
        Some((span, step)) => (span, Some(parse_step(step, kind)?)),
        None => (item, None),
    };
    let top = if kind.high == 7 { 6 } else { kind.high };
    let end = |word: &str, open: u32| if word.is_empty() { Ok(open) } else { parse_value(word, kind) };
    let (mut low, mut high) = match (span.split_once('-'), span.split_once('~')) {
        _ if span == "*" => (kind.low, top),
        (Some((low, high)), _) => (parse_value(low, kind)?, parse_value(high, kind)?),
        (None, Some(_)) if step.is_some() => {
            let help = "~ picks one value; leave the step out";
            return Err(Problem::new(format!("{item:?} has a step after ~"), "picks one value only", help));
        }
        (None, Some((low, high))) => (end(low, kind.low)?, end(high, top)?),
        (None, None) if step.is_some() => {
            let help = format!("write {span}-{}/{} or */{0}", kind.high, item.split_once('/').map_or("", |(_, s)| s));
            return Err(Problem::new(format!("{item:?} has a step but no range"), "a step needs a range or *", help));
        }
        (None, None) => parse_value(span, kind).map(|value| (value, value))?,
    };
    if low > high {
        let help = "write the two ends in ascending order, or two ranges separated by a comma";
        return Err(Problem::new(format!("the range {span:?} runs backwards"), kind.range_words(), help));
    }
    if span.contains('~') {
        low += (pick % u64::from(high - low + 1)) as u32;
        high = low;
    }
    Ok((low..=high).step_by(step.unwrap_or(1)))
}

fn parse_step(step: &str, kind: &Kind) -> Result<usize, Problem> {
    let parsed = if step.bytes().all(|b| b.is_ascii_digit()) { step.parse().ok() } else { None };
    // A step beyond the range leaves its first value, as in Debian's cron.
    parsed.filter(|step| *step > 0).ok_or_else(|| {
        let message = format!("{step:?} is not a step for a {}", kind.name);
        Problem::new(message, format!("a number from 1 to {}", kind.high), EXAMPLE)
    })
}

fn parse_value(word: &str, kind: &Kind) -> Result<u32, Problem> {
    if let Some(index) = kind.names.iter().position(|name| name.eq_ignore_ascii_case(word)) {
        return Ok(index as u32 + kind.low);
    }
    if word.is_empty() {
        return Err(Problem::new(format!("a {} is missing", kind.name), kind.range_words(), EXAMPLE));
    }
    let number = if word.bytes().all(|b| b.is_ascii_digit()) { word.parse::<u32>().ok() } else { None };
    match number {
        Some(value) if (kind.low..=kind.high).contains(&value) => Ok(value),
        _ => {
            let upper = word.to_ascii_uppercase();
            let help = match nearest(&upper, kind.names.iter().copied()) {
                Some(name) => format!("did you mean {name}? {EXAMPLE}"),
                None => EXAMPLE.to_owned(),
            };
            Err(Problem::new(format!("{word:?} is not a {}", kind.name), kind.range_words(), help))
        }
    }
}

impl Kind {
    fn range_words(&self) -> String {
        let names = match self.names {
            [first, .., last] => format!(", or {first} to {last}"),
            _ => String::new(),
        };
        format!("a {} is {} to {}{names}", self.name, self.low, self.high)
    }
}

/// FNV-1a with a final mix (splitmix64), so that it is the same on every machine and in every release.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mixed = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    fn parse(text: &str) -> Result<Expression, Problem> {
        text.parse()
    }

    #[test]
    fn a_wrong_word_is_underlined_in_its_place() {
        let problem = parse("0 12 * * FRY").unwrap_err();
        assert_eq!(problem.message, "\"FRY\" is not a weekday");
        assert_eq!(problem.place, Some(9..12));
        assert!(problem.help.contains("did you mean FRI"), "{}", problem.help);
        assert_eq!(parse("@dayly").unwrap_err().help, "did you mean @daily?");
    }

    #[test]
    fn sunday_is_both_0_and_7() {
        let sunday = NaiveDate::from_ymd_opt(2026, 11, 22).unwrap();
        for text in ["0 0 * * 0", "0 0 * * 7", "0 0 * * SUN", "0 0 * * 5-7", "0 0 * * 7#4", "0 0 22W * 7"] {
            assert!(parse(text).unwrap().matches_date(sunday), "{text}");
        }
    }

    #[test]
    fn broken_expressions_are_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * * * *",
            "60 * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "0/15 * * * *",
            "1,,2 * * * *",
            "1- * * * *",
            "+1 * * * *",
            "0 0 31 4,6 *",
            "0 0 L-31 * *",
            "0 0 32W * *",
            "0 0 * * L",
            "0 0 * * 5#6",
            "0 0 * * 5#0",
            "? * * * *",
            "0~70 * * * *",
            "9~3 * * * *",
            "0~9/2 * * * *",
            "0 0 29 2 * 2027",
            "60 0 0 * * *",
            "0 0 * * ?,1",
            "@Daily",
            "@reboot 1",
        ] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_tilde_picks_the_same_value_for_the_same_job_and_spreads_over_jobs() {
        let minute = |job: &str| Expression::for_job("~ 0~5 * * *", job).unwrap().minutes.trailing_zeros();
        assert_eq!(minute("backup"), minute("backup"));
        let minutes: std::collections::BTreeSet<u32> = (0..400).map(|n| minute(&format!("job-{n}"))).collect();
        assert!(minutes.len() > 50, "only {} of 60 minutes are used", minutes.len());
    }

    #[test]
    fn a_sixth_field_is_a_year_only_when_it_looks_like_one() {
        let year = parse("0 12 * * 5 2027-2029").unwrap();
        assert!(!year.has_seconds());
        assert_eq!(
            year.first_date_from(NaiveDate::from_ymd_opt(2026, 1, 1).unwrap()),
            NaiveDate::from_ymd_opt(2027, 1, 1)
        );
        assert_eq!(year.first_date_from(NaiveDate::from_ymd_opt(2030, 1, 1).unwrap()), None);
        assert!(parse("0 12 * * 5 *").unwrap().has_seconds());
        assert!(parse("*/5 0 12 * * 5").unwrap().has_seconds());
    }

    #[test]
    fn the_nearest_weekday_stays_within_its_month() {
        let days = |text: &str, year, month| {
            let expression = parse(text).unwrap();
            let dates = (1..=31).filter_map(|day| NaiveDate::from_ymd_opt(year, month, day));
            dates.filter(|date| expression.matches_date(*date)).map(|d| chrono::Datelike::day(&d)).collect::<Vec<_>>()
        };
        assert_eq!(days("0 0 1W * *", 2025, 11), [3], "Saturday the 1st");
        assert_eq!(days("0 0 1W * *", 2026, 11), [2], "Sunday the 1st");
        assert_eq!(days("0 0 31W * *", 2026, 5), [29], "Sunday the 31st");
        assert_eq!(days("0 0 31W * *", 2026, 10), [30], "Saturday the 31st");
        assert_eq!(days("0 0 31W * *", 2026, 11), Vec::<u32>::new(), "November has no 31st");
        assert_eq!(days("0 0 LW * *", 2026, 5), [29]);
        assert_eq!(days("0 0 L-2 * *", 2026, 2), [26]);
        assert_eq!(days("0 0 15W * *", 2026, 11), [16], "Sunday the 15th");
        assert_eq!(days("0 0 * * FRIL,MON#1", 2026, 11), [2, 27]);
    }
}
