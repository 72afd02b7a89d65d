//! What the subcommands share in showing things.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

use crate::clock::{Clock, SystemClock};
use crate::config::ConfigErrors;
use crate::model::Problem;
use crate::model::untrusted::printable;

/// In a narrower window a fitted table can't be read any more.
const NARROWEST: u16 = 60;

/// How far away an instant is of which the year is told.
const HALF_A_YEAR: TimeDelta = TimeDelta::days(182);

/// Longer words are broken where there is no room.
const LONG_WORD: usize = 16;

/// Why not all could be printed.
static FAILURE: OnceLock<String> = OnceLock::new();

/// Prints lines on standard output. A reader that went away (`| head`) is no error; what else goes wrong is told at the end
/// ([`failure`]).
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        // The first says most.
        let _ = FAILURE.set(error.to_string());
    }
}

/// Why not all of what was printed could be written, as where the disk is full.
pub fn failure() -> Option<&'static str> {
    FAILURE.get().map(String::as_str)
}

/// Prints a value as JSON.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::with_capacity(1 << 18, std::io::stdout().lock());
    let written =
        serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from).and_then(|()| writeln!(out));
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a table: fitted into the window for a person, one plain line a row for a program.
pub fn print_table(header: &[&str], rows: Vec<Vec<String>>) {
    // A remark that nobody has needs no room.
    let is_used = |at: &usize| {
        !header[*at].is_empty() || rows.iter().any(|row| row.get(*at).is_some_and(|cell| !cell.is_empty()))
    };
    let used: Vec<usize> = (0..header.len()).filter(is_used).collect();
    let header = used.iter().map(|at| header[*at].to_owned()).collect();
    let cells = rows.into_iter().map(|row| {
        let cells = row.into_iter().enumerate().filter(|(at, _)| used.contains(at));
        cells.map(|(_, cell)| printable(cell.as_bytes())).collect()
    });
    // The blanks at both ends are not printed.
    for line in table_lines([header].into_iter().chain(cells).collect(), 2) {
        print(&format!("{}\n", line.strip_prefix(' ').unwrap_or(&line)));
    }
}

/// Prints what is told of one thing, a line for each name with its text; long ones go on below their beginning where the window ends.
pub fn print_fields(fields: Vec<(&str, String)>) {
    let lines = |text: &str| text.lines().map(|line| printable(line.as_bytes())).collect::<Vec<_>>().join("\n");
    let cells = fields.into_iter().map(|(name, text)| vec![name.to_owned(), lines(&text)]);
    for line in table_lines(cells.collect(), 0) {
        print(&format!(" {line}\n"));
    }
}

/// The lines of a table, for a person fitted into the window and so many columns more.
fn table_lines(mut rows: Vec<Vec<String>>, more: u16) -> Vec<String> {
    let window = window().map(|columns| columns.saturating_add(more));
    let fits = |widths: &[u16]| {
        window.is_some_and(|window| widths.iter().copied().map(u32::from).sum::<u32>() <= window.into())
    };
    let mut widths = longest_words(&rows);
    if window.is_some() && !fits(&widths) {
        rows.iter_mut().flatten().for_each(|cell| *cell = with_long_words_broken(cell));
        widths = longest_words(&rows);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.add_rows(rows);
    if let Some(window) = window {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(window);
    }
    if fits(&widths) {
        // So lines break between words only.
        for (column, width) in table.column_iter_mut().zip(widths) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// How many columns the window of a person has, if a table can be fitted into it.
pub fn window() -> Option<u16> {
    let out = std::io::stdout();
    let size = out.is_terminal().then(|| rustix::termios::tcgetwinsize(out).ok()).flatten()?;
    (size.ws_col >= NARROWEST).then_some(size.ws_col)
}

/// How wide each column has to be for its longest word.
fn longest_words(rows: &[Vec<String>]) -> Vec<u16> {
    let mut longest = vec![0; rows.iter().map(Vec::len).max().unwrap_or(0)];
    for (column, cell) in rows.iter().flat_map(|row| row.iter().enumerate()) {
        let word = cell.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
        // A blank stands on each side.
        longest[column] = longest[column].max(u16::try_from(word + 2).unwrap_or(u16::MAX));
    }
    longest
}

/// A text whose long words, as names of rules and addresses of IPv6, go on in another line behind the last sign that may stand at a line's
/// end, or where there is none somewhere.
fn with_long_words_broken(text: &str) -> String {
    let mut broken = String::with_capacity(text.len() + 8);
    let (mut length, mut end) = (0, None);
    for c in text.chars() {
        length = if c.is_whitespace() { 0 } else { length + 1 };
        if c.is_whitespace() {
            end = None;
        }
        if length > LONG_WORD {
            let end = end.take().unwrap_or(broken.len());
            broken.insert(end, '\n');
            length = broken[end..].chars().count();
        }
        broken.push(c);
        if matches!(c, '-' | ':' | '/' | '_' | '=') {
            end = Some(broken.len());
        }
    }
    broken
}

/// Says in which zone times are, for a person: to them they are shown without.
pub fn print_times(zone: Tz) {
    if std::io::stdout().is_terminal() {
        print(&format!("times in {zone}\n"));
    }
}

/// Seconds since 1970 in a table: short for a person, as RFC 3339 for a program.
pub fn time(seconds: i64, zone: Tz) -> String {
    if std::io::stdout().is_terminal() {
        let instant = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        return instant.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string();
    }
    rfc3339(seconds, zone)
}

/// Prints an error with what to do about it.
pub fn complain(error: &anyhow::Error) {
    let text = if let Some(errors) = error.downcast_ref::<ConfigErrors>() {
        errors.render(has_color())
    } else if let Some(problem) = error.downcast_ref::<Problem>() {
        told("error", problem)
    } else {
        without_controls(&format!("error: {error:#}"))
    };
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Tells of something that fails nothing.
pub fn warn(problem: &Problem) {
    let _ = writeln!(std::io::stderr(), "{}", told("warning", problem));
}

fn told(kind: &str, problem: &Problem) -> String {
    without_controls(&format!("{kind}: {}\nhelp: {}", problem.message, problem.help))
}

/// Tells what is wrong in a configuration of which the rest is used.
pub fn warn_of(errors: &ConfigErrors) {
    let _ = writeln!(std::io::stderr(), "{}", errors.render_beside(has_color()));
}

/// Whether errors are told in colours.
fn has_color() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A message whose names, as of files, move nothing on a terminal.
fn without_controls(text: &str) -> String {
    text.split('\n').map(|line| printable(line.as_bytes())).collect::<Vec<_>>().join("\n")
}

/// Reads a length of time, as an argument gives it.
///
/// # Errors
/// Says how one is written.
pub fn period(text: &str) -> Result<std::time::Duration, String> {
    humantime::parse_duration(text).map_err(|_| "write a number with its unit: 90s, 30m, 12h, 7d".to_owned())
}

/// So long before an instant; 1970 where that is earlier.
pub fn ago(now: DateTime<Utc>, period: std::time::Duration) -> DateTime<Utc> {
    let then = TimeDelta::from_std(period).ok().and_then(|period| now.checked_sub_signed(period));
    then.unwrap_or_default().max(DateTime::UNIX_EPOCH)
}

/// An instant on the wall clock of a zone.
pub fn stamp(instant: DateTime<Utc>, zone: Tz) -> String {
    instant.with_timezone(&zone).format("%a %Y-%m-%d %H:%M:%S %Z").to_string()
}

/// Seconds since 1970 as RFC 3339 in a zone.
pub fn rfc3339(seconds: i64, zone: Tz) -> String {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().with_timezone(&zone).to_rfc3339()
}

/// An instant in a table of many columns: for a person with the day of the week and without seconds and year, as [`stamp`] for a program.
pub fn short_stamp(instant: DateTime<Utc>, zone: Tz) -> String {
    for_a_person(instant, zone, "%a %-d %b %H:%M").unwrap_or_else(|| stamp(instant, zone))
}

/// Seconds since 1970 in a table of many columns: without seconds and year for a person, as RFC 3339 for a program.
pub fn short_time(seconds: i64, zone: Tz) -> String {
    let instant = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    for_a_person(instant, zone, "%-d %b %H:%M").unwrap_or_else(|| rfc3339(seconds, zone))
}

/// As `ls -l` does it: of what is long ago, or far ahead, the year matters more than the hour.
fn for_a_person(instant: DateTime<Utc>, zone: Tz, form: &str) -> Option<String> {
    let is_near = (instant - SystemClock.now()).abs() < HALF_A_YEAR;
    let form = if is_near { form } else { "%-d %b %Y" };
    std::io::stdout().is_terminal().then(|| instant.with_timezone(&zone).format(form).to_string())
}

/// A length of time in its two largest units.
pub fn duration(delta: TimeDelta) -> String {
    let seconds = delta.num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds == 0 => format!("{} ms", delta.num_milliseconds().max(0)),
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, m) => format!("{m}min {}s", seconds % 60),
        (0, h, m) => format!("{h}h {m}min"),
        (d, h, _) => format!("{d}d {h}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_go_on_behind_a_sign_that_may_stand_at_the_end_of_a_line() {
        for (text, broken) in [
            ("failed-logins-account", "failed-logins-\naccount"),
            ("account a-b-c", "account a-b-c"),
            ("2001:db8:c3d9:966::9dd1", "2001:db8:c3d9:\n966::9dd1"),
            ("a-very-long-name-of-a-rule-here", "a-very-long-\nname-of-a-rule-\nhere"),
            ("nothing-to nosigninthisverylongword", "nothing-to nosigninthisvery\nlongword"),
            (
                "\u{fc}ber-\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}",
                "\u{fc}ber-\n\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}",
            ),
        ] {
            assert_eq!(with_long_words_broken(text), broken);
        }
    }
}
