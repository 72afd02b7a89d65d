//! Apache's error log, version 2.2 and 2.4. (<https://httpd.apache.org/docs/2.4/mod/core.html#errorlogformat>)

use chrono::NaiveDate;
use memchr::memchr;

use super::time::{WallClock, clock, four, month, two};
use super::{Context, Parser};
use crate::model::{Action, Category, Event, Peer};

/// The parser.
pub struct ApacheError {
    wall: WallClock,
}

impl ApacheError {
    /// A parser for stamps in the context's zone.
    pub fn new(context: Context) -> Self {
        Self { wall: WallClock::new(context) }
    }

    /// Reads `Sun Dec 04 04:47:44 2005` or `Fri Nov 20 10:15:30.123456 2026`.
    fn time(&mut self, stamp: &[u8]) -> Option<i64> {
        let rest = stamp.get(4..)?;
        let month = month(rest.get(..3)?)?;
        let day = two([*rest.get(4)?, *rest.get(5)?])?;
        let clock = clock(rest.get(7..15)?)?;
        let year = four(&rest[memchr::memrchr(b' ', rest)? + 1..])?;
        self.wall.instant(NaiveDate::from_ymd_opt(year, month, day)?, clock)
    }
}

impl Parser for ApacheError {
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let (stamp, mut rest) = bracketed(line)?;
        let time = self.time(stamp)?;
        let (level, after) = bracketed(rest)?;
        rest = after;
        let level = memchr(b':', level).map_or(level, |at| &level[at + 1..]);
        let mut peer = None;
        while let Some((field, after)) = bracketed(rest) {
            if let Some(client) = field.strip_prefix(b"client ") {
                peer = client_address(client);
                break;
            }
            rest = after;
        }
        let bad = matches!(level, b"emerg" | b"alert" | b"crit" | b"error");
        let known = bad || matches!(level, b"warn" | b"notice" | b"info" | b"debug") || level.starts_with(b"trace");
        let action = if bad { Action::ErrorLogged } else { Action::Other };
        known.then_some(Event { time: Some(time), action, peer, ..Event::plain(None, Category::Error) })
    }
}

/// Splits `[field] rest` (leading blanks ignored) into both.
fn bracketed(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.trim_ascii_start().strip_prefix(b"[")?;
    let end = memchr(b']', inner)?;
    Some((&inner[..end], &inner[end + 1..]))
}

/// `192.0.2.1`, `192.0.2.1:4711` or `2001:db8::1:4711` (2.4 always writes the port).
fn client_address(text: &[u8]) -> Option<Peer<'_>> {
    let without_port = memchr::memrchr(b':', text).map(|at| &text[..at]);
    let is_v4_with_port =
        without_port.is_some_and(|address| memchr(b'.', address).is_some() || memchr(b':', address).is_some());
    if is_v4_with_port { without_port.and_then(Peer::read) } else { Peer::read(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Triage;
    use crate::parse::YearRule;

    fn parse(line: &str) -> Option<(i64, bool, String)> {
        let mut parser = ApacheError::new(Context { zone: chrono_tz::UTC, year: YearRule::From(2026) });
        let event = parser.parse(line.as_bytes())?;
        Some((event.time?, Triage::default().is_urgent(&event), event.peer.map(|p| p.to_string()).unwrap_or_default()))
    }

    #[test]
    fn both_generations_are_understood() {
        let at = |text| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp();
        let old = "[Sun Dec 04 04:47:44 2005] [error] [client 192.0.2.7] File does not exist: /x";
        assert_eq!(parse(old), Some((at("2005-12-04T04:47:44Z"), true, "192.0.2.7".into())));
        let new = "[Fri Nov 20 10:15:30.123456 2026] [core:notice] [pid 7:tid 9] AH00094: Command line: 'apache2'";
        assert_eq!(parse(new), Some((at("2026-11-20T10:15:30Z"), false, String::new())));
        let client = "[Fri Nov 20 10:15:30.123456 2026] [proxy:error] [pid 7] [client 192.0.2.7:4711] AH00898: x";
        assert_eq!(parse(client).unwrap().2, "192.0.2.7");
        let v6 = "[Fri Nov 20 10:15:30.123456 2026] [proxy:error] [pid 7] [client 2001:db8::7:4711] AH00898: x";
        assert_eq!(parse(v6).unwrap().2, "2001:db8::7");
        assert_eq!(parse("[not a stamp] [error] x"), None);
    }
}
