//! A cron expression in plain English.

use super::{Expression, bits, has};

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// More times of the day than this are told as a rule instead of one by one.
const LISTED: usize = 6;

pub(super) fn explain(expression: &Expression) -> String {
    if expression.is_at_boot() {
        return "when the machine has started".to_owned();
    }
    let (days, time) = (day_words(expression), time_words(expression));
    let months = match listed(expression.months, 1, 12, |month| MONTHS[month as usize - 1].to_owned()) {
        Some(months) => format!(" in {months}"),
        None => String::new(),
    };
    let years = match expression.years.as_deref() {
        Some([first, .., last])
            if usize::from(last - first) + 1 == expression.years.as_ref().map_or(0, |y| y.len()) =>
        {
            format!(" from {first} to {last}")
        }
        Some(years) => format!(" in {}", join(&years.iter().map(u16::to_string).collect::<Vec<_>>())),
        None => String::new(),
    };
    match days {
        Some(days) => format!("{days}{months}{years} {time}"),
        None if time.strip_prefix("at ").is_some_and(|time| time.starts_with(|c: char| c.is_ascii_digit())) => {
            format!("every day{months}{years} {time}")
        }
        None => format!("{time}{months}{years}"),
    }
}

/// `every 10 minutes`, `at 09:00 and 17:30`, …
fn time_words(expression: &Expression) -> String {
    let Expression { seconds, minutes, hours, .. } = *expression;
    let (all_hours, all_minutes) = (hours == full(0, 23), minutes == full(0, 59));
    let count = bits(hours).count() * bits(minutes).count();
    if bits(seconds).count() == 1 && count <= LISTED && !all_hours {
        let second = if seconds == 1 { String::new() } else { format!(":{:02}", seconds.trailing_zeros()) };
        let times = bits(hours).flat_map(|h| bits(minutes).map(move |m| (h, m)));
        let times: Vec<String> = times.map(|(h, m)| format!("{h:02}:{m:02}{second}")).collect();
        return format!("at {}", join(&times));
    }
    let within = if all_hours { String::new() } else { format!(" {}", hours_words(hours)) };
    if seconds != 1 {
        let seconds = every(seconds, 59, "second").unwrap_or_else(|| format!("at {} of", numbers(seconds, "second")));
        let of = match every(minutes, 59, "minute") {
            _ if all_minutes => {
                if seconds.starts_with("at") {
                    " every minute".to_owned()
                } else {
                    String::new()
                }
            }
            Some(every) => {
                format!(" {every}").replace("every", if seconds.starts_with("at") { "every" } else { "of every" })
            }
            None if seconds.starts_with("at") => format!(" {} of the hour", numbers(minutes, "minute")),
            None => format!(" in {} of the hour", numbers(minutes, "minute")),
        };
        return format!("{seconds}{of}{within}");
    }
    if let Some(every) = every(minutes, 59, "minute") {
        return format!("{every}{within}");
    }
    if let Some(every) = every(hours, 23, "hour") {
        return match minutes {
            1 => every,
            _ => format!("{every} at {} past", numbers(minutes, "minute")),
        };
    }
    format!("at {} past the hour{within}", numbers(minutes, "minute"))
}

/// `every minute`, `every 10 minutes`; `None` where the values are no such series over the whole range.
fn every(set: u64, high: u32, unit: &str) -> Option<String> {
    let mut values = bits(set);
    if values.next() != Some(0) {
        return None;
    }
    let step = values.next()?;
    let series = (0..=high).step_by(step as usize).fold(0, |set, value| set | 1_u64 << value);
    // A step that doesn't divide the range starts anew with it: 0 and 45 are not "every 45 minutes".
    ((high + 1).is_multiple_of(step) && series == set)
        .then(|| if step == 1 { format!("every {unit}") } else { format!("every {step} {unit}s") })
}

fn hours_words(hours: u64) -> String {
    let (first, last) = (hours.trailing_zeros(), 63 - hours.leading_zeros());
    match every(hours, 23, "hour") {
        Some(every) => every.replacen("every", "in one hour of every", 1),
        None if hours == full(first, last) => format!("from {first:02}:00 to {last:02}:59"),
        None => format!("in the hours {}", join(&bits(hours).map(|h| format!("{h:02}")).collect::<Vec<_>>())),
    }
}

/// The days in words; `None`: every day.
fn day_words(expression: &Expression) -> Option<String> {
    let week = week_words(expression);
    let month = month_words(expression);
    match (week, month) {
        (None, month) if expression.both_days => month,
        (week, None) if expression.both_days => week,
        (Some(week), Some(month)) if expression.both_days => {
            Some(format!("{week} that are {}", month.replacen("on ", "", 1)))
        }
        (Some(week), Some(month)) => Some(format!("{week} and {month}")),
        _ => None,
    }
}

/// `Fridays`, `Mondays to Fridays`, `the last Friday of the month`.
fn week_words(expression: &Expression) -> Option<String> {
    let weekdays = &expression.weekdays;
    let name = |day: u32| format!("{}s", WEEKDAYS[day as usize]);
    let mut words = Vec::new();
    match weekdays.every {
        0x7f => return None,
        0x3e => words.push("Mondays to Fridays".to_owned()),
        // From Monday on, because Sunday stands first only in cron.
        every => words.extend(bits(every >> 1).chain((every & 1 == 1).then_some(6)).map(|day| name((day + 1) % 7))),
    }
    for (day, nth) in weekdays.nth.iter().enumerate() {
        for nth in bits(u64::from(*nth)) {
            let nth = if nth == 0 { "last".to_owned() } else { ordinal(nth) };
            words.push(format!("the {nth} {} of the month", WEEKDAYS[day]));
        }
    }
    Some(if weekdays.every == 0 { format!("on {}", join(&words)) } else { join(&words) })
}

/// `on the 1st and 15th`, `on the last day of the month`.
fn month_words(expression: &Expression) -> Option<String> {
    let days = &expression.days;
    let mut words = match listed(days.dates, 1, 31, ordinal) {
        None if days.dates != 0 => return None,
        listed => listed.into_iter().map(|dates| format!("the {dates}")).collect::<Vec<_>>(),
    };
    for before in bits(days.from_last) {
        words.push(match before {
            0 => "the last day".to_owned(),
            1 => "the day before the last one".to_owned(),
            n => format!("{n} days before the last one"),
        });
    }
    for date in bits(days.nearest) {
        words.push(match date {
            0 => "the last weekday".to_owned(),
            n => format!("the weekday nearest to the {}", ordinal(n)),
        });
    }
    let whole_year = expression.months == full(1, 12);
    Some(format!("on {}{}", join(&words), if whole_year { " of the month" } else { "" }))
}

/// The values as words, runs of three and more as `first to last`; `None`: all of them or none.
fn listed(set: u64, low: u32, high: u32, word: impl Fn(u32) -> String) -> Option<String> {
    if set == full(low, high) || set == 0 {
        return None;
    }
    let (mut words, mut at) = (Vec::new(), low);
    while at <= high {
        if !has(set, at) {
            at += 1;
            continue;
        }
        let end = (at..=high).take_while(|value| has(set, *value)).last().unwrap_or(at);
        match end - at {
            0 => words.push(word(at)),
            1 => words.extend([word(at), word(end)]),
            _ => words.push(format!("{} to {}", word(at), word(end))),
        }
        at = end + 1;
    }
    Some(join(&words))
}

/// `minute 5`, `minutes 5, 10 and 20`.
fn numbers(set: u64, unit: &str) -> String {
    let plural = if bits(set).count() == 1 { "" } else { "s" };
    format!("{unit}{plural} {}", listed(set, 0, 60, |value| value.to_string()).unwrap_or_default())
}

fn full(low: u32, high: u32) -> u64 {
    (low..=high).fold(0, |set, value| set | 1 << value)
}

fn ordinal(n: u32) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

fn join(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [front @ .., last] => format!("{} and {last}", front.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_told_as_people_say_them() {
        for (text, words) in [
            ("0 12 * * FRI", "Fridays at 12:00"),
            ("30 2 * * *", "every day at 02:30"),
            ("*/10 * * * *", "every 10 minutes"),
            ("* * * * *", "every minute"),
            ("0 * * * *", "every hour"),
            ("17 * * * *", "every hour at minute 17 past"),
            ("0 */2 * * *", "every 2 hours"),
            ("5,35 */6 * * *", "every 6 hours at minutes 5 and 35 past"),
            ("0 9,17 * * 1-5", "Mondays to Fridays at 09:00 and 17:00"),
            ("*/15 9-17 * * MON,WED", "Mondays and Wednesdays every 15 minutes from 09:00 to 17:59"),
            ("0 0 1,15 * *", "on the 1st and 15th of the month at 00:00"),
            ("0 0 13 * FRI", "Fridays and on the 13th of the month at 00:00"),
            ("0 0 1 1 *", "on the 1st in January at 00:00"),
            ("0 0 L * *", "on the last day of the month at 00:00"),
            ("0 0 LW * *", "on the last weekday of the month at 00:00"),
            ("0 0 * * 5L", "on the last Friday of the month at 00:00"),
            ("0 0 * * TUE#2", "on the 2nd Tuesday of the month at 00:00"),
            ("0 0 * 6-8 *", "every day in June to August at 00:00"),
            ("*/15 * * * * *", "every 15 seconds"),
            ("30 15 10 1 10 *", "on the 1st in October at 10:15:30"),
            ("0 12 * * 5 2027", "Fridays in 2027 at 12:00"),
            ("0 0 1 * +MON", "Mondays that are the 1st of the month at 00:00"),
            ("52 6 1 * *", "on the 1st of the month at 06:52"),
            ("5-55/10 * * * *", "every hour at minutes 5, 15, 25, 35, 45 and 55 past"),
            ("0 0-23/3 * * 6,7", "Saturdays and Sundays every 3 hours"),
            ("@reboot", "when the machine has started"),
            ("*/5 */4 * * *", "every 5 minutes in one hour of every 4 hours"),
            ("*/45 * * * *", "every hour at minutes 0 and 45 past"),
            ("30 5 * * * *", "at second 30 of minute 5 of the hour"),
            ("*/60 * * * *", "every hour"),
        ] {
            assert_eq!(text.parse::<Expression>().unwrap().explain(), words, "{text}");
        }
    }
}
