//! What container engines write of what a container prints: Docker's `{"log":"…\n","stream":"stdout","time":"…"}`
//! (<https://docs.docker.com/engine/logging/drivers/json-file/>), and `2026-11-20T10:15:30.123456789Z stdout F …` of containerd,
//! CRI-O and Podman (Kubernetes, "CRI log format").
//!
//! Servers in containers print access logs to standard output, where they escape what visitors send, and error logs to the
//! other one. nginx writes decoded paths into that, line breaks and all, so nothing that stands there is taken for a request.

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
use crate::model::{Category, Event};

/// The parser.
pub struct Container {
    /// Access logs in JSON.
    recognised: Vec<Custom>,
    unescaped: Unescaped,
    known: Known,
}

/// What is known by the lines before.
#[derive(Default, Clone, Copy)]
struct Known {
    /// Whether the line that is printed to standard output, and the other one, goes on: engines cut long ones.
    unfinished: [bool; 2],
    /// Whether nginx has printed errors.
    is_nginx: bool,
}

/// Where it was printed to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Output,
    Errors,
}

/// How what is known is written before the lines that follow.
const HEADER: &str = "#Container:";
const WORDS: [&str; 3] = ["output-goes-on", "errors-go-on", "nginx"];

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
        let recognised = formats.iter().filter(|format| format.is_recognised());
        let recognised = recognised.map(|format| Custom::recognised(format, context)).collect();
        Self { recognised, unescaped: Unescaped::default(), known: Known::default() }
    }

    fn docker<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let entry: Entry<'a> = serde_json::from_slice(line).ok()?;
        let (stream, time) = (Stream::named(entry.stream.as_bytes())?, rfc3339(entry.time.as_bytes())?);
        let string = entry.log.get().strip_prefix('"')?.strip_suffix('"')?;
        let string = string.as_bytes();
        let line = string.strip_suffix(b"\\n").filter(|line| !ends_in_half_an_escape(line));
        let Self { recognised, unescaped, known } = self;
        Some(known.event(stream, time, line.is_some(), |known| {
            let line = line.unwrap_or(string);
            unescaped.event(line, |line| printed(recognised, known, stream, without_line_break(line)))
        }))
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
        Some(known.event(stream, time, is_whole, |known| printed(recognised, known, stream, message)))
    }

    fn header_line(&mut self, line: &[u8]) -> Option<()> {
        let words = line.strip_prefix(HEADER.as_bytes())?;
        let mut words = words.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let mut holds = [false; WORDS.len()];
        words.try_for_each(|word| {
            holds[WORDS.iter().position(|known| known.as_bytes() == word)?] = true;
            Some(())
        })?;
        let [output, errors, is_nginx] = holds;
        self.known = Known { unfinished: [output, errors], is_nginx };
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
        let Known { unfinished: [output, errors], is_nginx } = self.known;
        let words = WORDS.iter().zip([output, errors, is_nginx]).filter(|(_, holds)| *holds);
        let words: String = words.map(|(word, _)| format!(" {word}")).collect();
        if words.is_empty() { Vec::new() } else { format!("{HEADER}{words}\n").into_bytes() }
    }
}

impl Known {
    /// The event of what was printed at that time; what `read` doesn't understand, and what is but a piece, is some program's.
    fn event<'a>(
        &mut self,
        stream: Stream,
        time: i64,
        is_whole: bool,
        read: impl FnOnce(&mut Self) -> Option<Event<'a>>,
    ) -> Event<'a> {
        let was_unfinished = std::mem::replace(&mut self.unfinished[stream as usize], !is_whole);
        // What a long line goes on with may be a visitor's choice.
        let told = if was_unfinished { None } else { read(self) };
        let told = told.unwrap_or_else(|| Event::plain(None, Category::System));
        Event { time: told.time.or(Some(time)), ..told }
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

/// What a line tells that was printed there.
fn printed<'a>(recognised: &mut [Custom], known: &mut Known, stream: Stream, line: &'a [u8]) -> Option<Event<'a>> {
    let mut in_json = |line| recognised.iter_mut().find_map(|format: &mut Custom| format.parse(line));
    if stream == Stream::Output {
        return Access::default().parse(line).or_else(|| in_json(line));
    }
    if let Some(error) = nginx_error::event(line) {
        known.is_nginx = true;
        return Some(error);
    }
    if known.is_nginx {
        return None;
    }
    // Caddy prints its access log there.
    in_json(line).or_else(|| apache_error::event(apache_error::without_stamp(line)?))
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
        for (line, accused) in [(nginx, None), (apache, Some("198.51.100.7".to_owned()))] {
            let (action, time, peer) = read(&mut parser(), &docker("stderr", line)).unwrap();
            assert!(matches!(action, Action::LoginFailed { .. }) && time == 1 && peer == accused, "{line}");
            assert_eq!(read(&mut parser(), &docker("stdout", line)).unwrap().0, Action::Other);
        }
    }

    #[test]
    fn what_stands_in_a_piece_of_a_line_is_not_believed_nor_a_request_among_errors() {
        let other = Some((Action::Other, 1, None));
        let (piece, request) = (docker("stdout", "x"), docker("stdout", &format!("{ACCESS}\\n")));
        let mut first = parser();
        assert_eq!(read(&mut first, &piece), other);
        // The run ends here, and the next one goes on.
        let mut second = parser();
        for header in first.header().split(|byte| *byte == b'\n') {
            let _ = second.parse(header);
        }
        assert_eq!(read(&mut second, &docker("stderr", "x\\n")), other);
        assert_eq!(read(&mut second, &request), other);
        assert_ne!(read(&mut second, &request), other);
        assert_eq!(second.header(), b"");
        assert_eq!(read(&mut parser(), &docker("stderr", &format!("{ACCESS}\\n"))), other);
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
        assert_eq!(read(&mut parser, &cri("stdout", "P", "x")), Some((Action::Other, 1, None)));
        assert_eq!(read(&mut parser, &cri("stdout", "P", &access)), Some((Action::Other, 1, None)));
        assert_eq!(read(&mut parser, &cri("stdout", "F", &access)), Some((Action::Other, 1, None)));
        assert_eq!(read(&mut parser, &cri("stdout", "F", &access)), request);
        assert_eq!(read(&mut parser, "2026-11-20T11:00:01.123456789+01:00 stdout F"), Some((Action::Other, 1, None)));
        assert_eq!(read(&mut parser, &cri("stdout", "X", &access)), None);
        assert_eq!(read(&mut parser, &cri("web1", "F", &access)), None);
    }
}
