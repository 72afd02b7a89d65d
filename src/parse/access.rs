//! Apache and nginx access logs: common, combined and vhost_combined format.
//! (<https://httpd.apache.org/docs/2.4/logs.html#accesslog>)

use chrono::NaiveDate;
use memchr::{memchr, memmem};

use super::access_client::client;
use super::marks::{Marks, first_marks, leading_digits};
use super::time::{WallClock, clock, four, month, offset, two, with_offset};
use super::{Context, Parser, PlainRequest};
use crate::model::event::{Escape, Escapes};
use crate::model::peer::{leading_ipv4, parse_ip};
use crate::model::{Action, Category, Event};

/// The parser; it remembers the last minute's stamp.
#[derive(Default)]
pub struct Access {
    /// For stamps without a zone, where these are read at all.
    wall: Option<WallClock>,
    prefix: [u8; 17],
    zone: [u8; 5],
    minute: i64,
    /// Whether referrer or agent may end with the line: a client may send as much as it likes, and a syslogd cuts it.
    may_be_cut: bool,
}

impl Parser for Access {
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let (peer, host_end) = client(line)?;
        if let Some(told) = self.as_it_came(line, host_end) {
            return Some(Event { peer, ..told });
        }
        let (user, stamp_start) = user(line, host_end)?;
        let stamp_end = stamp_start + stamp_length(line, stamp_start)?;
        let stamp = &line[stamp_start..stamp_end];
        let time = match stamp.len() {
            SHORTER => shorter(stamp),
            ZONELESS => self.zoneless(stamp),
            _ => self.time(stamp),
        }?;
        let (request, status, rest) = answered(&line[request_start(line, stamp_end)?..], self.may_be_cut)?;
        // Who writes stamps without a zone may write requests as they come.
        if holds_stamp(rest) || stamp.len() == ZONELESS && !rest.trim_ascii().iter().all(u8::is_ascii_digit) {
            return None;
        }
        let action = Action::Request { status };
        let plain = Event::plain(Some(time), Category::Access);
        let user_escapes = Escapes::with_backslashes(Escape::WebServer, user);
        Some(Event { action, peer, user, user_escapes, request, ..plain })
    }

    fn plain_request(&mut self, text: &[u8]) -> Option<PlainRequest> {
        let (peer, rest) = leading_ipv4(text)?;
        let host_end = text.len() - rest.len();
        let start = plain_stamp(text, host_end)?;
        let time = self.time(&text[start..start + 26])?;
        let request_start = start + STAMP;
        let rest = &text[request_start..];
        if let Some(Combined { request, status, end }) = combined(rest) {
            let length = request_start + end;
            return Some(PlainRequest { time, peer, request: (request_start, request), status, length });
        }
        let (request, status, rest) = answered(rest, false)?;
        let length = text.len() - rest.strip_prefix(b"\n")?.len();
        Some(PlainRequest { time, peer, request: (request_start, request.len()), status, length })
    }

    fn quick_time(&mut self, line: &[u8]) -> Option<i64> {
        let start = memchr(b'[', line)?;
        let is_first = start > 0 && line[start - 1] == b' ' && is_stamp(line, start + 1);
        if is_first { self.time(&line[start + 1..start + 27]) } else { None }
    }
}

impl Access {
    /// A parser of what came through syslog.
    pub fn through_syslog() -> Self {
        Self { may_be_cut: true, ..Self::default() }
    }

    /// A parser that also reads stamps without a zone: they are in the context's.
    pub fn new(context: Context) -> Self {
        Self { wall: Some(WallClock::new(context)), ..Self::default() }
    }

    /// What a line of Python's http.server tells but for the client. Its request came as it is written, quotation marks and all, so that the
    /// answer stands at the end. Where it looks like another stamp, nobody knows whether that is a request or the stamp behind a name.
    fn as_it_came<'a>(&mut self, line: &'a [u8], host_end: usize) -> Option<Event<'a>> {
        let start = host_end + 6;
        let is_it = line[host_end..].starts_with(b" - - [") && is_zoneless(line, start) && line[start + 11] == b' ';
        let text = &line[is_it.then_some(start + ZONELESS + BEFORE_REQUEST)?..];
        let (request, answer) = text.split_at(memchr::memrchr(b'"', text)?);
        let (status, length) = status(answer)?;
        let time = if holds_stamp(request) { None } else { Some(self.zoneless(&line[start..start + ZONELESS])?) };
        let action = Action::Request { status };
        (answer.len() == length).then(|| Event { action, request, ..Event::plain(time, Category::Access) })
    }

    /// Reads `17/May/2015:10:05:03` and `17/May/2015 10:05:03`.
    fn zoneless(&mut self, stamp: &[u8]) -> Option<i64> {
        let &[d1, d2, b'/', _, _, _, b'/', ..] = stamp else { return None };
        let date = NaiveDate::from_ymd_opt(four(&stamp[7..11])?, month(&stamp[3..6])?, two([d1, d2])?)?;
        self.wall.as_mut()?.instant(date, clock(&stamp[12..])?)
    }

    /// Reads `17/May/2015:10:05:03 +0000`.
    fn time(&mut self, stamp: &[u8]) -> Option<i64> {
        let (prefix, zone) = (&stamp[..17], &stamp[21..26]);
        if prefix != self.prefix || zone != self.zone {
            let &[d1, d2, b'/', _, _, _, b'/', ..] = stamp else { return None };
            let date = NaiveDate::from_ymd_opt(four(&stamp[7..11])?, month(&stamp[3..6])?, two([d1, d2])?)?;
            let minute = clock(&[&stamp[12..17], b":00"].concat())?;
            self.minute = with_offset(date, minute, offset(zone)?)?;
            self.prefix.copy_from_slice(prefix);
            self.zone.copy_from_slice(zone);
        }
        let second = two([stamp[18], stamp[19]]).filter(|s| *s <= 60)?;
        Some(self.minute + i64::from(second))
    }
}

/// The request in a line that holds one as those of access logs do, whatever stands in front of its stamp, and so of nobody.
pub fn of_nobody(line: &[u8]) -> Option<Event<'_>> {
    let mut starts = memmem::find_iter(line, b" [").map(|at| at + 2).filter(|at| is_stamp(line, *at));
    let (time, (request, status, _)) = starts
        .find_map(|at| Some((stamp(&line[at..at + STAMP - BEFORE_REQUEST])?, answered(&line[at + STAMP..], false)?)))?;
    Some(Event { action: Action::Request { status }, request, ..Event::plain(Some(time), Category::Access) })
}

/// Reads `17/05/2015:10:05:03 +0000`, as Proxmox writes it, `05/17/2015:10:05:03 -0000`, as cPanel does, and `7/May/2015:10:05:03 +0000`.
fn shorter(stamp: &[u8]) -> Option<i64> {
    let (day, month) = match *stamp {
        [m1, m2, b'/', d1, d2, b'/', ..] if stamp.ends_with(b"-0000") && two([m1, m2])? <= 12 => {
            (two([d1, d2])?, two([m1, m2])?)
        }
        [d1, d2, b'/', m1, m2, b'/', ..] => (two([d1, d2])?, two([m1, m2])?),
        [d, b'/', ..] => (two([b'0', d])?, month(&stamp[2..5])?),
        _ => return None,
    };
    let date = NaiveDate::from_ymd_opt(four(&stamp[6..10])?, month, day)?;
    with_offset(date, clock(&stamp[11..19])?, offset(&stamp[20..])?)
}

/// Reads a stamp as access logs have it: `17/May/2015:10:05:03 +0000`.
pub fn stamp(text: &[u8]) -> Option<i64> {
    if text.len() == 26 { Access::default().time(text) } else { None }
}

/// The length of what stands between stamp and request: `] "`.
const BEFORE_REQUEST: usize = 3;

/// The length of a stamp with the month as a number or the day without its zero, and of one without a zone.
const SHORTER: usize = 25;
const ZONELESS: usize = 20;

/// The length of the stamp and of what follows it up to the request: `17/May/2015:10:05:03 +0000] "`.
const STAMP: usize = 26 + BEFORE_REQUEST;

/// The user, and where the text of the stamp begins: after the first `[` that is followed by one and then by the quoted
/// request. The user before it may hold anything but a quote, which both servers escape.
fn user(line: &[u8], host_end: usize) -> Option<(Option<&[u8]>, usize)> {
    if let Some(start) = plain_stamp(line, host_end) {
        return Some((None, start));
    }
    let start = stamp_start(line, host_end)?;
    // After the identity, or the virtual host and that, everything up to the stamp is the user, who may hold blanks; Jetty puts some
    // around it.
    let names = line.get(host_end + 1..start.checked_sub(2)?)?;
    let user = memchr(b' ', names).map_or(&b"-"[..], |at| names[at + 1..].trim_ascii());
    let user = without_addresses(user.strip_prefix(b"- ").unwrap_or(user));
    // Some put another hyphen between the user and the stamp.
    let user = user.strip_suffix(b" -").filter(|user| !user.contains(&b' ')).unwrap_or(user);
    Some(((!matches!(user, b"-" | b"" | b"\"\"")).then_some(user), start))
}

/// A user behind the list of addresses that Kubernetes' ingress-nginx writes in brackets: `[192.0.2.1, 198.51.100.1] - eve`.
fn without_addresses(user: &[u8]) -> &[u8] {
    let inner = user.strip_prefix(b"[").and_then(|inner| Some((inner, memmem::find(inner, b"] - ")?)));
    let is_list = |list: &[u8]| list.split(|byte| *byte == b',').all(|word| parse_ip(word.trim_ascii()).is_some());
    inner.filter(|(inner, end)| is_list(&inner[..*end])).map_or(user, |(inner, end)| &inner[end + 4..])
}

/// Where the text of the stamp begins if there are neither identity nor user before it, as in nearly all lines.
fn plain_stamp(line: &[u8], host_end: usize) -> Option<usize> {
    let start = host_end + 6;
    (line[host_end..].starts_with(b" - - [") && is_stamp(line, start)).then_some(start)
}

/// The request at the front of a text, which may go on after the line, its status, and what follows them and the size, and referrer and
/// agent, each closed, where these are there.
fn answered(text: &[u8], may_be_cut: bool) -> Option<(&[u8], u16, &[u8])> {
    let mut marks = Marks::new(text);
    let (request, answer) = text.split_at(marks.quote()?);
    let (status, size) = status(answer).or_else(|| bare_status(answer))?;
    let mut rest = request.len() + size;
    if text.get(rest).is_some_and(|after| !matches!(after, b' ' | b'\n')) {
        return None;
    }
    for _ in 0..2 {
        let following = &text[rest..];
        if !following.starts_with(b" \"") {
            return (following.first() != Some(&b'"')).then_some((request, status, following));
        }
        // The one that opens, and the one that closes.
        match marks.quote().and_then(|_| marks.quote()) {
            Some(close) => rest = close + 1,
            None => return may_be_cut.then_some((request, status, following)),
        }
    }
    Some((request, status, &text[rest..]))
}

/// What a line of the combined format holds from the request on.
struct Combined {
    /// The length of the request.
    request: usize,
    status: u16,
    /// Where the line ends, behind its line break.
    end: usize,
}

/// What [`answered`] tells, of a line that ends with the agent, is not too long and easy to read: none where a quotation mark is
/// escaped, an asterisk stands before the last one, or the request is empty.
#[inline]
fn combined(text: &[u8]) -> Option<Combined> {
    let first = text.first_chunk()?;
    let [request, referrer, referrer_end, agent, agent_end, end] = first_marks(first)?;
    let (status, size) = status(&first[request..])?;
    // One that a backslash takes the meaning away from doesn't end anything.
    let closes = |place: usize| first[place] == b'"' && first[place - 1] != b'\\';
    let opens = |place: usize| first[place] == b'"' && first[place - 1] == b' ';
    let are_quoted =
        request > 0 && closes(request) && opens(referrer) && closes(referrer_end) && opens(agent) && closes(agent_end);
    let nothing_else = referrer == request + size + 1 && agent == referrer_end + 2 && end == agent_end + 1;
    (are_quoted && nothing_else && first[end] == b'\n').then_some(Combined { request, status, end: end + 1 })
}

/// The status behind the quotation mark that ends the request, and how long they and the size are.
#[inline]
fn status(answer: &[u8]) -> Option<(u16, usize)> {
    let &[b'"', b' ', a, b, c, b' ', ..] = answer else { return None };
    // nginx writes 000 of a client that went before it was answered, and 009 of one that speaks HTTP 0.9.
    let status = u16::try_from(two([a, b])? * 10 + two([b'0', c])?).ok().filter(|_| a != b' ')?;
    let size = &answer[6..];
    let digits = leading_digits(size);
    let size = if digits == 0 && size.starts_with(b"-") { 1 } else { digits };
    (matches!(status, 0 | 9 | 100..=599) && size > 0).then_some((status, 6 + size))
}

/// The status where the line ends with it, and how long it is.
fn bare_status(answer: &[u8]) -> Option<(u16, usize)> {
    let (bare, rest) = answer.split_at_checked(5)?;
    matches!(rest, [] | [b'\n', ..]).then(|| status(&[bare, b" -"].concat()))?.map(|(status, _)| (status, 5))
}

/// Whether a request begins once more: some write the name of a user as it came, and then it may look like the rest of a line.
fn holds_stamp(text: &[u8]) -> bool {
    let is_one = |at: usize| {
        let (long, shorter, zoneless) = (is_stamp(text, at), is_shorter_stamp(text, at), is_zoneless(text, at));
        let lengths = [(long, STAMP), (shorter, SHORTER + BEFORE_REQUEST), (zoneless, ZONELESS + BEFORE_REQUEST)];
        // A text that only ends so, as a visitor may choose it, has the next one behind it, or nothing.
        let is_request = |length: usize| !matches!(&text[at + length..], [] | [b' ', b'"', ..]);
        lengths.iter().any(|(is_it, length)| *is_it && is_request(*length))
    };
    // Most lines have no room for one.
    text.len() > STAMP && memmem::find_iter(text, b" [").any(|at| is_one(at + 2))
}

/// Where the text of the first stamp from there on begins that a quoted request follows.
pub fn stamp_start(line: &[u8], from: usize) -> Option<usize> {
    let mut starts = memmem::find_iter(&line[from..], b" [").map(|at| from + at + 2);
    // One without a zone may be part of a name.
    starts.clone().find(|at| zoned_length(line, *at).is_some()).or_else(|| starts.find(|at| is_zoneless(line, *at)))
}

/// The length of the stamp that begins there, if one does and a quoted request follows.
pub fn stamp_length(line: &[u8], at: usize) -> Option<usize> {
    zoned_length(line, at).or_else(|| is_zoneless(line, at).then_some(ZONELESS))
}

/// The same of one with a zone.
fn zoned_length(line: &[u8], at: usize) -> Option<usize> {
    let length = STAMP - BEFORE_REQUEST;
    let is_long = is_stamp(line, at) || is_stamp_apart(line, at);
    is_long.then_some(length).or_else(|| is_shorter_stamp(line, at).then_some(SHORTER))
}

/// Whether a stamp with the month as a number or the day without its zero begins there, followed by a quoted request.
fn is_shorter_stamp(line: &[u8], at: usize) -> bool {
    line.get(at..at + SHORTER + BEFORE_REQUEST).is_some_and(|s| {
        (s[2] == b'/' || s[1] == b'/')
            && s[5] == b'/'
            && s[10] == b':'
            && s[16] == b':'
            && s[19] == b' '
            && s.ends_with(b"] \"")
    })
}

/// Whether a stamp without a zone begins there, followed by a quoted request.
fn is_zoneless(line: &[u8], at: usize) -> bool {
    line.get(at..at + ZONELESS + BEFORE_REQUEST).is_some_and(|s| {
        s[2] == b'/'
            && s[6] == b'/'
            && matches!(s[11], b':' | b' ')
            && s[14] == b':'
            && s[17] == b':'
            && s.ends_with(b"] \"")
    })
}

/// Whether the text of a stamp begins there, followed by a quoted request.
pub fn is_stamp(line: &[u8], at: usize) -> bool {
    line.get(at..at + STAMP).is_some_and(|s| has_marks_of_stamp(s) && s.ends_with(b"] \""))
}

/// The same where something stands before the request.
fn is_stamp_apart(line: &[u8], at: usize) -> bool {
    line.get(at..at + STAMP).is_some_and(has_marks_of_stamp)
        && request_start(line, at + STAMP - BEFORE_REQUEST).is_some()
}

fn has_marks_of_stamp(s: &[u8]) -> bool {
    s[2] == b'/' && s[6] == b'/' && s[11] == b':' && s[17] == b':' && s[20] == b' '
}

/// Where a request begins behind the stamp that ends there: in quotation marks, and some put how long it took, a port or a number between
/// both, as `] 0.067 [PORT 80] "` (behind a usual stamp only). No name can stand there, and where an address does, it takes a configured format
/// to tell who is who.
fn request_start(line: &[u8], stamp_end: usize) -> Option<usize> {
    let mut rest = line[stamp_end..].strip_prefix(b"]")?;
    for _ in 0..=MOST_BETWEEN {
        let inner = rest.strip_prefix(b" ")?;
        if let Some(request) = inner.strip_prefix(b"\"") {
            return Some(line.len() - request.len());
        }
        let close = match inner.first()? {
            b'[' => Some(b']'),
            b'(' => Some(b')'),
            _ => None,
        };
        let end = memchr(close.unwrap_or(b' '), &inner[..inner.len().min(LONGEST_BETWEEN + 2)])?;
        let word = &inner[usize::from(close.is_some())..end];
        let is_part = |byte: &u8| {
            byte.is_ascii_digit()
                || b".-".contains(byte)
                || close.is_some() && (byte.is_ascii_alphabetic() || *byte == b' ')
        };
        if !(1..=LONGEST_BETWEEN).contains(&word.len()) || !word.iter().all(is_part) || parse_ip(word).is_some() {
            return None;
        }
        rest = &inner[end + usize::from(close.is_some())..];
    }
    None
}

/// How many words may stand between stamp and request, and how long they are.
const MOST_BETWEEN: usize = 4;
const LONGEST_BETWEEN: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Peer;

    fn parse(line: &str) -> Option<(Option<i64>, u16, String)> {
        let mut parser = Access::default();
        let event = parser.parse(line.as_bytes())?;
        let Action::Request { status } = event.action else { return None };
        Some((event.time, status, event.user.map(|u| String::from_utf8_lossy(u).into_owned()).unwrap_or_default()))
    }

    #[test]
    fn a_list_behind_a_virtual_host_names_nobody_and_a_day_may_lack_its_zero() {
        let rest = r#"[20/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 401 5 "-" "-""#;
        for before in ["example.org 10.0.0.2, 10.0.0.1, 192.0.2.1", r#"example.org:80 "10.5.1.2, 192.0.2.1" 10.2.1.5"#]
        {
            let line = format!("{before} - - {rest}");
            let event = Access::default().parse(line.as_bytes()).unwrap();
            assert_eq!((event.action, event.peer), (Action::Request { status: 401 }, None), "{line}");
        }
        let day =
            |day: &str| parse(&format!(r#"192.0.2.1 - - [{day}/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 200 5"#));
        assert_eq!(day("2"), day("02"));
        assert!(day("2").is_some());
    }

    #[test]
    fn odd_requests_keep_their_status() {
        let at = |rest: &str| format!("192.0.2.1 - - [20/Nov/2026:10:05:03 +0100] {rest}");
        for (rest, status) in [
            (r#""GET / HTTP/1.1" 200 5"#, 200),
            (r#""GET / HTTP/1.1" 200 5 "-" "x \" 404 y""#, 200),
            (r#""" 400 0 "-" "-""#, 400),
            (r#""-" 408 - "-" "-""#, 408),
            (r#""\x16\x03\x01" 400 484 "-" "-""#, 400),
            (r#""GET /404 HTTP/1.1" 301 404 "http://x/ 404 " "404" 0.004"#, 301),
            (r#"0.067 - "GET / HTTP/1.1" 401 5 "-" "x""#, 401),
            (r#"[0.003] [PORT 80] "GET / HTTP/1.1" 401 5 "-" "x""#, 401),
            (r#"(0 s) "GET / HTTP/1.1" 401 5 "-" "x""#, 401),
        ] {
            assert_eq!(parse(&at(rest)).unwrap().1, status, "{rest}");
        }
        for between in ["eve", "1 2 3 4 5", "[a/b]", "[", "()", "\"0.1\"", "192.0.2.7", "[192.0.2.7]"] {
            assert_eq!(parse(&at(&format!(r#"{between} "GET / HTTP/1.1" 401 5"#))), None, "{between}");
        }
        // What a client calls itself hides no request.
        let agent = r#""GET / HTTP/1.1" 401 5 "-" "x" "[20/Nov/2026:10:05:03 +0000] 1 ""#;
        assert_eq!(parse(&at(agent)).unwrap().1, 401);
        // What looks like a stamp in a name is followed by another one.
        let named =
            r#"192.0.2.1 - x [20/Nov/2026:10:05:03 +0100] 1 [20/Nov/2026:11:05:03 +0100] 2 "GET / HTTP/1.1" 401 5"#;
        assert_eq!(parse(named).unwrap().2, "x [20/Nov/2026:10:05:03 +0100] 1");
    }

    /// Lines with parts cut out, doubled and put elsewhere, each with what follows it.
    #[test]
    fn a_plain_request_is_what_the_line_alone_tells() {
        use crate::demo::random::Random;
        let mut random = Random::new(1);
        let line = |rest: &str| format!("192.0.2.1 - - [20/Nov/2026:10:05:03 +0100] \"{rest}\n");
        let lines = [
            line(r#"GET / HTTP/1.1" 200 5 "-" "x""#),
            line(r#"GET /a\"b HTTP/1.1" 404 - "http://x/" "Mozilla \"5\"""#),
            line(r#"GET / HTTP/1.1" 401 5"#),
            line(r#"GET / HTTP/1.1" 200 5 "-" "x" 0.004"#),
        ];
        let (mut plain, mut alone) = (Access::default(), Access::default());
        let mut found = 0;
        for _ in 0..20_000 {
            let mut text: Vec<u8> = (0..5).flat_map(|_| lines[random.below(4)].bytes()).collect();
            for _ in 0..random.below(3) {
                let place = random.below(text.len());
                match random.below(4) {
                    0 => _ = text.remove(place),
                    1 => text.insert(place, random.pick(b"\"\\\n\r [-9")),
                    2 => text[place] = random.pick(b"\"\\\n\r ]-9"),
                    _ => text.truncate(place + 1),
                }
            }
            if let Some(request) = plain.plain_request(&text) {
                found += 1;
                let end = memchr(b'\n', &text).unwrap();
                assert_eq!(request.length, end + 1, "{}", String::from_utf8_lossy(&text));
                let (start, length) = request.request;
                let event = Event {
                    action: Action::Request { status: request.status },
                    peer: Some(Peer::Ip(request.peer.into())),
                    request: &text[start..start + length],
                    ..Event::plain(Some(request.time), Category::Access)
                };
                assert_eq!(alone.parse(&text[..end]), Some(event), "{}", String::from_utf8_lossy(&text));
            }
        }
        assert!(found > 5_000, "{found}");
    }

    #[test]
    fn a_user_with_a_blank_and_the_zone_are_understood() {
        let line = r#"192.0.2.1 - john doe [20/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 401 5"#;
        let want = chrono::DateTime::parse_from_rfc3339("2026-11-20T09:05:03Z").unwrap().timestamp();
        assert_eq!(parse(line), Some((Some(want), 401, "john doe".to_owned())));
        for (status, told) in [("000", Some(0)), ("009", Some(9)), ("599", Some(599)), ("612", None), ("010", None)] {
            assert_eq!(parse(&line.replace("401", status)).map(|(_, status, _)| status), told, "{status}");
        }
    }

    #[test]
    fn what_other_servers_put_around_a_user_and_into_a_stamp_is_understood() {
        let want = chrono::DateTime::parse_from_rfc3339("2026-11-20T09:05:03Z").unwrap().timestamp();
        for (front, stamp, user) in [
            ("-  - ", "20/Nov/2026:10:05:03 +0100", ""),
            ("-  eve ", "20/Nov/2026:10:05:03 +0100", "eve"),
            ("- [192.0.2.1] - -", "20/Nov/2026:10:05:03 +0100", ""),
            ("- [192.0.2.1, 198.51.100.1] - eve", "20/Nov/2026:10:05:03 +0100", "eve"),
            ("- [x] - eve", "20/Nov/2026:10:05:03 +0100", "[x] - eve"),
            ("www.example.org - -", "20/Nov/2026:10:05:03 +0100", ""),
            ("www.example.org - eve", "20/Nov/2026:10:05:03 +0100", "eve"),
            ("- root@pam", "20/11/2026:10:05:03 +0100", "root@pam"),
            ("- -", "20/11/2026:10:05:03 +0100", ""),
            ("- eve", "11/20/2026:09:05:03 -0000", "eve"),
        ] {
            let line = format!(r#"192.0.2.1 {front} [{stamp}] "GET / HTTP/1.1" 401 5"#);
            assert_eq!(parse(&line), Some((Some(want), 401, user.to_owned())), "{line}");
        }
        assert_eq!(parse(r#"192.0.2.1 - - [20/13/2026:10:05:03 +0100] "GET / HTTP/1.1" 401 5"#), None);
    }

    #[test]
    fn stamps_without_a_zone_and_lines_without_a_size_are_understood() {
        let context = Context { zone: chrono_tz::Europe::Berlin, year: crate::parse::YearRule::From(2026) };
        let mut parser = Access::new(context);
        let want = chrono::DateTime::parse_from_rfc3339("2026-11-20T09:05:03Z").unwrap().timestamp();
        for stamp in ["20/Nov/2026:10:05:03", "20/Nov/2026 10:05:03", "20/Nov/2026:10:05:03 +0100"] {
            for rest in [r#" 5 "-" "x" 588"#, " 5 \"-\" \"x\"", " -", ""] {
                let line = format!(r#"192.0.2.1 - eve [{stamp}] "GET / HTTP 1.1" 401{rest}"#);
                let event = parser.parse(line.as_bytes()).unwrap();
                let (action, user) = (Action::Request { status: 401 }, Some(&b"eve"[..]));
                assert_eq!((event.time, event.action, event.user), (Some(want), action, user), "{line}");
            }
        }
        // Python writes requests as they come.
        let zoned = "/ [20/Nov/2026:10:05:03 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"x";
        for (request, time) in [("/x\" 200 5 HTTP/1.1", Some(want)), ("/\"x HTTP/1.1", Some(want)), (zoned, None)] {
            let line = format!(r#"192.0.2.1 - - [20/Nov/2026 10:05:03] "GET {request}" 401 -"#);
            let event = parser.parse(line.as_bytes()).unwrap();
            assert_eq!((event.action, event.time), (Action::Request { status: 401 }, time), "{line}");
        }
        let two = r#"192.0.2.1 - - [20/Nov/2026:10:05:03] "GET /" 200 5 "http://a" "x" 401 120"#;
        assert_eq!(parser.parse(two.as_bytes()), None);
        let name = r#"[20/Nov/2020 10:05:03] "x"#;
        let line = format!(r#"192.0.2.1 - - {name} [20/Nov/2026:10:05:03 +0100] "GET /" 401 5 "-" "curl""#);
        let event = parser.parse(line.as_bytes()).unwrap();
        assert_eq!((event.action, event.time), (Action::Request { status: 401 }, Some(want)));
        let name = r#"x [20/Nov/2026:10:05:03] "GET / HTTP/1.1" 200 5"#;
        let line = format!(r#"192.0.2.1 - {name} [20/Nov/2026:10:05:04 +0000] "GET / HTTP/1.1" 401 5"#);
        assert_eq!(parser.parse(line.as_bytes()).unwrap().action, Action::Request { status: 401 });
        for end in ["4011", "40", "401x", "401 ", "401 \"-\""] {
            let line = format!(r#"192.0.2.1 - - [20/Nov/2026:10:05:03] "GET /" {end}"#);
            assert_eq!(parser.parse(line.as_bytes()), None, "{end}");
        }
    }

    #[test]
    fn a_hyphen_between_user_and_stamp_is_no_part_of_the_name() {
        let line = |user: &str| format!(r#"192.0.2.7 - {user} [20/Nov/2026:10:05:03 +0000] "GET / HTTP/1.1" 401 5"#);
        for (user, want) in [("admin -", "admin"), ("- -", ""), ("john doe -", "john doe -"), ("-x -", "-x")] {
            assert_eq!(parse(&line(user)).unwrap().2, want, "{user}");
        }
    }

    #[test]
    fn a_user_name_that_looks_like_a_stamp_hides_nothing() {
        let line = r#"192.0.2.7 - x [20/Nov/2020:10:05:03 +0100] [20/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 401 5"#;
        let want = chrono::DateTime::parse_from_rfc3339("2026-11-20T09:05:03Z").unwrap().timestamp();
        assert_eq!(parse(line), Some((Some(want), 401, "x [20/Nov/2020:10:05:03 +0100]".to_owned())));
        // Nor does what a visitor says of itself at the end.
        for end in [r#" "x [20/Nov/2026:10:05:03 +0100] ""#, r#" "x [20/Nov/2026:10:05:03 +0100] " "y""#] {
            let line =
                format!(r#"192.0.2.7 - eve [20/Nov/2026:10:05:03 +0100] "GET /adm HTTP/2.0" 401 179 "-" "curl"{end}"#);
            assert_eq!(parse(&line), Some((Some(want), 401, "eve".to_owned())), "{line}");
        }
    }

    #[test]
    fn a_virtual_host_before_the_client_is_passed_over() {
        let mut parser = Access::default();
        for (front, client) in [
            ("www.example.org:443 192.0.2.1 - -", "192.0.2.1"),
            ("www.example.org 192.0.2.1 - -", "192.0.2.1"),
            ("www.example.org 2001:db8::1 - john doe", "2001:db8::1"),
            ("www.x.org!a 192.0.2.1 - -", "192.0.2.1"),
            ("www.example.org 192.0.2.1 - [", "192.0.2.1"),
            ("www.example.org 192.0.2.1 - [x", "192.0.2.1"),
            ("[::1] 192.0.2.1 - -", "192.0.2.1"),
            ("2001:db8::1:2345 www.example.org -", "2001:db8::1:2345"),
            ("client.example.org - -", "client.example.org"),
            ("192.0.2.1 -", "192.0.2.1"),
            // What a client says of itself is not believed.
            ("192.0.2.1 - 198.51.100.1 - -", "192.0.2.1"),
            ("192.0.2.1 198.51.100.1 -", "192.0.2.1"),
            ("192.0.2.1 198.51.100.1 john", "192.0.2.1"),
            // The last one is the proxy's word.
            ("203.0.113.9, 192.0.2.1 - -", "192.0.2.1"),
            ("203.0.113.9, 2001:db8::9, 192.0.2.1 - eve", "192.0.2.1"),
            ("203.0.113.9, 192.0.2.1 - john, doe", "192.0.2.1"),
            ("a\\\", 192.0.2.1 - -", "192.0.2.1"),
            ("x, unknown, a,b, 192.0.2.1 - -", "192.0.2.1"),
            ("192.0.2.1 www.example.org - -", "192.0.2.1"),
            ("192.0.2.1 _ - -", "192.0.2.1"),
            ("192.0.2.1 eve", "192.0.2.1"),
            ("192.0.2.1 ident john doe", "192.0.2.1"),
        ] {
            let line = format!(r#"{front} [20/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 404 5 "-" "x""#);
            let event = parser.parse(line.as_bytes()).unwrap();
            assert_eq!(event.peer, Peer::read(client.as_bytes()), "{front}");
        }
    }

    #[test]
    fn what_stands_between_quotation_marks_in_front_is_no_client() {
        let rest = r#"192.0.2.7 - - [20/Nov/2026:10:05:03 +0000] "GET / HTTP/1.1" 401 5 "-" "a""#;
        let client = |front: &str, end: &str| {
            let line = format!("{front} {rest}{end}");
            let event = Access::default().parse(line.as_bytes());
            event.and_then(|event| event.peer).map(|peer| peer.to_string())
        };
        for front in [r#""-""#, r#""203.0.113.9""#, r#""example.org""#] {
            assert_eq!(client(front, "").as_deref(), Some("192.0.2.7"), "{front}");
        }
        for front in
            [r#""203.0.113.9 - x""#, r#""a 203.0.113.9 - x""#, r#""203.0.113.9 - - [20/Nov/2026:10:00:00 +0000] ""#]
        {
            for end in ["", r#" "example.org""#, " 0.003"] {
                assert_eq!(client(front, end), None, "{front} {end}");
            }
        }
    }

    #[test]
    fn a_client_that_is_not_told_is_nobody() {
        let mut parser = Access::default();
        for (front, user) in [
            ("- - -", None),
            ("- - eve", Some("eve")),
            ("-.- - eve", Some("eve")),
            ("192.0.2.7:51234 - -", None),
            ("192.0.2.7:51234 - eve", Some("eve")),
            ("192.0.2.1, 10.0.0.1 - eve", Some("eve")),
            ("192.0.2.1, 100.64.0.1 - -", None),
            // The user's name may be the end of the list.
            ("203.0.113.9, 198.51.100.1 - x, 192.0.2.1 - -", Some("x, 192.0.2.1 - -")),
            ("203.0.113.9, 198.51.100.1 - x,192.0.2.1 - -", Some("x,192.0.2.1 - -")),
            ("203.0.113.9, 198.51.100.1 - x, unknown - -", Some("x, unknown - -")),
            ("unix: - -", None),
            ("unix: - eve", Some("eve")),
            ("www.example.org:443 unix: - eve", Some("eve")),
            ("www.example.org unix: - -", None),
            // Here the host is what the visitor calls it.
            ("198.51.100.1 192.0.2.1 - -", None),
            ("198.51.100.1 192.0.2.1 - eve", Some("eve")),
            ("198.51.100.1 192.0.2.1 - [", Some("[")),
            ("198.51.100.1 unix: - eve", Some("eve")),
            ("www.example.org:443 - - -", None),
            ("www.example.org:443 - - eve", Some("eve")),
            // The host may be a client's, who calls himself an address.
            ("www.example.org - 192.0.2.1 - -", None),
            ("www.example.org - 192.0.2.1 - eve", Some("eve")),
            ("www.example.org - 2001:db8::1 - eve", Some("eve")),
        ] {
            let line = format!(r#"{front} [20/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 401 5 "-" "x""#);
            let event = parser.parse(line.as_bytes()).unwrap();
            assert_eq!((event.peer, event.user), (None, user.map(str::as_bytes)), "{front}");
        }
    }

    #[test]
    fn cut_lines_and_those_of_other_formats_are_not_parsed() {
        for line in [
            r#"192.0.2.1 - x [20/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 200 5 "-" "-" [20/Nov/2026:10:05:04 +0100] "GET / HTTP/1.1" 401 5 "-" "-""#,
            r#"2026-11-20T10:05:05.12+01:00 web1 nginx[7]: 192.0.2.1 - - [20/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 401 5"#,
            r#"2026-11-20T10:05:05.12+01:00 198.51.100.9 sshd[7]: Failed password for x [20/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 401 5"#,
            // Who of two is the client is not known.
            r#"198.51.100.1 192.0.2.1, 192.0.2.2 - - [20/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 401 5"#,
            r#"198.51.100.1 2001:db8::1, 192.0.2.2 192.0.2.3 - - [20/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 401 5"#,
            r#"Nov 20 10:05:04 web1 nginx[7]: 192.0.2.1 - - [20/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 200 5"#,
            r#"192.0.2.1 - - [20/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 200 5 "-" "Mozilla"#,
            r#"192.0.2.1 - - [20/Nov/2026:10:05:03 +0100] "GET / HT"#,
            r#"192.0.2.1 - - [20/Nov/2026:10:0"#,
            "",
            "192.0.2.1",
            r#" - root [20/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 401 5"#,
            r#"192.0.2.1 - - [32/Nov/2026:10:05:03 +0100] "GET / HTTP/1.1" 200 5"#,
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
