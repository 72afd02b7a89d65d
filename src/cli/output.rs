//! What the subcommands share in showing things.

use std::io::{IsTerminal, Write};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use comfy_table::{ContentArrangement, Table, presets};

use crate::config::ConfigErrors;
use crate::model::Problem;
use crate::model::untrusted::printable;

/// In a narrower window a fitted table can't be read any more.
const NARROWEST: u16 = 60;

/// Prints lines on standard output. A reader that went away (`| head`) is no error.
pub fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
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
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if std::io::stdout().is_terminal()
        && let Ok(window) = rustix::termios::tcgetwinsize(std::io::stdout())
        && window.ws_col >= NARROWEST
    {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(window.ws_col);
    }
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row.into_iter().map(|cell| printable(cell.as_bytes())));
    }
    for line in table.lines() {
        print(&format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end()));
    }
}

/// Prints an error with what to do about it.
pub fn complain(error: &anyhow::Error) {
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let text = if let Some(errors) = error.downcast_ref::<ConfigErrors>() {
        errors.render(color)
    } else if let Some(problem) = error.downcast_ref::<Problem>() {
        format!("error: {}\nhelp: {}", problem.message, problem.help)
    } else {
        format!("error: {error:#}")
    };
    let _ = writeln!(std::io::stderr(), "{text}");
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
