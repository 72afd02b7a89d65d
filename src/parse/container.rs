//! What container engines write of what a container prints: Docker's `{"log":"…\n","stream":"stdout","time":"…"}`
//! (<https://docs.docker.com/engine/logging/drivers/json-file/>), and `2026-11-20T10:15:30.123456789Z stdout F …` of containerd,
//! CRI-O and Podman (Kubernetes, "CRI log format").
//!
//! Servers in containers print access logs to standard output, where they escape what visitors send, and error logs to the
//! other one. nginx writes decoded paths into that, line breaks and all, so whatever else is printed there accuses nobody.

use std::sync::Arc;

use memchr::memchr;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::access::Access;
use super::custom::Custom;
use super::json::Unescaped;
use super::time::rfc3339;
use super::{Context, Parser, apache_error, nginx_error};
use crate::model::format::Format;
use crate::model::untrusted::without_line_break;
use crate::model::{Category, Event, Peer};

/// The parser.
pub struct Container {
    /// Access logs in JSON.
    recognised: Vec<Custom>,
    unescaped: Unescaped,
    known: [Known; 2],
}

/// What is known of a stream by the lines before.
#[derive(Default, Clone)]
struct Known {
    /// The beginning of a line that goes on: engines cut long ones.
    pieces: Vec<u8>,
    /// Whether the line's last piece is yet to come.
    goes_on: bool,
    /// Whether nginx has printed errors.
    is_nginx: bool,
}

/// The longest line that is put together, in bytes.
const MAX_PIECES: usize = 256 << 10;

/// Where it was printed to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Output,
    Errors,
}

/// How what is known is written before the lines that follow.
const HEADER: &[u8] = b"#Container: ";
const NGINX: &[u8] = b"nginx";
const GOES_ON: &[u8] = b"goes on ";

/// Docker's fields of interest.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    log: &'a RawValue,
    #[serde(borrow)]
    stream: &'a str,
    #[serde(borrow)]
    time: &'a str,
}

impl Container {
    /// A parser for lines that hold those of built-in formats, and of these where they are recognised.
    pub fn new(context: Context, formats: &[Arc<Format>]) -> Self {
        Self {
            recognised: Custom::all_recognised(formats, context),
            unescaped: Unescaped::default(),
            known: Default::default(),
        }
    }

    fn docker<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let entry: Entry<'a> = serde_json::from_slice(line).ok()?;
        let (stream, time) = (Stream::named(entry.stream.as_bytes())?, rfc3339(entry.time.as_bytes())?);
        let string = entry.log.get().strip_prefix('"')?.strip_suffix('"')?;
        let string = string.as_bytes();
        let line = string.strip_suffix(b"\\n").filter(|line| !ends_in_half_an_escape(line));
        let Self { recognised, unescaped, known } = self;
        let known = &mut known[stream as usize];
        let (is_whole, line) = (line.is_some(), line.unwrap_or(string));
        if is_whole && !known.goes_on {
            let told = unescaped.event(line, |line| printed(recognised, known, stream, without_line_break(line)));
            return Some(at(time, told));
        }
        known.has_room(line, is_whole)?;
        let mut is_text = false;
        let told = unescaped.event(line, |piece| {
            is_text = true;
            known.piece(recognised, stream, piece, is_whole)
        });
        if !is_text {
            known.forget(!is_whole);
        }
        Some(at(time, told))
    }

    fn cri<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let mut words = line.splitn(4, |byte| *byte == b' ');
        let (time, stream) = (words.next()?, Stream::named(words.next()?)?);
        let (time, tag, message) = (rfc3339(time)?, words.next()?, words.next().unwrap_or_default());
        // Tags are parted by colons, and nothing but the first is in use.
        let is_whole = match &tag[..memchr(b':', tag).unwrap_or(tag.len())] {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        let Self { recognised, known, .. } = self;
        let known = &mut known[stream as usize];
        if is_whole && !known.goes_on {
            return Some(at(time, printed(recognised, known, stream, message)));
        }
        known.has_room(message, is_whole)?;
        Some(at(time, known.piece(recognised, stream, message, is_whole)))
    }

    fn header_line(&mut self, line: &[u8]) -> Option<()> {
        let rest = line.strip_prefix(HEADER)?;
        let (stream, rest) = rest.split_at(memchr(b' ', rest)?);
        let known = &mut self.known[Stream::named(stream)? as usize];
        let rest = &rest[1..];
        if rest == NGINX {
            known.is_nginx = true;
        } else {
            known.pieces = rest.strip_prefix(GOES_ON)?.to_vec();
            known.goes_on = true;
        }
        Some(())
    }
}

impl Parser for Container {
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        match line.first()? {
            b'{' => self.docker(line),
            b'#' => self.header_line(line).map(|()| Event::plain(None, Category::System)),
            _ => self.cri(line),
        }
    }

    fn header(&self) -> Vec<u8> {
        let mut header = Vec::new();
        for (known, stream) in self.known.iter().zip([&b"stdout "[..], b"stderr "]) {
            if known.is_nginx {
                header.extend([HEADER, stream, NGINX, b"\n"].concat());
            }
            if known.goes_on {
                header.extend([HEADER, stream, GOES_ON, &known.pieces, b"\n"].concat());
            }
        }
        header
    }
}

/// The event of what was printed at that time; what is not understood is some program's.
fn at(time: i64, told: Option<Event<'_>>) -> Event<'_> {
    let told = told.unwrap_or_else(|| Event::plain(None, Category::System));
    Event { time: told.time.or(Some(time)), ..told }
}

impl Known {
    /// None where a line ends that is too long to be looked at.
    fn has_room(&mut self, last: &[u8], is_last: bool) -> Option<()> {
        let is_too_long = is_last && self.pieces.len() + last.len() > MAX_PIECES;
        if is_too_long {
            self.forget(false);
        }
        (!is_too_long).then_some(())
    }

    fn forget(&mut self, goes_on: bool) {
        self.pieces.clear();
        self.goes_on = goes_on;
    }

    /// Takes a piece of a line in; with the last one tells what the line does, but for its texts, which are not this piece's.
    fn piece<'a>(
        &mut self,
        recognised: &mut [Custom],
        stream: Stream,
        piece: &[u8],
        is_last: bool,
    ) -> Option<Event<'a>> {
        let room = MAX_PIECES.saturating_sub(self.pieces.len());
        // What is remembered for the next run is a line of text.
        let text = piece.iter().take(room).map(|byte| if matches!(byte, b' '..=b'~' | b'\r') { *byte } else { b'?' });
        self.pieces.extend(text);
        self.goes_on = !is_last;
        if !is_last {
            return None;
        }
        let line = std::mem::take(&mut self.pieces);
        let whole = printed(recognised, self, stream, without_line_break(&line))?;
        let peer = whole.peer.and_then(|peer| peer.ip()).map(Peer::Ip);
        let is_page = whole.asks_for_page();
        Some(Event { peer, user: None, request: b"", is_page, host: b"", ..whole })
    }
}

impl Stream {
    fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"stdout" => Some(Self::Output),
            b"stderr" => Some(Self::Errors),
            _ => None,
        }
    }
}

/// Whether the last of an odd number of backslashes belongs to what follows.
fn ends_in_half_an_escape(string: &[u8]) -> bool {
    string.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// What a line tells that was printed there. Where nginx prints errors a visitor may have written it, and it accuses nobody; nor does
/// what stands in errors otherwise, but in JSON, as Caddy prints requests.
fn printed<'a>(recognised: &mut [Custom], known: &mut Known, stream: Stream, line: &'a [u8]) -> Option<Event<'a>> {
    if let Some(error) = nginx_error::event(line) {
        known.is_nginx = true;
        return Some(error);
    }
    let is_output = stream == Stream::Output;
    let request = if is_output { Access::default().parse(line) } else { None };
    let request = request.or_else(|| recognised.iter_mut().find_map(|format| format.parse(line)));
    if !known.is_nginx && request.is_some() {
        return request;
    }
    let error = || if is_output { None } else { apache_error::event(apache_error::without_stamp(line)?) };
    let told = request.or_else(error)?;
    Some(Event { peer: None, user: None, ..told })
}

#[cfg(test)]
mod tests {
    use super::super::YearRule;
    use super::*;
    use crate::model::{Action, Peer};

    fn parser() -> Container {
        Container::new(Context { zone: chrono_tz::Europe::Berlin, year: YearRule::Before(0) }, &[])
    }

    const ACCESS: &str = r#"198.51.100.7 - eve [20/Nov/2026:10:00:00 +0000] \"GET /a\\x22 HTTP/1.1\" 401 5"#;

    fn docker(stream: &str, string: &str) -> String {
        format!(r#"{{"log":"{string}","stream":"{stream}","time":"2026-11-20T10:00:01.5Z"}}"#)
    }

    /// What is made of a line: its action, its time, whether somebody is named.
    fn read(parser: &mut Container, line: &str) -> Option<(Action, i64, Option<String>)> {
        let event = parser.parse(line.as_bytes())?;
        Some((event.action, event.time? - 1_795_168_800, event.peer.as_ref().map(Peer::to_string)))
    }

    #[test]
    fn requests_are_read_from_what_docker_writes_with_texts_as_they_stand_there() {
        let line = docker("stdout", &format!("{ACCESS}\\n"));
        let event =
            parser().parse(line.as_bytes()).map(|event| (event.action, event.time, event.request, event.user)).unwrap();
        let want: (_, _, &[u8], Option<&[u8]>) =
            (Action::Request { status: 401 }, Some(1_795_168_800), br"GET /a\\x22 HTTP/1.1", Some(b"eve"));
        assert_eq!(event, want);
        let bare = docker("stdout", &format!("{ACCESS}\\r\\n"));
        assert_eq!(read(&mut parser(), &bare).unwrap().0, Action::Request { status: 401 });
    }

    #[test]
    fn what_other_programs_print_is_understood_as_theirs() {
        let other = Some((Action::Other, 1, None));
        for string in ["listening on :8080\\n", "\\n", "", "x\\\\n", "\\ud800\\n"] {
            assert_eq!(read(&mut parser(), &docker("stdout", string)), other, "{string}");
            assert_eq!(read(&mut parser(), &docker("stderr", string)), other, "{string}");
        }
        for no in [r#"{"log":"x"}"#, r#"{"log":7,"stream":"stdout","time":"2026-11-20T10:00:01Z"}"#, "{", "", "x"] {
            assert_eq!(read(&mut parser(), no), None, "{no}");
        }
        assert_eq!(read(&mut parser(), &docker("stdin", "x")), None);
    }

    #[test]
    fn errors_are_read_where_errors_are_printed_and_have_the_time_of_printing() {
        let nginx = r#"2026/11/20 11:00:01 [error] 7#7: *1 user \"eve\": password mismatch, client: 198.51.100.7\n"#;
        let apache = r"[Fri Nov 20 11:00:01.123456 2026] [auth_basic:error] [pid 7] [client 198.51.100.7:4711] AH01618: user eve not found: /\n";
        for line in [nginx, apache] {
            let (action, time, peer) = read(&mut parser(), &docker("stderr", line)).unwrap();
            assert!(matches!(action, Action::LoginFailed { .. }) && time == 1 && peer.is_none(), "{line}");
        }
        assert_eq!(read(&mut parser(), &docker("stdout", apache)).unwrap().0, Action::Other);
    }

    #[test]
    fn where_nginx_prints_errors_requests_count_and_accuse_nobody() {
        let request = docker("stdout", &format!("{ACCESS}\\n"));
        let told = |parser: &mut Container| read(parser, &request).map(|(action, _, peer)| (action, peer.is_some()));
        let counted = Action::Request { status: 401 };
        let mut parser = parser();
        for (stream, is_named) in [("stderr", true), ("stdout", false)] {
            read(&mut parser, &docker(stream, r"2026/11/20 11:00:01 [notice] 1#1: start worker processes\r\n"));
            assert_eq!(told(&mut parser), Some((counted, is_named)), "{stream}");
        }
        assert_eq!(told(&mut resumed(&parser)), Some((counted, false)));
    }

    /// As the next run goes on.
    fn resumed(parser: &Container) -> Container {
        let mut next = self::parser();
        for header in parser.header().split(|byte| *byte == b'\n') {
            let _ = next.parse(header);
        }
        next
    }

    #[test]
    fn a_line_in_pieces_is_read_as_a_whole_also_by_the_next_run() {
        let (first, rest) = ACCESS.split_at(60);
        let other = Some((Action::Other, 1, None));
        let whole = Some((Action::Request { status: 401 }, 0, Some("198.51.100.7".to_owned())));
        let mut parser = parser();
        assert_eq!(read(&mut parser, &docker("stdout", first)), other);
        let mut next = resumed(&parser);
        assert_eq!(read(&mut next, &docker("stderr", "x\\n")), other);
        assert_eq!(read(&mut next, &docker("stdout", "")), other);
        let mut next = resumed(&next);
        assert_eq!(read(&mut next, &docker("stdout", &format!("{rest}\\n"))), whole);
        assert_eq!(next.header(), b"");
        // What a long line goes on with may look like another one.
        assert_eq!(read(&mut next, &docker("stdout", &"x".repeat(MAX_PIECES))), other);
        assert_eq!(read(&mut next, &docker("stdout", &format!("{ACCESS}\\n"))), None, "told as not understood");
        assert_eq!(read(&mut next, &docker("stdout", &format!("{ACCESS}\\n"))), whole);
        assert_eq!(read(&mut next, &docker("stderr", &format!("{ACCESS}\\n"))), other);
    }

    #[test]
    fn the_lines_of_kubernetes_are_read_alike() {
        let access = ACCESS.replace('\\', "");
        let cri =
            |stream: &str, tag: &str, line: &str| format!("2026-11-20T11:00:01.123456789+01:00 {stream} {tag} {line}");
        let mut parser = parser();
        let request = Some((Action::Request { status: 401 }, 0, Some("198.51.100.7".to_owned())));
        assert_eq!(read(&mut parser, &cri("stdout", "F", &access)), request);
        assert_eq!(read(&mut parser, &cri("stdout", "F:x", &access)), request);
        assert_eq!(read(&mut parser, &cri("stdout", "P", &access[..40])), Some((Action::Other, 1, None)));
        assert_eq!(read(&mut parser, &cri("stdout", "F", &access[40..])), request);
        assert_eq!(read(&mut parser, "2026-11-20T11:00:01.123456789+01:00 stdout F"), Some((Action::Other, 1, None)));
        assert_eq!(read(&mut parser, &cri("stdout", "X", &access)), None);
        assert_eq!(read(&mut parser, &cri("web1", "F", &access)), None);
    }
}
