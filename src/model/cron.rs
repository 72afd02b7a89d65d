//! Cron expressions: the usual five fields as Debian's cron reads them (crontab(5)).

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate, Timelike};

use super::problem::{Problem, nearest};

const FIVE_FIELDS: &str = "five fields: minute hour day month weekday";
const EXAMPLE: &str = "every Friday at 12:00 is \"0 12 * * FRI\", every 10 minutes is \"*/10 * * * *\"";
const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const NICKNAMES: [(&str, &str); 6] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const DAYS_IN_MONTH: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// A cron expression: which minutes of which days match.
///
/// ```
/// use logkeeper::model::Expression;
/// let friday: Expression = "0 12 * * FRI".parse().unwrap();
/// assert!(!friday.is_wildcard());
/// assert!("0 12 * * FRY".parse::<Expression>().is_err());
/// assert!("0 0 30 2 *".parse::<Expression>().is_err(), "30 February never comes");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Expression {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    wildcard_time: bool,
    both_days: bool,
}

struct FieldKind {
    name: &'static str,
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const FIELDS: [FieldKind; 5] = [
    FieldKind { name: "minute", low: 0, high: 59, names: &[] },
    FieldKind { name: "hour", low: 0, high: 23, names: &[] },
    FieldKind { name: "day of the month", low: 1, high: 31, names: &[] },
    FieldKind { name: "month", low: 1, high: 12, names: &MONTHS },
    FieldKind { name: "weekday", low: 0, high: 7, names: &WEEKDAYS },
];

impl Expression {
    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Debian's notion of a wildcard job: minute or hour starts with `*`. Such jobs follow
    /// elapsed time through clock changes; the others keep to the wall clock (cron(8)).
    pub fn is_wildcard(&self) -> bool {
        self.wildcard_time
    }

    /// Whether any minute of this calendar day matches. Day of the month and weekday are
    /// alternatives, unless one of them starts with `*`: then both must match (crontab(5)).
    pub fn matches_date(&self, date: NaiveDate) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().num_days_from_sunday());
        has(self.months, date.month()) && if self.both_days { day && weekday } else { day || weekday }
    }

    /// Whether the month of this date matches.
    pub fn matches_month(&self, date: NaiveDate) -> bool {
        has(self.months, date.month())
    }

    /// The first matching minute of a day at or after `from`, as (hour, minute).
    pub fn first_time_from(&self, from: chrono::NaiveTime) -> Option<(u32, u32)> {
        let (hour, minute) = (from.hour(), from.minute() + u32::from(from.second() > 0));
        if has(self.hours, hour)
            && let Some(minute) = next_bit(self.minutes, minute)
        {
            return Some((hour, minute));
        }
        Some((next_bit(self.hours, hour + 1)?, next_bit(self.minutes, 0)?))
    }

    /// All matching minutes of a day in order, as (hour, minute).
    pub fn times(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let hours = (0..24).filter(|h| has(self.hours, *h));
        hours.flat_map(|h| (0..60).filter(|m| has(self.minutes, *m)).map(move |m| (h, m)))
    }

    fn ever_fires(&self) -> bool {
        let real_day = |month: u32| (1..=DAYS_IN_MONTH[month as usize - 1]).any(|day| has(self.days, day));
        !self.both_days || (1..=12).any(|month| has(self.months, month) && real_day(month))
    }
}

impl FromStr for Expression {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        if let Some((_, meaning)) = NICKNAMES.iter().find(|(nickname, _)| *nickname == text) {
            return Ok(Self { text: text.to_owned(), ..meaning.parse()? });
        }
        let fields = split(text);
        if fields.len() != 5 {
            let message = format!("a cron expression has five fields, this has {}", fields.len());
            return Err(Problem::new(message, FIVE_FIELDS, EXAMPLE));
        }
        let mut sets = [0_u64; 5];
        for ((set, kind), place) in sets.iter_mut().zip(&FIELDS).zip(&fields) {
            *set = parse_field(text, place.clone(), kind)?;
        }
        let star = |field: usize| text[fields[field].clone()].starts_with('*');
        let [minutes, hours, days, months, mut weekdays] = sets;
        if has(weekdays, 7) {
            weekdays |= 1;
        }
        let expression = Self {
            text: text.to_owned(),
            minutes,
            hours,
            days,
            months,
            weekdays,
            wildcard_time: star(0) || star(1),
            both_days: star(2) || star(4),
        };
        if expression.ever_fires() {
            return Ok(expression);
        }
        let place = fields[2].start..fields[3].end;
        let message = format!("the date {:?} never comes", &text[place.clone()]);
        Err(Problem::new(message, "no month given here has such a day", "give a day that exists in that month")
            .at(place))
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

/// The byte ranges of the blank-separated fields.
fn split(text: &str) -> Vec<Range<usize>> {
    let start_of = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    text.split_ascii_whitespace().map(|word| start_of(word)..start_of(word) + word.len()).collect()
}

fn parse_field(text: &str, place: Range<usize>, kind: &FieldKind) -> Result<u64, Problem> {
    let mut set = 0;
    let mut start = place.start;
    for item in text[place].split(',') {
        set |= parse_item(item, kind).map_err(|problem| problem.at(start..start + item.len().max(1)))?;
        start += item.len() + 1;
    }
    Ok(set)
}

/// One list item: `*`, `N`, `N-M`, each but the plain `N` with an optional `/STEP`.
fn parse_item(item: &str, kind: &FieldKind) -> Result<u64, Problem> {
    let (span, step) = match item.split_once('/') {
        Some((span, step)) => (span, Some(parse_step(step, kind)?)),
        None => (item, None),
    };
    let (low, high) = match span.split_once('-') {
        _ if span == "*" => (kind.low, kind.high.min(if kind.high == 7 { 6 } else { kind.high })),
        Some((low, high)) => (parse_value(low, kind)?, parse_value(high, kind)?),
        None if step.is_some() => {
            let help = format!("write {span}-{}/{} or */{0}", kind.high, item.split_once('/').map_or("", |(_, s)| s));
            return Err(Problem::new(format!("{item:?} has a step but no range"), "a step needs a range or *", help));
        }
        None => parse_value(span, kind).map(|value| (value, value))?,
    };
    if low > high {
        let help = "write the two ends in ascending order, or two ranges separated by a comma";
        return Err(Problem::new(format!("the range {span:?} runs backwards"), kind.range_words(), help));
    }
    Ok((low..=high).step_by(step.unwrap_or(1)).fold(0, |set, value| set | (1 << value)))
}

fn parse_step(step: &str, kind: &FieldKind) -> Result<usize, Problem> {
    let parsed = if step.bytes().all(|b| b.is_ascii_digit()) { step.parse().ok() } else { None };
    parsed.filter(|step| (1..=kind.high as usize).contains(step)).ok_or_else(|| {
        let message = format!("{step:?} is not a step for a {}", kind.name);
        Problem::new(message, format!("a number from 1 to {}", kind.high), EXAMPLE)
    })
}

fn parse_value(word: &str, kind: &FieldKind) -> Result<u32, Problem> {
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

impl FieldKind {
    fn range_words(&self) -> String {
        let names = match self.names {
            [first, .., last] => format!(", or {first} to {last}"),
            _ => String::new(),
        };
        format!("a {} is {} to {}{names}", self.name, self.low, self.high)
    }
}

fn has(set: u64, bit: u32) -> bool {
    set >> bit & 1 == 1
}

fn next_bit(set: u64, from: u32) -> Option<u32> {
    let rest = if from < 64 { set >> from } else { 0 };
    (rest != 0).then(|| from + rest.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_word_is_underlined_in_its_place() {
        let problem = "0 12 * * FRY".parse::<Expression>().unwrap_err();
        assert_eq!(problem.message, "\"FRY\" is not a weekday");
        assert_eq!(problem.place, Some(9..12));
        assert!(problem.help.contains("did you mean FRI"), "{}", problem.help);
    }

    #[test]
    fn sunday_is_both_0_and_7() {
        let sunday = NaiveDate::from_ymd_opt(2026, 11, 22).unwrap();
        for text in ["0 0 * * 0", "0 0 * * 7", "0 0 * * SUN", "0 0 * * 5-7"] {
            assert!(text.parse::<Expression>().unwrap().matches_date(sunday), "{text}");
        }
    }

    #[test]
    fn broken_expressions_are_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "0/15 * * * *",
            "1,,2 * * * *",
            "1- * * * *",
            "+1 * * * *",
            "0 0 31 4,6 *",
        ] {
            assert!(text.parse::<Expression>().is_err(), "{text:?} was accepted");
        }
    }
}
