//! Syslog files: stamps as BSD syslog writes them (RFC 3164, no year) or RFC 3339 (Debian 12 and later).

use memchr::memchr;

use super::sshd;
use super::time::{WallClock, clock, month, rfc3339, two};
use super::{Context, Parser};
use crate::model::{Category, Event};

/// The parser.
pub struct Syslog {
    wall: WallClock,
}

/// Programs whose lines are about logging in.
const AUTH_PROGRAMS: [&[u8]; 6] = [b"sudo", b"su", b"login", b"systemd-logind", b"passwd", b"polkitd"];

impl Syslog {
    /// A parser for stamps in the context's zone.
    pub fn new(context: Context) -> Self {
        Self { wall: WallClock::new(context) }
    }

    /// Splits the stamp off: its instant and what follows the blank behind it.
    fn stamp<'a>(&mut self, line: &'a [u8]) -> Option<(i64, &'a [u8])> {
        if line.first()?.is_ascii_digit() {
            let end = memchr(b' ', line)?;
            return Some((rfc3339(&line[..end])?, &line[end + 1..]));
        }
        let (month, day) = (month(line.get(..3)?)?, two([*line.get(4)?, *line.get(5)?])?);
        let clock = clock(line.get(7..15)?)?;
        if line[3] != b' ' || line[6] != b' ' || line.get(15) != Some(&b' ') {
            return None;
        }
        Some((self.wall.yearless(month, day, clock)?, &line[16..]))
    }
}

impl Parser for Syslog {
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let (time, rest) = self.stamp(line)?;
        let host_end = memchr(b' ', rest)?;
        let (host, rest) = (&rest[..host_end], &rest[host_end + 1..]);
        let (program, pid, message) = tag(rest);
        let (message, times) = repeated(message);
        let mut event = Event { time: Some(time), host, pid, ..Event::plain(None, Category::Unknown) };
        if matches!(program, b"sshd" | b"sshd-session" | b"sshd-auth" | b"sshd(pam_unix)") {
            event.category = Category::Auth;
            sshd::read(message, times, &mut event);
        } else if AUTH_PROGRAMS.contains(&program) {
            event.category = Category::Auth;
        }
        Some(event)
    }
}

/// Splits `program[pid]: message`; program and pid may be missing.
fn tag(text: &[u8]) -> (&[u8], u32, &[u8]) {
    let end = text.iter().position(|b| matches!(b, b':' | b'[' | b' ')).unwrap_or(text.len());
    let (program, rest) = text.split_at(end);
    if let Some(inner) = rest.strip_prefix(b"[")
        && let Some(close) = memchr(b']', inner)
        && let Some(pid) = number(&inner[..close])
    {
        let message = inner[close + 1..].strip_prefix(b":").unwrap_or(&inner[close + 1..]);
        return (program, pid, message.trim_ascii_start());
    }
    match rest.strip_prefix(b":") {
        Some(message) => (program, 0, message.trim_ascii_start()),
        None => (b"", 0, text),
    }
}

/// Unwraps "message repeated N times: [ … ]", which stands for N more of the same.
fn repeated(message: &[u8]) -> (&[u8], u32) {
    let unwrapped = message.strip_prefix(b"message repeated ").and_then(|rest| {
        let count = memchr(b' ', rest)?;
        let inner = rest[count..].strip_prefix(b" times: [ ")?.trim_ascii_end().strip_suffix(b"]")?;
        Some((inner, number(&rest[..count])?))
    });
    unwrapped.unwrap_or((message, 1))
}

/// Reads a decimal number of up to nine digits.
pub fn number(digits: &[u8]) -> Option<u32> {
    let valid = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Action;
    use crate::model::event::Shape;
    use crate::parse::YearRule;

    fn parser() -> Syslog {
        Syslog::new(Context { zone: chrono_tz::UTC, year: YearRule::From(2026) })
    }

    #[test]
    fn repeated_lines_count_as_often_as_they_say() {
        let line = b"Nov 20 10:00:00 web1 sshd[42]: message repeated 5 times: [ Failed password for root from 192.0.2.9 port 4711 ssh2]";
        let mut parser = parser();
        let event = parser.parse(line).unwrap();
        assert_eq!(event.action, Action::LoginFailed { times: 5, shape: Shape::Explicit });
        assert_eq!(event.user, Some(&b"root"[..]));
    }

    #[test]
    fn headers_with_and_without_pid_and_year_are_understood() {
        let mut parser = parser();
        for line in [
            &b"Nov  2 10:00:00 web1 kernel: [   1.2] usb"[..],
            b"2026-11-20T10:00:00.123456+01:00 web1 CRON[7]: (root) CMD (true)",
            b"Nov 20 10:00:00 web1 -- MARK --",
        ] {
            let event = parser.parse(line).unwrap();
            assert_eq!((event.host, event.category), (&b"web1"[..], Category::Unknown));
        }
        assert!(parser.parse(b"Nov 20 25:00:00 web1 x: y").is_none());
        assert!(parser.parse(b"not a log").is_none());
    }
}
