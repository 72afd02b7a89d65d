//! What the subcommands share in showing things.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

use crate::config::ConfigErrors;
use crate::model::Problem;
use crate::model::untrusted::printable;

/// In a narrower window a fitted table can't be read any more.
const NARROWEST: u16 = 60;

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
    // The blanks at both ends are not printed.
    let mut table = fitted_table(2);
    // A remark that nobody has needs no room.
    let is_used = |at: &usize| {
        !header[*at].is_empty() || rows.iter().any(|row| row.get(*at).is_some_and(|cell| !cell.is_empty()))
    };
    let used: Vec<usize> = (0..header.len()).filter(is_used).collect();
    table.set_header(used.iter().map(|at| header[*at]));
    for row in rows {
        let cells = row.into_iter().enumerate().filter(|(at, _)| used.contains(at));
        table.add_row(cells.map(|(_, cell)| printable(cell.as_bytes())));
    }
    keep_words_whole(&mut table);
    for line in table.lines() {
        print(&format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end()));
    }
}

/// Prints what is told of one thing, a line for each name with its text; long ones go on below their beginning where the window ends.
pub fn print_fields(fields: Vec<(&str, String)>) {
    let mut table = fitted_table(0);
    for (name, text) in fields {
        table.add_row([name, &printable(text.as_bytes())]);
    }
    keep_words_whole(&mut table);
    for line in table.lines() {
        print(&format!(" {}\n", line.trim_end()));
    }
}

/// An empty table, which is fitted into the window, and so many columns more, for a person.
fn fitted_table(more: u16) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if std::io::stdout().is_terminal()
        && let Ok(window) = rustix::termios::tcgetwinsize(std::io::stdout())
        && window.ws_col >= NARROWEST
    {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(window.ws_col.saturating_add(more));
    }
    table
}

/// Has a table that is fitted break lines between words only, if the window has room for all words.
fn keep_words_whole(table: &mut Table) {
    let Some(window) = table.width() else { return };
    let mut longest: Vec<u16> = Vec::new();
    for cell in table.header().into_iter().chain(table.row_iter()).flat_map(|row| row.cell_iter().enumerate()) {
        let (column, cell) = cell;
        let word = cell.content().split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
        if longest.len() <= column {
            longest.resize(column + 1, 0);
        }
        // A blank stands on each side.
        longest[column] = longest[column].max(u16::try_from(word + 2).unwrap_or(u16::MAX));
    }
    if longest.iter().map(|width| u32::from(*width)).sum::<u32>() <= u32::from(window) {
        for (column, width) in table.column_iter_mut().zip(longest) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
        }
    }
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
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let text = if let Some(errors) = error.downcast_ref::<ConfigErrors>() {
        errors.render(color)
    } else if let Some(problem) = error.downcast_ref::<Problem>() {
        without_controls(&format!("error: {}\nhelp: {}", problem.message, problem.help))
    } else {
        without_controls(&format!("error: {error:#}"))
    };
    let _ = writeln!(std::io::stderr(), "{text}");
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

/// An instant on the wall clock of a zone.
pub fn stamp(instant: DateTime<Utc>, zone: Tz) -> String {
    instant.with_timezone(&zone).format("%a %Y-%m-%d %H:%M:%S %Z").to_string()
}

/// Seconds since 1970 as RFC 3339 in a zone.
pub fn rfc3339(seconds: i64, zone: Tz) -> String {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().with_timezone(&zone).to_rfc3339()
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
