//! Apache's error log, version 2.2 and 2.4. (<https://httpd.apache.org/docs/2.4/mod/core.html#errorlogformat>)

use chrono::NaiveDate;
use memchr::{memchr, memmem};

use super::time::{WallClock, clock, four, month, two};
use super::{Context, Parser};
use crate::model::event::Shape;
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
        let (stamp, rest) = bracketed(line)?;
        let time = self.time(stamp)?;
        Some(Event { time: Some(time), ..event(rest)? })
    }
}

/// What follows `[Fri Nov 20 10:15:30.123456 2026]`.
pub fn without_stamp(line: &[u8]) -> Option<&[u8]> {
    let (stamp, rest) = bracketed(line)?;
    let is_one = stamp.len() >= 24 && month(&stamp[4..7]).is_some() && clock(&stamp[11..19]).is_some();
    is_one.then_some(rest)
}

/// What follows the stamp tells.
pub fn event(text: &[u8]) -> Option<Event<'_>> {
    let (level, mut rest) = bracketed(text)?;
    let module = memchr(b':', level);
    let level = module.map_or(level, |at| &level[at + 1..]);
    let bad = matches!(level, b"emerg" | b"alert" | b"crit" | b"error");
    if !bad && !matches!(level, b"warn" | b"notice" | b"info" | b"debug") && !level.starts_with(b"trace") {
        return None;
    }
    let mut peer = None;
    while let Some((field, after)) = bracketed(rest) {
        rest = after;
        if let Some(client) = field.strip_prefix(b"client ").or_else(|| field.strip_prefix(b"remote ")) {
            peer = client_address(client, module.is_some());
            break;
        }
    }
    let plain = Event { peer, ..Event::plain(None, Category::Error) };
    let failure = if bad { failed_login(rest, module.is_some()) } else { None };
    Some(match failure {
        Some(user) => {
            let action = Action::LoginFailed { times: 1, shape: Shape::ErrorLog };
            Event { action, user: Some(user).filter(|user| !user.is_empty()), ..plain }
        }
        None => Event { action: if bad { Action::ErrorLogged } else { Action::Other }, ..plain },
    })
}

/// What mod_auth_basic, mod_authz_core, mod_auth_digest and mod_auth_form say when they answer 401.
const CODES: [&[u8]; 9] = [b"01614", b"01617", b"01618", b"01631", b"01790", b"01792", b"01794", b"01806", b"01807"];

/// The account of a login that failed, empty where none is told. In 2.4, which writes the module, a code tells the servers' words
/// from those of programs behind it.
fn failed_login(message: &[u8], has_code: bool) -> Option<&[u8]> {
    let mut message = message.trim_ascii_start();
    if has_code {
        let (code, rest) = message.strip_prefix(b"AH")?.split_at_checked(5)?;
        message = rest.strip_prefix(b": ").filter(|_| CODES.contains(&code))?;
    }
    if message.starts_with(b"client used wrong authentication scheme") {
        return Some(b"");
    }
    let rest = message.strip_prefix(b"Digest: ").unwrap_or(message).strip_prefix(b"user ")?;
    let said: [&[u8]; 5] = [
        b"' in realm `",
        b" not found",
        b": authentication failure for \"",
        b": authorization failure for \"",
        b": password mismatch",
    ];
    let end = said.iter().filter_map(|said| memmem::find(rest, said)).min()?;
    let user = &rest[..end];
    Some(match user {
        [b'`', user @ ..] | [b'\'', user @ .., b'\''] => user,
        user => user,
    })
}

/// Splits `[field] rest` (leading blanks ignored) into both; an address in brackets may stand in the field.
fn bracketed(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.trim_ascii_start().strip_prefix(b"[")?;
    let mut end = memchr(b']', inner)?;
    if memchr(b'[', &inner[..end]).is_some() {
        end += 1 + memchr(b']', &inner[end + 1..])?;
    }
    Some((&inner[..end], &inner[end + 1..]))
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1:4711` or `[2001:db8::1]:4711`: 2.4, which writes the module, always writes the
/// port, and 2.2 never does.
fn client_address(text: &[u8], has_port: bool) -> Option<Peer<'_>> {
    if let Some(bracketed) = text.strip_prefix(b"[") {
        return Peer::read(&bracketed[..memchr(b']', bracketed)?]);
    }
    let without_port = || Peer::read(&text[..memchr::memrchr(b':', text)?]);
    let whole = Peer::read(text).filter(|_| !has_port);
    whole.or_else(without_port).or_else(|| Peer::read(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Triage;
    use crate::parse::YearRule;

    fn parse(line: &str) -> Option<(i64, bool, String)> {
        let mut parser = ApacheError::new(Context { zone: chrono_tz::UTC, year: YearRule::From(2026) });
        let event = parser.parse(line.as_bytes())?;
        Some((
            event.time?,
            Triage::default().is_urgent(event.action),
            event.peer.map(|p| p.to_string()).unwrap_or_default(),
        ))
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
        let bracketed =
            "[Fri Nov 20 10:15:30.123456 2026] [proxy:error] [pid 7] [remote [2001:db8::7]:4711] AH00898: x";
        assert_eq!(parse(bracketed).unwrap().2, "2001:db8::7");
        let without_module = "[Sun Dec 04 04:47:44 2005] [error] [client 2001:db8::7:47110] File does not exist: /x";
        assert_eq!(parse(without_module).unwrap().2, "2001:db8::7");
        let old_v6 = "[Sun Dec 04 04:47:44 2005] [error] [client 2001:db8::7:4711] File does not exist: /x";
        assert_eq!(parse(old_v6).unwrap().2, "2001:db8::7:4711");
        assert_eq!(parse("[not a stamp] [error] x"), None);
    }

    #[test]
    fn failed_logins_tell_their_account() {
        let mut parser = ApacheError::new(Context { zone: chrono_tz::UTC, year: YearRule::From(2026) });
        let mut told = |level: &str, message: &str| {
            let line = format!("[Fri Nov 20 10:15:30.123456 2026] [{level}] [pid 7] [client 192.0.2.7:4711] {message}");
            let event = parser.parse(line.as_bytes()).unwrap();
            let user = event.user.map(|user| String::from_utf8_lossy(user).into_owned());
            (matches!(event.action, Action::LoginFailed { times: 1, shape: Shape::ErrorLog }), user)
        };
        let basic = "auth_basic:error";
        for (level, message, user) in [
            (basic, "AH01618: user eve not found: /private", "eve"),
            (basic, "AH01618: user eve not found: /private, referer: http://example.org/ not found: /", "eve"),
            (basic, "AH01617: user eve: authentication failure for \"/private\": Password Mismatch", "eve"),
            (basic, "AH01617: user a b: authentication failure for \"/private\": Password Mismatch", "a b"),
            ("error", "user eve not found", "eve"),
            ("authz_core:error", "AH01631: user eve: authorization failure for \"/private\": ", "eve"),
            ("auth_form:error", "AH01806: user 'eve' not found: /login", "eve"),
            ("auth_digest:error", "AH01790: user `eve' in realm `private' not found: /private", "eve"),
            ("auth_digest:error", "AH01792: user eve: password mismatch: /private", "eve"),
            ("error", "Digest: user eve: password mismatch: /private", "eve"),
        ] {
            assert_eq!(told(level, message), (true, Some(user.to_owned())), "{message}");
        }
        for message in
            ["AH01618: user  not found: /private", "AH01614: client used wrong authentication scheme: /private"]
        {
            assert_eq!(told(basic, message), (true, None), "{message}");
        }
        for (level, message) in [
            ("auth_basic:debug", "AH01618: user eve not found: /private"),
            ("core:error", "File does not exist: /user eve not found: /private"),
            ("authz_core:error", "AH01630: client denied by server configuration: /srv/user eve not found"),
            ("core:error", "AH00126: Invalid URI in request user eve not found HTTP/1.1"),
            ("core:error", "AH0161: user eve not found: /private"),
            ("cgi:error", "AH01215: user 42 not found: /srv/cgi/x"),
            ("wsgi:error", "user 42 not found"),
        ] {
            assert!(!told(level, message).0, "{message}");
        }
    }
}
