//! What JSON objects hold.

use std::collections::BTreeMap;

use memchr::memchr;
use serde_json::value::RawValue;

use crate::model::event::Escape;
use crate::model::{Event, Peer};

/// A value as it stands in the line: without quotation marks, escapes as they are; of a list the last. None for what has
/// members of its own.
pub fn text(value: &RawValue) -> Option<&str> {
    // Of several headers the last is the one that the nearest proxy wrote.
    text_of(value, |list| list.last().copied())
}

/// The same with the one that is chosen of a list.
fn text_of<'a>(value: &'a RawValue, chosen: impl Fn(&[&'a RawValue]) -> Option<&'a RawValue>) -> Option<&'a str> {
    let mut raw = value.get();
    if raw.starts_with('[') {
        raw = chosen(&serde_json::from_str::<Vec<&RawValue>>(raw).ok()?)?.get();
    }
    let bare = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    bare.or_else(|| (!raw.starts_with(['{', '['])).then_some(raw))
}

/// The members of a JSON object, their values as they stand there.
pub type Object<'a> = BTreeMap<String, &'a RawValue>;

/// The members of an object; none for what is no object.
pub fn object(text: &str) -> Option<Object<'_>> {
    text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok())?
}

/// What servers write that is nearly a JSON object, because their formats are lines of text, made one without moving anything in it: bytes
/// that are no text and escapes that JSON doesn't know (`\xff`) become question marks; members without a value (`"x":,`) blanks; a `-`
/// for a number, and zeros before one, lose their meaning; and an empty text in Apache's quotation marks (`""""`) is one. Nothing for
/// what begins otherwise.
///
/// Quotation marks in texts are escaped by all servers, so nobody can end a text who only chose what stands in it.
pub fn mended(line: &[u8]) -> Option<String> {
    if !line.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let mut text = Vec::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        text.resize(text.len() + chunk.invalid().len(), b'?');
    }
    // Where the last text begins, where the last comma stands, and what stood there last that is no blank.
    let (mut at, mut name, mut comma, mut last) = (0, 0, 0, b' ');
    while at < text.len() {
        let is_value_missing = |at: usize| matches!(text[at..].trim_ascii_start().first(), Some(b',' | b'}'));
        let byte = text[at];
        match byte {
            b'"' => {
                if last == b':' && text[at..].starts_with(b"\"\"\"\"") && is_value_missing(at + 4) {
                    text[at + 2..at + 4].fill(b' ');
                }
                name = at;
                at = mend_text(&mut text, at + 1);
            }
            b':' if is_value_missing(at + 1) => {
                let end = at + 1 + text[at + 1..].iter().position(|byte| matches!(byte, b',' | b'}')).unwrap_or(0);
                // Either the comma behind it goes, or the one before.
                let is_before =
                    || text.get(comma) == Some(&b',') && text[comma + 1..name.max(comma + 1)].trim_ascii().is_empty();
                let (start, end) = match text[end] {
                    b',' => (name, end + 1),
                    _ if is_before() => (comma, end),
                    _ => (name, end),
                };
                text[start..end].fill(b' ');
                (at, name) = (end, end);
            }
            b',' => {
                comma = at;
                at += 1;
            }
            b'-' if is_value_missing(at + 1) => {
                text[at] = b'0';
                at += 1;
            }
            b'0'..=b'9' | b'-' => at = mend_number(&mut text, at),
            _ => at += 1,
        }
        if !byte.is_ascii_whitespace() {
            last = byte;
        }
    }
    String::from_utf8(text).ok()
}

/// Mends a text from behind its first quotation mark; returns where what follows its last one begins.
fn mend_text(text: &mut [u8], mut at: usize) -> usize {
    while let Some(byte) = text.get(at).copied() {
        let next = text.get(at + 1).copied();
        match (byte, next) {
            (b'"', _) => return at + 1,
            (b'\\', Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')) => at += 2,
            (b'\\', Some(b'u')) if unit(&text[at..]).is_some() => at += 2,
            (b'\\' | 0..=31, _) => {
                text[at] = b'?';
                at += 1;
            }
            _ => at += 1,
        }
    }
    at
}

/// Takes the zeros before a number away; returns where what follows it begins.
fn mend_number(text: &mut [u8], start: usize) -> usize {
    let end = start
        + text[start..]
            .iter()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .count();
    let zeros = text[start..end].windows(2).take_while(|two| two[0] == b'0' && two[1].is_ascii_digit()).count();
    text[start..start + zeros].fill(b' ');
    end
}

/// The value at a place such as `request.remote_ip`, without quotation marks and with escapes as they stand there; of a list
/// the last. A name may itself hold dots.
pub fn value<'a>(object: &Object<'a>, place: &str) -> Option<&'a str> {
    found(object, place, &text)
}

/// The same; of a list the first.
pub fn first_value<'a>(object: &Object<'a>, place: &str) -> Option<&'a str> {
    found(object, place, &|value| text_of(value, |list| list.first().copied()))
}

fn found<'a>(object: &Object<'a>, place: &str, text: &impl Fn(&'a RawValue) -> Option<&'a str>) -> Option<&'a str> {
    if let Some(value) = object.get(place) {
        return text(value);
    }
    let dots = place.match_indices('.').map(|(at, _)| at);
    dots.filter_map(|at| found(&self::object(object.get(&place[..at])?.get())?, &place[at + 1..], text)).next()
}

/// Whole lines of other formats that stand in strings, without the escapes, or as lists of their bytes.
#[derive(Default)]
pub struct Unescaped {
    line: Vec<u8>,
    /// Where it goes on behind each escape, or each number, in the line and in what it stands in.
    after_escapes: Vec<(usize, usize)>,
    /// What the last list said that was asked of a web server.
    request: Vec<u8>,
}

impl Unescaped {
    /// What `read` makes of the line in a string; the event's texts are as they stand in the string.
    pub fn event<'a>(
        &mut self,
        string: &'a [u8],
        read: impl for<'l> FnOnce(&'l [u8]) -> Option<Event<'l>>,
    ) -> Option<Event<'a>> {
        self.request.clear();
        if memchr(b'\\', string).is_none() {
            return read(string);
        }
        self.line.clear();
        self.after_escapes.clear();
        unescape_noting(string, &mut self.line, |behind, at| self.after_escapes.push((behind, at)))?;
        let event = read(&self.line)?;
        let Event { time, category, action, peer, user, user_escapes, request, .. } = event;
        let Event { is_post, is_page, is_challenge, host, pid, .. } = event;
        let text = |piece| self.in_string(string, piece).unwrap_or_default();
        let peer = peer.map(|peer| match peer {
            Peer::Ip(ip) => Peer::Ip(ip),
            Peer::Name(name) => Peer::Name(text(name)),
        });
        let (user, request, host) = (user.and_then(|user| self.in_string(string, user)), text(request), text(host));
        let user_escapes = user_escapes.within(Escape::JsonString);
        Some(Event {
            time,
            category,
            action,
            peer,
            user,
            user_escapes,
            request,
            is_post,
            is_page,
            is_challenge,
            host,
            pid,
        })
    }

    /// The same of the line whose bytes are the numbers of a list. Of the event's texts the account alone is known, as it stands there, and
    /// [`Unescaped::request`] of what was asked.
    pub fn event_of_list<'a>(
        &mut self,
        list: &'a [u8],
        read: impl for<'l> FnOnce(&'l [u8]) -> Event<'l>,
    ) -> Option<Event<'a>> {
        self.line.clear();
        self.after_escapes.clear();
        // The first number begins behind the bracket.
        self.after_escapes.push((0, 1));
        let note = |behind, in_numbers| self.after_escapes.push((behind, 1 + in_numbers));
        bytes_noting(list.strip_prefix(b"[")?.strip_suffix(b"]")?, &mut self.line, note)?;
        let event = read(&self.line);
        self.request.clear();
        self.request.extend_from_slice(event.request);
        let is_page = event.asks_for_page();
        let Event { time, category, action, peer, user, user_escapes, is_post, is_challenge, pid, .. } = event;
        let peer = peer.and_then(|peer| peer.ip()).map(Peer::Ip);
        let user = user.and_then(|user| self.in_string(list, user));
        let user_escapes = user_escapes.within(Escape::JsonList);
        let plain = Event::plain(time, category);
        Some(Event { action, peer, user, user_escapes, is_post, is_page, is_challenge, pid, ..plain })
    }

    /// What was asked of a web server by the last line, if it was a list.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// A piece of the line as it stands in the string; none for what is no piece of it.
    fn in_string<'a>(&self, string: &'a [u8], piece: &[u8]) -> Option<&'a [u8]> {
        let start = piece.as_ptr().addr().wrapping_sub(self.line.as_ptr().addr());
        let end = start.saturating_add(piece.len());
        if piece.is_empty() {
            return Some(&string[..0]);
        }
        if end > self.line.len() {
            return None;
        }
        string.get(self.place(start)..self.place(end))
    }

    fn place(&self, in_line: usize) -> usize {
        let before = self.after_escapes.partition_point(|(behind, _)| *behind <= in_line);
        let (behind, in_string) = before.checked_sub(1).map_or((0, 0), |last| self.after_escapes[last]);
        in_string + in_line - behind
    }
}

/// Adds what a string holds without its escapes to a text; none for what is no string.
pub fn unescape(string: &[u8], text: &mut Vec<u8>) -> Option<()> {
    unescape_noting(string, text, |_, _| {})
}

/// The same, telling of each escape where text and string go on behind it.
fn unescape_noting(string: &[u8], text: &mut Vec<u8>, mut note: impl FnMut(usize, usize)) -> Option<()> {
    let mut rest = string;
    while let Some(at) = memchr(b'\\', rest) {
        let (character, length) = escaped(&rest[at..])?;
        text.extend_from_slice(&rest[..at]);
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[at + length..];
        note(text.len(), string.len() - rest.len());
    }
    text.extend_from_slice(rest);
    Some(())
}

/// Adds the bytes whose numbers these are to a text; none for what are no bytes.
pub fn bytes(numbers: &[u8], text: &mut Vec<u8>) -> Option<()> {
    bytes_noting(numbers, text, |_, _| {})
}

/// The same, telling of each byte where text and numbers go on behind it: there begins the next number.
fn bytes_noting(numbers: &[u8], text: &mut Vec<u8>, mut note: impl FnMut(usize, usize)) -> Option<()> {
    let mut start = 0;
    while start < numbers.len() {
        let end = memchr(b',', &numbers[start..]).map_or(numbers.len(), |at| start + at);
        let number = numbers[start..end].trim_ascii();
        text.push(std::str::from_utf8(number).ok()?.parse().ok()?);
        start = end + 1;
        note(text.len(), start.min(numbers.len()));
    }
    Some(())
}

/// The character that an escape stands for, and the escape's length (RFC 8259, 7). Half a surrogate pair stands for nothing.
fn escaped(text: &[u8]) -> Option<(char, usize)> {
    let character = match text.get(1)? {
        b'b' => '\x08',
        b'f' => '\x0c',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = unit(text)?;
            let second = text.get(6..).and_then(unit).filter(|_| (0xd800..0xdc00).contains(&first));
            let mut units = [first].into_iter().chain(second);
            let character = char::decode_utf16(&mut units).next()?.unwrap_or(char::REPLACEMENT_CHARACTER);
            return Some((character, 6 * character.len_utf16()));
        }
        other @ (b'"' | b'\\' | b'/') => char::from(*other),
        _ => return None,
    };
    Some((character, 2))
}

/// The number in `\u00e4`.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::random::Random;
    use crate::model::Category;

    #[test]
    fn texts_of_an_unescaped_line_are_told_as_they_stand_in_its_string() {
        let texts = ["", "a", "\"", "\\", "ä", "😀", "\n", "\x01", "/", "a\"b", "\\\\x"];
        let short = |text: &str| serde_json::to_string(text).unwrap()[1..].strip_suffix('"').unwrap().to_owned();
        let long = |text: &str| text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
        for escape in [&short as &dyn Fn(&str) -> String, &long] {
            for before in texts {
                for user in texts {
                    for after in texts {
                        let (plain, string) =
                            (format!("{before}{user}{after}"), [before, user, after].map(escape).concat());
                        let event = Unescaped::default().event(string.as_bytes(), |line| {
                            assert_eq!(line, plain.as_bytes());
                            let user = &line[before.len()..before.len() + user.len()];
                            Some(Event { user: Some(user), host: b"elsewhere", ..Event::plain(None, Category::Auth) })
                        });
                        let event = event.unwrap();
                        assert_eq!(event.user.unwrap(), escape(user).as_bytes(), "{string}");
                        assert!(event.host.is_empty() || string == plain);
                    }
                }
            }
        }
    }

    #[test]
    fn what_servers_write_that_is_nearly_json_is_read_where_it_stands() {
        for (line, want) in [
            (
                &b"{\"a\": \"x\\xff\", \"b\": 000, \"c\": -, \"d\":, \"e\": \"\"\"\", \"f\": \"y\"}"[..],
                "a=x?xff b=0 c=0 e= f=y",
            ),
            (b"{\"a\":\"\xff\xfe\\u00e4\\u12\\\"\",\"b\":}", "a=??\\u00e4?u12\\\""),
            (b"{\"a\":,\"b\":,\"c\":}", ""),
            (b"{\"a\":{\"b\":,\"c\":0012},\"d\":0.500,\"e\":-7}", "a.c=12 d=0.500 e=-7"),
            (b"{\"a\":\"\",\"b\":\"\\\\\",\"c\":[1,02]}", "a= b=\\\\ c=2"),
            (b"{\"a\":\"x\ty\"}", "a=x?y"),
        ] {
            let text = mended(line).unwrap();
            assert_eq!(text.len(), line.len());
            let object = object(&text).unwrap_or_else(|| panic!("{text}"));
            let places = ["a", "a.b", "a.c", "b", "c", "d", "e", "f"];
            let found = places.iter().filter_map(|place| Some(format!("{place}={}", value(&object, place)?)));
            assert_eq!(found.collect::<Vec<_>>().join(" "), want, "{text}");
        }
        assert_eq!(mended(b"x{"), None);
        for nothing in
            [&b"{"[..], b"{\"", b"{\"a\":", b"{:,}", b"{:}", b"{,:}", b"{\"a\":\"\\", b"{-", b"{0", b"{\"a\":\"\"\"\""]
        {
            assert_eq!(mended(nothing).unwrap().len(), nothing.len());
        }
    }

    #[test]
    fn whatever_bytes_come_mending_moves_none_and_leaves_what_is_right() {
        let mut random = Random::new(1);
        let right = br#"{"a":"x\"y\\","b":{"c":[1,-2.5e3,null],"d":""},"e":0,"f":"\u00e4"}"#;
        assert_eq!(mended(right).unwrap().as_bytes(), right);
        for _ in 0..20_000 {
            let mut line = right.to_vec();
            for _ in 0..1 + random.below(6) {
                let (at, letters) = (1 + random.below(line.len() - 1), br#"{}[]":,\-0x u"#);
                match random.below(3) {
                    0 => line[at] = letters[random.below(letters.len())],
                    1 => line.insert(at, [letters[random.below(letters.len())], 0xff][random.below(2)]),
                    _ => drop(line.remove(at)),
                }
            }
            let text = mended(&line).unwrap();
            assert_eq!(text.len(), line.len(), "{}", line.escape_ascii());
            if std::str::from_utf8(&line).is_ok_and(|line| serde_json::from_str::<&RawValue>(line).is_ok()) {
                assert_eq!(text.as_bytes(), line, "what is right stays as it is");
            }
        }
    }

    #[test]
    fn what_is_no_escape_is_no_line() {
        for string in ["\\", "x\\", "\\u", "\\u12", "\\u12g4", "\\u123"] {
            assert!(Unescaped::default().event(string.as_bytes(), |_| unreachable!()).is_none(), "{string}");
        }
        for half in ["\\ud83d", "\\ude00", "\\ud83dx", "\\ud83d\\u0041"] {
            let event = Unescaped::default().event(half.as_bytes(), |line| {
                assert!(line.starts_with("\u{fffd}".as_bytes()), "{half} {line:?}");
                Some(Event::plain(None, Category::Auth))
            });
            assert!(event.is_some());
        }
    }
}
