//! nginx's error log. (<https://nginx.org/en/docs/ngx_core_module.html#error_log>, ngx_log.c)

use chrono::NaiveDate;
use memchr::{memchr, memmem};

use super::time::{WallClock, clock, four, two};
use super::{Context, Parser};
use crate::model::event::Shape;
use crate::model::{Action, Category, Event, Peer};

/// The parser.
pub struct NginxError {
    wall: WallClock,
}

impl NginxError {
    /// A parser for stamps in the context's zone.
    pub fn new(context: Context) -> Self {
        Self { wall: WallClock::new(context) }
    }

    /// Reads `2026/11/20 10:15:30`.
    fn time(&mut self, stamp: &[u8]) -> Option<i64> {
        let &[_, _, _, _, b'/', m1, m2, b'/', d1, d2, b' ', ref time @ ..] = stamp else { return None };
        self.wall.instant(NaiveDate::from_ymd_opt(four(&stamp[..4])?, two([m1, m2])?, two([d1, d2])?)?, clock(time)?)
    }
}

impl Parser for NginxError {
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let event = event(line)?;
        let time = self.time(&line[..STAMP])?;
        Some(Event { time: Some(time), ..event })
    }
}

/// The length of `2026/11/20 10:15:30`.
const STAMP: usize = 19;

/// What a line tells, but for its time.
pub fn event(line: &[u8]) -> Option<Event<'_>> {
    let rest = line.get(STAMP..)?.strip_prefix(b" [")?;
    let (level, rest) = rest.split_at(memchr(b']', rest)?);
    let bad = matches!(level, b"emerg" | b"alert" | b"crit" | b"error");
    if !bad && !matches!(level, b"warn" | b"notice" | b"info" | b"debug") {
        return None;
    }
    let failed = if bad { failed_login(rest) } else { None };
    let action = match failed {
        Some(_) => Action::LoginFailed { times: 1, shape: Shape::ErrorLog },
        None if level == b"error" && is_not_served(rest) => Action::NotServed,
        None if bad => Action::ErrorLogged,
        None => Action::Other,
    };
    // Whoever forges a line may not choose who is accused.
    let peer = if failed.is_none() { client(rest) } else { None };
    let user = failed.filter(|user| !user.is_empty());
    Some(Event { action, user, peer, ..Event::plain(None, Category::Error) })
}

/// The account of a login that failed, of what follows the level: `80#81: *7 user "eve": password mismatch` or
/// `… was not found in "FILE"` (ngx_http_auth_basic_module.c), and of the PAM module `PAM: user 'eve' - not authenticated`.
///
/// nginx writes decoded paths as they came, line breaks and all, so a client can forge whole lines of this log. So the address
/// in such a line is not believed: it is the access log that tells who asked.
fn failed_login(rest: &[u8]) -> Option<&[u8]> {
    let message = of_connection(rest)?;
    let (rest, said): (&[u8], [&[u8]; 2]) = if let Some(rest) = message.strip_prefix(b"user \"") {
        (rest, [b"\": password mismatch", b"\" was not found in \""])
    } else {
        (message.strip_prefix(b"PAM: user '")?, [b"' - not authenticated: ", b"' - not authorized: "])
    };
    let end = said.iter().filter_map(|said| memmem::find(rest, said)).min()?;
    Some(&rest[..end])
}

/// What stands before the client.
const CLIENT: &[u8] = b", client: ";

/// What follows `80#81: *7 `, the process and the connection.
fn of_connection(rest: &[u8]) -> Option<&[u8]> {
    let message = &rest[memchr(b'*', rest)?..];
    Some(&message[memchr(b' ', message)? + 1..])
}

/// Whether it says in the server's words that the answer is 404 or 403: `open() "PATH" failed (2: No such file or directory), client: …`,
/// `"PATH" is not found (2: …), client: …`, `directory index of "PATH" is forbidden, client: …`, `access forbidden by rule, client: …`; and
/// what PHP says of a script that isn't there. What visitors write stands in the path and behind the client, so that there must be one
/// place of it only. A file that can't be read for want of rights is a mistake of the server's, and so are a file below /etc, and a part of a
/// page, which aren't there; a connection without a request is none for a page.
fn is_not_served(rest: &[u8]) -> bool {
    const ENDS: [&[u8]; 6] = [
        b"\" failed (2: No such file or directory)",
        b"\" failed (20: Not a directory)",
        b"\" failed (36: File name too long)",
        b"\" is not found (2: No such file or directory)",
        b"\" is not found (20: Not a directory)",
        b"\" is not found (36: File name too long)",
    ];
    const WHOLE: [&[u8]; 2] = [
        b"access forbidden by rule",
        b"FastCGI sent in stderr: \"Primary script unknown\" while reading response header from upstream",
    ];
    let Some(message) = of_connection(rest) else { return false };
    let mut clients = memmem::find_iter(message, CLIENT);
    let (Some(end), None) = (clients.next(), clients.next()) else { return false };
    let (said, behind) = message.split_at(end);
    let is_missing = || {
        let path = [&b"open() \""[..], b"openat() \"", b"\""].iter().find_map(|begin| said.strip_prefix(*begin));
        path.is_some_and(|path| !path.starts_with(b"/etc/") && ENDS.iter().any(|end| path.ends_with(end)))
    };
    let is_forbidden = || said.starts_with(b"directory index of \"") && said.ends_with(b"\" is forbidden");
    memmem::find(behind, b", request: \"").is_some()
        && memmem::find(behind, b", subrequest: \"").is_none()
        && (is_missing() || is_forbidden() || WHOLE.contains(&said))
}

/// `…, client: ADDRESS, server: …`. What stands before and after it is partly the client's own text, so where there is
/// more than one such place, none is believed.
fn client(text: &[u8]) -> Option<Peer<'_>> {
    let mut places = memmem::find_iter(text, CLIENT);
    let (at, None) = (places.next()?, places.next()) else { return None };
    let rest = &text[at + CLIENT.len()..];
    let end = memchr(b',', rest).unwrap_or(rest.len());
    Peer::read(rest[..end].trim_ascii_end()).filter(|peer| peer.ip().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Triage;
    use crate::parse::YearRule;

    #[test]
    fn what_is_not_served_is_told_from_what_went_wrong() {
        let (client, request) = ("client: 192.0.2.7, server: _", "request: \"GET / HTTP/1.1\"");
        let action = |level: &str, said: &str| {
            event(format!("2026/11/20 10:15:30 [{level}] 80#81: *7 {said}").as_bytes()).unwrap().action
        };
        for said in [
            "open() \"/srv/x\" failed (2: No such file or directory)",
            "open() \"/srv/x/y\" failed (20: Not a directory)",
            "openat() \"/srv/x\" failed (2: No such file or directory)",
            "\"/srv/x/index.html\" is not found (2: No such file or directory)",
            "\"/srv/x.php/index.html\" is not found (20: Not a directory)",
            "directory index of \"/srv/x/\" is forbidden",
            "access forbidden by rule",
            "FastCGI sent in stderr: \"Primary script unknown\" while reading response header from upstream",
        ] {
            assert_eq!(action("error", &format!("{said}, {client}, {request}")), Action::NotServed, "{said}");
            assert_eq!(action("crit", &format!("{said}, {client}, {request}")), Action::ErrorLogged, "{said}");
            // Of a part of a page, and of a connection without a request, no access log tells.
            let part = format!("{said}, {client}, {request}, subrequest: \"/x\"");
            assert_eq!(action("error", &part), Action::ErrorLogged, "{said}");
            assert_eq!(action("error", &format!("{said}, {client}")), Action::ErrorLogged, "{said}");
            // Nor does a visitor's own word make an error one of these.
            let forged = format!("connect() failed, {client}, {request}, referrer: \"{said}, client: x\"");
            assert_eq!(action("error", &forged), Action::ErrorLogged, "{said}");
        }
        let found = "\" failed (2: No such file or directory), client: x";
        for said in [
            "open() \"/srv/x\" failed (13: Permission denied)".to_owned(),
            "open() \"/srv/x\" failed (24: Too many open files)".to_owned(),
            "open() \"/etc/nginx/.htpasswd\" failed (2: No such file or directory)".to_owned(),
            format!("open() \"/srv/{found}\" failed (13: Permission denied)"),
            "FastCGI sent in stderr: \"PHP message: PHP Fatal error: x\" while reading response header from upstream"
                .to_owned(),
            "access forbidden by rule while initializing session".to_owned(),
            "upstream sent \"access forbidden by rule\" while reading response header from upstream".to_owned(),
        ] {
            assert_eq!(action("error", &format!("{said}, {client}, {request}")), Action::ErrorLogged, "{said}");
        }
    }

    #[test]
    fn level_and_client_are_understood_and_a_forged_client_is_not_believed() {
        let mut parser = NginxError::new(Context { zone: chrono_tz::UTC, year: YearRule::From(2026) });
        let start = "2026/11/20 10:15:30 [error] 80#81: *7";
        for (line, urgent, peer) in [
            (
                format!(
                    "{start} open() \"/srv/x\" failed (2: No such file or directory), client: 192.0.2.7, server: example.org, request: \"GET /x HTTP/1.1\", host: \"example.org\""
                ),
                true,
                "192.0.2.7",
            ),
            (format!("{start} user \"eve\": password mismatch, client: 2001:db8::7, server: _"), true, ""),
            (format!("{start} access forbidden by rule, client: 2001:db8::7, server: _"), true, "2001:db8::7"),
            (
                format!(
                    "{start} user \"a, client: 203.0.113.9, server: x\" was not found, client: 192.0.2.7, server: _"
                ),
                true,
                "",
            ),
            ("2026/11/20 10:15:30 [notice] 1#1: signal process started".to_owned(), false, ""),
            ("2014/12/30 06:07:37 [crit] 80:2 ".to_owned(), true, ""),
        ] {
            let event = parser.parse(line.as_bytes()).unwrap();
            assert_eq!(Triage::default().is_urgent(event.action, 0), urgent, "{line}");
            assert_eq!(event.peer.map(|peer| peer.to_string()).unwrap_or_default(), peer, "{line}");
        }
        for (what, user) in [
            ("user \"eve\": password mismatch", "eve"),
            ("user \"a b\" was not found in \"/etc/nginx/users\"", "a b"),
            ("PAM: user 'eve' - not authenticated: Authentication failure", "eve"),
        ] {
            let line = format!("{start} {what}, client: 192.0.2.7, server: _, request: \"GET / HTTP/1.1\"");
            let event = parser.parse(line.as_bytes()).unwrap();
            assert_eq!(event.action, Action::LoginFailed { times: 1, shape: Shape::ErrorLog }, "{line}");
            assert_eq!((event.user, event.peer), (Some(user.as_bytes()), None), "{line}");
        }
        for what in [
            "no user/password was provided for basic authentication, client: 192.0.2.7",
            "open() \"/srv/*1 user \"eve\": password mismatch\" failed, client: 192.0.2.7",
        ] {
            let line = format!("{start} {what}, server: _");
            assert_eq!(parser.parse(line.as_bytes()).unwrap().action, Action::ErrorLogged, "{line}");
        }
        for line in ["2026/11/20 10:15:30 [yadda] x", "2026/13/20 10:15:30 [error] x", "2026/11/20 10:15", ""] {
            assert!(parser.parse(line.as_bytes()).is_none(), "{line}");
        }
    }
}
